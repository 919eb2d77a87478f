"""A network as a pile of blocks, from the input up: what layer-wise rates and gradual unfreezing count in.

Blocks are read off the order in which a module registers its parts, which in nearly every network is the order in which
they compute. A part of a stack (`nn.Sequential`, `nn.ModuleList`) is a block; outside of stacks a layer is one.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

#: the name under which a layer holds a low-rank adapter: it belongs to its layer's block
ADAPTER = "lora"
_STACKS = (nn.Sequential, nn.ModuleList)
_WEIGHTED = (nn.modules.conv._ConvNd, nn.Linear, nn.Embedding, nn.EmbeddingBag)


def under(name: str, prefix: str) -> bool:
    """Is `name` the module or parameter `prefix`, or inside of it? Nothing is inside of an empty prefix."""
    return bool(prefix) and (name == prefix or name.startswith(prefix + "."))


def blocks(module: nn.Module, head: str) -> list[tuple[str, ...]]:
    """Names of parameters, a tuple a block, the lowest block first; the head's own are left out.

    What has no weights of its own (a norm) goes with the block before it, and embeddings in a row are one block. What a
    container holds itself (a class token) goes with the block after it. Every parameter outside of the head is in
    exactly one block; one that two layers share counts where it comes first.
    """
    known = {name for name, _ in module.named_parameters()}  # of a shared parameter the first name
    block_names: list[list[str]] = []
    waiting: list[str] = []
    kind_before: str = ""

    for prefix, part, kind in _units(module, "", in_stack=False, head=head):
        if isinstance(part, nn.Parameter):
            waiting += [prefix] if prefix in known else []
            continue

        names = [
            n
            for n in (f"{prefix}.{parameter}" for parameter, _ in part.named_parameters())
            if n in known and not under(n, head)
        ]
        if not names:
            continue

        joins = kind == "plain" or (kind == "embedding" and kind_before == "embedding")
        if joins and block_names:
            block_names[-1] += names
        else:
            block_names.append(waiting + names)
            waiting, kind_before = [], kind

    if waiting:
        block_names = [*block_names[:-1], [*block_names[-1], *waiting]] if block_names else [waiting]

    return [tuple(names) for names in block_names]


def _units(
    module: nn.Module, prefix: str, *, in_stack: bool, head: str
) -> Iterator[tuple[str, nn.Module | nn.Parameter, str]]:
    """(name, part, kind) in order; kind: "embedding", "plain" (no weights), "block". Bare parameters come as such."""
    for name, parameter in module._parameters.items():
        if parameter is not None:
            yield f"{prefix}{name}", parameter, "bare"

    stack = isinstance(module, _STACKS)
    others = [n for n, child in module.named_children() if n != head and next(child.parameters(), None) is not None]
    for name, child in module.named_children():
        dotted = f"{prefix}{name}"
        if under(dotted, head) or next(child.parameters(), None) is None:
            continue
        alone = not (prefix or stack) and others == [name] and _structured(child)  # a base model beside its head
        if _opens(child, in_stack or stack) or under(head, dotted) or alone:
            yield from _units(child, f"{dotted}.", in_stack=in_stack or stack, head=head)
        else:
            yield dotted, child, _kind(child)


def _opens(module: nn.Module, in_stack: bool) -> bool:
    """Are the parts of `module` blocks of their own?"""
    if isinstance(module, _STACKS):
        return not in_stack or any(map(_structured, module.children()))

    return not in_stack and any(
        isinstance(inner, _STACKS) and sum(map(_structured, inner.children())) > 1 for inner in module.modules()
    )


def _structured(module: nn.Module) -> bool:
    """Has it parts with parameters of their own?"""
    return any(
        name != ADAPTER and next(child.parameters(), None) is not None for name, child in module.named_children()
    )


def _kind(module: nn.Module) -> str:
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return "embedding"
    return "block" if any(isinstance(inner, _WEIGHTED) for inner in module.modules()) else "plain"


def depths(module: nn.Module, head: str) -> dict[str, int]:
    """How far below the head each parameter is: 0 in the head, 1 in the highest block, and so on down."""
    depth_of = dict.fromkeys((n for n, _ in module.named_parameters() if under(n, head)), 0)
    for depth, names in enumerate(reversed(blocks(module, head)), 1):
        depth_of |= dict.fromkeys(names, depth)
    return depth_of
