"""How values flow through an ONNX graph, read from the file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from .. import Grid, WeightTensor
from ..flow import Flow, Step
from .integer_share import MOVES, PRODUCTS
from .wire import OnnxGraph, OnnxModel, OnnxNode

_STANDARD = ("", "ai.onnx")
_LOOK_UPS = {"Gather", "GatherND", "GatherElements"}
#: standard ops that sum products, beside those whose work is counted
_MORE_PRODUCTS = {"Einsum", "Attention", "DeformConv", "DFT", "If", "Loop", "Scan", "SequenceMap"}


def flow_of(model: OnnxModel, weights: Sequence[WeightTensor], grids: Sequence[Grid], macs: Mapping[str, int]) -> Flow:
    """The main graph of `model`; tensors are called by their names, and `macs` are those of its nodes by name."""
    graph = model.graph
    constants = {*graph.initializers}
    steps = []

    for node in graph.nodes:
        if node.op == "Constant" and node.domain in _STANDARD:
            constants.update(node.outputs)
            continue
        reads = tuple(dict.fromkeys(name for name in (*node.inputs, *_captured(node)) if name))
        writes = tuple(name for name in node.outputs if name)
        opaque = node.domain not in _STANDARD and node.op not in MOVES
        products = opaque or node.op in PRODUCTS or node.op in _MORE_PRODUCTS
        steps.append(Step(node.op, node.name, reads, writes, products, node.op in _LOOK_UPS, macs.get(node.name, 0)))

    inputs = tuple(name for name in graph.inputs if name not in graph.initializers)
    stored = tuple((weight.name, weight) for weight in weights)
    return Flow(tuple(steps), inputs, graph.outputs, frozenset(constants), stored, _places(model, grids))


def _places(model: OnnxModel, grids: Sequence[Grid]) -> tuple[tuple[str, Grid], ...]:
    """Each grid with the tensor that lies on it: of a QuantizeLinear that is what it writes, not what it reads."""
    written: dict[str, list[str]] = defaultdict(list)
    for node in model.graph.nodes:
        if node.op == "QuantizeLinear":
            written[node.inputs[0]].append(node.outputs[0])
    return tuple((name, grid) for grid in grids for name in written.get(grid.name, [grid.name]))


def _captured(node: OnnxNode) -> Iterable[str]:
    """The tensors that graphs inside a node take from around it."""
    values = [v for value in node.attributes.values() for v in (value if isinstance(value, list) else [value])]
    for graph in (value for value in values if isinstance(value, OnnxGraph)):
        inner = {*graph.initializers, *graph.inputs, *(name for child in graph.nodes for name in child.outputs)}
        for child in graph.nodes:
            yield from (name for name in (*child.inputs, *_captured(child)) if name not in inner)
        yield from (name for name in graph.outputs if name not in inner)
