"""A finished `.tflite` file opened as objects that can be changed, by the schema of the package ai-edge-litert."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import need


def opened(content: bytes) -> tuple[Any, Any]:
    """(schema, model): the generated classes, and the file as a tree of their objects. Raises `Missing`."""
    schema = need("ai_edge_litert.schema_py_generated", "litert")
    return schema, schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content), 0))


def packed(model: Any) -> bytes:
    """The bytes of a model; constants that no tensor reads any more are left out."""
    flatbuffers = need("flatbuffers", "litert")
    read = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    read |= {entry.buffer for entry in model.metadata or ()}

    for number, buffer in enumerate(model.buffers):
        if number not in read:
            buffer.data = None

    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def values(model: Any, tensor: Any, dtype: str) -> np.ndarray | None:
    """The flat values of a constant of a type such as "float32"; None for a tensor that is computed."""
    data = model.buffers[tensor.buffer].data if tensor.buffer else None
    if data is None or not len(data):
        return None
    return np.frombuffer(np.asarray(data, np.uint8).tobytes(), dtype)


def constant(model: Any, array: np.ndarray) -> int:
    """The number of a new buffer with the bytes of `array`, in C order."""
    from ai_edge_litert import schema_py_generated as schema

    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def dequantize(schema: Any, model: Any, version: int) -> int:
    """The position of DEQUANTIZE in a version among the model's operator codes, where it is put if it is absent."""
    return operator_code(schema, model, schema.BuiltinOperator.DEQUANTIZE, version)


def operator_code(schema: Any, model: Any, number: int, version: int) -> int:
    """The position of a built-in operator in a version among the model's codes, where it is put if it is absent."""
    for position, known in enumerate(model.operatorCodes):
        if max(known.builtinCode, known.deprecatedBuiltinCode) == number and known.version == version:
            return position

    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
    code.version = version
    model.operatorCodes.append(code)

    return len(model.operatorCodes) - 1
