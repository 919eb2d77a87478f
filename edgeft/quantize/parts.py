"""Models of several graphs (encoder and decoder step): captured, quantized and trained part by part, as one module.

A part is a submodule of the model; the model's own forward joins them. For most models there is one part, `main`, the
model itself, and what is trained is its graph. A graph has no lengths in it, so the graph that is exported over one
token is the one that is trained over whole sentences.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..config.scheme import Scheme
from ..core.errors import ModelError, RecipeError
from ..graph.captured import Captured
from ..graph.from_torch import capture_float
from . import channels, equalize, lower
from .fakequant import ActivationFakeQuant, WeightFakeQuant
from .graph import QuantizedGraph, insert
from .noise import chosen, ratio_between, signal_to_noise
from .ranges import floor_weight_scales, observed_ranges, reduced, set_ranges
from .reconstruct import reconstruct

MAIN = "main"
#: what equalization must bring the outputs, in dB: below it the network is left as the user knows it
GAIN = 1.0
#: what "auto" chooses among; the first one stays unless another is clearly better
ESTIMATORS = ("mse", "moving_average", "percentile", "minmax")
Example = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class CapturedParts:
    """The float graphs by part; `module` computes from them what the model computes."""

    graphs: dict[str, Captured]
    module: nn.Module

    @property
    def single(self) -> bool:
        return tuple(self.graphs) == (MAIN,)


@dataclass(frozen=True)
class Equalization:
    """What equalizing channels brought: the groups that were scaled, and the outputs' mean signal to quantization-noise
    ratio in dB before and after."""

    groups: int
    before_db: float
    after_db: float


@dataclass(frozen=True)
class Reconstruction:
    """What reconstructing `layers` layers brought: the outputs' ratio of signal to quantization noise in dB before and
    after, on held-out batches; `kept` is False where the calibrated rounding stands, since it was no worse."""

    layers: int
    before_db: float
    after_db: float
    kept: bool


@dataclass
class QuantizedParts:
    """The quantized graphs by part; `module` is what is trained: the graph itself, or the model made of them."""

    graphs: dict[str, QuantizedGraph]
    module: nn.Module
    captured: CapturedParts
    scheme: Scheme

    @property
    def single(self) -> bool:
        return self.captured.single

    def named(self, part: str, name: str) -> str:
        """A layer's or weight's name in the whole model."""
        return name if self.single else f"{part}.{name}"

    @property
    def weight_of(self) -> dict[str, str]:
        """`QuantizedGraph.weight_of` over all parts: names in the whole model and in `module`."""
        pairs = ((part, *item) for part, graph in self.graphs.items() for item in graph.weight_of.items())
        return {self.named(part, weight): self.named(part, fake) for part, weight, fake in pairs}

    def weights(self) -> dict[str, WeightFakeQuant]:
        return {self.named(part, n): w for part, graph in self.graphs.items() for n, w in graph.weights().items()}

    def activations(self) -> dict[str, ActivationFakeQuant]:
        return {self.named(part, n): a for part, graph in self.graphs.items() for n, a in graph.activations().items()}

    def float_ops(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for graph in self.graphs.values():
            for op, count in graph.summary.float_ops.items():
                counts[op] = counts.get(op, 0) + count
        return counts

    def set_mode(self, mode: str) -> None:
        for graph in self.graphs.values():
            graph.set_mode(mode)

    def spread_channels(self, batches: channels.Batches) -> None:
        """`QuantizedGraph.spread_channels` of every graph; `batches()` gives the inputs of `module`."""
        if any(graph.spreads for graph in self.graphs.values()):
            self.set_mode("off")
            for graph in self.graphs.values():
                channels.spread(graph.module, graph.spreads, {**graph.weights()}, batches, self.module)
            self.set_mode("quantize")

    def equalize(self, batches: channels.Batches, calibrated: Callable[[], None]) -> Equalization | None:
        """Equalize the channels of all graphs, where it brings the outputs `GAIN` dB on `batches`; None where not.

        The parts must be calibrated, and are again after it, by `calibrated`.
        """
        self.set_mode("off")
        plans = {part: equalize.planned(graph, batches, self.module) for part, graph in self.graphs.items()}
        self.set_mode("quantize")
        if not any(plans.values()):
            return None

        before = signal_to_noise(self.module, self.set_mode, batches)
        state = {name: value.clone() for name, value in self.module.state_dict().items()}
        for part, plan in plans.items():
            equalize.fold(self.graphs[part], plan)

        calibrated()
        after = signal_to_noise(self.module, self.set_mode, batches)
        if not after >= before + GAIN:
            self.module.load_state_dict(state)
            return None

        return Equalization(sum(map(len, plans.values())), before, after)

    def reconstruct(self, batches: Sequence[Example]) -> Reconstruction | None:
        """Choose the rounding of the weights layer by layer (`reconstruct.py`), and keep it where the outputs have less
        noise on batches that it was not chosen by. None where there are no such batches, or the model has several
        graphs.

        The graph must be calibrated. `batches` are its inputs, every fourth of which judges the choice.
        """
        chosen_by, judged_by = [b for i, b in enumerate(batches) if i % 4 != 3], list(batches[3::4])
        if not judged_by and len(chosen_by) > 1:
            judged_by = [chosen_by.pop()]

        # of several processes all take part, or none does
        if not self.single or not reduced([float(bool(judged_by))], "min")[0]:
            return None

        before = ratio_between(self.captured.module, self.module, judged_by)
        state = {name: value.clone() for name, value in self.module.state_dict().items()}
        layers = reconstruct(self.graphs[MAIN], chosen_by)
        floor_weight_scales(self.graphs[MAIN].module)
        after = ratio_between(self.captured.module, self.module, judged_by)
        better = after > before
        if not better:
            self.module.load_state_dict(state)

        return Reconstruction(layers, before, after, better)

    def calibrate_weights(self, method: str = "minmax") -> None:
        for graph in self.graphs.values():
            graph.calibrate_weights(method)

    def integer_weights(self) -> list[lower.IntegerWeight]:
        """Every integer weight of all graphs, by its name in the whole model."""
        return [
            dataclasses.replace(weight, name=self.named(part, weight.name))
            for part, graph in self.graphs.items()
            for weight in lower.integer_weights(graph)
        ]


def capture_parts(
    module: nn.Module, example: Example, parts: Mapping[str, Any] | None = None, apart: bool = False
) -> CapturedParts:
    """Capture a model; `parts` are {submodule: its `example`, `inputs`, `outputs`}, none for a model of one graph.

    `apart`: the channels of that one graph's output are values with units of their own (`Captured.apart`).
    Raises `ModelError` where a parameter stands outside of all parts: no graph would hold it.
    """
    if not parts:
        captured = dataclasses.replace(capture_float(module, example), apart=apart)
        return CapturedParts({MAIN: captured}, captured.module)

    inside = {id(p) for name in parts for p in module.get_submodule(name).parameters()}
    for name, parameter in module.named_parameters():
        if id(parameter) not in inside:
            raise ModelError(f"the parameter {name!r} is in none of the parts {', '.join(parts)}")

    graphs = {}
    for name, part in parts.items():
        captured = capture_float(module.get_submodule(name), part.example)
        if captured.input_names != tuple(part.inputs) or len(captured.output_names) != len(part.outputs):
            raise ModelError(f"takes {', '.join(captured.input_names)}, not {', '.join(part.inputs)}", where=name)
        graphs[name] = dataclasses.replace(captured, output_names=tuple(part.outputs))

    return CapturedParts(graphs, assemble(module, {name: c.module for name, c in graphs.items()}))


def assemble(module: nn.Module, graphs: Mapping[str, nn.Module]) -> nn.Module:
    """`module` with graphs in place of its parts; the caller's own is left as it is."""
    assembled = _own(module)
    for name, graph in graphs.items():
        *path, leaf = name.split(".")
        owner = assembled
        for step in path:
            child = owner._modules[step]
            assert child is not None
            owner._modules[step] = owner = _own(child)
        owner._modules[leaf] = graph

    return assembled.train(False)


def _own(module: nn.Module) -> nn.Module:
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin


def insert_parts(captured: CapturedParts, scheme: Scheme, keep_float: Sequence[str] = ()) -> QuantizedParts:
    """Fake-quantize modules in a copy of every graph. Raises what `insert` raises."""
    if captured.single:
        graph = insert(captured.graphs[MAIN], scheme, keep_float)
        return QuantizedParts({MAIN: graph}, graph.module, captured, scheme)

    for pattern in keep_float:
        if not pattern.startswith(tuple(f"{part}." for part in captured.graphs)):
            names = " or ".join(f"'{part}.'" for part in captured.graphs)
            raise RecipeError(f"keep_float pattern {pattern!r} names no part", remedy=f"begin it with {names}")

    graphs = {}
    for part, captured_part in captured.graphs.items():
        patterns = [pattern.removeprefix(f"{part}.") for pattern in keep_float if pattern.startswith(f"{part}.")]
        graphs[part] = insert(captured_part, scheme, patterns)

    assembled = assemble(captured.module, {part: graph.module for part, graph in graphs.items()})
    return QuantizedParts(graphs, assembled, captured, scheme)


def calibrate_parts(
    graph: QuantizedParts,
    batches: Callable[[], Any],
    *,
    estimator: str,
    percentile: float,
) -> dict[str, float]:
    """`ranges.calibrate` on the whole; `batches()` gives the inputs of `graph.module`.

    The estimator "auto" is the one of `ESTIMATORS` that leaves the least noise in the outputs. Gives the ratio of
    signal to noise by estimator then, that one first; else nothing.
    """
    names = ESTIMATORS if estimator == "auto" else (estimator,)
    _, candidates = observed_ranges(graph.module, batches, names, percentile)
    ratios: dict[str, float] = {}

    if estimator == "auto":
        ratios = chosen(graph.module, graph.set_mode, batches, candidates)
    else:
        set_ranges(graph.module, candidates[estimator])

    if not graph.single:
        for part_graph in graph.graphs.values():
            floor_weight_scales(part_graph.module)

    return ratios
