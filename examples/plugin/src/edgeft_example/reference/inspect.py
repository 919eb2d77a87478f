"""What an artifact holds. The files are those of ONNX Runtime, so its readers serve here too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgeft.backends import IntegerShare
from edgeft.backends.onnxruntime.inspect import activation_grids, emitted, integer_weights

__all__ = ["activation_grids", "emitted", "integer_share", "integer_weights"]


def integer_share(
    path: Path,
    *,
    threads: int = 1,
    feeds: Mapping[str, np.ndarray] | None = None,
    options: Mapping[str, Any] | None = None,
) -> IntegerShare:
    """None: the evaluator computes every layer in float, from dequantized values. One sample is counted."""
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    graph = model.graph
    values = [*graph.input, *graph.output, *graph.value_info]
    shapes = {v.name: [max(d.dim_value, 1) for d in v.type.tensor_type.shape.dim] for v in values}
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}

    work: Counter[str] = Counter()
    for node in graph.node:
        weights = shapes.get(node.input[1]) if len(node.input) > 1 else None
        if node.op_type == "Conv" and weights:
            work[node.op_type] += prod(shapes[node.output[0]]) * prod(weights[1:])
        elif node.op_type in ("Gemm", "MatMul") and node.input[0] in shapes:
            work[node.op_type] += prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]

    ops: dict[str, Any] = {f"{node.op_type} float32": 0 for node in graph.node}
    for node in graph.node:
        ops[f"{node.op_type} float32"] += 1

    float_ops = {op: ops[f"{op} float32"] for op in work}
    return IntegerShare(share=0.0, macs=sum(work.values()), integer_macs=0, float_ops=float_ops, ops=ops)
