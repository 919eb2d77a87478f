"""Weights with a scale for each group of values: MatMulNBits, an op of ONNX Runtime's own that OpenVINO reads too.

It holds (rows, groups, bytes) of unsigned integers whose zero point is half their range, several in a byte, the first
in the lowest bits, and one float32 scale a group (ContribOperators.md of ONNX Runtime).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import BundleError, ModelError
from .. import WeightTensor
from . import wire

if TYPE_CHECKING:
    import onnx

    from ..artifact import WeightInGroups

OP, DOMAIN = "MatMulNBits", "com.microsoft"
#: sums in float32; the default of some CPUs rounds the activations to 8 bits
_IN_FLOAT = 1


def packed(integers: np.ndarray, bits: int, group: int) -> np.ndarray:
    """int8 (rows, columns) as uint8 (rows, groups, group * bits / 8), two to a byte where they have 4 bits."""
    stored: np.ndarray = (integers.astype(np.int16) + 2 ** (bits - 1)).astype(np.uint8)
    stored = stored.reshape(len(integers), -1, group)
    return stored[..., 0::2] | (stored[..., 1::2] << 4) if bits == 4 else stored


def unpacked(stored: np.ndarray, bits: int) -> np.ndarray:
    """int8 (rows, columns) of bytes (rows, groups, bytes a group)."""
    values: np.ndarray = np.stack([stored & 15, stored >> 4], axis=-1) if bits == 4 else stored
    integers: np.ndarray = (values.astype(np.int16) - 2 ** (bits - 1)).astype(np.int8)
    return integers.reshape(len(stored), -1)


def store_in_groups(model: onnx.ModelProto, weights: Mapping[str, WeightInGroups]) -> int:
    """Every product with one of `weights`, whose float values the model holds, becomes a MatMulNBits; returns how many.

    Raises `ModelError` for a weight that no product of the model reads as it is.
    """
    from onnx import helper

    from .index import Index
    from .passes import drop_unused_initializers

    index, count = Index(model), 0
    for name, weight in weights.items():
        nodes = _products(index, weight)
        if not nodes:
            raise ModelError(
                "the translation changed this weight, so that its integers cannot be stored",
                where=f"weight {name}",
                remedy='keep the layer that holds it in float (quantize.keep_float = ["<layer pattern>"])',
            )

        bits, group = weight.numeric.bits, weight.numeric.group
        stored = index.constant(f"{name}_integers", packed(weight.integers, bits, group))
        scales = index.constant(f"{name}_scales", weight.scale.reshape(len(weight.integers), -1))
        rows, columns = weight.integers.shape
        for node in nodes:
            bias = node.input[2] if len(node.input) > 2 else ""
            result = f"{node.output[0]}_product" if bias else node.output[0]
            product = helper.make_node(
                OP, [node.input[0], stored, scales], [result], name=f"{node.output[0]}_in_groups", domain=DOMAIN,
                K=columns, N=rows, bits=bits, block_size=group, accuracy_level=_IN_FLOAT,
            )  # fmt: skip
            place = list(model.graph.node).index(node)
            if bias:
                total = helper.make_node("Add", [result, bias], [node.output[0]], name=node.name)
                model.graph.node.insert(place, total)
            model.graph.node.insert(place, product)
            model.graph.node.remove(node)
            count += 1

    if count and not any(entry.domain == DOMAIN for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))

    drop_unused_initializers(model)
    return count


def _products(index: object, weight: WeightInGroups) -> list[onnx.NodeProto]:
    """The products x * weight^T, as MatMul with the transposed constant or as Gemm, with a bias or without one."""
    from .index import Index, attributes

    assert isinstance(index, Index)
    rows, columns = weight.integers.shape
    integers = weight.integers.reshape(rows, -1, weight.numeric.group).astype(np.float32)
    straight = (integers * weight.scale.astype(np.float32).reshape(rows, -1, 1)).reshape(rows, columns)
    nodes = []

    for name, tensor in list(index.initializer.items()):
        if sorted(tensor.dims) != sorted((rows, columns)):
            continue
        constant = index.value(name)
        for node in index.consumers[name]:
            if len(node.input) < 2 or node.input[1] != name or constant is None:
                continue
            known = attributes(node)
            plain = known.get("alpha", 1.0) == known.get("beta", 1.0) == 1.0 and not known.get("transA")
            held = constant.T if node.op_type == "MatMul" or not known.get("transB") else constant
            if node.op_type in ("MatMul", "Gemm") and plain and np.array_equal(held, straight):
                nodes.append(node)

    return nodes


def weights_in_groups(model: wire.OnnxModel, constants: Mapping[str, wire.OnnxTensor]) -> Iterator[WeightTensor]:
    """The weight of every MatMulNBits with constant integers and scales, without its zero point. Raises `BundleError`
    where sizes do not fit."""
    for node in model.nodes():
        if node.op != OP or len(node.inputs) < 3 or any(node.inputs[3:4]):
            continue
        stored, scale = constants.get(node.inputs[1]), constants.get(node.inputs[2])
        bits = int(node.attributes.get("bits", 4))
        if stored is None or scale is None or bits not in (4, 8):
            continue

        data = model.array(stored)
        rows, columns = int(node.attributes.get("N", 0)), int(node.attributes.get("K", 0))
        if data.dtype != np.uint8 or not data.size or data.size * 8 != rows * columns * bits:
            raise BundleError(f"the integers of {node.inputs[1]!r} do not fit {rows} x {columns} values", where=OP)
        values = unpacked(data.reshape(rows, -1), bits)
        yield WeightTensor(stored.name, values, model.array(scale).astype(np.float32).reshape(-1))
