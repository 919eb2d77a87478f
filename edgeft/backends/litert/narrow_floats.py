"""Constants of a TFLite file as float16: stored in half the bytes, behind a DEQUANTIZE that is run once."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import need

#: DEQUANTIZE takes float16 from this version on
_VERSION = 3


def store_as_float16(content: bytes) -> bytes:
    """The file with every float32 constant of two axes or more as float16 where no value of it changes.

    This is the form of LiteRT's own float16 quantization: XNNPACK reads such weights itself, other kernels take what
    DEQUANTIZE made of the constant at the first run.
    """
    schema = need("ai_edge_litert.schema_py_generated", "litert")
    flatbuffers = need("flatbuffers", "litert")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content), 0))
    code = _code_of_dequantize(schema, model)
    narrow: dict[int, int] = {}
    for graph in model.subgraphs:
        _rewrite(schema, model, graph, code, narrow)

    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    for wide in set(narrow) - used:
        model.buffers[wide].data = None

    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _code_of_dequantize(schema: Any, model: Any) -> int:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    code.version = _VERSION
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _rewrite(schema: Any, model: Any, graph: Any, code: int, narrow: dict[int, int]) -> None:
    """Put the float16 constants and their DEQUANTIZE ops into a graph; `narrow` are the buffers that became narrow."""
    operators = []
    for place, tensor in enumerate(list(graph.tensors)):
        buffer = model.buffers[tensor.buffer]
        if tensor.type != schema.TensorType.FLOAT32 or tensor.shape is None or len(tensor.shape) < 2:
            continue

        if tensor.buffer not in narrow:
            if tensor.buffer == 0 or buffer.data is None or not len(buffer.data):
                continue

            values = np.frombuffer(np.asarray(buffer.data, np.uint8).tobytes(), np.float32)
            with np.errstate(over="ignore"):
                half = values.astype(np.float16)

            if values.size < 2 or not np.array_equal(half.astype(np.float32), values):
                continue

            stored = schema.BufferT()
            stored.data = np.frombuffer(half.tobytes(), np.uint8)
            model.buffers.append(stored)
            narrow[tensor.buffer] = len(model.buffers) - 1

        constant = schema.TensorT()
        constant.shape, constant.type, constant.buffer = tensor.shape, schema.TensorType.FLOAT16, narrow[tensor.buffer]
        constant.name = tensor.name + b"_float16"
        graph.tensors.append(constant)
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = code, [len(graph.tensors) - 1], [place]
        operators.append(operator)
        tensor.buffer = 0

    graph.operators = [*operators, *graph.operators]
