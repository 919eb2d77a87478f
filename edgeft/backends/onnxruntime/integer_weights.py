"""Integer weights of an ONNX file, read without any ONNX package or runtime."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...config import numeric
from .. import Grid, WeightTensor
from ..base_session import existing
from . import wire as _onnx_wire
from .groups import weights_in_groups
from .narrow_floats import narrow_weights

#: op -> positions of (integer weights, scale, zero point), in graphs that hold no Q/DQ pairs.
_OPERATOR_FORM = {
    "QLinearConv": (3, 4, 5), "QLinearMatMul": (3, 4, 5), "QGemm": (3, 4, 5),
    "DynamicQuantizeMatMul": (1, 2, 3), "MatMulIntegerToFloat": (1, 3, 5),
}  # fmt: skip


def integer_weights(path: Path) -> list[WeightTensor]:
    """Every constant of quantized weights (more than one element) that a DequantizeLinear or an integer op takes, and
    every table of integers whose rows are looked up and scaled; and every constant of narrow floats that a Cast takes.

    One entry a scale: layers whose integers are equal may share a constant and differ in their scales. Raises
    `BundleError` for a broken file or external data outside its folder.
    """
    model = _onnx_wire.read(existing(path))
    constants = model.tensors()
    weights: dict[tuple[str, str], WeightTensor] = {}

    for node in model.nodes():
        where = (0, 1, 2) if node.op == "DequantizeLinear" else _OPERATOR_FORM.get(node.op)
        if where is None or len(node.inputs) <= where[1]:
            continue

        names = [node.inputs[i] if i < len(node.inputs) else "" for i in where]
        weight, scale, zero = (constants.get(n) for n in names)
        if (
            weight is None
            or scale is None
            or weight.dtype not in numeric.STORED_WEIGHTS
            or (names[0], names[1]) in weights
        ):
            continue

        data = model.array(weight)
        if data.size < 2:
            continue

        zeros = model.array(zero).astype(np.int32).reshape(-1) if zero is not None else None
        weights[names[0], names[1]] = WeightTensor(
            name=names[0],
            data=data,
            scale=model.array(scale).astype(np.float32).reshape(-1),
            axis=_axis(node, data.ndim),
            zero_point=zeros if zeros is not None and zeros.any() else None,
        )

    for table, scale in _tables(model, constants):
        if (table.name, scale.name) not in weights:
            values = model.array(scale).astype(np.float32).reshape(-1)
            weights[table.name, scale.name] = WeightTensor(table.name, model.array(table), values)

    narrow = narrow_weights(model, constants, numeric.STORED_FLOATS)
    return [*weights.values(), *weights_in_groups(model, constants), *narrow]


def _tables(
    model: _onnx_wire.OnnxModel, constants: dict[str, _onnx_wire.OnnxTensor]
) -> Iterator[tuple[_onnx_wire.OnnxTensor, _onnx_wire.OnnxTensor]]:
    """(table, scales) of each Gather in a constant of integers -> Cast -> Mul with a constant or a Gather in one."""
    made_by = {output: node for node in model.nodes() for output in node.outputs}
    readers = defaultdict(list)
    for node in model.nodes():
        for name in node.inputs:
            readers[name].append(node)

    for gather in made_by.values():
        table = constants.get(gather.inputs[0]) if gather.op == "Gather" and gather.inputs else None
        if table is None or table.dtype not in numeric.STORED_WEIGHTS or len(table.dims) < 2:
            continue

        for cast in readers[gather.outputs[0]]:
            for mul in readers[cast.outputs[0]] if cast.op == "Cast" else ():
                for operand in mul.inputs if mul.op == "Mul" else ():
                    lookup = made_by.get(operand)
                    source = lookup.inputs[0] if lookup is not None and lookup.op == "Gather" else operand
                    if (scale := constants.get(source)) is not None:
                        yield table, scale


def activation_grids(path: Path) -> list[Grid]:
    """Of every tensor that a QuantizeLinear or DequantizeLinear with constant parameters takes; weights are none."""
    model = _onnx_wire.read(existing(path))
    constants = model.tensors()
    grids = []

    for node in model.nodes():
        if node.op not in ("QuantizeLinear", "DequantizeLinear") or node.inputs[0] in constants:
            continue

        named = node.inputs[2] if len(node.inputs) > 2 else ""
        scale, zero = constants.get(node.inputs[1]), constants.get(named)
        if scale is None or (named and zero is None):
            continue  # computed while it runs, as dynamic quantization does

        values = model.array(scale).reshape(-1)
        if values.size == 1:
            point = int(model.array(zero).reshape(-1)[0]) if zero is not None else 0
            dtype = zero.dtype if zero is not None else "uint8"  # without a zero point it is uint8 0
            point = numeric.signed_zero_point(point, dtype)
            grids.append(Grid(node.inputs[0], float(values[0]), point, numeric.width(dtype)))

    return grids


def _axis(node: _onnx_wire.OnnxNode, rank: int) -> int:
    if node.op == "DequantizeLinear":
        axis = int(node.attributes.get("axis", 1))
        return axis + rank if axis < 0 else axis
    if node.op == "QGemm":
        return 0 if node.attributes.get("transB", 0) else 1

    return 0 if node.op == "QLinearConv" else rank - 1
