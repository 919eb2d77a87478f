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
        for reader in index.consumers[name][1:]:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            # with a number alone it could be another weight's: torch numbers equal names
            copy.name = copy.output[0] = f"{name}_for_{reader.output[0]}"
            copied = insert_before(model.graph, node, copy)
            for position, read in enumerate(reader.input):
                if read == name:
                    reader.input[position] = copied.output[0]
            for read in copied.input:
                index.consumers[read].append(copied)
            index.producer[copied.output[0]] = copied
            count += 1

    return count


def integers_for_each_scale(model: onnx.ModelProto) -> int:
    """Give every DequantizeLinear of a weight a constant of its own, where several share the integers.

    Layers of one weight whose norms differ have equal integers and different scales: the translation stores them once,
    and OpenVINO's low-precision passes run all layers in float that read such a constant.
    """
    index, used, count = Index(model), set[str](), 0
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in index.initializer:
            continue
        name = node.input[0]
        if name in used:
            values = index.value(name)
            assert values is not None
            node.input[0] = index.constant(f"{name}_of_{node.output[0]}", values)
            count += 1
        used.add(name)

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
