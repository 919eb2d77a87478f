"""Ops that move, select or repeat values, and shapes as values."""

from __future__ import annotations

import math
import operator as python
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..node import Node
from ..registry import operator
from ..values import Value, numbers


@operator("Shape")
def shape(node: Node) -> Value:
    sizes = node.input().shape[node.attribute("start", 0) : node.attribute("end")]
    return node.trace.constant(torch.tensor(sizes, dtype=torch.int64))


@operator("Size")
def size(node: Node) -> Value:
    return node.trace.constant(torch.tensor(math.prod(node.input().shape), dtype=torch.int64))


@operator("Reshape")
def reshape(node: Node) -> Value:
    value = node.input()
    wish = node.ints(1, "shape", "the new shape")
    if wish is None:
        raise node.fail("has no shape")

    if not node.attribute("allowzero", 0):
        wish = [value.shape[axis] if size == 0 and axis < len(value.shape) else size for axis, size in enumerate(wish)]

    total, rest = math.prod(value.shape), math.prod(size for size in wish if size != -1)
    if wish.count(-1) > 1 or (rest and total % rest) or (-1 not in wish and rest != total):
        raise node.fail(f"a tensor of the shape {value.shape} cannot get the shape {tuple(wish)}")

    return node.trace.reshape(value, [total // rest if size == -1 and rest else size for size in wish])


@operator("Flatten")
def flatten(node: Node) -> Value:
    value = node.input()
    axis = int(node.attribute("axis", 1))
    axis += len(value.shape) if axis < 0 else 0
    return node.trace.reshape(value, [math.prod(value.shape[:axis]), math.prod(value.shape[axis:])])


@operator("Transpose")
def transpose(node: Node) -> Value:
    value = node.input()
    order = node.attribute("perm") or list(reversed(range(len(value.shape))))
    if sorted(order) != list(range(len(value.shape))):
        raise node.fail(f"the order {order} does not fit an input of the shape {value.shape}")
    return node.permuted(value, [int(axis) for axis in order])


@operator("Squeeze")
def squeeze(node: Node) -> Value:
    value = node.input()
    axes = node.ints(1, "axes", "the axes")
    if axes is None:
        axes = [axis for axis, length in enumerate(value.shape) if length == 1 and axis != value.batch_axis]

    axes = [axis % len(value.shape) for axis in axes]
    if any(value.shape[axis] != 1 for axis in axes):
        raise node.fail(f"a tensor of the shape {value.shape} has other axes than {axes} to be left out")
    if value.batch_axis in axes:
        raise node.fail("leaves out the axis of the batch", "export the model so that its batch axis stays")

    return node.call(torch.squeeze, value, axes) if axes else value


@operator("Unsqueeze")
def unsqueeze(node: Node) -> Value:
    value = node.input()
    axes = node.ints(1, "axes", "the axes") or []
    rank = len(value.shape) + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        value = node.call(torch.unsqueeze, value, axis)
    return value


@operator("Concat")
def concat(node: Node) -> Value:
    values = [node.input(position) for position in range(len(node.inputs))]
    axis = node.axis(0)
    batched = next((value for value in values if value.batch_axis is not None), None)

    if batched is not None:
        at = batched.batch_axis
        values = [_to_batch(node, value, batched) if value.batch_axis != at else value for value in values]

    try:
        return node.call(torch.cat, values, axis)  # type: ignore[no-any-return]
    except RuntimeError as error:
        raise node.fail(f"inputs of the shapes {', '.join(str(value.shape) for value in values)} do not fit") from error


def _to_batch(node: Node, value: Value, like: Value) -> Value:
    """A value that is the same for every sample, repeated for each sample of a batch."""
    assert like.batch_axis is not None
    return node.call(_repeated, value, like, like.batch_axis)  # type: ignore[no-any-return]


def _repeated(x: torch.Tensor, like: torch.Tensor, axis: int) -> torch.Tensor:
    sizes = list(x.shape)
    sizes[axis] = like.shape[axis] if sizes[axis] == 1 else sizes[axis]
    return x.expand(sizes)


@operator("Split")
def split(node: Node) -> Sequence[Value]:
    value = node.input()
    axis = node.axis(0)
    sizes = node.ints(1, "split", "the sizes")

    if sizes is None:
        parts = int(node.attribute("num_outputs", len(node.outputs)))
        each = -(-value.shape[axis] // parts)
        sizes = [min(each, value.shape[axis] - each * part) for part in range(parts)]

    if sum(sizes) != value.shape[axis]:
        raise node.fail(f"the parts {sizes} do not sum to {value.shape[axis]}")
    return node.call(torch.split, value, sizes, axis)  # type: ignore[no-any-return]


@operator("Slice")
def slice_(node: Node) -> Value:
    value = node.input()
    starts, ends = node.ints(1, "starts", "the beginning"), node.ints(2, "ends", "the end")
    if starts is None or ends is None:
        raise node.fail("lacks its beginning or end")

    axes = node.ints(3, "axes", "the axes") or list(range(len(starts)))
    steps = node.ints(4, "steps", "the steps") or [1] * len(starts)
    parts = [slice(None)] * len(value.shape)
    turned = []

    for axis, start, end, step in zip(axes, starts, ends, steps):
        axis %= len(value.shape)
        length = value.shape[axis]
        if step < 0:
            positions = range(length)[start : end if end >= -length else None : step]
            turned.append(axis)
            low = positions[-1] if len(positions) else 0
            parts[axis] = slice(low, positions[0] + 1 if len(positions) else low, -step)
            continue
        if (start % length if -length <= start < 0 else max(start, 0)) == 0 and step == 1 and end >= length:
            continue
        parts[axis] = slice(max(start, -length), min(max(end, -length - 1), length), step)
        if end < -length:
            parts[axis] = slice(0, 0)

    if any(part != slice(None) for part in parts):
        value = node.call(python.getitem, value, tuple(parts))

    return node.call(torch.flip, value, turned) if turned else value


@operator("Gather")
def gather(node: Node) -> Value:
    data, indices = node.input(0), node.input(1)
    axis = node.axis(0)
    if not indices.constant:
        if not data.constant or axis or len(data.shape) != 2:
            raise node.fail("gathers at computed positions; only rows of a constant table can be looked up so")
        layer = nn.Embedding(*data.shape)
        layer.weight.data = data.tensor.clone()
        return node.trace.module(node.layer_name(data), layer, indices)  # type: ignore[no-any-return]

    length, wish = data.shape[axis], numbers(indices)
    if wish.size and (wish.min() < -length or wish.max() >= length):
        raise node.fail(f"reads position {int(wish.max())} of an axis of {length}")

    positions = torch.from_numpy(np.where(wish < 0, wish + length, wish).astype(np.int64))
    if positions.dim() == 0:
        return node.call(torch.select, data, axis, int(positions))  # type: ignore[no-any-return]

    chosen: Value = node.call(torch.index_select, data, axis, node.trace.constant(positions.reshape(-1)))
    if positions.dim() == 1:
        return chosen

    return node.trace.reshape(chosen, [*data.shape[:axis], *positions.shape, *data.shape[axis + 1 :]])


@operator("GatherElements")
def gather_elements(node: Node) -> Value:
    return node.call(_gather_elements, node.input(0), node.axis(0), node.input(1))  # type: ignore[no-any-return]


def _gather_elements(x: torch.Tensor, axis: int, indices: torch.Tensor) -> torch.Tensor:
    indices = indices.long()
    return torch.gather(x, axis, torch.where(indices < 0, indices + x.shape[axis], indices))


@operator("ScatterND")
def scatter(node: Node) -> Value:
    """Writes at constant positions (the masks of shifted windows)."""
    reduction = node.attribute("reduction", "none")
    if reduction not in ("none", "add"):
        raise node.fail(f"the reduction {reduction!r} is not supported")
    positions = torch.from_numpy(node.known(1, "where it writes").astype(np.int64))
    lengths = torch.tensor(node.input().shape[: positions.shape[-1]])
    columns = torch.where(positions < 0, positions + lengths, positions).unbind(-1)
    places = tuple(node.trace.constant(column) for column in columns)
    return node.call(torch.index_put, node.input(0), places, node.input(2), reduction == "add")  # type: ignore[no-any-return]


@operator("Expand")
def expand(node: Node) -> Value:
    value = node.input()
    wish = node.ints(1, "shape", "the new shape") or []
    sizes = np.broadcast_shapes(value.shape, tuple(wish))
    if sizes == value.shape:
        return value
    front = len(sizes) - len(value.shape)
    keep = [-1 if at >= front and value.shape[at - front] == length else length for at, length in enumerate(sizes)]
    return node.call(torch.Tensor.expand, value, keep)  # type: ignore[no-any-return]


@operator("Tile")
def tile(node: Node) -> Value:
    repeats = node.ints(1, "repeats", "the number of repeats") or []
    return node.call(torch.tile, node.input(), repeats) if any(n != 1 for n in repeats) else node.input()


@operator("Pad")
def pad(node: Node) -> Value:
    value = node.input()
    pads = node.ints(1, "pads", "the pads")
    if pads is None:
        pads = [int(number) for number in node.attribute("paddings", [])]

    mode = node.attribute("mode", "constant")
    rank = len(value.shape)
    axes = [axis % rank for axis in (node.ints(3, "axes", "the axes") or range(rank))]
    fill = float(node.known(2, "the fill value").item()) if node.has(2) else float(node.attribute("value", 0.0))
    pairs = [(0, 0)] * rank
    for at, axis in enumerate(axes):
        pairs[axis] = pads[at], pads[at + len(axes)]

    modes = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    if mode not in modes:
        raise node.fail(f"the mode {mode!r} is not supported")

    while pairs and pairs[0] == (0, 0):
        pairs = pairs[1:]

    flat = [number for pair in reversed(pairs) for number in pair]
    if not flat:
        return value
    if mode == "constant":
        return node.call(F.pad, value, flat, value=fill)  # type: ignore[no-any-return]

    try:
        return node.call(F.pad, value, flat, mode=modes[mode])  # type: ignore[no-any-return]
    except (RuntimeError, NotImplementedError) as error:
        raise node.fail(f"padding by the mode {mode!r} is supported over the last axes alone") from error


@operator("DepthToSpace")
def depth_to_space(node: Node) -> Value:
    value, block = node.input(), int(node.attribute("blocksize"))
    if node.attribute("mode", "DCR") == "CRD":
        return node.call(F.pixel_shuffle, value, block)  # type: ignore[no-any-return]
    n, channels, height, width = value.shape
    parted = node.trace.reshape(value, [n, block, block, channels // block**2, height, width])
    moved = node.permuted(parted, [0, 3, 4, 1, 5, 2])
    return node.trace.reshape(moved, [n, channels // block**2, height * block, width * block])


@operator("SpaceToDepth")
def space_to_depth(node: Node) -> Value:
    value, block = node.input(), int(node.attribute("blocksize"))
    n, channels, height, width = value.shape
    parted = node.trace.reshape(value, [n, channels, height // block, block, width // block, block])
    crd = node.attribute("mode", "DCR") == "CRD"
    moved = node.permuted(parted, [0, 1, 3, 5, 2, 4] if crd else [0, 3, 5, 1, 2, 4])
    return node.trace.reshape(moved, [n, channels * block**2, height // block, width // block])
