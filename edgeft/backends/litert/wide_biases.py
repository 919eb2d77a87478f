"""Biases of layers with 16-bit activations as int64, which the kernels of 16x8 quantization read.

litert-torch writes int32. Its interpreter refuses that in a depthwise convolution, and takes it in others for numbers
that it is not: a small ResNet was off by 80 % of its range.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import editing

#: op -> positions of (values, bias) among its inputs
_LAYERS = {"CONV_2D": (0, 2), "DEPTHWISE_CONV_2D": (0, 2), "FULLY_CONNECTED": (0, 2), "TRANSPOSE_CONV": (2, 3)}


def in_64_bits(content: bytes) -> bytes:
    """The file with the int32 biases of layers that read int16 as int64."""
    schema, model = editing.opened(content)
    layers = {getattr(schema.BuiltinOperator, name): places for name, places in _LAYERS.items()}
    for graph in model.subgraphs:
        read: set[int] = {int(k) for operator in graph.operators for k in operator.inputs}
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            places = layers.get(max(code.builtinCode, code.deprecatedBuiltinCode))
            if places is not None:
                _widen(schema, model, graph, operator, *places)

        for unread in read - {int(k) for operator in graph.operators for k in operator.inputs}:
            graph.tensors[unread].buffer = 0

    return editing.packed(model)


def _widen(schema: Any, model: Any, graph: Any, operator: Any, source: int, place: int) -> None:
    """Give one layer a bias tensor of its own in int64, where it has one in int32 and its values are int16."""
    if len(operator.inputs) <= place or operator.inputs[place] < 0:
        return

    bias = graph.tensors[operator.inputs[place]]
    kind = graph.tensors[operator.inputs[source]].type
    if bias.type != schema.TensorType.INT32 or kind != schema.TensorType.INT16:
        return

    narrow = editing.values(model, bias, "int32")
    assert narrow is not None  # a bias that is computed is no int32
    wide = schema.TensorT()
    wide.name, wide.shape, wide.quantization = bias.name + b"_int64", bias.shape, bias.quantization
    wide.type, wide.buffer = schema.TensorType.INT64, editing.constant(model, narrow.astype(np.int64))
    graph.tensors.append(wide)
    operator.inputs[place] = len(graph.tensors) - 1
