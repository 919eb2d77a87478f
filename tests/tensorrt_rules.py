"""What TensorRT's reader of ONNX takes, as rules over a file: `broken` lists what a model has against them.

From `docs/operators.md` and `onnxOpImporters.cpp` of onnx-tensorrt, release 10.1 GA (TensorRT 10.1).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto
from onnx import numpy_helper as nh

#: operators in the reader's table that edgeft's exporters may write, and what they are computed in
FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16}
WHOLE = {TensorProto.INT32, TensorProto.INT64}
TRUTH = {TensorProto.BOOL}
ARITHMETIC = FLOATS | WHOLE
MOVES = ARITHMETIC | TRUTH
TYPES = {
    **dict.fromkeys(
        [
            "AveragePool",
            "BatchNormalization",
            "Ceil",
            "Clip",
            "Conv",
            "ConvTranspose",
            "Cos",
            "Elu",
            "Erf",
            "Exp",
            "Floor",
            "Gemm",
            "GlobalAveragePool",
            "GlobalMaxPool",
            "HardSigmoid",
            "HardSwish",
            "InstanceNormalization",
            "LayerNormalization",
            "LeakyRelu",
            "Log",
            "LogSoftmax",
            "LpNormalization",
            "LSTM",
            "GRU",
            "MatMul",
            "MaxPool",
            "Mish",
            "PRelu",
            "Reciprocal",
            "Resize",
            "Round",
            "Selu",
            "Sigmoid",
            "Sin",
            "Softmax",
            "Softplus",
            "Softsign",
            "Sqrt",
            "Tanh",
        ],
        FLOATS,
    ),
    **dict.fromkeys(
        [
            "Abs",
            "Add",
            "ArgMax",
            "ArgMin",
            "CumSum",
            "DepthToSpace",
            "Div",
            "Max",
            "Mean",
            "Min",
            "Mod",
            "Mul",
            "Neg",
            "Pad",
            "Pow",
            "Range",
            "ReduceL1",
            "ReduceL2",
            "ReduceMax",
            "ReduceMean",
            "ReduceMin",
            "ReduceProd",
            "ReduceSum",
            "Relu",
            "ScatterElements",
            "ScatterND",
            "Sign",
            "SpaceToDepth",
            "Sub",
            "Sum",
            "TopK",
        ],
        ARITHMETIC,
    ),
    **dict.fromkeys(
        [
            "Cast",
            "Concat",
            "Constant",
            "ConstantOfShape",
            "Equal",
            "Expand",
            "Flatten",
            "Gather",
            "GatherElements",
            "GatherND",
            "Greater",
            "GreaterOrEqual",
            "Identity",
            "Less",
            "LessOrEqual",
            "Reshape",
            "Shape",
            "Slice",
            "Split",
            "Squeeze",
            "Tile",
            "Transpose",
            "Unsqueeze",
            "Where",
        ],
        MOVES,
    ),
    **dict.fromkeys(("And", "Not", "Or", "Xor"), TRUTH),
}  # fmt: skip
#: inputs that have to be initializers, by position
CONSTANT = {
    **dict.fromkeys(("ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"), 1),
    **dict.fromkeys(("Squeeze", "Unsqueeze", "CumSum"), 1),
    "Pad": 3,
    "Slice": 3,
}
RESIZE = {
    "coordinate_transformation_mode": {
        b"half_pixel", b"pytorch_half_pixel", b"tf_half_pixel_for_nn", b"asymmetric", b"align_corners"
    },
    "mode": {b"nearest", b"linear"},
    "nearest_mode": {b"floor", b"ceil", b"round_prefer_floor", b"round_prefer_ceil"},
    "keep_aspect_ratio_policy": {b"stretch"},
    "antialias": {0},
}  # fmt: skip


def broken(model: onnx.ModelProto) -> list[str]:
    """One line for each rule that a node of the model breaks; [] for a model that TensorRT's reader takes."""
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    graph = model.graph
    constants = {i.name: nh.to_array(i) for i in graph.initializer}
    constants |= {n.output[0]: nh.to_array(n.attribute[0].t) for n in graph.node if n.op_type == "Constant"}
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
    types |= {i.name: i.data_type for i in graph.initializer}
    ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in (*graph.value_info, *graph.input, *graph.output)}

    lines = [f"opset of {entry.domain}" for entry in model.opset_import if entry.domain]
    (opset,) = [entry.version for entry in model.opset_import if not entry.domain]
    lines += [] if 9 <= opset <= 20 else [f"opset {opset}"]
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            lines += [f"{node.op_type} {node.name}: {why}" for why in _grid(node, constants, types, ranks)]
        else:
            lines += [f"{node.op_type} {node.name}: {why}" for why in _operator(node, constants, types)]

    return lines


def _grid(
    node: onnx.NodeProto, constants: dict[str, np.ndarray], types: dict[str, int], ranks: dict[str, int]
) -> Iterator[str]:
    """A quantization: symmetric in int8, scales known when the engine is built, a scale a channel for weights alone."""
    if len(node.input) < 3 or not {*node.input[1:3]} <= constants.keys():
        yield "scale and zero point are no constants"
        return

    scale, zero = (constants[name] for name in node.input[1:3])
    if scale.dtype not in (np.float32, np.float16) or not (scale > 0).all():
        yield "a scale is not positive"
    if zero.dtype != np.int8 or zero.any():
        yield f"the zero point is {zero.dtype} and not 0 in int8"
    if scale.size != zero.size:
        yield "scale and zero point differ in size"

    allowed = FLOATS if node.op_type == "QuantizeLinear" else {TensorProto.INT8}
    if types.get(node.input[0]) not in allowed:
        yield f"reads {TensorProto.DataType.Name(types.get(node.input[0], 0))}"
    if scale.size == 1:
        return

    weights = constants.get(node.input[0])
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    if weights is None:
        yield "an activation has a scale a channel"
    elif scale.ndim != 1 or weights.shape[axis] != scale.size:
        yield f"{scale.size} scales along axis {axis} of {weights.shape}"


def _operator(node: onnx.NodeProto, constants: dict[str, np.ndarray], types: dict[str, int]) -> Iterator[str]:
    if node.op_type not in TYPES:
        yield "no such operator"
        return

    # Types of what is computed; sizes, positions and conditions stand beside it in types of their own.
    computed = node.output[0] if node.op_type in ("Where", "Cast", "Shape", "ConstantOfShape") else node.input[0]
    if node.op_type != "Constant" and types.get(computed) not in TYPES[node.op_type]:
        yield f"computes in {TensorProto.DataType.Name(types.get(computed, 0))}"
    place = CONSTANT.get(node.op_type)
    if place is not None and len(node.input) > place and node.input[place] and node.input[place] not in constants:
        yield f"input {place} is no constant"

    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type in ("AveragePool", "MaxPool") and any(d != 1 for d in attributes.get("dilations", ())):
        yield "dilated pooling"
    if node.op_type in ("MaxPool", "LayerNormalization") and len([name for name in node.output if name]) > 1:
        yield "more than one output"
    if node.op_type == "TopK" and attributes.get("sorted", 1) != 1:
        yield "an order is not asked for"
    if node.op_type == "ScatterND" and attributes.get("reduction", b"none") != b"none":
        yield "a reduction"
    if node.op_type == "Resize":
        yield from (f"{key} is {attributes[key]}" for key in RESIZE if attributes.get(key) not in {None, *RESIZE[key]})
