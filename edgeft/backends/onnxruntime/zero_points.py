"""Zero points written out: ONNX lets a node leave out one that is 0, but compilers of boards index it all the same."""

from __future__ import annotations

import numpy as np
import onnx

from .index import Index, attributes


def explicit_zero_points(model: onnx.ModelProto) -> int:
    """QuantizeLinear and DequantizeLinear without a zero point get zeros of the scale's shape and the integers' type.

    Rockchip's compiler fails on two inputs (`fold_constant: list index out of range`). Each node has a constant of its
    own. A node whose scale is computed keeps its form, since the shape is unknown. Returns how many nodes changed.
    """
    index, types, count = Index(model), _element_types(model), 0
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or any(node.input[2:3]):
            continue

        scale = index.value(node.input[1])
        stored = _stored_type(node, types)
        if scale is None or stored is None:
            continue

        zeros = np.zeros(scale.shape, onnx.helper.tensor_dtype_to_np_dtype(stored))
        del node.input[2:]
        node.input.append(index.constant(f"{node.output[0]}_zero_point", zeros))
        count += 1

    return count


def _stored_type(node: onnx.NodeProto, types: dict[str, int]) -> int | None:
    """The TensorProto type of the integers; QuantizeLinear writes uint8 unless `output_dtype` names another."""
    if node.op_type == "DequantizeLinear":
        return types.get(node.input[0])
    return int(attributes(node).get("output_dtype", 0)) or onnx.TensorProto.UINT8


def _element_types(model: onnx.ModelProto) -> dict[str, int]:
    """TensorProto type of every tensor that shape inference knows."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    constants = {tensor.name: tensor.data_type for tensor in graph.initializer}
    typed = [*graph.input, *graph.value_info, *graph.output]
    return constants | {info.name: info.type.tensor_type.elem_type for info in typed}
