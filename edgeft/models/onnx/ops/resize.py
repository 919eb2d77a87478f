"""Resizing of pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ..node import Node
from ..registry import operator
from ..values import Value

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True)
class _Target:
    """What an axis becomes: its new size, and the factor that positions are divided by."""

    size: int
    scale: float

    def exact(self, length: int) -> bool:
        """Whether the factor is that of the two sizes, from which torch computes it."""
        return math.isclose(self.scale * length, self.size, rel_tol=1e-6)


@operator("Resize", "Upsample")
def resize(node: Node) -> Value:
    value = node.input()
    targets = _targets(node, value)
    if all(target.size == length and target.exact(length) for target, length in zip(targets, value.shape)):
        return value
    mode = str(node.attribute("mode", "nearest"))
    if mode == "nearest":
        return _nearest(node, value, targets)
    return _smooth(node, value, targets, mode)


def _smooth(node: Node, value: Value, targets: Sequence[_Target], mode: str) -> Value:
    """Linear and cubic interpolation, where torch has the same positions."""
    space, lengths = targets[2:], value.shape[2:]
    if any(target.size != length for target, length in zip(targets[:2], value.shape)):
        raise node.fail("resizes the batch or the channels; only axes after them are supported")

    if mode == "linear" and len(space) in _LINEAR:
        name = _LINEAR[len(space)]
    elif mode == "cubic" and len(space) == 2 and float(node.attribute("cubic_coeff_a", -0.75)) == -0.75:
        name = "bicubic"
    else:
        raise node.fail(f"the mode {mode!r} over {len(space)} axes is not supported")

    where = _positions(node)
    exact = all(target.exact(length) for target, length in zip(space, lengths))
    single = any(target.size == 1 < length for target, length in zip(space, lengths))
    known = where == "half_pixel" or (where == "pytorch_half_pixel" and not single)
    known |= where == "align_corners" and exact
    if not known or node.attribute("antialias", 0) or node.attribute("exclude_outside", 0):
        raise node.fail(f"the positions {where!r} with the mode {mode!r} and these options are not supported")

    if exact:
        sizes = [target.size for target in space]
        return node.call(F.interpolate, value, sizes, mode=name, align_corners=where == "align_corners")  # type: ignore[no-any-return]

    factors = [target.scale for target in space]
    return node.call(  # type: ignore[no-any-return]
        F.interpolate, value, None, factors, name, False, recompute_scale_factor=False
    )


def _nearest(node: Node, value: Value, targets: Sequence[_Target]) -> Value:
    """Nearest values: torch's own op where it picks the same positions, else the positions themselves."""
    indices = [_indices(node, target, length) for target, length in zip(targets, value.shape)]
    as_torch = all(
        (positions == np.arange(len(positions)) * length // max(len(positions), 1)).all()
        for positions, length in zip(indices, value.shape)
    )
    same_front = all(len(positions) == length for positions, length in zip(indices[:2], value.shape))
    if as_torch and same_front and len(targets) == 4:
        return node.call(F.interpolate, value, [target.size for target in targets[2:]], mode="nearest")  # type: ignore[no-any-return]

    for axis, positions in enumerate(indices):
        if list(positions) != list(range(value.shape[axis])):
            value = node.call(torch.index_select, value, axis, node.trace.constant(torch.from_numpy(positions)))

    return value


def _indices(node: Node, target: _Target, length: int) -> np.ndarray:
    """The position that each new element is taken from, int64 (target.size,), as the standard of ONNX defines it."""
    where, at = _positions(node), np.arange(target.size, dtype=np.float64)
    if where == "asymmetric":
        source = at / target.scale
    elif where == "align_corners":
        source = at * (length - 1) / max(target.size - 1, 1)
    elif where in ("half_pixel", "pytorch_half_pixel"):
        source = (at + 0.5) / target.scale - 0.5
        source = np.zeros_like(source) if where != "half_pixel" and target.size == 1 else source
    else:
        raise node.fail(f"the positions {where!r} are not supported")

    old = node.op == "Upsample" or node.opset < 11
    rounding = "floor" if old else str(node.attribute("nearest_mode", "round_prefer_floor"))
    functions: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda x: np.ceil(x - 0.5),
        "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    }
    positions = functions[rounding](np.round(source, 6))

    return np.clip(positions, 0, length - 1).astype(np.int64)  # type: ignore[no-any-return]


def _positions(node: Node) -> str:
    old = node.op == "Upsample" or node.opset < 11
    return str(node.attribute("coordinate_transformation_mode", "asymmetric" if old else "half_pixel"))


def _targets(node: Node, value: Value) -> list[_Target]:
    """What each axis becomes, from the input with sizes or with scales."""
    axes = [int(axis) % len(value.shape) for axis in node.attribute("axes") or range(len(value.shape))]
    targets = [_Target(length, 1.0) for length in value.shape]
    if node.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise node.fail("keeping the aspect ratio is not supported")

    if node.opset >= 11 and node.op == "Resize" and node.has(3) and node.known(3, "the new size").size:
        for axis, size in zip(axes, node.known(3, "the new size")):
            targets[axis] = _Target(int(size), float(size) / value.shape[axis])
        return targets

    at = 2 if node.opset >= 11 and node.op == "Resize" else 1
    scales = node.known(at, "the scale") if node.has(at) else node.attribute("scales")
    if scales is None or not len(scales):
        raise node.fail("has neither a size nor a scale")

    for axis, scale in zip(axes, scales):
        targets[axis] = _Target(math.floor(value.shape[axis] * float(scale) + 1e-6), float(scale))

    return targets
