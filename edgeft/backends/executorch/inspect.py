"""What an ExecuTorch program holds, and what its runtime executes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import BundleError
from .. import Grid, IntegerShare, Operation, WeightTensor, _macs
from ..base_session import existing
from ..flow import Flow, Step
from . import etdump, program, xnnpack
from .session import trace

#: kernels of ExecuTorch's own that multiply and accumulate, with the positions of their two factors
_WEIGHTED = {"mm": (0, 1), "bmm": (0, 1), "addmm": (1, 2), "convolution": (0, 1)}
#: those that take rows of a table
_LOOK_UPS = {"embedding", "index", "index_select", "gather"}
#: those that compute nothing, by the first word of their name
_MOVES = {
    "view", "permute", "transpose", "t", "slice", "select", "cat", "split", "split_with_sizes", "expand", "squeeze",
    "unsqueeze", "clone", "copy", "to", "constant", "pixel", "embedding", "index", "gather", "full", "arange", "repeat",
    "where", "detach", "alias", "stack", "unbind", "flip", "roll", "scalar", "empty",
}  # fmt: skip


def integer_weights(path: Path) -> list[WeightTensor]:
    """Every int8 constant of a delegate's graph of more than one element, in XNNPACK's layout: OHWI, 1HWO (depthwise),
    (out, in); named by the delegate's number and its own there."""
    described, weights = program.read(existing(path)), []
    for i, graph in enumerate(_graphs(path, described)):
        weights += graph.weights(f"{i}:")
    return weights


def activation_grids(path: Path) -> list[Grid]:
    """The grid of every quantized value of the delegates' graphs that is no constant."""
    grids: list[Grid] = []
    for i, graph in enumerate(_graphs(path, program.read(existing(path)))):
        grids += graph.grids(f"{i}:")
    return grids


def emitted(path: Path) -> dict[str, Any]:
    """{"schema", "delegates", "ops" {type: count}}, read from the file: XNNPACK's nodes and ExecuTorch's kernels."""
    described = program.read(existing(path))
    graphs = _graphs(path, described)
    ops = Counter(node.kind for graph in graphs for node in graph.nodes)
    ops += Counter(call.kernel for call in described.calls if call.delegate is None)
    return {"schema": described.schema, "delegates": len(graphs), "ops": dict(sorted(ops.items()))}


def operations(path: Path) -> list[Operation]:
    """Every node of the delegates and every kernel between them, in the order in which they run."""
    described = program.read(existing(path))
    graphs, listed = _graphs(path, described), list[Operation]()
    for call in described.calls:
        if call.delegate is None:
            name = f"value {call.args[-1]}" if call.args else call.kernel
            listed.append(Operation(call.kernel, name, (name,), _work(described, call)))
            continue
        graph = graphs[call.delegate]
        for node in graph.nodes:
            name = f"{call.delegate}:{node.output}"
            listed.append(Operation(node.kind, name, (name,), graph.macs(node)))

    return listed


def integer_share(
    path: Path,
    *,
    threads: int = 1,
    feeds: Mapping[str, np.ndarray] | None = None,
    options: Mapping[str, Any] | None = None,
) -> IntegerShare:
    """From the names of the operators that the runtime's trace lists, which hold the types that they compute in.

    The trace has no shapes: the multiply-accumulates are those of the file's nodes, which XNNPACK runs in their order.
    Where the runtime keeps no trace, or one with another number of operators with weights, a node counts by the types
    of its values, by which XNNPACK picks its kernels. No option of the runtime changes its kernels.
    """
    path = existing(path)
    described = program.read(path)
    graphs, tally = _graphs(path, described), _macs.Tally()
    ran = [name for name in etdump.executed(trace(path, threads=threads, feeds=feeds)) if etdump.weighted(name)]
    nodes = [
        (graphs[call.delegate], node)
        for call in described.calls
        if call.delegate is not None
        for node in graphs[call.delegate].nodes
    ]
    weighted = [(graph, node) for graph, node in nodes if node.kind in xnnpack.WEIGHTED]

    for k, (graph, node) in enumerate(weighted):
        integer = etdump.integer(ran[k]) if len(ran) == len(weighted) else graph.integer(node)
        tally.add(node.kind, "int8" if integer else "float32", macs=graph.macs(node), integer=integer)

    for graph, node in nodes:
        if node.kind not in xnnpack.WEIGHTED:
            dtype = graph.values[node.output].dtype
            tally.add(node.kind, dtype, integer=graph.integer(node), moves=node.kind in xnnpack.MOVES)

    for call in described.calls:
        if call.delegate is None:
            _count_kernel(tally, described, call)

    return tally.share()


def _count_kernel(tally: _macs.Tally, described: program.Program, call: program.Call) -> None:
    """A kernel of ExecuTorch's own: none of them computes products of integers."""
    dtype, macs = described.tensors[call.args[-1]].dtype if _writes(described, call) else "none", _work(described, call)
    moves = _base(call).strip("_").split("_")[0] in _MOVES
    tally.add(call.kernel, dtype, macs=macs, integer=dtype in _macs.INTEGER and not macs, moves=moves)


def _writes(described: program.Program, call: program.Call) -> bool:
    return bool(call.args) and call.args[-1] in described.tensors


def _work(described: program.Program, call: program.Call) -> int:
    """Multiply-accumulates of a kernel of `_WEIGHTED`, else 0."""
    factors = _WEIGHTED.get(_base(call))
    if factors is None or not _writes(described, call) or any(k not in described.tensors for k in call.args[:2]):
        return 0

    shapes = [described.tensors[k].shape for k in call.args if k in described.tensors]
    first, second, output = shapes[factors[0]], shapes[factors[1]], shapes[-1]
    return _macs.convolution(output, prod(second[1:])) if len(second) > 3 else _macs.matmul(first, output)


def _base(call: program.Call) -> str:
    """ "aten::add.out" -> "add"."""
    return call.kernel.partition("::")[2].partition(".")[0]


def _graphs(path: Path, described: program.Program) -> list[xnnpack.XnnGraph]:
    try:
        return [xnnpack.read(delegate.compiled, described.named) for delegate in described.delegates]
    except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:
        raise BundleError(
            f"is not a readable ExecuTorch program ({error})", where=str(path), remedy="export it again"
        ) from error


def flow(path: Path) -> Flow:
    """The whole program; values are called by their positions in it, those of a delegate by its number and theirs."""
    described = program.read(existing(path))
    graphs = _graphs(path, described)
    constants = {str(k) for k, tensor in described.tensors.items() if tensor.data is not None}
    weights: list[tuple[str, WeightTensor]] = []
    grids: list[tuple[str, Grid]] = []

    for number, graph in enumerate(graphs):
        constants |= {f"{number}:{k}" for k, value in graph.values.items() if value.data is not None}
        weights += [(weight.name, weight) for weight in graph.weights(f"{number}:")]
        grids += [(grid.name, grid) for grid in graph.grids(f"{number}:")]

    steps, known = list[Step](), {*constants, *map(str, described.inputs)}
    for call in described.calls:
        if call.delegate is None:
            added = [_step_of(described, call, known)]
        else:
            added = _steps_of(graphs[call.delegate], call)
        steps += added
        known.update(key for step in added for key in step.writes)

    inputs, outputs = (tuple(map(str, side)) for side in (described.inputs, described.outputs))
    return Flow(tuple(steps), inputs, outputs, frozenset(constants), tuple(weights), tuple(grids))


def _step_of(described: program.Program, call: program.Call, known: Collection[str]) -> Step:
    """A kernel of ExecuTorch's own. It writes those of its tensors that nothing wrote before."""
    keys = dict.fromkeys(str(k) for k in call.args if k in described.tensors)
    writes = tuple(key for key in keys if key not in known)
    return Step(
        call.kernel,
        f"value {call.args[-1]}" if call.args else call.kernel,
        tuple(key for key in keys if key in known),
        writes,
        products=_base(call) in _WEIGHTED,
        looks_up=_base(call) in _LOOK_UPS,
        macs=_work(described, call),
    )


def _steps_of(graph: xnnpack.XnnGraph, call: program.Call) -> list[Step]:
    """The nodes of a delegate. Its external values are the program's: `args` holds those by their external numbers."""
    outside = dict(enumerate(call.args))

    def key(number: int) -> str:
        external = graph.values[number].external
        return str(outside[external]) if external in outside else f"{call.delegate}:{number}"

    return [
        Step(
            node.kind,
            f"{call.delegate}:{node.output}",
            tuple(key(k) for k in node.inputs),
            (key(node.output),),
            node.kind in xnnpack.WEIGHTED,
            macs=graph.macs(node),
        )
        for node in graph.nodes
    ]
