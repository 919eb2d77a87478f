"""In-place writes on views (`z[:, :4].relu_()`, `out[..., 1:] = x`): made functional, in ops that only move values.

torch's functionalization turns such a write into a scatter: the whole tensor with a part of it replaced. Here a scatter
becomes the concatenation of what stands before the part, the part, and what stands behind it, and a constant part (of
`zeros_like`, say) the padding of its neighbour. All of these are quantized like any reshape.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from .nodes import aten, attribute, set_attribute
from .normalize import SAME_TENSOR

_ZEROS = (aten.zeros_like.default, aten.zeros.default, aten.new_zeros.default, aten.zero.default)
_ONES = (aten.ones_like.default, aten.ones.default, aten.new_ones.default)
#: make a constant of numbers
_COUNTED = (aten.arange.default, aten.arange.start, aten.arange.start_step, aten.linspace.default, aten.eye.default)
#: position of the value in the arguments
_FILLS = {
    aten.full_like.default: 1,
    aten.full.default: 1,
    aten.new_full.default: 2,
    aten.fill.Tensor: 1,
    aten.fill.Scalar: 1,
}


def writes_to_views(graph: fx.Graph) -> bool:
    """Whether an in-place op changes a tensor that is read afterwards under another name, a view of it or its base."""
    order = {node: i for i, node in enumerate(graph.nodes)}
    base: dict[fx.Node, fx.Node] = {}
    same: dict[fx.Node, fx.Node] = {}
    family: dict[fx.Node, list[fx.Node]] = {}
    mutations = []

    for node in graph.nodes:
        source, exact = _aliased(node)
        base[node] = base.get(source, source) if source is not None else node
        same[node] = same.get(source, source) if source is not None and exact else node
        family.setdefault(base[node], []).append(node)
        if node.op == "call_function" and _mutates(node) and isinstance(node.args[0], fx.Node):
            mutations.append((node, node.args[0]))

    return any(
        same[alias] is not same[changed]
        and order[alias] < order[mutation]
        and any(order[user] > order[mutation] for user in alias.users)
        for mutation, changed in mutations
        for alias in family[base[changed]]
    )


def _mutates(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def _aliased(node: fx.Node) -> tuple[fx.Node | None, bool]:
    """The tensor whose memory this value may share, and whether it is the very same tensor (an in-place result)."""
    if node.op != "call_function" or not node.args or not isinstance(node.args[0], fx.Node):
        return None, False
    if getattr(node.target, "__name__", "") == "getitem":
        return node.args[0], False

    if node.target in SAME_TENSOR:
        return node.args[0], True

    schema = getattr(node.target, "_schema", None)
    if schema is None or not schema.returns or not schema.arguments or schema.arguments[0].alias_info is None:
        return None, False
    if not any(value.alias_info is not None for value in schema.returns):
        return None, False

    return node.args[0], bool(schema.is_mutable)


def fold_static(module: fx.GraphModule) -> None:
    """What follows from constants alone (a mask that is written part by part) is computed now and becomes a buffer."""
    known: dict[fx.Node, Any] = {}
    for node in module.graph.nodes:
        value = _static(module, node, known)
        if isinstance(value, (torch.Tensor, list, tuple)):
            known[node] = value

    for node, value in known.items():
        several = not isinstance(value, torch.Tensor)
        if several or node.op == "get_attr" or all(user in known for user in node.users):
            continue

        name = f"{node.name}_folded"
        set_attribute(module, name, value.detach().clone())
        with module.graph.inserting_before(node):
            folded = module.graph.get_attr(name)
        folded.meta["val"] = value
        node.replace_all_uses_with(folded, delete_user_cb=lambda user: user not in known)

    module.graph.eliminate_dead_code()


def _static(module: fx.GraphModule, node: fx.Node, known: dict[fx.Node, Any]) -> Any:
    """What a node computes of constants alone, a list where it gives several tensors; None where it does not."""
    if node.op == "get_attr":
        tensor = attribute(module, str(node.target))
        return None if isinstance(tensor, torch.nn.Parameter) else tensor
    if node.target is operator.getitem and node.args[0] in known:
        return known[node.args[0]][node.args[1]]
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return None

    shape, value = _shape(node), _written_value(module, node)
    if value is not None and shape is not None and all(isinstance(size, int) for size in shape):
        return torch.full(shape, value, dtype=node.meta["val"].dtype)
    if node.target in _COUNTED and not node.all_input_nodes:
        return node.target(*node.args, **node.kwargs)
    if not node.all_input_nodes or not all(source in known for source in node.all_input_nodes):
        return None

    return node.target(*fx.map_arg(node.args, known.get), **fx.map_arg(node.kwargs, known.get))


def _written_value(module: fx.GraphModule, node: fx.Node) -> float | None:
    """The number that fills the whole tensor, where this op writes one."""
    if node.target in _ZEROS:
        return 0.0
    if node.target in _ONES:
        return 1.0
    if node.target not in _FILLS:
        return None

    value = node.args[_FILLS[node.target]]
    while isinstance(value, fx.Node) and value.target in (aten.clone.default, aten.lift_fresh_copy.default):
        value = value.args[0]

    if isinstance(value, fx.Node):
        value = attribute(module, str(value.target)).item() if value.op == "get_attr" else None

    return float(value) if isinstance(value, (int, float)) else None


def scatters_to_concats(module: fx.GraphModule) -> None:
    """Scatters of a functionalized graph become concatenations and pads, where the sizes are numbers."""
    graph, rewrite = module.graph, _Rewrite(module)
    for node in list(graph.nodes):
        with graph.inserting_before(node):
            new = rewrite.of(node)
        if new is not node:
            node.replace_all_uses_with(new)
            rewrite.forget(node)

    graph.eliminate_dead_code()
    for node in list(graph.nodes):
        if node in rewrite.pieces:
            with graph.inserting_before(node):
                rewrite.pad(node)

    graph.eliminate_dead_code()


class _Rewrite:
    """Slices and concatenations with what is known of them: the `pieces` of a value, and which are one `number`."""

    def __init__(self, module: fx.GraphModule) -> None:
        self.module, self.graph = module, module.graph
        self.number: dict[fx.Node, float] = {}
        self.pieces: dict[fx.Node, tuple[int, list[fx.Node]]] = {}

    def forget(self, node: fx.Node) -> None:
        self.number.pop(node, None)
        self.pieces.pop(node, None)

    def of(self, node: fx.Node) -> fx.Node:
        """The node, or the one that takes its place."""
        args, target = node.args, node.target
        if node.op == "get_attr":
            tensor = attribute(self.module, str(target))
            if (
                not isinstance(tensor, torch.nn.Parameter)
                and tensor.numel()
                and bool((tensor == tensor.flatten()[0]).all())
            ):
                self.number[node] = float(tensor.flatten()[0])
            return node

        if node.op != "call_function":
            return node

        value = _written_value(self.module, node)
        if value is not None:
            self.number[node] = value
        elif target is aten.copy.default and _alike(node, args[1]):
            return args[1]
        elif target is aten.select.int and args[0] in self.number:
            self.number[node] = self.number[args[0]]
        elif target is aten.slice.Tensor and (cut := _bounds(node, args[0], args[1:])):
            return self.slice(args[0], *cut)
        elif target is aten.slice_scatter.default and (cut := _bounds(node, args[0], args[2:])):
            return self.scatter(args[0], args[1], *cut)
        elif target is aten.select_scatter.default and (cut := _index(args[0], *args[2:4])):
            part = self.graph.call_function(aten.unsqueeze.default, (args[1], cut[0]))
            part.meta.update(node.meta)
            part.meta["val"] = args[1].meta["val"].unsqueeze(cut[0])
            if args[1] in self.number:
                self.number[part] = self.number[args[1]]
            return self.scatter(args[0], part, *cut)

        return node

    def slice(self, source: fx.Node, dim: int, start: int, end: int) -> fx.Node:
        size = source.meta["val"].shape[dim]
        if (start, end) == (0, size):
            return source

        if source in self.pieces and self.pieces[source][0] == dim:
            position, parts = 0, []
            for piece in self.pieces[source][1]:
                length = piece.meta["val"].shape[dim]
                low, high = max(start - position, 0), min(end - position, length)
                if low < high:
                    parts.append(self.slice(piece, dim, low, high))
                position += length
            return self.concat(dim, parts)

        node = self.graph.call_function(aten.slice.Tensor, (source, dim, start, end))
        node.meta.update(source.meta)
        node.meta["val"] = source.meta["val"].narrow(dim, start, end - start)
        if source in self.number:
            self.number[node] = self.number[source]

        return node

    def scatter(self, source: fx.Node, part: fx.Node, dim: int, start: int, end: int) -> fx.Node:
        size = source.meta["val"].shape[dim]
        ends = [(0, start), (end, size)]
        before, after = ([self.slice(source, dim, *cut)] if cut[0] < cut[1] else [] for cut in ends)
        return self.concat(dim, [*before, part, *after])

    def concat(self, dim: int, parts: Sequence[fx.Node]) -> fx.Node:
        flat: list[fx.Node] = []
        for part in parts:
            flat += self.pieces[part][1] if part in self.pieces and self.pieces[part][0] == dim else [part]

        if len(flat) == 1:
            return flat[0]

        node = self.graph.call_function(aten.cat.default, (flat, dim))
        node.meta.update(flat[0].meta)
        node.meta["val"] = torch.cat([part.meta["val"] for part in flat], dim)
        self.pieces[node] = (dim, flat)
        numbers = [self.number[part] for part in flat if part in self.number]
        if len(numbers) == len(flat) and len(set(numbers)) == 1:
            self.number[node] = numbers[0]

        return node

    def pad(self, node: fx.Node) -> None:
        """Pieces that are one number become the padding of the piece beside them."""
        dim, pieces = self.pieces[node]
        if not any(piece in self.number for piece in pieces) or all(piece in self.number for piece in pieces):
            return

        parts: list[fx.Node] = []
        waiting: list[fx.Node] = []
        for piece in pieces:
            if piece in self.number and not parts:
                waiting.insert(0, piece)
            elif piece in self.number:
                parts[-1] = self.padded(parts[-1], piece, dim, behind=True)
            else:
                for number in waiting:
                    piece = self.padded(piece, number, dim, behind=False)
                waiting.clear()
                parts.append(piece)

        if len(parts) == 1:
            node.replace_all_uses_with(parts[0])
        else:
            node.args = (parts, dim)

    def padded(self, piece: fx.Node, number: fx.Node, dim: int, behind: bool) -> fx.Node:
        value = piece.meta["val"]
        amount = number.meta["val"].shape[dim]
        amounts = [0, 0] * (value.dim() - 1 - dim) + ([0, amount] if behind else [amount, 0])
        node = self.graph.call_function(aten.constant_pad_nd.default, (piece, amounts, self.number[number]))
        node.meta.update(piece.meta)
        node.meta["val"] = torch.ops.aten.constant_pad_nd(value, amounts, self.number[number])
        return node


def _shape(node: Any) -> tuple[Any, ...] | None:
    value = node.meta.get("val") if isinstance(node, fx.Node) else None
    return tuple(value.shape) if isinstance(value, torch.Tensor) else None


def _alike(first: fx.Node, second: Any) -> bool:
    """Whether both have one shape and dtype."""
    return _shape(first) == _shape(second) and first.meta["val"].dtype == second.meta["val"].dtype


def _bounds(node: fx.Node, source: fx.Node, args: Sequence[Any]) -> tuple[int, int, int] | None:
    """(axis, start, end) of a slice without a step, as numbers from 0 to the size."""
    arguments: tuple[Any, ...] = (*args, *(0, None, None, 1)[len(args) :])
    dim, start, end, step = arguments
    value = source.meta["val"]
    dim %= value.dim()
    size = value.shape[dim]
    if step != 1 or not all(v is None or isinstance(v, int) for v in (start, end)):
        return None
    if not isinstance(size, int):
        return (dim, 0, size) if start in (None, 0) and end in (None, 2**63 - 1) else None

    low, high, _ = slice(start, end).indices(size)
    return (dim, low, high) if low < high else None


def _index(source: fx.Node, dim: int, index: Any) -> tuple[int, int, int] | None:
    value = source.meta["val"]
    dim %= value.dim()
    size = value.shape[dim]
    if not isinstance(size, int) or not isinstance(index, int):
        return None

    return dim, index % size, index % size + 1
