"""MLPerf Tiny's DS-CNN in torch, from the published .tflite file with float activations.

BatchNorm is folded there, and the pointwise convolutions are stored in 8 bits; here they are the floats that those stand
for. TensorFlow's "same" padding of the first, strided convolution is 4 rows above and 5 below, and one column on each side.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import nn


def load(path: Path) -> nn.Module:
    """The network in eval mode; (N, 1, 49, 10) features -> logits (N, 12)."""
    reader = Interpreter(str(path), experimental_preserve_all_tensors=True)
    reader.allocate_tensors()
    details = {detail["index"]: detail for detail in reader.get_tensor_details()}

    def value(index: int) -> torch.Tensor:
        stored, scales = reader.get_tensor(index), details[index]["quantization_parameters"]["scales"]
        if stored.dtype == np.int8:
            stored = stored.astype(np.float32) * scales.reshape(-1, 1, 1, 1)
        return torch.from_numpy(np.array(stored))

    layers: list[nn.Module] = [nn.ZeroPad2d((1, 1, 4, 5))]
    for op in reader._get_ops_details():
        if op["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            _, weights, bias = op["inputs"]
            layers += [_convolution(value(weights), value(bias), op["op_name"], first=len(layers) == 1), nn.ReLU()]
        elif op["op_name"] == "FULLY_CONNECTED":
            _, weights, bias = op["inputs"]
            linear = nn.Linear(64, 12)
            linear.load_state_dict({"weight": value(weights), "bias": value(bias)})
            layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear]

    return nn.Sequential(*layers).eval()


def _convolution(weights: torch.Tensor, bias: torch.Tensor, kind: str, *, first: bool) -> nn.Module:
    depthwise = kind == "DEPTHWISE_CONV_2D"
    turned = weights.permute(3, 0, 1, 2) if depthwise else weights.permute(0, 3, 1, 2)
    outputs, inputs, height, width = turned.shape
    conv = nn.Conv2d(
        outputs if depthwise else inputs,
        outputs,
        (height, width),
        2 if first else 1,
        (1, 1) if depthwise else 0,
        groups=outputs if depthwise else 1,
    )
    conv.load_state_dict({"weight": turned.contiguous(), "bias": bias})

    return conv
