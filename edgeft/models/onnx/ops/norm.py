"""Normalizations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ..node import Node
from ..registry import operator
from ..values import Value

_BATCH_NORM = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


@operator("BatchNormalization")
def batch_norm(node: Node) -> Value:
    value = node.input()
    parts = [node.input(position) for position in range(1, 5)]
    if node.attribute("training_mode", 0) or any(node.outputs[1:]):
        raise node.fail("normalizes by the batch that it is given (training mode)", "export the model in eval mode")
    if any(not part.constant for part in parts) or len(value.shape) not in _BATCH_NORM:
        raise node.fail("is supported with constant statistics over 2 to 5 axes")

    scale, shift, mean, variance = (part.tensor.reshape(-1) for part in parts)
    layer = _BATCH_NORM[len(value.shape)](len(scale), eps=float(node.attribute("epsilon", 1e-5)))
    layer.weight.data, layer.bias.data = scale.clone(), shift.clone()
    layer.running_mean, layer.running_var = mean.clone(), variance.clone()

    return node.trace.module(node.layer_name(parts[0]), layer, value)  # type: ignore[no-any-return]


@operator("LayerNormalization")
def layer_norm(node: Node) -> Value:
    value, scale = node.input(0), node.input(1)
    if any(node.outputs[1:]):
        raise node.fail("hands out its mean, which is not supported")

    axis = node.axis(-1)
    shape, epsilon = value.shape[axis:], float(node.attribute("epsilon", 1e-5))
    bias = node.input(2) if node.has(2) else None
    plain = scale.constant and scale.shape == shape and (bias is None or (bias.constant and bias.shape == shape))

    if not plain:
        normalized: Value = node.call(F.layer_norm, value, list(shape), None, None, epsilon)
        product: Value = node.call(torch.mul, normalized, scale)
        return product if bias is None else node.call(torch.add, product, bias)

    layer = nn.LayerNorm(shape, eps=epsilon)
    layer.weight.data = scale.tensor.clone()
    if bias is not None:
        layer.bias.data = bias.tensor.clone()

    return node.trace.module(node.layer_name(scale), layer, value)  # type: ignore[no-any-return]


@operator("RMSNormalization")
def rms_norm(node: Node) -> Value:
    value = node.input()
    shape = list(value.shape[node.axis(-1) :])
    epsilon = float(node.attribute("epsilon", 1e-5))
    normalized: Value = node.call(F.rms_norm, value, shape, None, epsilon)
    return node.call(torch.mul, normalized, node.input(1))  # type: ignore[no-any-return]


@operator("InstanceNormalization")
def instance_norm(node: Node) -> Value:
    epsilon = float(node.attribute("epsilon", 1e-5))
    arguments = (None, None, node.input(1), node.input(2), True, 0.1, epsilon)
    return node.call(F.instance_norm, node.input(), *arguments)  # type: ignore[no-any-return]


@operator("GroupNormalization")
def group_norm(node: Node) -> Value:
    value, scale, bias = node.input(0), node.input(1), node.input(2)
    groups, channels = int(node.attribute("num_groups", 1)), value.shape[1]
    if scale.tensor.numel() != channels:  # opset 18 has one number a group
        scale = node.call(torch.repeat_interleave, scale, channels // groups)
        bias = node.call(torch.repeat_interleave, bias, channels // groups)
    return node.call(F.group_norm, value, groups, scale, bias, float(node.attribute("epsilon", 1e-5)))  # type: ignore[no-any-return]


@operator("LRN")
def local_response(node: Node) -> Value:
    size = int(node.attribute("size", 1))
    if size % 2 == 0:
        raise node.fail("is supported over an odd number of channels")
    alpha, beta = float(node.attribute("alpha", 1e-4)), float(node.attribute("beta", 0.75))
    return node.call(F.local_response_norm, node.input(), size, alpha, beta, float(node.attribute("bias", 1.0)))  # type: ignore[no-any-return]


@operator("LpNormalization")
def lp_norm(node: Node) -> Value:
    return node.call(F.normalize, node.input(), p=float(node.attribute("p", 2)), dim=node.axis(-1), eps=1e-12)  # type: ignore[no-any-return]
