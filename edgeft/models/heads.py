"""The classifier at the end of a network: find it, and put one of another size in its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ..core.errors import ModelError
from . import outputs


def find(module: nn.Module, n_classes: int | None = None) -> str:
    """Dotted name of the classifier: the last linear layer, or the last 1x1 convolution where there is no linear one.

    Where `n_classes` is given, the last such layer with that many outputs is preferred. Raises `ModelError` when there
    is none.
    """
    linears: list[tuple[str, int]] = []
    convolutions: list[tuple[str, int]] = []
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear):
            linears.append((name, layer.out_features))
        elif isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1):
            convolutions.append((name, layer.out_channels))

    fitting = [name for name, size in (*convolutions, *linears) if size == n_classes]
    if fitting:
        return fitting[-1]
    if linears or convolutions:
        return (linears or convolutions)[-1][0]

    raise ModelError(
        "no classifier found: the model has no linear layer and no 1x1 convolution",
        where=type(module).__name__,
        remedy="end the model with torch.nn.Linear",
    )


def of_output(module: nn.Module, sample: torch.Tensor) -> str:
    """Dotted name of the layer that makes the module's output: of those that can be a classifier the one called last,
    if it has as many outputs as the module. "" where there is none, or where the module cannot take the sample."""
    calls: list[str] = []

    def hook(name: str) -> Any:
        return lambda *_: calls.append(name)

    layers = [(name, layer) for name, layer in module.named_modules() if _may_be_head(layer)]
    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            values = [value for value in outputs.named(module(sample)).values() if value.dim() > 1]
    except Exception:  # the caller's own code may raise anything; a search by names follows
        return ""
    finally:
        for handle in handles:
            handle.remove()

    sizes = {value.shape[1] for value in values}
    return next((name for name in reversed(calls) if width(module, name) in sizes), "")


def _may_be_head(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1))


def channels(module: nn.Module) -> int:
    """Channels of the pictures that a module takes, by its first convolution: 1 or 3."""
    first = next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d)), None)
    return 1 if first is not None and first.in_channels == 1 else 3


def width(module: nn.Module, head: str) -> int:
    """How many outputs the layer called `head` has."""
    layer = module.get_submodule(head)
    if isinstance(layer, nn.Conv2d):
        return int(layer.out_channels)
    if isinstance(layer, nn.Linear):
        return int(layer.out_features)

    raise ModelError(f"the classifier {head!r} is a {type(layer).__name__}, expected a linear layer or a convolution")


def replace(module: nn.Module, head: str, n_classes: int) -> None:
    """Put a freshly initialized layer with `n_classes` outputs in the place of `head`; nothing is done if it fits."""
    if width(module, head) == n_classes:
        return

    old = module.get_submodule(head)
    new: nn.Module
    if isinstance(old, nn.Conv2d):
        new = nn.Conv2d(old.in_channels, n_classes, 1, bias=old.bias is not None)
    else:
        assert isinstance(old, nn.Linear)
        new = nn.Linear(old.in_features, n_classes, bias=old.bias is not None)

    parent, _, leaf = head.rpartition(".")
    setattr(module.get_submodule(parent), leaf, new)


def fitted(module: nn.Module, sample: Sequence[torch.Tensor], n_classes: int) -> tuple[str, tuple[str, ...]]:
    """The name of the layer that makes the output, "" without one, and notes; it gets `n_classes` outputs."""
    head = of_output(module, *sample) if len(sample) == 1 else ""
    if not head:
        return "", ()
    before = width(module, head)
    replace(module, head, n_classes)
    if before == n_classes:
        return head, ()
    return head, (f"the classifier {head} had {before} outputs: a new one has {n_classes}",)
