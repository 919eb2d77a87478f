"""Convolutions, as layers of torch with Keras' weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ...onnx.values import Value
from ..layer import Layer, pair, tensor_of
from ..placed import Placed
from ..registry import imports

_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def same_pads(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[tuple[int, int]]:
    """(before, after) of each axis for "same": with a stride the odd row lies at the end, as TensorFlow has it."""
    pads = []
    for size, side, stride, dilation in zip(sizes, kernel, strides, dilations):
        total = max(0, (-(-size // stride) - 1) * stride + (side - 1) * dilation + 1 - size)
        pads.append((total // 2, total - total // 2))
    return pads


def pads_of(
    layer: Layer, value: Value, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[tuple[int, int]]:
    """(before, after) of each axis for the layer's `padding`."""
    padding = layer.keras.padding
    if padding == "valid":
        return [(0, 0)] * len(kernel)
    if padding == "causal":
        return [((kernel[0] - 1) * dilations[0], 0)]
    if padding != "same":
        raise layer.fail(f"has the padding {padding!r}")
    return same_pads(value.shape[2:], kernel, strides, dilations)


def padded(layer: Layer, value: Value, pads: Sequence[tuple[int, int]], fill: float = 0.0) -> Value:
    """`value` with its axes in space padded by a number."""
    flat = [number for before_after in reversed(pads) for number in before_after]
    if not any(flat):
        return value
    wide: Value = layer.call(F.pad, value, flat, value=fill)
    return wide


def _convolved(
    layer: Layer,
    value: Value,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    groups: int = 1,
    part: str = "",
    plain: bool = False,
) -> Value:
    """A convolution of a value with its channels first; `weight` as torch has it. `plain`: stride and padding are not
    the layer's (the second half of a separable one)."""
    kernel = list(weight.shape[2:])
    rank = len(kernel)
    strides = (1,) * rank if plain else pair(layer.keras.strides, rank)
    dilations = (1,) * rank if plain else pair(layer.keras.dilation_rate, rank)
    pads = [(0, 0)] * rank if plain else pads_of(layer, value, kernel, strides, dilations)
    if any(before != after for before, after in pads):
        value, pads = padded(layer, value, pads), [(0, 0)] * rank

    def make() -> nn.Module:
        conv = _CONV[rank](
            weight.shape[1] * groups, weight.shape[0], tuple(kernel), strides, tuple(before for before, _ in pads),
            dilations, groups, bias=bias is not None,
        )  # fmt: skip
        conv.weight.data = weight.contiguous()
        if bias is not None:
            conv.bias.data = bias
        return conv

    result: Value = layer.module(value, make, part)
    return result


def _out_first(kernel: torch.Tensor) -> torch.Tensor:
    """A kernel (*space, in, out) as (out, in, *space)."""
    rank = kernel.dim() - 2
    return kernel.permute(rank + 1, rank, *range(rank))


def _depthwise(layer: Layer, kernel: torch.Tensor) -> tuple[torch.Tensor, int]:
    """A kernel (*space, in, multiplier) as (in * multiplier, 1, *space), and the number of groups."""
    rank = kernel.dim() - 2
    channels = kernel.shape[rank]
    turned = kernel.permute(rank, rank + 1, *range(rank))
    return turned.reshape(-1, 1, *kernel.shape[:rank]), int(channels)


def _bias(layer: Layer) -> torch.Tensor | None:
    return layer.weight("bias") if layer.keras.use_bias else None


@imports("Conv1D", "Conv2D", "Conv3D")
def conv(layer: Layer) -> Placed:
    value = layer.space(layer.input)
    result = _convolved(layer, value, _out_first(layer.weight("kernel")), _bias(layer), int(layer.keras.groups))
    return layer.activated(layer.spatial(result))


@imports("DepthwiseConv1D", "DepthwiseConv2D")
def depthwise(layer: Layer) -> Placed:
    value = layer.space(layer.input)
    weight, groups = _depthwise(layer, layer.weight("kernel"))
    return layer.activated(layer.spatial(_convolved(layer, value, weight, _bias(layer), groups)))


@imports("SeparableConv1D", "SeparableConv2D")
def separable(layer: Layer) -> Placed:
    value = layer.space(layer.input)
    weight, groups = _depthwise(layer, layer.weight("depthwise_kernel"))
    value = _convolved(layer, value, weight, None, groups, "depthwise")
    mixed = _out_first(layer.weight("pointwise_kernel"))
    return layer.activated(layer.spatial(_convolved(layer, value, mixed, _bias(layer), 1, "pointwise", plain=True)))


@imports("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
def transposed(layer: Layer) -> Placed:
    """A convolution that enlarges, cut where TensorFlow cuts it: "same" takes off what a convolution would add."""
    value = layer.space(layer.input)
    kernel = layer.weight("kernel")
    rank = kernel.dim() - 2
    strides, dilations = pair(layer.keras.strides, rank), pair(layer.keras.dilation_rate, rank)
    if getattr(layer.keras, "output_padding", None) is not None or any(dilation > 1 for dilation in dilations):
        raise layer.fail("with output_padding or dilations is not read", "leave both out, or export the model to ONNX")

    weight = kernel.permute(rank + 1, rank, *range(rank)).contiguous()

    same = layer.keras.padding == "same"
    surplus = [side - stride for side, stride in zip(kernel.shape[:rank], strides)]
    if min(surplus) < 0:
        raise layer.fail(
            f"with a kernel {list(kernel.shape[:rank])} smaller than its stride {list(strides)} is not read"
        )

    even = same and all(number % 2 == 0 for number in surplus)
    padding = tuple(number // 2 for number in surplus) if even else (0,) * rank

    def make() -> nn.Module:
        sizes = weight.shape
        conv = _TRANSPOSED[rank](sizes[0], sizes[1], tuple(sizes[2:]), strides, padding, bias=layer.keras.use_bias)
        conv.weight.data = weight
        if layer.keras.use_bias:
            conv.bias.data = tensor_of(layer.keras.bias)
        return conv

    sizes = value.shape[2:]
    value = layer.module(value, make)
    for axis, (size, number, stride) in enumerate(zip(sizes, surplus, strides), 2):
        if same and not even and number:
            value = layer.call(torch.narrow, value, axis, number // 2, size * stride)

    return layer.activated(layer.spatial(value))
