"""A small int8 TFLite model that Vela takes whole, and the same with one thing in it that it does not take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tflite_writer import SCALE, Writer

SABOTAGES = ("sin", "linear", "float", "infinite", "stride")


def write(path: Path, sabotage: str = "") -> Path:
    """x (1, 16, 16, 8) -> CONV_2D "body" -> RELU "act" -> FULLY_CONNECTED "scores" (1, 10), int8 with per-tensor grids.

    `sabotage`: "sin" (an op "sine" that no Ethos-U has, of floats), "linear" (a scale for each output of the fully
    connected layer), "float" (the convolution in float), "infinite" (the scale of "body"), "stride" (a stride of 5).
    """
    from ai_edge_litert import schema_py_generated as schema

    model, rng = Writer(schema), np.random.default_rng(0)
    floats = sabotage == "float"
    kind = {"dtype": "FLOAT32"} if floats else {}
    step = 5 if sabotage == "stride" else 1
    side = -(-16 // step)
    scale = np.inf if sabotage == "infinite" else SCALE

    x = model.tensor("x", (1, 16, 16, 8), **kind)
    kernel = rng.integers(-127, 127, (8, 3, 3, 8)).astype(np.float32 if floats else np.int8)
    weights = model.constant("kernel", kernel, **kind or {"scale": np.full(8, 0.01)})
    zeros = np.zeros(8, np.float32 if floats else np.int32)
    bias = model.constant("bias", zeros, **kind or {"dtype": "INT32", "scale": np.full(8, 2e-4)})
    body = model.tensor("body", (1, side, side, 8), **kind or {"scale": scale})
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = step
    model.operation("CONV_2D", [x, weights, bias], body, options, 1 if floats else 3)
    act = model.tensor("act", (1, side, side, 8), **kind)
    model.operation("RELU", [body], act, version=1 if floats else 2)
    if floats:
        stored = model.tensor("stored", (1, side, side, 8))
        model.operation("QUANTIZE", [act], stored, schema.QuantizeOptionsT())
        act = stored

    size, several = side * side * 8, sabotage == "linear"
    matrix = rng.integers(-127, 127, (10, size)).astype(np.int8)
    dense = model.constant("matrix", matrix, scale=np.full(10 if several else 1, 0.01))
    flat = model.tensor("flat", (1, size))
    model.operation("RESHAPE", [act, model.shape("shape", [1, size])], flat)
    zeros = model.constant("offsets", np.zeros(10, np.int32), dtype="INT32", scale=np.full(10 if several else 1, 2e-4))
    scores = model.tensor("scores", (1, 10), scale=5.0)
    model.operation("FULLY_CONNECTED", [flat, dense, zeros], scores, schema.FullyConnectedOptionsT(), 4)
    last = scores
    if sabotage == "sin":
        real, last = model.tensor("real", (1, 10), dtype="FLOAT32"), model.tensor("sine", (1, 10), dtype="FLOAT32")
        model.operation("DEQUANTIZE", [scores], real, schema.DequantizeOptionsT(), 2)
        model.operation("SIN", [real], last)

    path.write_bytes(model.bytes(x, last))
    return path
