"""Constants of a TFLite file as float16: stored in half the bytes, behind a DEQUANTIZE that is run once."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import editing

#: DEQUANTIZE takes float16 from this version on
_VERSION = 3


def store_as_float16(content: bytes) -> bytes:
    """The file with every float32 constant of two axes or more as float16 where no value of it changes.

    This is the form of LiteRT's own float16 quantization: XNNPACK reads such weights itself, other kernels take what
    DEQUANTIZE made of the constant at the first run.
    """
    schema, model = editing.opened(content)
    narrow: dict[int, int] = {}
    for graph in model.subgraphs:
        _rewrite(schema, model, graph, narrow)
    return editing.packed(model)


def _rewrite(schema: Any, model: Any, graph: Any, narrow: dict[int, int]) -> None:
    """Put the float16 constants and their DEQUANTIZE ops into a graph; `narrow` are the buffers that became narrow."""
    operators = []
    for place, tensor in enumerate(list(graph.tensors)):
        if tensor.type != schema.TensorType.FLOAT32 or tensor.shape is None or len(tensor.shape) < 2:
            continue

        if tensor.buffer not in narrow:
            values = editing.values(model, tensor, "float32")
            if values is None:
                continue

            with np.errstate(over="ignore"):
                half = values.astype(np.float16)
            if values.size < 2 or not np.array_equal(half.astype(np.float32), values):
                continue
            narrow[tensor.buffer] = editing.constant(model, half)

        constant = schema.TensorT()
        constant.shape, constant.type, constant.buffer = tensor.shape, schema.TensorType.FLOAT16, narrow[tensor.buffer]
        constant.name = tensor.name + b"_float16"
        graph.tensors.append(constant)
        operator = schema.OperatorT()
        operator.opcodeIndex = editing.dequantize(schema, model, _VERSION)
        operator.inputs, operator.outputs = [len(graph.tensors) - 1], [place]
        operators.append(operator)
        tensor.buffer = 0

    graph.operators = [*operators, *graph.operators]
