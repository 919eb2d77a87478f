"""Reading OpenVINO's graphs: dequantized constants of a stored model, kernels of a compiled one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from ...config import numeric
from .. import Grid, IntegerShare, WeightTensor, _macs
from ..flow import Flow, Step
from ..onnxruntime.groups import unpacked

FUSED = "Subgraph"
_PRODUCTS = ("MatMul", "ScaledDotProductAttention")
_NOT_RUN = {"Input", "Output", "Const"}
_MOVES = {
    "Reorder", "Reshape", "Transpose", "Convert", "Concatenation", "Split", "StridedSlice", "Slice", "Gather", "Pad",
    "Broadcast", "Tile", "ShapeOf", "MemoryInput", "MemoryOutput", "DepthToSpace", "SpaceToDepth", "Permute",
}  # fmt: skip
_RECURRENT = {"RNNSeq", "RNNCell"}
_SHORT = {"i8": "int8", "u8": "uint8", "i16": "int16", "u16": "uint16", "f32": "float32", "f16": "float16",
          "bf16": "bfloat16"}  # fmt: skip
#: of the integer types that a FakeQuantize may stand for
_LEVELS = frozenset(2 ** numeric.width(dtype) for dtype in numeric.STORED)


def constant_weights(model: Any) -> list[WeightTensor]:
    """Constant (integers) -> Convert -> [Subtract(zero point)] -> Multiply(scale), as converters write it.

    Between a table and its Convert stands the Gather of its rows; then their scales are gathered too.

    Constants of narrow floats have no scale: theirs is 1.

    One entry a Multiply: layers whose integers are equal may share a constant and differ in their scales.
    """
    return [weight for _, weight in _constant_weights(model.get_ordered_ops())]


def _constant_weights(ops: Sequence[Any]) -> Iterator[tuple[int, WeightTensor]]:
    """The weights among `ops`, each with the position of its constant."""
    for position, node in enumerate(ops):
        if node.get_type_name() != "Constant":
            continue
        if _name(node.get_output_element_type(0)) == "u4":
            yield from ((position, weight) for weight in _in_groups(node))
            continue
        dtype = _SHORT.get(_name(node.get_output_element_type(0)))
        if dtype not in (*numeric.STORED_WEIGHTS, *numeric.STORED_FLOATS):
            continue
        data = np.array(node.get_data())
        if data.size < 2:
            continue
        if dtype in numeric.STORED_FLOATS:
            yield position, WeightTensor(node.get_friendly_name(), data, np.ones(1, np.float32))
            continue
        for multiply, zero in _dequantizations(node):
            scale = _scale(multiply)
            if scale is None:
                continue
            wide = [i for i, d in enumerate(scale.shape) if d > 1]
            offset = data.ndim - scale.ndim
            zeros = None if zero is None else np.rint(zero).astype(np.int32).reshape(-1)
            yield (
                position,
                WeightTensor(
                    name=node.get_friendly_name(),
                    data=data,
                    scale=scale.astype(np.float32).reshape(-1),
                    axis=wide[0] + offset if wide else 0,
                    zero_point=zeros if zeros is not None and zeros.any() else None,
                ),
            )


def _in_groups(node: Any) -> Iterator[WeightTensor]:
    """A constant (rows, groups, values) of 4 bits -> Convert -> Subtract(zero point) -> Multiply(scale a group)."""
    shape = _shape(node.output(0))
    for multiply, zero in _dequantizations(node):
        scale = _scale(multiply)
        if scale is None or zero is None or zero.size != 1 or float(zero.reshape(-1)[0]) != 8 or len(shape) != 3:
            continue
        values = unpacked(np.array(node.get_data()).view(np.uint8).reshape(shape[0], -1), 4)
        yield WeightTensor(node.get_friendly_name(), values, scale.astype(np.float32).reshape(-1))


def activation_grids(model: Any) -> list[Grid]:
    """Of every FakeQuantize to as many levels as a type has integers: by its input range, and by the arithmetic that
    leads back to reals."""
    return [grid for _, grid in _activation_grids(model.get_ordered_ops())]


def _activation_grids(ops: Sequence[Any]) -> Iterator[tuple[int, Grid]]:
    """The grids among `ops`, each with the position of its FakeQuantize."""
    for position, node in enumerate(ops):
        levels = node.get_levels() if node.get_type_name() == "FakeQuantize" else 0
        half = levels // 2
        if levels not in _LEVELS:
            continue
        low, high, out_low, out_high = (_value(node.input_value(i).get_node()) for i in (1, 2, 3, 4))
        if low is None or high is None or out_low is None or out_high is None or low.size != 1 or high.size != 1:
            continue
        name, first, last = node.get_friendly_name(), float(low.reshape(-1)[0]), float(high.reshape(-1)[0])
        scale = (last - first) / (levels - 1)
        bits = (levels - 1).bit_length()
        yield position, Grid(name, scale, round(-first / scale) - half, bits)
        place = next(_dequantizations(node), None)
        factor = _scale(place[0]) if place else None
        bottom, top = float(out_low.reshape(-1)[0]), float(out_high.reshape(-1)[0])
        if place and factor is not None and factor.size == 1 and (bottom, top) in ((0, levels - 1), (-half, half - 1)):
            zero = 0.0 if place[1] is None else float(place[1].reshape(-1)[0])
            yield position, Grid(name, float(factor.reshape(-1)[0]), round(zero - bottom) - half, bits)


def _name(element_type: Any) -> str:
    return str(element_type.get_type_name())


def _users(node: Any) -> list[Any]:
    return [port.get_node() for port in node.output(0).get_target_inputs()]


def _dequantizations(node: Any, zero: np.ndarray | None = None) -> Iterator[tuple[Any, np.ndarray | None]]:
    """Every Multiply that scales a constant, with the zero point taken off before it."""
    for user in _users(node):
        kind = user.get_type_name()
        if kind == "Multiply":
            yield user, zero
        elif kind == "Subtract":
            yield from _dequantizations(user, _value(user.input_value(1).get_node()))
        elif kind == "Convert" or (kind == "Gather" and node.get_type_name() == "Constant"):
            yield from _dequantizations(user, zero)


def _scale(multiply: Any) -> np.ndarray | None:
    sources = [multiply.input_value(i).get_node() for i in (1, 0)]
    values = [_value(s.input_value(0).get_node() if s.get_type_name() == "Gather" else s) for s in sources]
    return next((v for v in values if v is not None), None)


def _value(node: Any) -> np.ndarray | None:
    """A constant's values, also behind the Convert that unpacks it and the Reshape that lets it broadcast."""
    shape: list[int] | None = None
    while node.get_type_name() in ("Convert", "Reshape"):
        if node.get_type_name() == "Reshape" and shape is None:
            shape = _shape(node.output(0))
        node = node.input_value(0).get_node()

    if node.get_type_name() != "Constant":
        return None

    values = np.array(node.get_data(), np.float32)
    return values if shape is None else values.reshape(shape)


def share(executed: Any, model: Any) -> IntegerShare:
    """`executed`: the runtime model of a compiled one; `model`: the same before compiling, with the same shapes."""
    tally = _macs.Tally()
    stored = {n.get_friendly_name(): n for n in model.get_ordered_ops()}
    ran = [n for n in executed.get_ordered_ops() if _layer(n) not in _NOT_RUN]
    fused = _fused(ran, stored)

    for node in ran:
        kind, precision = _layer(node), _text(node.get_rt_info(), "runtimePrecision")
        inputs = [_shape(p) for p in node.inputs()]
        first = _name(node.input(0).get_element_type()) if inputs else precision
        macs = _work(kind, inputs, [_shape(p) for p in node.outputs()])
        moves = kind in _MOVES
        if kind == FUSED:
            originals = fused[node.get_friendly_name()]
            macs = sum(_product(n) for n in originals)
            moves = bool(originals) and all(n.get_type_name() in ("FakeQuantize", "Convert") for n in originals)
        integer = _SHORT.get(precision, precision) in _macs.INTEGER and (not macs or first in ("i8", "u8"))
        dtype = _SHORT.get(precision, precision)
        if macs and not integer:
            dtype = dtype if dtype.startswith(("float", "bfloat")) else "float32"
        tally.add(kind, dtype, macs=macs, integer=integer, moves=moves)

    return tally.share()


def _layer(node: Any) -> str:
    return _text(node.get_rt_info(), "layerType") or str(node.get_type_name())


def _fused(ran: Sequence[Any], stored: dict[str, Any]) -> dict[str, list[Any]]:
    """The stored ops that each fused kernel computes (several elementwise ops, or attention with its two products).

    A kernel names its original layers but may leave out a product whose transposition was fused into it; such a
    product belongs to the kernel that computes its consumer.
    """
    names = {n.get_friendly_name(): _text(n.get_rt_info(), "originalLayersNames").split(",") for n in ran}
    covered = {name for some in names.values() for name in some}
    kernels = [n.get_friendly_name() for n in ran if _layer(n) == FUSED]
    fused = {k: [stored[name] for name in names[k] if name in stored] for k in kernels}

    for name, node in stored.items():
        if node.get_type_name() in _PRODUCTS and name not in covered:
            users = {user.get_friendly_name() for user in _users(node)}
            owner = next((k for k in kernels if users & set(names[k])), None)
            if owner is not None:
                fused[owner].append(node)

    return fused


def _text(info: Any, key: str) -> str:
    if key not in info:
        return ""
    value = info[key]
    return str(value.astype(str)) if hasattr(value, "astype") else str(value)


def _shape(port: Any) -> list[int]:
    return [d.get_length() if d.is_static else 1 for d in port.get_partial_shape()]


def _product(node: Any) -> int:
    """Multiply-accumulates of a stored matrix product; 0 for any other op."""
    if node.get_type_name() not in _PRODUCTS:
        return 0
    return _work(node.get_type_name(), [_shape(p) for p in node.inputs()], [_shape(p) for p in node.outputs()])


def _work(kind: str, inputs: Sequence[list[int]], outputs: Sequence[list[int]]) -> int:
    if kind in ("Convolution", "Deconvolution") and len(inputs) > 1:
        weights = inputs[1]  # (out, in, ...) or (groups, out, in, ...); a transposed one has in and out the other way
        grouped = len(weights) > len(outputs[0])
        over = outputs[0] if kind == "Convolution" else inputs[0]
        return _macs.convolution(over, prod(weights[2 if grouped else 1 :]))

    if kind == "FullyConnected" and inputs:
        return prod(outputs[0]) * inputs[0][-1]
    if kind == "MatMul" and inputs:
        return _macs.matmul(inputs[0], outputs[0])
    if kind == "ScaledDotProductAttention" and len(inputs) > 2:  # (..., L, E), (..., S, E), (..., S, V)
        return (prod(inputs[0]) + prod(outputs[0])) * inputs[1][-2]
    if kind in _RECURRENT:
        return _macs.recurrent(inputs[0], inputs[-3:-1])  # the last three are weights, recurrent weights, biases

    return 0


#: stored op -> the kernel whose work it is
_KERNELS = {
    "Convolution": "Convolution", "GroupConvolution": "Convolution", "ConvolutionBackpropData": "Deconvolution",
    "GroupConvolutionBackpropData": "Deconvolution", "MatMul": "MatMul",
    "ScaledDotProductAttention": "ScaledDotProductAttention",
}  # fmt: skip
_OTHER_PRODUCTS = {
    "LSTMCell", "LSTMSequence", "GRUCell", "GRUSequence", "RNNCell", "RNNSequence", "AUGRUCell", "AUGRUSequence",
    "BinaryConvolution", "DeformableConvolution", "Einsum", "If", "Loop", "TensorIterator", "DFT", "RDFT", "IDFT",
    "IRDFT", "STFT", "EmbeddingBagOffsets", "EmbeddingBagPacked", "EmbeddingBagOffsetsSum", "EmbeddingBagPackedSum",
    "EmbeddingSegmentsSum",
}  # fmt: skip
_LOOK_UPS = {"Gather", "GatherND", "GatherElements"}


def flow(model: Any) -> Flow:
    """The model as it is stored; a tensor is called by the positions of its op and of the op's output."""
    ops = model.get_ordered_ops()
    number = {node.get_name(): k for k, node in enumerate(ops)}  # unlike the name in the file, unique

    def key(port: Any) -> str:
        return f"{number[port.get_node().get_name()]}:{port.get_index()}"

    steps = []
    for node in ops:
        kind = node.get_type_name()
        if kind in ("Parameter", "Constant", "Result"):
            continue
        inputs, outputs = node.inputs(), node.outputs()
        macs = (
            _work(_KERNELS[kind], *([_shape(p) for p in side] for side in (inputs, outputs))) if kind in _KERNELS else 0
        )
        reads = tuple(key(port.get_source_output()) for port in inputs)
        steps.append(
            Step(
                kind,
                node.get_friendly_name(),
                reads,
                tuple(key(port) for port in outputs),
                products=kind in _KERNELS or kind in _OTHER_PRODUCTS,
                looks_up=kind in _LOOK_UPS,
                macs=macs,
            )
        )

    return Flow(
        tuple(steps),
        inputs=tuple(f"{k}:0" for k, node in enumerate(ops) if node.get_type_name() == "Parameter"),
        outputs=tuple(key(port.get_node().input(0).get_source_output()) for port in model.outputs),
        constants=frozenset(f"{k}:0" for k, node in enumerate(ops) if node.get_type_name() == "Constant"),
        weights=tuple((f"{k}:0", weight) for k, weight in _constant_weights(ops)),
        grids=tuple((f"{k}:0", grid) for k, grid in _activation_grids(ops)),
    )
