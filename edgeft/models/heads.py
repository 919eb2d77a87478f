"""The classifier at the end of a network: find it, and put one of another size in its place."""

from __future__ import annotations

from torch import nn

from ..core.errors import ModelError


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
