"""Small TFLite models written with the schema of the package ai-edge-litert, operation by operation."""

from __future__ import annotations

from typing import Any

import numpy as np

#: the scale of every activation unless another is named; its zero point is 0
SCALE = 0.02


class Writer:
    """A model of one graph, tensor by tensor and operation by operation."""

    def __init__(self, schema: Any) -> None:
        self.schema = schema
        self.graph, self.codes, self.buffers = schema.SubGraphT(), [], [schema.BufferT()]
        self.graph.tensors, self.graph.operators = [], []

    def shape(self, name: str, values: Any) -> int:
        """A constant of int32 that is no quantized tensor: a shape, paddings, axes."""
        number = self.constant(name, np.int32(values), dtype="INT32")
        self.graph.tensors[number].quantization = None
        return number

    def tensor(
        self, name: str, shape: tuple[int, ...], *, dtype: str = "INT8", scale: Any = SCALE, axis: int = 0
    ) -> int:
        tensor = self.schema.TensorT()
        tensor.shape, tensor.name, tensor.buffer = np.int32(shape), name.encode(), 0
        tensor.type = getattr(self.schema.TensorType, dtype)
        if dtype != "FLOAT32":
            grid = self.schema.QuantizationParametersT()
            grid.scale = np.atleast_1d(np.float32(scale))
            grid.zeroPoint, grid.quantizedDimension = np.zeros(grid.scale.size, np.int64), axis
            tensor.quantization = grid
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, name: str, values: np.ndarray, **options: Any) -> int:
        number = self.tensor(name, values.shape, **options)
        buffer = self.schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self.buffers.append(buffer)
        self.graph.tensors[number].buffer = len(self.buffers) - 1
        return number

    def operation(self, name: str, inputs: list[int], output: int, options: Any = None, version: int = 1) -> None:
        code, operator = self.schema.OperatorCodeT(), self.schema.OperatorT()
        number = getattr(self.schema.BuiltinOperator, name)
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), version
        self.codes.append(code)
        operator.opcodeIndex = len(self.codes) - 1
        operator.inputs, operator.outputs = np.int32(inputs), np.int32([output])
        if options is not None:
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
            operator.builtinOptions = options
        self.graph.operators.append(operator)

    def bytes(self, first: int, last: int) -> bytes:
        import flatbuffers

        model = self.schema.ModelT()
        self.graph.inputs, self.graph.outputs = np.int32([first]), np.int32([last])
        model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, self.codes, [self.graph], self.buffers
        builder = flatbuffers.Builder(0)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
