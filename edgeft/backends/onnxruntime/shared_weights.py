"""Weights that several layers share (ALBERT's), so that each layer finds them in the form that ONNX Runtime fuses."""

from __future__ import annotations

import onnx

from .index import Index, insert_before

_BETWEEN = ("Transpose", "Reshape")


def dequantize_for_each_layer(model: onnx.ModelProto) -> int:
    """A DequantizeLinear of a constant, and a Transpose or Reshape behind it, get a copy for every reader.

    The constant stays the one that it is. ONNX Runtime makes an integer kernel of a layer whose weight's
    DequantizeLinear has no other reader; else it computes the layer in float. Returns the number of copies.
    """
    index, count = Index(model), 0
    for node in reversed(list(model.graph.node)):  # what stands behind is copied first, and is one more reader then
        if not _of_a_weight(index, node):
            continue

        name = node.output[0]
        for number, reader in enumerate(index.consumers[name][1:], 1):
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name, copy.output[0] = f"{node.name or name}_{number}", f"{name}_{number}"
            copied = insert_before(model.graph, node, copy)
            for position, read in enumerate(reader.input):
                if read == name:
                    reader.input[position] = copied.output[0]
            for read in copied.input:
                index.consumers[read].append(copied)
            index.producer[copied.output[0]] = copied
            count += 1

    return count


def _of_a_weight(index: Index, node: onnx.NodeProto) -> bool:
    """Whether the node dequantizes a constant of several numbers, or lays out anew what such a node gives."""
    if node.output and node.output[0] in index.outputs:
        return False
    if node.op_type == "DequantizeLinear":
        weight = index.initializer.get(node.input[0])
        return weight is not None and len(weight.dims) > 1
    source = index.producer.get(node.input[0]) if node.op_type in _BETWEEN else None
    return source is not None and _of_a_weight(index, source)
