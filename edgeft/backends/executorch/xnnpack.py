"""A reader of what ExecuTorch's XNNPACK backend made of a part of a graph: nodes, values, weights and grids.

A header names the places of a flatbuffer and of constants. The layout is that of
executorch/backends/xnnpack/serialization/schema.fbs, read by field number. XNNPACK picks the kernel of a node by the
types of its values and refuses a graph that it has no kernel for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from .. import Grid, WeightTensor, _macs
from .._flatbuffer import Table, integer_at

#: enum XNNDatatype: the name that numpy has for what is stored, "" where it has none (4 bits, packed)
_STORED = {
    1: "float32", 2: "float16", 3: "int8", 4: "uint8", 5: "int32", 6: "int8", 7: "int32", 9: "int8", 12: "int32",
}  # fmt: skip
_QUANTIZED = {3, 4, 5, 6, 7}
#: how a node of each layout of fields names the values that it reads, and the one that it writes
_LAYOUTS: dict[str, tuple[tuple[int, ...], int]] = {
    "two": ((0, 1), 2),
    "one": ((0,), 1),
    "linear": ((0, 1, 2), 3),
    "conv": ((15, 16, 17), 18),
    "pool": ((10,), 11),
    "second": ((2,), 3),  # two fields of the node's own come first
    "third": ((3,), 4),
    "slope": ((1,), 2),
    "argmax": ((6,), 7),
    "attention": ((0, 1, 2, 3, 4), 5),
    "concatenate": ((1, 2, 3, 4, 7), 5),
}
#: union XNodeUnion, in its order
_NAMES = """
Add:two FullyConnected:linear Softmax:one Sigmoid:one StaticTranspose:second Clamp:one Conv2d:conv Div:two
StaticResizeBilinear2D:second StaticConstantPad:third AvgPooling2d:pool Minimum:two DepthwiseConv2d:conv
MaxPooling2d:pool Multiply:two Subtract:two Floor:one Convert:one GlobalAvgPooling2d:one StaticReshape:second
ArgMaxPooling2d:argmax SquareRoot:one Ceiling:one Hardswish:one LeakyReLU:slope Maximum:two Negate:one Square:one
ELU:slope Abs:one PReLU:two Concatenate2:concatenate Concatenate3:concatenate Concatenate4:concatenate
StaticSlice:third ScaledDotProductAttention:attention BatchMatrixMultiply:two Concatenate5:concatenate
ConvTranspose2d:conv ReciprocalSquareRoot:one Log:one Gelu:one Tanh:one Exp:one Sin:one Copy:one Cos:one
"""
_NODES = tuple(_NAMES.split())
#: nodes that multiply and accumulate
WEIGHTED = {
    "FullyConnected", "Conv2d", "DepthwiseConv2d", "ConvTranspose2d", "BatchMatrixMultiply",
    "ScaledDotProductAttention",
}  # fmt: skip
#: nodes that only move or convert values
MOVES = {
    "StaticTranspose", "StaticReshape", "StaticSlice", "StaticConstantPad", "Convert", "Copy",
    "Concatenate2", "Concatenate3", "Concatenate4", "Concatenate5",
}  # fmt: skip
_PER_CHANNEL, _PER_TENSOR = 1, 2
#: XNN_INVALID_VALUE_ID (such as the bias of a layer without one), and the flags of values that come in and go out
_NONE, _EXTERNAL = 0xFFFFFFFF, 1 | 2


@dataclass(frozen=True)
class XnnValue:
    """A value of the graph. `dtype` is what is stored; `scale` is None where it is not quantized, `data` where it is
    no constant, `external` where it is none of the values that the delegate is called with."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview | None
    scale: np.ndarray | None
    zero_point: int
    axis: int
    external: int | None = None


@dataclass(frozen=True)
class XnnNode:
    """One node: its kind ("Conv2d"), the numbers of the values that it reads, and of the one that it writes."""

    kind: str
    inputs: tuple[int, ...]
    output: int


@dataclass(frozen=True)
class XnnGraph:
    nodes: tuple[XnnNode, ...]
    values: dict[int, XnnValue]

    def macs(self, node: XnnNode) -> int:
        """Multiply-accumulates of a node of `WEIGHTED`, else 0."""
        if node.kind not in WEIGHTED:
            return 0

        shapes = [self.values[k].shape for k in node.inputs]
        output = self.values[node.output].shape
        if node.kind == "BatchMatrixMultiply":
            return _macs.matmul(shapes[0], output)
        if node.kind == "ScaledDotProductAttention":  # two products: of (..., queries, depth), (..., keys, depth)
            return 2 * prod(shapes[0]) * shapes[1][-2]
        if node.kind == "ConvTranspose2d":  # filter (outputs, height, width, inputs of a group)
            return prod(shapes[0]) // max(shapes[0][-1], 1) * prod(shapes[1])

        return _macs.convolution(output, prod(shapes[1]) // max(output[-1], 1))

    def integer(self, node: XnnNode) -> bool:
        """Whether a node reads and writes stored integers."""
        ends = [self.values[node.inputs[0]], self.values[node.output]]
        return all(value.dtype in _macs.INTEGER for value in ends)

    def weights(self, prefix: str) -> list[WeightTensor]:
        """Every constant of int8 of more than one element: OHWI, 1HWO (depthwise), (out, in)."""
        return [
            WeightTensor(f"{prefix}{k}", np.frombuffer(v.data, v.dtype).reshape(v.shape), v.scale, v.axis)
            for k, v in self.values.items()
            if v.data is not None and v.scale is not None and v.dtype == "int8" and prod(v.shape) > 1
        ]

    def grids(self, prefix: str) -> list[Grid]:
        """The grid of every quantized value that is no constant."""
        return [
            Grid(f"{prefix}{k}", float(value.scale[0]), value.zero_point)
            for k, value in self.values.items()
            if value.data is None and value.scale is not None and value.scale.size == 1
        ]


def read(compiled: memoryview, named: Mapping[str, memoryview]) -> XnnGraph:
    """The graph of a delegate, whose constants lie behind it or are `named`; raises `ValueError`,
    `IndexError` or `KeyError` where it is broken."""
    flat, inner = compiled, memoryview(b"")
    if bytes(compiled[4:8]) == b"XH00":
        start, size = integer_at(compiled, 10, "I"), integer_at(compiled, 14, "I")
        flat, inner = compiled[start : start + size], compiled[integer_at(compiled, 18, "I") :]
    if bytes(flat[4:8]) != b"XN01":
        raise ValueError("a delegate does not begin as a graph of XNNPACK")

    graph = Table(flat, integer_at(flat, 0, "I"))
    constants = [_constant(place, inner, named) for place in graph.tables(8)]
    values = dict(_value(entry, constants) for entry in graph.tables(2))
    nodes = tuple(_node(entry) for entry in graph.tables(1))

    for node in nodes:
        if any(k not in values for k in (*node.inputs, node.output)):
            raise ValueError(f"a {node.kind} names a value that does not exist")

    read_graph = XnnGraph(nodes, values)
    for node in nodes:
        read_graph.macs(node)  # an `IndexError` where a layer has no filter, or values without axes

    return read_graph


def _constant(place: Table, inner: memoryview, named: Mapping[str, memoryview]) -> memoryview:
    key, offset, size = place.text(2), place.number(0, "Q"), place.number(1, "Q")
    data = named[key] if key else inner[offset:]
    if size > len(data):
        raise ValueError("cut short inside a constant")
    return data[:size]


def _value(entry: Table, constants: list[memoryview]) -> tuple[int, XnnValue]:
    inner, grid_kind, grid = entry.table(1), 0, None
    if inner is not None and entry.number(0, "B") == 2:  # XNNQuantizedTensorValue
        grid_kind, grid = inner.number(1, "B"), inner.table(2)
        inner = inner.table(0)
    if inner is None:
        raise ValueError("a value is empty")

    kind, shape = inner.number(0, "h"), tuple(int(side) for side in inner.vector(2, "u4"))
    dtype, buffer = _STORED.get(kind, ""), inner.number(3, "I")
    data = constants[buffer] if buffer and dtype else None
    if data is not None and len(data) != prod(shape) * np.dtype(dtype).itemsize:
        raise ValueError(f"a constant holds {len(data)} bytes for the shape {shape}")

    scale, zero, axis = None, 0, 0
    if grid is not None and grid_kind == _PER_CHANNEL:
        buffer = grid.number(2, "I")
        scale = np.frombuffer(constants[buffer], "<f4") if buffer else grid.vector(0, "f4")
        axis = grid.number(1, "i")
    elif grid is not None and grid_kind == _PER_TENSOR and kind in _QUANTIZED:
        scale, zero = np.array([grid.real(0)], np.float32), grid.number(1, "i")

    outside = inner.number(4, "I")
    external = outside if outside != _NONE and inner.number(5, "I") & _EXTERNAL else None
    return inner.number(6, "I"), XnnValue(dtype, shape, data, scale, zero, axis, external)


def _node(entry: Table) -> XnnNode:
    number, fields = entry.number(0, "B"), entry.table(1)
    if not 1 <= number <= len(_NODES) or fields is None:
        raise ValueError(f"a node is of the unknown kind {number}")

    kind, layout = _NODES[number - 1].split(":")
    inputs, output = _LAYOUTS[layout]
    if layout == "concatenate":
        inputs = inputs[: int(kind[-1])]

    read_values = (fields.number(k, "I") for k in inputs)
    return XnnNode(kind, tuple(k for k in read_values if k != _NONE), fields.number(output, "I"))
