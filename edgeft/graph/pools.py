"""Pools by what they mean at the size of their input, in ops that every runtime has."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from .nodes import aten, set_attribute


def global_pools(module: fx.GraphModule) -> None:
    """Adaptive average pools by what they mean at this size, in ops that every runtime has.

    To 1x1 -> `mean`; same size -> nothing; divisible -> `avg_pool2d`; a whole multiple -> nearest upsampling; windows
    of unequal sizes -> one linear layer an axis, whose rows of equal weights are exact in int8.
    """
    graph = module.graph
    for node in list(graph.nodes):
        if node.target not in (aten.adaptive_avg_pool2d.default, aten._adaptive_avg_pool2d.default):
            continue

        source, known = node.args[0], node.args[0].meta["val"].shape[2:]
        asked = node.args[1] if isinstance(node.args[1], (list, tuple)) else [node.args[1]] * 2
        out = [known[i] if v is None else v for i, v in enumerate(asked)]
        if not all(isinstance(v, int) for v in (*known, *out)) and out != [1, 1]:
            continue

        with graph.inserting_before(node):
            if out == [1, 1]:
                new = graph.call_function(aten.mean.dim, (source, [2, 3], True))
            elif list(known) == out:
                new = source
            elif all(s % o == 0 for s, o in zip(known, out)):
                step = [s // o for s, o in zip(known, out)]
                new = graph.call_function(aten.avg_pool2d.default, (source, step, step))
            elif all(o % s == 0 for s, o in zip(known, out)):
                new = graph.call_function(aten.upsample_nearest2d.vec, (source, out, None))
            else:
                new = _uneven_pool(module, node, [int(s) for s in known], out)

        if new is not source:
            new.meta.update(node.meta)
        node.replace_all_uses_with(new)
        graph.erase_node(node)


def _uneven_pool(module: fx.GraphModule, node: fx.Node, size: list[int], out: list[int]) -> fx.Node:
    """Averages along W, then along H, of a value (N, C, H, W).

    torch's window i of o over s elements: from floor(i s / o) to ceil((i + 1) s / o).
    """
    graph, value = module.graph, node.args[0]
    assert isinstance(value, fx.Node)

    for axis in (1, 0):
        length, windows = size[axis], out[axis]
        rows = torch.zeros(windows, length)
        for i in range(windows):
            start, end = i * length // windows, -(-(i + 1) * length // windows)
            rows[i, start:end] = 1.0 / (end - start)

        # one name for equal windows: converters store equal constants once
        name = f"{node.name}.windows_{length}_{windows}"
        set_attribute(module, name, rows)
        weight = graph.get_attr(name)
        weight.meta["val"] = rows
        before = value.meta["val"]
        pooled = graph.call_function(aten.linear.default, (value, weight))
        value = graph.call_function(aten.transpose.int, (pooled, 2, 3))
        for new in (pooled, value):
            new.meta.update(node.meta)

        pooled.meta["val"] = before.new_empty((*before.shape[:3], windows))
        value.meta["val"] = pooled.meta["val"].transpose(2, 3)

    return value


def one_dimensional(module: fx.GraphModule) -> None:
    """Average pools over one axis as those over two, one of which has the size 1; LiteRT has no others."""
    graph = module.graph
    for node in list(graph.nodes):
        if node.target not in (aten.avg_pool1d.default, aten.adaptive_avg_pool1d.default):
            continue

        source, value = node.args[0], node.args[0].meta["val"]
        with graph.inserting_before(node):
            wide = graph.call_function(aten.unsqueeze.default, (source, 2))
            if node.target is aten.adaptive_avg_pool1d.default:
                out = node.args[1][0] if isinstance(node.args[1], (list, tuple)) else node.args[1]
                pool = graph.call_function(aten.adaptive_avg_pool2d.default, (wide, [1, out]))
            else:
                arguments: tuple[Any, ...] = (*node.args[1:], *([], [0], False, True)[len(node.args) - 2 :])
                kernel, stride, padding = arguments[:3]
                sizes = [[1, kernel[0]], [1, (stride or kernel)[0]], [0, padding[0]]]
                pool = graph.call_function(aten.avg_pool2d.default, (wide, *sizes, *arguments[3:]))
            narrow = graph.call_function(aten.squeeze.dim, (pool, 2))

        wide.meta.update(source.meta)
        wide.meta["val"] = value.unsqueeze(2)
        for new in (pool, narrow):
            new.meta.update(node.meta)
        pool.meta["val"] = node.meta["val"].unsqueeze(2)
        node.replace_all_uses_with(narrow)
        graph.erase_node(node)


def maximum_pools(module: fx.GraphModule) -> None:
    """Adaptive maximum pools: to 1x1 -> `amax`; divisible -> `max_pool2d`; else the maxima of slices, joined."""
    graph = module.graph
    for node in list(graph.nodes):
        if node.target is not aten.adaptive_max_pool2d.default:
            continue

        source, out = (
            node.args[0],
            list(node.args[1]) if isinstance(node.args[1], (list, tuple)) else [node.args[1]] * 2,
        )
        sizes = list(source.meta["val"].shape[2:])
        values = [user for user in node.users if user.args[1:] == (0,)]
        if len(values) != len(node.users) or not all(isinstance(size, int) for size in sizes):
            continue  # the positions of the maxima are asked for

        out = [size if wanted is None else wanted for size, wanted in zip(sizes, out * (2 // len(out)))]
        with graph.inserting_before(node):
            if out == [1, 1]:
                new = graph.call_function(aten.amax.default, (source, [2, 3], True))
            elif all(size % wanted == 0 for size, wanted in zip(sizes, out)):
                step = [size // wanted for size, wanted in zip(sizes, out)]
                new = graph.call_function(aten.max_pool2d.default, (source, step, step))
            else:
                new = _maxima(graph, _maxima(graph, source, 2, out[0]), 3, out[1])

        new.meta.update(values[0].meta if values else {})
        for user in values:
            user.replace_all_uses_with(new)
            graph.erase_node(user)
        graph.erase_node(node)


def _maxima(graph: fx.Graph, source: fx.Node, axis: int, windows: int) -> fx.Node:
    """The maximum of each of torch's windows along an axis: from floor(i s / o) to ceil((i + 1) s / o)."""
    size, parts = source.meta["val"].shape[axis], []
    for i in range(windows):
        start, end = i * size // windows, -(-(i + 1) * size // windows)
        part = graph.call_function(aten.slice.Tensor, (source, axis, start, end))
        part.meta.update(source.meta)
        part.meta["val"] = source.meta["val"].narrow(axis, start, end - start)
        top = graph.call_function(aten.amax.default, (part, [axis], True))
        top.meta.update(source.meta)
        top.meta["val"] = part.meta["val"].amax(axis, keepdim=True)
        parts.append(top)

    if len(parts) == 1:
        return parts[0]

    joined = graph.call_function(aten.cat.default, (parts, axis))
    joined.meta.update(source.meta)
    joined.meta["val"] = torch.cat([part.meta["val"] for part in parts], axis)

    return joined
