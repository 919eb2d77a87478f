"""An ONNX graph becomes a torch module: node by node, through the functions that `registry.py` knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from ...core.errors import ModelError, RecipeError, nearest
from ..built import RANGE
from . import fuse, reading, registry
from .node import Node
from .values import BatchIsFixed, Trace, Value

_INTEGERS = {2: torch.uint8, 3: torch.int8, 5: torch.int16, 6: torch.int32, 7: torch.int64, 9: torch.bool}
_FLOATS = (1, 10, 11, 16)


@dataclass(frozen=True)
class Input:
    """An input of the model: its shape with the batch first (a size that the file leaves open is 0) and its type."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Imported:
    """What an .onnx file became.

    `module` is in eval mode and returns a tensor for one output, else a dict by the names of the outputs. Its weights
    are parameters; layers have the names that the file gives their weights. `inputs` have the sizes that were used.
    `quantized` says that the file was quantized; `operators` counts them; `notes` are for the user.
    """

    module: nn.Module
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    opset: int
    operators: Mapping[str, int]
    quantized: bool
    notes: tuple[str, ...]


class Graph(fx.GraphModule):
    """The torch graph of an ONNX file; messages call it by this name."""


class OneByOne(nn.Module):
    """A graph that takes one sample, run on the samples of a batch one after another."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.of_one = graph  # not `graph`, which is something else in the module that is captured

    def forward(self, *inputs: torch.Tensor) -> Any:
        rows = [self.of_one(*(tensor[at : at + 1] for tensor in inputs)) for at in range(inputs[0].shape[0])]
        if isinstance(rows[0], dict):
            return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
        return torch.cat(rows)


def inputs_of(model: Any, path: Path) -> tuple[Input, ...]:
    """The inputs of a ModelProto that are no weights. Raises `ModelError` for one that is no tensor of numbers."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = []
    for proto in model.graph.input:
        if proto.name in weights:
            continue
        kind = proto.type.tensor_type
        if not proto.type.HasField("tensor_type") or kind.elem_type not in (*_FLOATS, *_INTEGERS):
            raise ModelError(
                "is no tensor of numbers (text, a sequence or an optional value)",
                where=f"{path}, input {proto.name!r}",
                remedy="only models whose inputs are tensors of numbers are read",
            )
        shape = tuple(int(axis.dim_value) if axis.dim_value > 0 else 0 for axis in kind.shape.dim)
        inputs.append(Input(proto.name, shape, _INTEGERS.get(kind.elem_type, torch.float32)))

    return tuple(inputs)


def load(
    path: Path,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    constants: Mapping[str, float] | None = None,
    outputs: Sequence[str] = (),
) -> Imported:
    """The module of an .onnx file.

    `shapes` are those of inputs for one sample, batch included, where the file leaves sizes open; `constants` are
    numbers that inputs always have (a sampling rate); `outputs` are those to keep, all without them.

    Raises `ModelError` naming file and node for a file that is damaged, of an opset beyond 9 to 23 or has operators
    that are not supported; `RecipeError` for a size that is open and for a name that is no input or output; `Missing`
    without the package onnx.
    """
    model = reading.read(path)
    opset = reading.opset_of(model, path)
    declared = inputs_of(model, path)
    shapes, constants = dict(shapes or {}), dict(constants or {})

    for name in (*shapes, *constants):
        if name not in [item.name for item in declared]:
            known = [item.name for item in declared]
            raise RecipeError(f"the model has no input {name!r}", where=str(path), remedy=nearest(name, known))

    inputs = tuple(_settled(item, shapes.get(item.name), path) for item in declared if item.name not in constants)
    fixed = {
        item.name: torch.tensor(constants[item.name], dtype=item.dtype) for item in declared if item.name in constants
    }
    _keep(model, outputs, path)
    notes: set[str] = set()

    try:
        module, names = translated(model, opset, inputs, fixed, True, notes)
        if not _samples_are_apart(module, inputs):
            raise BatchIsFixed("samples of a batch depend on each other")
    except BatchIsFixed:
        notes.clear()
        graph, names = translated(model, opset, inputs, fixed, False, notes)
        module = OneByOne(graph).eval()
        notes.add("the model is written for one sample: the samples of a batch go through it one after another")

    counted = Counter(node.op_type for node in model.graph.node)
    quantized = any(name.startswith(("QLinear", "QGemm", "QuantizeLinear", "DequantizeLinear")) for name in counted)
    return Imported(module, inputs, names, opset, counted, quantized, tuple(sorted(notes)))


def drop_ranges(module: nn.Module) -> None:
    """Forget the ranges that the file has for its values."""
    for part in module.modules():
        if isinstance(part, fx.GraphModule):
            for node in part.graph.nodes:
                node.meta.pop(RANGE, None)


def _keep(model: Any, outputs: Sequence[str], path: Path) -> None:
    """Leave the other outputs out of the model. Raises `RecipeError` for a name that is none of them."""
    known = [item.name for item in model.graph.output]
    for name in outputs:
        if name not in known:
            raise RecipeError(f"the model has no output {name!r}", where=str(path), remedy=nearest(name, known))
    for item in list(model.graph.output):
        if outputs and item.name not in outputs:
            model.graph.output.remove(item)


def _settled(item: Input, shape: Sequence[int] | None, path: Path) -> Input:
    """An input with all sizes known, for one sample."""
    where = f"{path}, input {item.name!r}"
    if not item.shape and shape is None:
        raise RecipeError("has no batch axis", where=where, remedy="give the number that it always has as a constant")

    declared = item.shape
    if shape is not None:
        clash = len(shape) != len(declared) or any(a and a != b for a, b in zip(declared[1:], shape[1:]))
        if clash:
            raise RecipeError(f"has the shape {declared} (0 = open), which {tuple(shape)} does not fit", where=where)
        declared = tuple(shape)

    if 0 in declared[1:]:
        raise RecipeError(f"leaves sizes open: {declared} (0 = open)", where=where, remedy="say the size")

    if declared[0] > 1:
        raise ModelError(
            f"takes {declared[0]} samples at once, no more and no fewer",
            where=where,
            remedy="export the model for one sample, or with a dynamic batch axis",
        )

    return Input(item.name, (1, *declared[1:]), item.dtype)


def example(item: Input, batch: int = 0, seed: int = 0) -> torch.Tensor:
    """Random values of an input, (batch, ...); 0 is the batch of its shape."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, *item.shape[1:]) if batch else item.shape
    if item.dtype is torch.bool:
        return torch.rand(shape, generator=generator) < 0.5
    if item.dtype.is_floating_point:
        return torch.rand(shape, generator=generator)
    pixels = item.dtype is torch.uint8 and len(shape) == 4
    return torch.randint(0, 256 if pixels else 2, shape, generator=generator).to(item.dtype)


def translated(
    model: Any,
    opset: int,
    inputs: Sequence[Input],
    fixed: Mapping[str, torch.Tensor],
    batched: bool,
    notes: set[str],
) -> tuple[nn.Module, tuple[str, ...]]:
    """The module of a ModelProto and the names of its outputs.

    `fixed` are inputs that always have one value. Without `batched` it is written for the batch in `inputs`. Raises
    `ModelError`, and `BatchIsFixed` where a second sample does not fit.
    """
    trace = Trace(batched)
    scope = {item.name: trace.placeholder(item.name, example(item)) for item in inputs}
    scope |= {name: trace.constant(tensor) for name, tensor in fixed.items()}
    values = _Walk(trace, opset, notes).graph(model.graph, scope)
    names = tuple(item.name for item in model.graph.output)
    constant = [name for name, value in zip(names, values) if value.node is None]
    if constant:
        raise ModelError(f"the output {constant[0]!r} does not depend on the model's inputs", where=constant[0])

    nodes = [value.node for value in values]
    trace.graph.output(nodes[0] if len(nodes) == 1 else dict(zip(names, nodes)))
    module = Graph(trace.root, trace.graph, "OnnxGraph")
    module.graph.eliminate_dead_code()
    fuse.fuse(module)
    module.delete_all_unused_submodules()

    return module.eval(), names


class _Walk:
    """Runs through the nodes of a graph and of its branches."""

    def __init__(self, trace: Trace, opset: int, notes: set[str]) -> None:
        self.trace, self.opset, self.notes = trace, opset, notes
        self.importers = registry.importers()

    def graph(self, proto: Any, outer: Mapping[str, Value]) -> list[Value]:
        """The values of a graph's outputs; `outer` are those that it sees from outside."""
        scope = dict(outer)
        for tensor in proto.initializer:
            where = f"initializer {tensor.name!r}"
            scope[tensor.name] = self.trace.constant(reading.tensor_of(tensor, where), tensor.name)

        read = {name for graph in reading.graphs(proto) for node in graph.node for name in node.input}
        read |= {item.name for graph in reading.graphs(proto) for item in graph.output}
        for number, node in enumerate(proto.node):
            self.node(node, number, scope, read)

        absent = [item.name for item in proto.output if item.name not in scope]
        if absent:
            raise ModelError(f"the graph has no value for its output {absent[0]!r}", where=proto.name)

        return [scope[item.name] for item in proto.output]

    def node(self, proto: Any, number: int, scope: dict[str, Value], read: set[str]) -> None:
        """Put the outputs of a node into `scope`; `read` are the names that something reads."""
        operator = registry.name_of(proto)
        name = proto.name or f"{proto.op_type}_{number}"
        where = f"node {name!r} ({proto.op_type})"
        absent = [item for item in proto.input if item and item not in scope]
        if absent:
            raise ModelError(f"reads {absent[0]!r}, which nothing computes before it", where=where)

        importer = self.importers.get(operator)
        if importer is None:
            raise ModelError(
                f"the operator {proto.op_type} is not supported",
                where=where,
                remedy=f"nearest: {nearest(proto.op_type, self.importers)}; docs/onnx.md lists the supported operators",
            )

        attributes = {item.name: _attribute(item, where) for item in proto.attribute}
        node = Node(
            operator,
            name,
            tuple(scope[item] if item else None for item in proto.input),
            attributes,
            self.opset,
            tuple(item if item in read else "" for item in proto.output),
            self.trace,
            lambda graph: self.graph(graph, scope),
            self.notes,
        )

        try:
            results = importer(node)
        except (RuntimeError, IndexError, ValueError, TypeError, KeyError, AttributeError) as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            shapes = ", ".join(str(value.shape) for value in node.inputs if value is not None)
            raise ModelError(f"cannot be imported with inputs of the shapes {shapes}: {line}", where=where) from error

        values = [results] if isinstance(results, Value) else list(results)
        scope.update((item, value) for item, value in zip(proto.output, values) if item)


def _attribute(proto: Any, where: str) -> Any:
    """An attribute as Python has it; a tensor as one of torch, a graph as it is."""
    if proto.HasField("t"):
        return reading.tensor_of(proto.t, where)
    if proto.HasField("g"):
        return proto.g
    from onnx.helper import get_attribute_value

    value = get_attribute_value(proto)
    return list(value) if not isinstance(value, (int, float, bytes, str)) else value


def _samples_are_apart(module: nn.Module, inputs: Sequence[Input]) -> bool:
    """Whether a batch of three gives what its samples give one by one."""
    batch = [example(item, 3, seed=1) for item in inputs]
    with torch.no_grad():
        try:
            together = module(*batch)
            apart = [module(*(tensor[at : at + 1] for tensor in batch)) for at in range(3)]
        except (RuntimeError, IndexError, ValueError):
            return False

    leaves = torch.utils._pytree.tree_leaves
    for whole, *rows in zip(leaves(together), *(leaves(row) for row in apart)):
        joined = torch.cat(rows) if rows[0].dim() else torch.stack(rows)
        if whole.shape != joined.shape or whole.shape[:1] != (3,):
            return False
        if not torch.allclose(
            whole.float(), joined.float(), rtol=1e-3, atol=1e-4 * max(1.0, float(joined.abs().max()))
        ):
            return False

    return True
