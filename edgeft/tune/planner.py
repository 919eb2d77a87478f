"""Which biases and weights to train under a memory budget: `policy = "auto"`.

1. Every unit (a convolution or linear layer with the norm behind it) gets a contribution: how much the loss would fall,
   to first order, by one step of the recipe's optimizer on this part alone. A step of AdamW moves every value by about
   the learning rate, so that is the sum of the gradient's magnitudes; a step of SGD moves along the gradient, so it is
   the sum of squares. Gradients are means over a few batches of training data.
2. A choice costs what a step holds: `cost.Trace.saved`, and gradients, optimizer state and values of what moves.
3. Greedy search by contribution per byte, then an evolutionary one from there (mutation and crossing, seeded).

Contributions to first order do not add up: a few wide layers near the output have nearly all of the gradient, and what
they bring soon levels off, while a little of many layers goes on learning. Two other readings are searched beside the
sum, `levelled` and `even`; trials decide (`auto.py`).

A choice: biases from some unit up to the head, and of every unit's weights a share of the input channels. That, and the
search, follow Lin et al., "On-device training under 256KB memory" (2022), which measures contributions by training.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from ..learning.blocks import under
from . import sparse
from .cost import Trace

SHARES = (0.0, 0.125, 0.25, 0.5, 1.0)
_POPULATION, _GENERATIONS = 32, 40


@dataclass(frozen=True)
class Unit:
    """A layer that can be trained, with the norm behind it. `gains` {share of input channels: contribution}."""

    layer: str
    norm: str = ""
    bias_gain: float = 0.0
    gains: Mapping[float, float] = field(default_factory=dict)

    @property
    def biases(self) -> tuple[str, ...]:
        return (self.layer, self.norm) if self.norm else (self.layer,)


@dataclass(frozen=True)
class Choice:
    """Biases of the units from `first` on, and a share of each unit's weights."""

    first: int
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Problem:
    """Units in the order of computation, `bytes_of(choice)` what training them takes."""

    units: tuple[Unit, ...]
    bytes_of: Callable[[Choice], int]

    def gain(self, choice: Choice) -> float:
        total = sum(unit.bias_gain for unit in self.units[choice.first :])
        return total + sum(unit.gains[share] for unit, share in zip(self.units, choice.shares) if share)

    @property
    def nothing(self) -> Choice:
        """The head alone."""
        return Choice(len(self.units), (0.0,) * len(self.units))


def units(module: nn.Module, trace: Trace, head: str) -> list[tuple[str, str]]:
    """(layer, norm behind it or "") in the order in which `trace` computes them; the head's own are left out.

    A layer that is used twice is listed where it is used first. Grouped convolutions other than depthwise ones can only
    be trained as a whole, which the planner leaves to the user.
    """
    kinds = dict(module.named_modules())
    norms: dict[int, str] = {}
    for call in trace.calls:
        if call.kind == "norm":
            for name in _names(trace, call.reads[1:2]):
                norms.setdefault(call.reads[0], name)

    kind_of: dict[str, str] = {}
    for call in trace.calls:
        if call.kind != "weighted":
            continue
        for layer in _names(trace, call.reads[1:2]):
            groups = getattr(kinds.get(layer), "groups", 1)
            splits = groups > 1 and groups != getattr(kinds[layer], "out_channels", groups)
            if isinstance(kinds.get(layer), sparse.LAYERS) and not under(layer, head) and not splits:
                kind_of.setdefault(layer, norms.get(call.writes[0], ""))

    return list(kind_of.items())


def _names(trace: Trace, keys: Iterable[int]) -> list[str]:
    """Layers whose parameter one of these storages is."""
    return [name.rpartition(".")[0] for key in keys for name in trace.parameters.get(key, ())]


def contributions(
    module: nn.Module, pairs: Sequence[tuple[str, str]], losses: Iterable[torch.Tensor], optimizer: str
) -> tuple[Unit, ...]:
    """The units with what each of their parts would bring. `losses` are of batches, made from `module` one by one."""
    count = 0
    for parameter in module.parameters():
        parameter.grad = None

    for loss in losses:
        loss.backward()
        count += 1

    known = dict(module.named_parameters())

    def size(gradient: torch.Tensor) -> torch.Tensor:
        mean = gradient / max(count, 1)
        return mean.square() if optimizer == "sgd" else mean.abs()

    def of(name: str) -> torch.Tensor | None:
        gradient = known[name].grad if name in known else None
        return None if gradient is None else size(gradient)

    measured = []
    for layer, norm in pairs:
        weight, biases = of(f"{layer}.weight"), [of(f"{name}.bias") for name in (layer, norm) if name]
        gains = {}
        for share in SHARES[1:]:
            if weight is not None:
                axis, at = sparse.channels(module.get_submodule(layer), share)
                gains[share] = float(weight.index_select(axis, torch.tensor(at, device=weight.device)).sum())
            else:
                gains[share] = 0.0
        measured.append(Unit(layer, norm, float(sum(b.sum() for b in biases if b is not None)), gains))

    for parameter in module.parameters():
        parameter.grad = None

    return tuple(measured)


def levelled(measured: Sequence[Unit]) -> tuple[Unit, ...]:
    """The units with contributions whose logarithm counts, in units of the median layer's."""
    middle = sorted(unit.gains[SHARES[-1]] for unit in measured)[len(measured) // 2] if measured else 0.0
    return tuple(_read(unit, lambda gain: math.log1p(max(gain, 0.0) / max(middle, 1e-30))) for unit in measured)


def even(measured: Sequence[Unit]) -> tuple[Unit, ...]:
    """The units with equal gains of all layers, whatever share of them is trained; more are better by little."""
    return tuple(
        replace(unit, bias_gain=0.01, gains={share: 1.0 + 0.1 * share for share in unit.gains}) for unit in measured
    )


def _read(unit: Unit, reading: Callable[[float], float]) -> Unit:
    gains = {share: reading(gain) for share, gain in unit.gains.items()}
    return replace(unit, bias_gain=reading(unit.bias_gain), gains=gains)


def search(problem: Problem, budget: int, seed: int = 0) -> Choice:
    """The choice with the largest contribution that was found within `budget` bytes; the head alone if nothing fits."""
    best = greedy(problem, budget)
    return evolved(problem, budget, best, seed)


def greedy(problem: Problem, budget: int) -> Choice:
    """Add, while it fits, the step with the most contribution per byte."""
    choice, cost = problem.nothing, problem.bytes_of(problem.nothing)
    while True:
        steps = []
        for step in _larger(problem, choice):
            more = problem.bytes_of(step) - cost
            gained = problem.gain(step) - problem.gain(choice)
            if cost + more <= budget and gained > 0:
                steps.append((gained / max(more, 1), gained, step))
        if not steps:
            return choice
        choice = max(steps, key=lambda item: item[:2])[2]
        cost = problem.bytes_of(choice)


def only_biases(problem: Problem, budget: int) -> Choice:
    """As many biases as fit, and no weights."""
    none = problem.nothing
    fitting = (c for c in (Choice(at, none.shares) for at in range(none.first)) if problem.bytes_of(c) <= budget)
    return next(fitting, none)


def _larger(problem: Problem, choice: Choice) -> Iterable[Choice]:
    for first in range(choice.first):
        yield Choice(first, choice.shares)
    for at, share in enumerate(choice.shares):
        for more in SHARES[SHARES.index(share) + 1 :]:
            yield Choice(choice.first, (*choice.shares[:at], more, *choice.shares[at + 1 :]))


def evolved(problem: Problem, budget: int, start: Choice, seed: int) -> Choice:
    """Mutation and crossing from `start`; the best stay. Never worse than `start`, which must fit."""
    rng = random.Random(seed)
    fits: dict[Choice, bool] = {}

    def fit(choice: Choice) -> bool:
        if choice not in fits:
            fits[choice] = problem.bytes_of(choice) <= budget
        return fits[choice]

    people = [start]
    for _ in range(_GENERATIONS):
        young = []
        for _ in range(_POPULATION):
            child = _mutated(rng.choice(people), rng)
            if len(people) > 1 and rng.random() < 0.5:
                child = _crossed(child, rng.choice(people), rng)
            if fit(child):
                young.append(child)
        ranked = sorted({*people, *young}, key=lambda c: (-problem.gain(c), c.first, c.shares))
        people = ranked[:_POPULATION]

    return people[0]


def _mutated(choice: Choice, rng: random.Random) -> Choice:
    first, shares = choice.first, list(choice.shares)
    for _ in range(rng.randint(1, 3)):
        if not shares or rng.random() < 0.3:
            first = rng.randint(0, len(shares))
        else:
            shares[rng.randrange(len(shares))] = rng.choice(SHARES)
    return Choice(first, tuple(shares))


def _crossed(first: Choice, second: Choice, rng: random.Random) -> Choice:
    shares = tuple(rng.choice(pair) for pair in zip(first.shares, second.shares))
    return Choice(rng.choice((first.first, second.first)), shares)


def plan_of(module: nn.Module, units_of_model: Sequence[Unit], choice: Choice) -> sparse.Plan:
    """The choice as the plan that `policy = "sparse"` would be given."""
    light = light_plan(units_of_model, choice)
    return sparse.plan(module, light.biases, light.weights, exact=True)


def light_plan(units_of_model: Sequence[Unit], choice: Choice) -> sparse.Plan:
    """The plan without its channels: names and shares are all that a cost asks for."""
    biases = tuple(name for unit in units_of_model[choice.first :] for name in unit.biases)
    weights = {unit.layer: share for unit, share in zip(units_of_model, choice.shares) if share}
    return sparse.Plan(biases, weights, {layer: (0, ()) for layer, share in weights.items() if share < 1})


@dataclass(frozen=True)
class Costs:
    """What training under a plan holds in memory, of the stage that needs most.

    `traces` are of the stages, each with its trainable names under a plan; `numels` {parameter of the float
    module: elements}; `slots` tensors a parameter of the optimizer's state. A gradient has the size of its weight even
    where only some channels are trainable.
    """

    traces: Sequence[tuple[Trace, Callable[[sparse.Plan], Collection[str]]]]
    numels: Mapping[str, int]
    head: str
    slots: int

    def of(self, plan: sparse.Plan) -> int:
        names = {n for n in self.numels if under(n, self.head)} | plan.names(self.numels)
        shares = {f"{layer}.weight": share for layer, share in plan.weights.items()}
        saved_bytes = max(trace.saved(trainable(plan), shares) for trace, trainable in self.traces)
        return saved_bytes + self.moving(names)

    def moving(self, names: Iterable[str]) -> int:
        """Trainable values, their gradients and the optimizer's state; float32."""
        return 4 * (2 + self.slots) * sum(self.numels[name] for name in names)


def problem_of(units_of_model: tuple[Unit, ...], costs: Costs) -> Problem:
    """What `search` needs; every cost is computed once."""
    remembered: dict[Choice, int] = {}

    def bytes_of(choice: Choice) -> int:
        if choice not in remembered:
            remembered[choice] = costs.of(light_plan(units_of_model, choice))
        return remembered[choice]

    return Problem(units_of_model, bytes_of)


def table(layers: Sequence[tuple[str, str]], plan: sparse.Plan, costs: Costs) -> list[dict[str, Any]]:
    """A row for each unit, in order: its trainable part, the number of values, and the bytes that it takes.

    Those are what the plan would take less without the unit's weights, and what its biases take; masks that are kept
    for what lies below belong to no unit.
    """
    total_cost, rows = costs.of(plan), []
    for layer, norm in layers:
        share = plan.weights.get(layer, 0.0)
        weights = {name: s for name, s in plan.weights.items() if name != layer}
        less = sparse.Plan(plan.biases, weights, {n: at for n, at in plan.channels.items() if n != layer})
        biases = [f"{name}.bias" for name in (layer, norm) if name and plan.has_bias(name)]
        biases = [name for name in biases if name in costs.numels]
        rows.append(
            {
                "layer": layer,
                "bias": bool(biases),
                "share": share,
                "values": sum(costs.numels[n] for n in biases) + round(share * costs.numels[f"{layer}.weight"]),
                "bytes": (total_cost - costs.of(less) if share else 0) + costs.moving(biases),
            }
        )

    return rows
