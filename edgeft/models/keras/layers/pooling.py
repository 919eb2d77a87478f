"""Pools."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ...onnx.values import Value
from ..layer import Layer, pair
from ..placed import Placed
from ..registry import imports
from .convolution import padded, pads_of

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@imports("MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "AveragePooling1D", "AveragePooling2D", "AveragePooling3D")
def pool(layer: Layer) -> Placed:
    value = layer.space(layer.input)
    rank = len(value.shape) - 2
    kernel = pair(layer.keras.pool_size, rank)
    strides = pair(layer.keras.strides or kernel, rank)
    pads = pads_of(layer, value, kernel, strides, (1,) * rank)
    even = all(before == after and before * 2 <= side for (before, after), side in zip(pads, kernel))
    padding = [before for before, _ in pads] if even else [0] * rank

    if layer.kind.startswith("Max"):
        if not even:
            value = padded(layer, value, pads, float("-inf"))
        return layer.spatial(layer.call(_MAX[rank], value, list(kernel), list(strides), padding))

    return layer.spatial(_average(layer, value, kernel, strides, padding, None if even else pads))


def _average(
    layer: Layer,
    value: Value,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    padding: list[int],
    pads: list[tuple[int, int]] | None,
) -> Value:
    """Means of the pixels that are there: those of the padding do not count."""
    rank = len(kernel)
    function = _AVERAGE[rank]
    if pads is None:
        return layer.call(function, value, list(kernel), list(strides), padding, False, False)  # type: ignore[no-any-return]
    inside = layer.trace.constant(torch.ones(1, 1, *value.shape[2:]))
    means = layer.call(function, padded(layer, value, pads), list(kernel), list(strides), [0] * rank)
    shares = layer.call(function, padded(layer, inside, pads), list(kernel), list(strides), [0] * rank)
    return layer.call(torch.div, means, shares)  # type: ignore[no-any-return]


@imports(
    "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D",
    "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D",
)  # fmt: skip
def whole(layer: Layer) -> Placed:
    value = layer.space(layer.input)
    axes = list(range(2, len(value.shape)))
    function = torch.amax if "Max" in layer.kind else torch.mean
    result = layer.call(function, value, axes, keepdim=bool(layer.keras.keepdims))
    return layer.spatial(result) if layer.keras.keepdims else Placed(result)
