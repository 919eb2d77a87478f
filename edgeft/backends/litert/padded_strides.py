"""A PAD before a convolution of a large stride, kept apart from it for a compiler that would make one op of both.

Vela 5.2 takes any stride of a convolution without padding and up to 3 of one with padding. It joins a PAD with the
convolution behind it before it looks at the stride, and then stops ("Non-passthrough operation (Conv2D) could not run
on NPU").
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import editing


def kept_apart(content: bytes, above: int) -> bytes:
    """The file with max-pooling over one place, which changes no value, between a PAD and each convolution that reads
    it with a stride larger than `above` (0: the file as it is)."""
    if not above:
        return content

    schema, model = editing.opened(content)
    count = sum(_in_graph(schema, model, graph, above) for graph in model.subgraphs)
    return editing.packed(model) if count else content


def _in_graph(schema: Any, model: Any, graph: Any, above: int) -> int:
    """How many poolings were put into a graph."""
    numbers = schema.BuiltinOperator
    convolutions, padded = {numbers.CONV_2D, numbers.DEPTHWISE_CONV_2D}, set()
    operators, count = [], 0

    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        kind = max(code.builtinCode, code.deprecatedBuiltinCode)
        if kind in (numbers.PAD, numbers.PADV2):
            padded.add(int(operator.outputs[0]))
        if kind in convolutions and int(operator.inputs[0]) in padded:
            options = operator.builtinOptions
            if max(options.strideH, options.strideW) > above:
                operators.append(_pooling(schema, model, graph, operator))
                count += 1
        operators.append(operator)

    graph.operators = operators
    return count


def _pooling(schema: Any, model: Any, graph: Any, convolution: Any) -> Any:
    """The pooling that the convolution now reads."""
    source = graph.tensors[convolution.inputs[0]]
    result = schema.TensorT()
    result.name, result.shape, result.type = source.name + b"_apart", source.shape, source.type
    result.shapeSignature, result.quantization, result.buffer = source.shapeSignature, source.quantization, 0
    graph.tensors.append(result)

    pooling, options = schema.OperatorT(), schema.Pool2DOptionsT()
    options.filterHeight = options.filterWidth = options.strideH = options.strideW = 1
    options.padding = schema.Padding.VALID
    pooling.builtinOptionsType, pooling.builtinOptions = schema.BuiltinOptions.Pool2DOptions, options
    version = 3 if source.type == schema.TensorType.INT16 else 2 if source.type == schema.TensorType.INT8 else 1
    pooling.opcodeIndex = editing.operator_code(schema, model, schema.BuiltinOperator.MAX_POOL_2D, version)
    pooling.inputs = np.array([convolution.inputs[0]], np.int32)
    pooling.outputs = np.array([len(graph.tensors) - 1], np.int32)
    convolution.inputs[0] = len(graph.tensors) - 1

    return pooling
