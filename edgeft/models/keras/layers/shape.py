"""Layers that move, cut, repeat or pad."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from ...onnx.values import Value
from ..layer import Layer, pair
from ..placed import FIRST, FLAT, Placed
from ..registry import imports
from .convolution import padded


@imports("Flatten")
def flatten(layer: Layer) -> Placed:
    placed = layer.input
    if placed.rank == 2:
        return placed
    if placed.form == FIRST and not layer.channels_first:
        return layer.flattened(placed)

    value = layer.order.plain(placed)
    if layer.channels_first and placed.rank > 2:
        value = layer.call(torch.movedim, value, 1, -1)

    return Placed(layer.call(torch.flatten, value, 1))


@imports("Reshape", "ops.Reshape")
def reshape(layer: Layer) -> Placed:
    placed = layer.input
    wish = [int(size) for size in (layer.keras.target_shape if layer.kind == "Reshape" else layer.keras.newshape[1:])]
    total = math.prod(placed.value.shape[1:])
    known = math.prod(size for size in wish if size != -1)
    sizes = [total // known if size == -1 else size for size in wish]
    if len(sizes) == 1 and placed.form == FIRST and math.prod(placed.value.shape[2:]) == 1:
        return Placed(layer.call(torch.flatten, placed.value, 1))  # whatever the size: it may be that of a classifier

    value = layer.order.plain(placed)
    if len(sizes) in (2, 3) and math.prod(sizes[:-1]) == 1:  # channels of one pixel
        return Placed(layer.trace.reshape(value, [1, sizes[-1], *sizes[:-1]]), FIRST)
    if len(sizes) == 3 and sizes[-1] == 1:  # a picture of one channel
        return Placed(layer.trace.reshape(value, [1, 1, *sizes[:-1]]), FIRST)

    return Placed(layer.trace.reshape(value, [1, *sizes]))


@imports("Permute", "ops.Transpose")
def permute(layer: Layer) -> Placed:
    axes = layer.keras.dims if layer.kind == "Permute" else layer.keras.axes
    value = layer.order.plain(layer.input)
    order = [0, *axes] if layer.kind == "Permute" else [int(axis) for axis in axes or ()]
    if len(order) != len(value.shape) or order[0] != 0:
        raise layer.fail(f"moves the batch axis: {order}")
    return Placed(layer.call(torch.permute, value, order))


@imports("RepeatVector")
def repeat(layer: Layer) -> Placed:
    value = layer.order.plain(layer.input)
    tall = layer.call(torch.unsqueeze, value, 1)
    return Placed(layer.call(torch.Tensor.expand, tall, -1, int(layer.keras.n), -1))


@imports("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def zero_padding(layer: Layer) -> Placed:
    value = layer.space(layer.input)
    return layer.spatial(padded(layer, value, _sides(layer.keras.padding)))


@imports("Cropping1D", "Cropping2D", "Cropping3D")
def cropping(layer: Layer) -> Placed:
    value = layer.space(layer.input)
    for axis, (before, after) in enumerate(_sides(layer.keras.cropping), 2):
        if before or after:
            value = layer.call(torch.narrow, value, axis, before, value.shape[axis] - before - after)
    return layer.spatial(value)


def _sides(padding: Any) -> list[tuple[int, int]]:
    rows = [padding] if isinstance(padding[0], int) else padding
    return [(int(before), int(after)) for before, after in rows]


@imports("UpSampling1D", "UpSampling2D")
def upsampling(layer: Layer) -> Placed:
    value = layer.space(layer.input)
    factors = pair(layer.keras.size, len(value.shape) - 2)
    mode = getattr(layer.keras, "interpolation", "nearest")
    if mode not in ("nearest", "bilinear"):
        raise layer.fail(f"with the interpolation {mode!r} is not read")
    return layer.spatial(_enlarged(layer, value, [s * f for s, f in zip(value.shape[2:], factors)], mode))


@imports("Resizing")
def resizing(layer: Layer) -> Placed:
    value = layer.space(layer.input)
    size = [int(layer.keras.height), int(layer.keras.width)]
    if list(value.shape[2:]) == size:
        return layer.input

    odd = layer.keras.crop_to_aspect_ratio or getattr(layer.keras, "pad_to_aspect_ratio", False)
    if layer.keras.interpolation not in ("nearest", "bilinear") or odd or getattr(layer.keras, "antialias", False):
        raise layer.fail("is read for nearest and bilinear interpolation without cropping, padding and antialiasing")

    if any(after < before for before, after in zip(value.shape[2:], size)) and layer.keras.interpolation == "nearest":
        layer.notes.add(f"{layer.name} makes its input smaller by choosing pixels")

    return layer.spatial(_enlarged(layer, value, size, layer.keras.interpolation))


def _enlarged(layer: Layer, value: Value, size: list[int], mode: str) -> Value:
    corners = None if mode == "nearest" else False
    result: Value = layer.call(F.interpolate, value, size, mode=mode, align_corners=corners)
    return result


@imports("ops.ExpandDims")
def expand(layer: Layer) -> Placed:
    value = layer.order.plain(layer.input)
    axis = int(layer.keras.axis) % (len(value.shape) + 1)
    if axis == 0:
        raise layer.fail("puts an axis before the batch")
    sizes = list(value.shape)
    sizes.insert(axis, 1)
    return Placed(layer.trace.reshape(value, sizes))


@imports("ops.Squeeze")
def squeeze(layer: Layer) -> Placed:
    value = layer.order.plain(layer.input)
    axis = layer.keras.axis
    axes = [a for a, size in enumerate(value.shape) if size == 1 and a] if axis is None else [axis % len(value.shape)]
    return Placed(layer.trace.reshape(value, [s for a, s in enumerate(value.shape) if a not in axes]))


@imports("ops.GetItem")
def item(layer: Layer) -> Placed:
    value = layer.order.plain(layer.input)
    key = layer.argument("key", 1)
    parts = list(key) if isinstance(key, tuple) else [key]
    if parts[:1] != [slice(None)] or not all(isinstance(p, (int, slice)) for p in parts):
        raise layer.fail(f"cuts {key!r}, and slices of whole batches are read alone")

    axis = 1
    for part in parts[1:]:
        if isinstance(part, int):
            value = layer.call(torch.select, value, axis, part)
            continue
        start, stop, step = part.indices(value.shape[axis])
        if step < 1:
            raise layer.fail("goes backwards")
        if (start, stop, step) != (0, value.shape[axis], 1):
            value = layer.call(_cut, value, axis, start, stop, step)
        axis += 1

    return Placed(value)


def _cut(value: torch.Tensor, axis: int, start: int, stop: int, step: int) -> torch.Tensor:
    return value[(slice(None),) * axis + (slice(start, stop, step),)]


@imports("ops.Mean", "ops.Max", "ops.Sum")
def reduce(layer: Layer) -> Placed:
    placed = layer.input
    if placed.form == FLAT:
        placed = Placed(layer.order.plain(placed))

    axis = layer.keras.axis
    axes = [a % placed.rank for a in (axis if isinstance(axis, (list, tuple)) else [axis])] if axis is not None else [0]
    if 0 in axes:
        raise layer.fail("reduces the batch axis")

    keep = bool(layer.keras.keepdims)
    function = {"ops.Mean": torch.mean, "ops.Max": torch.amax, "ops.Sum": torch.sum}[layer.kind]
    pixels = placed.form == FIRST and set(axes) == set(range(1, placed.rank - 1))

    if keep or pixels:
        value = layer.call(function, placed.value, [placed.axis(a) for a in axes], keepdim=keep)
        return Placed(value, placed.form if keep else "plain")

    return Placed(layer.call(function, layer.order.plain(placed), axes, keepdim=False))
