"""Norms, and scaling by constants."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import nn

from ...onnx.values import Value
from ..layer import Layer, tensor_of
from ..placed import FIRST, Placed
from ..registry import imports

_BATCH = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


@imports("BatchNormalization")
def batch(layer: Layer) -> Placed:
    placed = layer.input
    axis = _single(layer.keras.axis) % placed.rank
    turned = placed.rank > 2 and axis == placed.rank - 1

    if turned:
        value = layer.order.first(placed)
    elif axis == 1:
        value = layer.order.plain(placed)
    else:
        raise layer.fail(f"norms the axis {axis}, and the channels are expected last or second")

    mean = layer.weight("moving_mean")

    def make() -> nn.Module:
        norm = _BATCH[placed.rank](mean.numel(), eps=layer.keras.epsilon, momentum=1 - layer.keras.momentum)
        norm.running_mean.data, norm.running_var.data = mean, layer.weight("moving_variance")
        if layer.keras.scale:
            norm.weight.data = layer.weight("gamma")
        if layer.keras.center:
            norm.bias.data = layer.weight("beta")
        return norm

    result = layer.module(value, make)
    return Placed(result, FIRST) if turned else Placed(result)


@imports("LayerNormalization")
def over_last(layer: Layer) -> Placed:
    placed = layer.input
    axes = [axis % placed.rank for axis in _listed(layer.keras.axis)]
    if axes != list(range(placed.rank - len(axes), placed.rank)):
        raise layer.fail(f"norms the axes {axes}, and the last ones are expected")

    value = layer.order.plain(placed)
    sizes = value.shape[axes[0] :]

    def make() -> nn.Module:
        norm = nn.LayerNorm(sizes, eps=layer.keras.epsilon)
        if getattr(layer.keras, "scale", True):
            norm.weight.data = layer.weight("gamma")
        if getattr(layer.keras, "center", True):
            norm.bias.data = layer.weight("beta")
        return norm

    return Placed(layer.module(value, make))


@imports("GroupNormalization")
def groups(layer: Layer) -> Placed:
    placed = layer.input
    if _single(layer.keras.axis) % placed.rank != placed.rank - 1:
        raise layer.fail("norms another axis than the last one")

    value = layer.order.first(placed)
    channels = value.shape[1]
    count = channels if layer.keras.groups == -1 else int(layer.keras.groups)

    def make() -> nn.Module:
        norm = nn.GroupNorm(count, channels, eps=layer.keras.epsilon)
        if layer.keras.scale:
            norm.weight.data = layer.weight("gamma")
        if layer.keras.center:
            norm.bias.data = layer.weight("beta")
        return norm

    return Placed(layer.module(value, make), FIRST)


@imports("Normalization")
def normalization(layer: Layer) -> Placed:
    """(x - mean) / std of the data that the layer was adapted to."""
    mean, variance = (tensor_of(getattr(layer.keras, name)) for name in ("mean", "variance"))
    std = torch.sqrt(variance).clamp_min(1e-7)
    scale, shift = (std, mean) if layer.keras.invert else (1 / std, -mean / std)
    return scaled(layer, layer.input, scale, shift)


@imports("Rescaling")
def rescaling(layer: Layer) -> Placed:
    return scaled(layer, layer.input, tensor_of(layer.keras.scale), tensor_of(layer.keras.offset))


@imports("LayerScale")
def layer_scale(layer: Layer) -> Placed:
    """A learned factor a channel (ConvNeXt)."""
    placed, gamma = layer.order.first(layer.input), layer.weight("gamma").reshape(1, -1, 1, 1)
    return Placed(layer.call(operator.mul, placed, layer.trace.constant(gamma, f"{layer.name}.gamma")), FIRST)


def scaled(layer: Layer, placed: Placed, scale: torch.Tensor, shift: torch.Tensor) -> Placed:
    """x * scale + shift, both numbers or one a channel."""

    def function(part: Placed) -> Value:
        value: Value = layer.call(operator.mul, part.value, _aligned(layer, part, scale))
        if not bool((shift == 0).all()):
            value = layer.call(operator.add, value, _aligned(layer, part, shift))
        return value

    placed = placed if placed.source is None else Placed(layer.order.plain(placed))
    return layer.each(placed, function)


def _aligned(layer: Layer, placed: Placed, tensor: torch.Tensor) -> Any:
    """A number, or a constant with the axes of a value; it has channels alone, or is shaped as Keras has the value."""
    if tensor.numel() == 1:
        return float(tensor)
    if tensor.dim() not in (1, placed.rank):
        raise layer.fail(f"has constants of the shape {tuple(tensor.shape)}")
    whole = tensor.reshape((1,) * (placed.rank - tensor.dim()) + tuple(tensor.shape))
    return layer.trace.constant(whole.movedim(-1, 1) if placed.form == FIRST else whole)


def _listed(axis: Any) -> list[int]:
    return [int(a) for a in axis] if isinstance(axis, (list, tuple)) else [int(axis)]


def _single(axis: Any) -> int:
    return _listed(axis)[0]
