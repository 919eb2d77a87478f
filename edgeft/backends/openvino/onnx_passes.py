"""Rewrites of the ONNX form of a quantized graph before OpenVINO reads it; none changes what the graph computes."""

from __future__ import annotations

import numpy as np
import onnx

from ...config import numeric
from ..onnxruntime.index import Index, attributes, drop_attributes, ranks

_ELEMENTWISE = ("Mul", "Add", "Sub", "Div")
_REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")


def constants_in_float(model: onnx.ModelProto) -> int:
    """Store the constant of a product or sum (a layer scale, the bias of a norm) as the floats that its integers stand
    for.

    Where both sides are dequantized, OpenVINO's low-precision passes look for the constant behind the wrong one and end
    the compilation (MultiplyPartialTransformation, AddTransformation: `index < m_inputs.size()`).
    """
    index, count = Index(model), 0
    for node in model.graph.node:
        for i, name in enumerate(node.input if node.op_type in _ELEMENTWISE else ()):
            floats = _dequantized(index, index.made_by(name, "DequantizeLinear"))
            if floats is not None:
                node.input[i] = index.constant(f"{name}_float", floats)
                count += 1

    return count


def _dequantized(index: Index, node: onnx.NodeProto | None) -> np.ndarray | None:
    """The floats that a DequantizeLinear makes of a constant on one grid, quantized in the graph or stored so."""
    if node is None or len(node.input) < 3:
        return None

    scale, zero = (index.value(name) for name in node.input[1:3])
    quantize = index.made_by(node.input[0], "QuantizeLinear")
    values = index.value(quantize.input[0] if quantize is not None else node.input[0])
    if scale is None or zero is None or values is None or scale.size != 1:
        return None

    if quantize is not None:
        bounds = np.iinfo(zero.dtype)
        values = np.clip(np.rint(values / scale) + zero, bounds.min, bounds.max)

    floats: np.ndarray = ((values.astype(np.int32) - zero.astype(np.int32)) * scale).astype(np.float32)
    return floats


def reductions_with_reshape(model: onnx.ModelProto) -> int:
    """Part a reduction to (batch, channels) from what follows, where the channels are the last axis.

    OpenVINO fuses a quantization behind it into the reduction. If channels have factors of their own (those of outlier
    channels), its kernel takes the first one for all of them. Behind a Reshape nothing is fused.
    """
    index, rank_of, count = Index(model), ranks(model), 0
    for node in list(model.graph.node):
        axes = index.value(node.input[1]) if node.op_type in _REDUCTIONS and len(node.input) > 1 else None
        rank = rank_of.get(node.input[0], 0) if node.input else 0
        if axes is None or rank < 3 or sorted(int(axis) % rank for axis in axes) != list(range(1, rank - 1)):
            continue

        shape = np.array([0, -1] if not attributes(node).get("keepdims", 1) else [0, *[1] * (rank - 2), -1], np.int64)
        reduced = f"{node.output[0]}_kept"
        reshape = onnx.helper.make_node(
            "Reshape",
            [reduced, index.constant(f"{reduced}_shape", shape)],
            [node.output[0]],
            name=f"{node.name or node.output[0]}_reshape",
        )
        node.output[0] = reduced
        drop_attributes(node, "keepdims")
        node.attribute.append(onnx.helper.make_attribute("keepdims", 1))
        model.graph.node.insert(list(model.graph.node).index(node) + 1, reshape)
        count += 1

    return count


def weights_without_zero_point(model: onnx.ModelProto) -> int:
    """Leave out zero points of int8 constants that are zero throughout, as the format allows.

    torch stores equal ones once, and where a convolution and a linear layer of as many channels share one, OpenVINO's
    low-precision passes recognize neither weight and run both layers in float.
    """
    index, count = Index(model), 0
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear" or len(node.input) < 3 or node.input[0] not in index.initializer:
            continue
        zero = index.value(node.input[2])
        if zero is not None and zero.dtype.name in numeric.STORED_WEIGHTS and not zero.any():
            del node.input[2:]
            count += 1

    return count
