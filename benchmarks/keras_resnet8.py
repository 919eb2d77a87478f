"""MLPerf Tiny's ResNet-8 in torch, from the published Keras weights.

It is the builtin `resnet8` but for one thing: TensorFlow's "same" padding of a strided 3x3 convolution adds one row and
one column at the end, torch's `padding=1` one on every side, so the builtin network would look at other pixels. Keras
also has biases before BatchNorm, and no BatchNorm after the projected shortcuts; both fold into BatchNorm's numbers.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import torch
from torch import nn

from edgeft.models.nets.resnet import ResNet8


def load(path: Path) -> nn.Module:
    """The network in eval mode; pixels (N, 3, 32, 32) of 0..255 -> logits (N, 10)."""
    net = ResNet8(10)
    blocks = [net.layer1[0], net.layer2[0], net.layer3[0]]
    convs, norms, shortcuts = [net.conv1], [net.bn1], {}

    for block in blocks:
        convs += [block.conv1, block.conv2]
        norms += [(len(convs) - 2, block.bn1), (len(convs) - 1, block.bn2)]
        if block.downsample is not None:
            convs.append(block.downsample[0])
            shortcuts[len(convs) - 1] = block.downsample[1]

    norms[0] = (0, net.bn1)
    with h5py.File(path) as file, torch.no_grad():
        weights = file["model_weights"]

        def value(layer: str, number: int, name: str) -> torch.Tensor:
            key = f"{layer}_{number}" if number else layer
            return torch.from_numpy(np.array(weights[key][key][f"{name}:0"]))

        for i, conv in enumerate(convs):
            conv.weight.copy_(value("conv2d", i, "kernel").permute(3, 2, 0, 1))
        for i, (conv_number, norm) in enumerate(norms):
            norm.eps = 1e-3  # Keras' own
            norm.weight.copy_(value("batch_normalization", i, "gamma"))
            norm.bias.copy_(value("batch_normalization", i, "beta"))
            norm.running_var.copy_(value("batch_normalization", i, "moving_variance"))
            moved = value("batch_normalization", i, "moving_mean") - value("conv2d", conv_number, "bias")
            norm.running_mean.copy_(moved)
        for conv_number, norm in shortcuts.items():
            norm.eps = 0.0
            norm.bias.copy_(value("conv2d", conv_number, "bias"))
        net.fc.weight.copy_(value("dense", 0, "kernel").T)
        net.fc.bias.copy_(value("dense", 0, "bias"))

    for block in blocks[1:]:
        block.conv1.padding = (0, 0)
        block.conv1 = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), block.conv1)

    return net.eval()
