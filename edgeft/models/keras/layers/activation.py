"""Layers that are an activation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ...onnx.values import Value
from ..layer import Layer, tensor_of
from ..placed import FIRST, Placed
from ..registry import imports

#: upper end of the clamp that quantization knows by a name of its own
_SIX = 6.0


@imports("Activation")
def activation(layer: Layer) -> Placed:
    return layer.activated(layer.input)


@imports("ReLU", "ops.Relu", "ops.Relu6")
def relu(layer: Layer) -> Placed:
    if layer.kind.startswith("ops."):
        return layer.activated(layer.input, "relu6" if layer.kind.endswith("6") else "relu")

    highest, slope, threshold = (getattr(layer.keras, name) for name in ("max_value", "negative_slope", "threshold"))
    if threshold:
        raise layer.fail(f"with the threshold {threshold} is not read")
    if highest is None:
        return layer.each(
            layer.input,
            lambda part: layer.call(F.leaky_relu, part.value, slope) if slope else layer.call(F.relu, part.value),
        )
    if slope:
        raise layer.fail("with both max_value and negative_slope is not read")
    if highest == _SIX:
        return layer.activated(layer.input, "relu6")

    return layer.each(layer.input, lambda part: layer.call(torch.clamp, part.value, 0.0, float(highest)))


@imports("LeakyReLU")
def leaky(layer: Layer) -> Placed:
    return layer.each(layer.input, lambda part: layer.call(F.leaky_relu, part.value, float(layer.keras.negative_slope)))


@imports("ELU")
def elu(layer: Layer) -> Placed:
    return layer.each(layer.input, lambda part: layer.call(F.elu, part.value, float(layer.keras.alpha)))


@imports("PReLU")
def prelu(layer: Layer) -> Placed:
    """A slope a channel; one a pixel has no layer in torch and no integer kernel."""
    alpha, placed = tensor_of(layer.keras.alpha), layer.input
    if alpha.numel() != alpha.shape[-1]:
        raise layer.fail("has a slope for every pixel", "share them: PReLU(shared_axes=[1, 2])")

    value = layer.order.first(placed) if placed.rank > 2 else layer.order.plain(placed)

    def make() -> nn.Module:
        module = nn.PReLU(alpha.numel())
        module.weight.data = alpha.reshape(-1)
        return module

    return Placed(layer.module(value, make), FIRST) if placed.rank > 2 else Placed(layer.module(value, make))


@imports("Softmax", "ops.Softmax")
def softmax(layer: Layer) -> Placed:
    axis = getattr(layer.keras, "axis", -1)
    if not isinstance(axis, int) or len(layer.args) > 1 or layer.kwargs.get("mask") is not None:
        raise layer.fail("over several axes or with a mask is not read")
    placed = layer.input if layer.input.source is None else Placed(layer.order.plain(layer.input))
    value: Value = layer.call(F.softmax, placed.value, dim=placed.axis(axis))
    return Placed(value, placed.form)


@imports(
    "ops.Sigmoid", "ops.Tanh", "ops.Silu", "ops.Gelu", "ops.HardSigmoid", "ops.HardSilu", "ops.Elu", "ops.Selu",
    "ops.Softplus", "ops.Exp",
)  # fmt: skip
def named(layer: Layer) -> Placed:
    names = {"HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu", "Exp": "exponential"}
    kind = layer.kind.removeprefix("ops.")
    return layer.activated(layer.input, names.get(kind, kind.lower()))
