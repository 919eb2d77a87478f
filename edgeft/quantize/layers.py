"""Layers by the names that `quantize.keep_float` takes: which nodes a pattern holds, and whose a quantized value is.

A layer is what has weights. A ReLU, an addition or a reshape has none: held in float alone it only makes the runtime
convert back and forth, so it is named by the layers with weights beside it.
"""

from __future__ import annotations

import fnmatch
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import fx

from ..core.errors import RecipeError, nearest
from ..graph.nodes import module_path
from .rules import rule_of
from .tables import is_table


@dataclass(frozen=True)
class ValueOf:
    """Whose a quantized value is: `layers` are patterns of `keep_float`, `role` is "output", or "input" of them."""

    layers: tuple[str, ...]
    role: str


def has_weights(node: fx.Node) -> bool:
    """Whether a node is a layer: its weight (or the table that it looks up) is a constant of the graph."""
    if is_table(node):
        return True
    rule = rule_of(node)
    return rule is not None and rule.kind == "weighted" and _weight_name(node) != ""


def layer_name(node: fx.Node) -> str:
    """The name of a layer: that of the module which owns its weight."""
    weight = _weight_name(node)
    return weight.rsplit(".", 1)[0] if "." in weight else module_path(node) or weight


def names(node: fx.Node) -> Iterator[str]:
    """The names of a node that a pattern may match. The graph's own name ("add_1") only counts where the model has
    none for it: "conv*" must not match every "conv2d_3"."""
    yield module_path(node) or node.name
    if weight := _weight_name(node):
        yield weight.rsplit(".", 1)[0]


def _weight_name(node: fx.Node) -> str:
    position = 0 if is_table(node) else 1
    weight = node.args[position] if len(node.args) > 1 else None
    return str(weight.target) if isinstance(weight, fx.Node) and weight.op == "get_attr" else ""


def held_in_float(nodes: Sequence[fx.Node], patterns: Sequence[str]) -> set[fx.Node]:
    """The nodes that `keep_float` patterns hold. Raises `RecipeError` for a pattern that holds no layer with weights,
    with the layers that it may have meant."""
    held: set[fx.Node] = set()
    for pattern in patterns:
        matched = {node for node in nodes if any(_matches(name, pattern) for name in names(node))}
        if not any(map(has_weights, matched)):
            raise _no_layer(pattern, [node for node in nodes if node in matched], nodes)
        held |= matched

    return held


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) or name.startswith(pattern + ".")


def _no_layer(pattern: str, matched: Sequence[fx.Node], nodes: Sequence[fx.Node]) -> RecipeError:
    layers = list(dict.fromkeys(layer_name(node) for node in nodes if has_weights(node)))
    if not matched:
        remedy = f"{nearest(pattern.rstrip('.*'), layers)}; layer names are the model's own, e.g. "
        return RecipeError(f"keep_float pattern {pattern!r} matches no layer", remedy=remedy + ", ".join(layers[:5]))

    ops = ", ".join(dict.fromkeys(f"{next(names(node))} ({_op(node)})" for node in matched[:3]))
    beside = dict.fromkeys(name for node in matched for name in (*_before(node), *_after([node])))

    return RecipeError(
        f"keep_float pattern {pattern!r} matches no layer with weights, only {ops}",
        remedy="without its layer in float such an op costs conversions and gains nothing; name the layer: "
        + (" or ".join(map(repr, beside)) or nearest(pattern.rstrip(".*"), layers)),
    )


def _op(node: fx.Node) -> str:
    return getattr(node.target, "__name__", str(node.target)).split(".")[0]


def value_of(nodes: Iterable[fx.Node], readers: Iterable[fx.Node]) -> ValueOf:
    """Whose the values of `nodes` are, which share one grid: the output of the layers that compute them (behind which
    a ReLU melts into the layer), else the input of the layers that read them, else the output of the
    nearest layers before them.

    `readers` are the ops that read the values quantized.
    """
    nodes = list(nodes)
    computed = [node for node in map(_without_clamp, nodes) if has_weights(node)]
    if computed:
        return ValueOf(tuple(dict.fromkeys(map(layer_name, computed))), "output")

    readers = list(readers)
    if read := tuple(dict.fromkeys(layer_name(r) for r in readers if has_weights(r))) or _after(readers):
        return ValueOf(read, "input")

    before = tuple(dict.fromkeys(name for node in nodes for name in _before(node)))
    return ValueOf(before or tuple(node.name for node in nodes[:1]), "output")


def _without_clamp(node: fx.Node) -> fx.Node:
    rule = rule_of(node)
    source = node.args[0] if node.args else None
    return source if rule is not None and rule.kind == "fuse" and isinstance(source, fx.Node) else node


def _before(node: fx.Node) -> tuple[str, ...]:
    """The nearest layers that the node's value comes from."""
    return _nearest([node], lambda at: at.all_input_nodes)


def _after(nodes: Sequence[fx.Node]) -> tuple[str, ...]:
    """The nearest layers that what `nodes` compute goes into."""
    return _nearest(nodes, lambda at: at.users)


def _nearest(start: Sequence[fx.Node], step: Callable[[fx.Node], Iterable[fx.Node]]) -> tuple[str, ...]:
    """The names of the layers that a walk by `step` meets first, on every way.

    Where it has met some, it does not go on through an addition or another op that joins values: behind the additions
    of a residual network lie all its other layers.
    """
    waiting, visited = deque(start), set(start)
    layers: list[str] = []
    while waiting:
        at = waiting.popleft()
        if layers and _joins(at):
            continue
        for node in step(at):
            if node in visited:
                continue
            visited.add(node)
            if has_weights(node):
                layers.append(layer_name(node))
            else:
                waiting.append(node)

    return tuple(dict.fromkeys(layers))


def _joins(node: fx.Node) -> bool:
    return len([source for source in node.all_input_nodes if source.op != "get_attr"]) > 1
