"""Every quantized op between a DequantizeLinear and a QuantizeLinear of its own, as compilers of accelerators read it.

ONNX Runtime runs Pad, Clip, Squeeze and other ops on stored integers. A compiler that recognizes a quantized op by the
pattern DequantizeLinear -> op -> QuantizeLinear (QNN's node units, RKNN-Toolkit2) takes an op on integers for one of
another type and refuses it. The passes keep every value: they only move where it is written.
"""

from __future__ import annotations

import numpy as np
import onnx

from .index import Index, attributes, drop_attributes, insert_before
from .passes import drop_dead_nodes, drop_unused_initializers

#: op -> positions of inputs that are values on the grid of its first input
_ON_GRID = {"Pad": (2,), "Clip": (1, 2), "Concat": None}
_LINEAR = ("QuantizeLinear", "DequantizeLinear")


def between_units(model: onnx.ModelProto) -> int:
    """op on integers -> DequantizeLinear -> op -> QuantizeLinear, with the grid of the tensor that it reads.

    Constants of the op that are values (the fill of a Pad, the limits of a Clip) become real values. Returns how many
    ops were rewritten.
    """
    index, count = Index(model), 0
    grid_of = {node.output[0]: node for node in model.graph.node if node.op_type == "QuantizeLinear"}
    for node in list(model.graph.node):
        source = grid_of.get(node.input[0]) if node.input else None
        if source is None or node.op_type in _LINEAR:
            continue

        _values_in_float(index, node, source)
        data = len(node.input) if node.op_type == "Concat" else 1
        for k in range(data):
            real = f"{node.output[0]}_input{k}"
            dq = onnx.helper.make_node(
                "DequantizeLinear", [node.input[k], *source.input[1:]], [real], name=f"{real}_dq"
            )
            insert_before(model.graph, node, dq)
            node.input[k] = real

        for k, stored in enumerate(list(node.output)):
            node.output[k] = f"{stored}_real"
            again = onnx.helper.make_node(
                "QuantizeLinear", [node.output[k], *source.input[1:]], [stored], name=f"{stored}_q"
            )
            model.graph.node.insert(list(model.graph.node).index(node) + 1 + k, again)
            grid_of[stored] = again
        count += 1

    return count


def _values_in_float(index: Index, node: onnx.NodeProto, source: onnx.NodeProto) -> None:
    """Constant inputs that hold stored integers become the real values that they stand for."""
    scale, zero = index.value(source.input[1]), index.value(source.input[2])
    assert scale is not None and zero is not None  # a grid that is computed is never on integers here

    for k in _ON_GRID.get(node.op_type) or ():
        value = index.value(node.input[k]) if len(node.input) > k and node.input[k] else None
        if value is not None:
            real = (value.astype(np.float32) - zero.astype(np.float32)) * scale.astype(np.float32)
            node.input[k] = index.constant(f"{node.output[0]}_value{k}", real.astype(np.float32))


def fold_pads(model: onnx.ModelProto) -> int:
    """DequantizeLinear -> Pad with zeros -> QuantizeLinear, read by convolutions alone: the padding of these.

    A convolution pads with real zero, which is what the Pad writes. Returns how many were folded.
    """
    index, count = Index(model), 0
    for pad in [node for node in model.graph.node if node.op_type == "Pad"]:
        before, after = index.made_by(pad.input[0], "DequantizeLinear"), index.only_consumer(pad.output[0])
        amounts = _spatial_zeros(index, pad)
        if before is None or after is None or after.op_type != "QuantizeLinear" or amounts is None:
            continue

        readers = index.consumers[after.output[0]]
        convolutions = [user for reader in readers for user in index.consumers[reader.output[0]]]
        plain = all(
            reader.op_type == "DequantizeLinear" and reader.output[0] not in index.outputs for reader in readers
        )
        if not plain or not all(map(_pads_with_zeros, convolutions)) or after.output[0] in index.outputs:
            continue

        for convolution in convolutions:
            pads = list(attributes(convolution).get("pads") or [0] * len(amounts))
            drop_attributes(convolution, "pads", "auto_pad")
            pads = [first + second for first, second in zip(pads, amounts)]
            convolution.attribute.append(onnx.helper.make_attribute("pads", pads))

        for reader in readers:
            reader.input[0] = before.input[0]
        count += 1

    drop_dead_nodes(model)
    drop_unused_initializers(model)
    return count


def _spatial_zeros(index: Index, pad: onnx.NodeProto) -> list[int] | None:
    """The padding of the spatial axes; None where the Pad does anything else."""
    amounts = index.value(pad.input[1])
    fill = index.value(pad.input[2]) if len(pad.input) > 2 and pad.input[2] else np.zeros(())
    mode = attributes(pad).get("mode", b"constant")
    if amounts is None or fill is None or fill.any() or mode != b"constant" or any(pad.input[3:]):
        return None

    half = len(amounts) // 2
    other = [*amounts[:2], *amounts[half : half + 2]]
    if any(other) or (amounts < 0).any():
        return None

    return [int(amount) for amount in (*amounts[2:half], *amounts[half + 2 :])]


def _pads_with_zeros(node: onnx.NodeProto) -> bool:
    return bool(node.op_type == "Conv" and attributes(node).get("auto_pad", b"NOTSET") == b"NOTSET")
