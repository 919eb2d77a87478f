"""Activations."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from ..node import Node
from ..registry import operator
from ..values import Value

_PLAIN = {
    "Relu": F.relu,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "HardSwish": F.hardswish,
    "Mish": F.mish,
}


@operator(*_PLAIN)
def plain(node: Node) -> Value:
    return node.call(_PLAIN[node.op], node.input())  # type: ignore[no-any-return]


@operator("LeakyRelu")
def leaky_relu(node: Node) -> Value:
    return node.call(F.leaky_relu, node.input(), float(node.attribute("alpha", 0.01)))  # type: ignore[no-any-return]


@operator("Elu")
def elu(node: Node) -> Value:
    return node.call(F.elu, node.input(), float(node.attribute("alpha", 1.0)))  # type: ignore[no-any-return]


@operator("Celu")
def celu(node: Node) -> Value:
    return node.call(F.celu, node.input(), float(node.attribute("alpha", 1.0)))  # type: ignore[no-any-return]


@operator("Selu")
def selu(node: Node) -> Value:
    alpha, gamma = (
        node.attribute("alpha", 1.67326319217681884765625),
        node.attribute("gamma", 1.05070102214813232421875),
    )
    return node.call(_selu, node.input(), float(alpha), float(gamma))  # type: ignore[no-any-return]


def _selu(x: torch.Tensor, alpha: float, gamma: float) -> torch.Tensor:
    return F.elu(x, alpha) * gamma


@operator("HardSigmoid")
def hard_sigmoid(node: Node) -> Value:
    alpha, beta = float(node.attribute("alpha", 0.2)), float(node.attribute("beta", 0.5))
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return node.call(F.hardsigmoid, node.input())  # type: ignore[no-any-return]
    return node.call(_hard_sigmoid, node.input(), alpha, beta)  # type: ignore[no-any-return]


def _hard_sigmoid(x: torch.Tensor, alpha: float, beta: float) -> torch.Tensor:
    """alpha * x + beta within [0, 1]; by torch's own hard sigmoid, which quantization knows, at slope 1/6."""
    return F.hardsigmoid(x * (6 * alpha) + (6 * beta - 3))


@operator("Gelu")
def gelu(node: Node) -> Value:
    return node.call(F.gelu, node.input(), approximate=node.attribute("approximate", "none"))  # type: ignore[no-any-return]


@operator("ThresholdedRelu")
def thresholded(node: Node) -> Value:
    return node.call(F.threshold, node.input(), float(node.attribute("alpha", 1.0)), 0.0)  # type: ignore[no-any-return]


@operator("PRelu")
def prelu(node: Node) -> Value:
    value, slope = node.input(0), node.input(1)
    channels = value.shape[1] if len(value.shape) > 1 else 1
    if not slope.constant or slope.tensor.numel() not in (1, channels):
        return node.call(_prelu, value, slope)  # type: ignore[no-any-return]
    if slope.tensor.numel() == channels != 1 and slope.shape != (channels, *[1] * (len(value.shape) - 2)):
        return node.call(_prelu, value, slope)  # type: ignore[no-any-return]

    layer = torch.nn.PReLU(slope.tensor.numel())
    layer.weight.data = slope.tensor.reshape(-1).clone()
    return node.trace.module(node.layer_name(slope), layer, value)  # type: ignore[no-any-return]


def _prelu(x: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    return torch.where(x < 0, x * slope, x)


@operator("Clip")
def clip(node: Node) -> Value:
    low, high = node.attribute("min"), node.attribute("max")
    if node.has(1):
        low = node.known(1, "a bound").item()
    if node.has(2):
        high = node.known(2, "a bound").item()

    value = node.input()
    bounds: dict[str, Any] = {}
    if low is not None and low > -3e38:
        bounds["min"] = low
    if high is not None and high < 3e38:
        bounds["max"] = high
    if not bounds:
        return value
    if bounds == {"min": 0.0}:
        return node.call(F.relu, value)  # type: ignore[no-any-return]
    if bounds == {"min": 0.0, "max": 6.0}:
        return node.call(F.relu6, value)  # type: ignore[no-any-return]

    return node.call(torch.clamp, value, **bounds)  # type: ignore[no-any-return]


@operator("Softmax", "LogSoftmax", "Hardmax")
def softmax(node: Node) -> Value:
    value = node.input()
    rank = len(value.shape)
    if node.op == "Hardmax":
        raise node.fail("is not supported")

    function = F.softmax if node.op == "Softmax" else F.log_softmax
    axis = node.axis(-1 if node.opset >= 13 else 1)
    if node.opset >= 13 or axis == rank - 1:
        return node.call(function, value, dim=axis)  # type: ignore[no-any-return]

    tail = value.shape[axis:]
    if sum(size > 1 for size in tail) <= 1:  # all but one of the axes are empty, so that one is normalized over
        longest = axis + max(range(len(tail)), key=lambda at: tail[at])
        return node.call(function, value, dim=longest)  # type: ignore[no-any-return]

    flat = node.trace.reshape(value, [*value.shape[:axis], _product(tail)])
    return node.trace.reshape(node.call(function, flat, dim=axis), value.shape)


def _product(sizes: tuple[int, ...]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product
