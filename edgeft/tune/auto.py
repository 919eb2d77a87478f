"""The plan of a sparse update, made on a run's own model and data: `policy = "auto"`, and the account of any plan.

`planner` searches for candidates, which are trained here on the same batches for as many steps as the run has, at most
`_MOST_STEPS`. Of those within the budget the one with the lowest validation loss is chosen. Shorter trials favour plans
with few trainable parameters, since the learning rate of a large plan has not decayed enough when they end. The other
points, from the head alone to all parameters, form the curve of accuracy against memory.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, send_to_device
from torch import nn

from ..core.errors import RecipeError
from ..quantize.parts import insert_parts
from ..session.calibration_data import as_tuple
from ..session.session import Session
from . import cost, optimizers, planner, sparse, updates
from .frugal import Frugal
from .plan import rates

#: batches whose gradients are averaged, and steps of a trial where the run has more
_BATCHES, _MOST_STEPS = 8, 150
#: how contributions are read -> shares of the budget that are searched under, and what the plan is called
_SEARCHED = {
    "sum": {0.25: "quarter", 0.5: "half", 1.0: "evolved"},
    "levelled": {0.5: "levelled, half", 1.0: "levelled"},
    "even": {0.5: "even, half", 1.0: "even"},
}

Loss = Callable[[Any, Any], torch.Tensor]


@dataclass(frozen=True)
class Planned:
    """The plan and its record: budget, bytes, a row a layer, the curve."""

    plan: sparse.Plan
    record: dict[str, Any]


def size_of(text: str) -> int:
    """Bytes of a size such as "64MiB" or "1.5 MB"; `recipe` has checked its form."""
    number = text.rstrip("KMGiB ")
    unit = text[len(number) :].strip()
    power = {"": 0, "K": 1, "M": 2, "G": 3}[unit[:1] if unit != "B" else ""]
    return int(float(number) * (1024 if "i" in unit else 1000) ** power)


def planned(session: Session, loss: Loss, accelerator: Accelerator, metric: Callable[[nn.Module], float]) -> Planned:
    """The plan under `update.memory_budget`. The model is left as it was.

    Raises `RecipeError` where the head alone does not fit. Of several processes the first plans and the others take
    its plan.
    """
    best_plan: list[Any] = [None]
    if accelerator.is_main_process:
        best_plan = [_Planning(session, loss, accelerator, metric).run()]
    if accelerator.num_processes > 1:
        broadcast_object_list(best_plan)
    biases, weights, record = best_plan[0]
    return Planned(sparse.plan(session.built.module, biases, weights, exact=True), record)


def account(session: Session, plan: sparse.Plan, loss: Loss, accelerator: Accelerator) -> dict[str, Any]:
    """Bytes of a given plan, a row a layer. The model is left as it was."""
    planning = _Planning(session, loss, accelerator, lambda module: 0.0)
    costs, pairs = planning.costs()
    return _record(plan, costs, pairs, planning.full_bytes())


def _record(plan: sparse.Plan, costs: planner.Costs, pairs: Any, full: int) -> dict[str, Any]:
    nothing = costs.of(sparse.Plan())
    rows = planner.table(pairs, plan, costs)
    return {
        "schema": 1,
        **plan.as_dict(),
        "bytes": costs.of(plan),
        "head_bytes": nothing,
        "full_bytes": full,
        "layers": rows,
        "curve": [],
    }


class _Planning:
    """One planning of one run: model, batches, costs."""

    def __init__(
        self, session: Session, loss: Loss, accelerator: Accelerator, metric: Callable[[nn.Module], float]
    ) -> None:
        self.s, self.loss, self.metric, self.device = session, loss, metric, accelerator.device
        t = session.recipe.train
        self.slots = 1 if t.optimizer == "sgd" else 2
        train = session.dataset.split("train")
        size = min(t.batch_size, len(train)) // accelerator.num_processes
        self.loader = session.learning.loader(
            train, session.spec, size, t.augment, seed=t.seed, workers=0, shuffle=True, drop_last=True
        )
        self.batch = next(iter(self.batches()))
        val = session.dataset.split("val")
        self.validation = session.learning.loader(val, session.spec, min(t.batch_size, len(val)))

    def batches(self) -> Iterator[Any]:
        for batch in self.loader:
            yield send_to_device(batch, self.device)

    def copied(self, policy: str = "full", plan: sparse.Plan | None = None, *, freeze: bool = True) -> nn.Module:
        """A copy of the model in training mode in which exactly the parameters of the policy are trainable."""
        module = copy.deepcopy(self.s.built.module)
        updates.apply(module, updates.trainable(module, self.s.built.head, policy, plan))
        if plan is not None:
            sparse.mark(module, plan)
        updates.train_mode(module, freeze=freeze)
        return module

    def loss_of(self, module: nn.Module, batch: Any) -> torch.Tensor:
        inputs, targets = batch
        return self.loss(module(*as_tuple(inputs)), targets)

    # -- what it costs ---------------------------------------------------------------------------------------------
    def costs(self) -> tuple[planner.Costs, list[tuple[str, str]]]:
        """The costs of both stages, and the units that may be trained."""
        module, head = self.copied(), self.s.built.head
        numels = {name: p.numel() for name, p in module.named_parameters()}
        trace = cost.record(module, lambda m: self.loss_of(m, self.batch))
        traces: list[Any] = [(trace, lambda plan: updates.trainable(module, head, "sparse", plan))]
        if self.s.recipe.quantize.method in ("qat", "auto") and self.s.recipe.quantize.epochs:
            traces += self._quantized(module)
        pairs = [pair for pair in planner.units(module, trace, head) if pair[0]]
        return planner.Costs(traces, numels, head, self.slots), pairs

    def _quantized(self, module: nn.Module) -> list[Any]:
        """The graph of quantization-aware training, on grids that mean nothing; none of several graphs."""
        captured = self.s.capture(copy.deepcopy(self.s.built.module).eval().cpu())
        graphs = insert_parts(captured, self.s.targets[0].scheme, self.s.recipe.quantize.keep_float)
        if not graphs.single:
            return []

        (graph,) = graphs.graphs.values()
        for fake in graph.activations().values():
            fake.set_range(-1.0, 1.0)

        graph.calibrate_weights()
        graph.set_mode("quantize")
        graph.module.to(self.device)
        updates.apply(graph.module, {name for name, _ in graph.module.named_parameters()})
        trace, head = cost.record(graph.module, lambda m: self.loss_of(m, self.batch)), self.s.built.head

        return [(trace, lambda plan: updates.names_in_graph(graph, module, head, "sparse", (), plan))]

    def full_bytes(self) -> int:
        """What training everything holds in the float stage, as `policy = "full"` does it."""
        module = self.copied(freeze=self.s.recipe.train.norm_stats == "freeze")
        names = {name for name, _ in module.named_parameters()}
        trace = cost.record(module, lambda m: self.loss_of(m, self.batch))
        moving = 4 * (2 + self.slots) * sum(p.numel() for p in module.parameters())
        total: int = trace.saved(names, frugal=False) + moving
        return total

    # -- its accuracy ----------------------------------------------------------------------------------------------
    def trial(self, policy: str, plan: sparse.Plan | None) -> tuple[float, float]:
        """Validation metric and loss after a few steps."""
        t, head = self.s.recipe.train, self.s.built.head
        module = self.copied(policy, plan, freeze=policy != "full" or t.norm_stats == "freeze")
        groups = self.s.learning.groups(module, head, **rates(t))
        optimizer = optimizers.make(t.optimizer, groups)
        still = sparse.kept_still(p for group in optimizer.param_groups for p in group["params"])
        bases = [group["lr"] for group in optimizer.param_groups]
        torch.manual_seed(t.seed)
        steps = min(_MOST_STEPS, t.epochs * len(self.loader)) or 1

        for step, batch in enumerate(itertools.islice(self.cycled(), steps)):
            for group, base in zip(optimizer.param_groups, bases):
                group["lr"] = base * optimizers.rate("cosine", step / steps)
            with Frugal():
                loss = self.loss_of(module, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            sparse.restore(still)

        return self.metric(module.eval()), self.validation_loss(module)

    def validation_loss(self, module: nn.Module) -> float:
        """The mean loss on the validation split, which distinguishes candidates of equal accuracy on few samples."""
        total, count = 0.0, 0
        with torch.no_grad():
            for batch in self.validation:
                batch = send_to_device(batch, self.device)
                total, count = total + float(self.loss_of(module, batch)), count + 1
        return total / max(count, 1)

    def cycled(self) -> Iterator[Any]:
        for epoch in itertools.count(1):
            if hasattr(self.loader, "set_epoch"):
                self.loader.set_epoch(epoch)
            yield from self.batches()

    def run(self) -> tuple[list[str], dict[str, float], dict[str, Any]]:
        recipe = self.s.recipe
        budget, seed = size_of(recipe.update.memory_budget), recipe.train.seed
        rng = torch.get_rng_state()
        costs, pairs = self.costs()
        nothing = costs.of(sparse.Plan())

        if nothing > budget:
            raise RecipeError(
                f"= {recipe.update.memory_budget!r} is too little: the head alone takes {nothing / 2**20:.2f} MiB",
                where="update.memory_budget",
                remedy="raise it, lower train.batch_size, or take train.optimizer = 'sgd'",
            )

        module = self.copied()
        losses = (self.loss_of(module, batch) for batch in itertools.islice(self.batches(), _BATCHES))
        gains = planner.contributions(module, pairs, losses, recipe.train.optimizer)
        problem = planner.problem_of(gains, costs)
        points = self.points(problem, costs, budget, seed)
        best = self.best(points, budget)
        torch.set_rng_state(rng)
        record = _record(best.plan, costs, pairs, self.full_bytes())
        record["budget"] = budget
        record["curve"] = [
            {"name": p.name, "bytes": p.bytes, "validation": p.validation, "loss": p.loss, "taken": p is best}
            for p in points
        ]

        return list(best.plan.biases), dict(best.plan.weights), record

    def points(self, problem: planner.Problem, costs: planner.Costs, budget: int, seed: int) -> list[_Point]:
        """Candidates and the curve, by bytes. No plan is tried twice."""
        module = self.s.built.module
        choices = [("head", problem.nothing), ("biases", planner.only_biases(problem, budget))]
        choices += [("greedy", planner.greedy(problem, budget))]
        readings = {"sum": lambda units: units, "levelled": planner.levelled, "even": planner.even}

        for reading, shares in _SEARCHED.items():
            read = replace(problem, units=readings[reading](problem.units))
            choices += [(name, planner.search(read, int(share * budget), seed)) for share, name in shares.items()]

        curve, measured = [], set()
        for name, choice in choices:
            if choice not in measured and problem.bytes_of(choice) <= budget:
                measured.add(choice)
                plan = planner.plan_of(module, problem.units, choice)
                curve.append(_Point(name, costs.of(plan), *self.trial("sparse", plan), plan))

        curve.append(_Point("full", self.full_bytes(), *self.trial("full", None), sparse.Plan()))
        return sorted(curve, key=lambda point: point.bytes)

    def best(self, points: Iterable[_Point], budget: int) -> _Point:
        """The lowest validation loss of what fits; of equal ones the larger plan, whose contribution is larger."""
        fitting = [p for p in points if p.bytes <= budget and p.name != "full"]
        return min(reversed(fitting), key=lambda p: p.loss)


@dataclass(frozen=True)
class _Point:
    name: str
    bytes: int
    validation: float
    loss: float
    plan: sparse.Plan
