"""Low-rank adapters (Hu et al., "LoRA", 2021) on linear layers and 1x1 convolutions, merged before quantization.

A layer y = W x becomes y = W x + (alpha / rank) * up(down(x)) with `rank` values between `down` and `up`; W is frozen.
`up` is initialized with zeros, so the outputs of an adapted network are bit-identical at first. The adapter is a
forward hook of its layer: the layer keeps its type and name, and after `merge` only W remains.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..config.recipe import Update
from ..core.errors import RecipeError
from ..learning.blocks import ADAPTER, under


class Adapter(nn.Module):
    """`down` (rank, inputs) and `up` (outputs, rank) of one layer. A rank above the layer's own is lowered to it."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int, alpha: float, dropout: float, seed: int) -> None:
        super().__init__()
        outputs, inputs = layer.weight.shape[:2]
        rank = min(rank, outputs, inputs)
        self.scale, self.dropout = alpha / rank, dropout
        bound = 1 / math.sqrt(inputs)  # as torch initializes a linear layer
        drawn = torch.rand(rank, inputs, generator=torch.Generator().manual_seed(seed))
        self.down = nn.Parameter(((2 * drawn - 1) * bound).to(layer.weight))
        self.up = nn.Parameter(layer.weight.new_zeros(outputs, rank))
        self.handle: torch.utils.hooks.RemovableHandle | None = None
        self.conv: Any = {"stride": layer.stride, "padding": layer.padding} if isinstance(layer, nn.Conv2d) else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What is added to the layer's output: (..., inputs) -> (..., outputs), or channels of (N, C, H, W)."""
        x = F.dropout(x, self.dropout, self.training)
        if self.conv is None:
            return self.scale * F.linear(F.linear(x, self.down), self.up)
        low = F.conv2d(x, self.down[:, :, None, None], **self.conv)
        return self.scale * F.conv2d(low, self.up[:, :, None, None])

    def delta(self) -> torch.Tensor:
        """(outputs, inputs): what the adapter comes to as a weight; summed in float64."""
        return self.scale * (self.up.double() @ self.down.double())


def _hook(layer: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
    adapter: Any = getattr(layer, ADAPTER)
    return output + adapter(args[0])


def _takes(layer: nn.Module) -> bool:
    """Is it a kind of layer that can be adapted?"""
    if isinstance(layer, nn.Conv2d):
        flat = layer.kernel_size == (1, 1) and layer.groups == 1 and layer.padding_mode == "zeros"
        return flat and not isinstance(layer.padding, str)
    return isinstance(layer, nn.Linear)


def _called(module: nn.Module, example: Sequence[torch.Tensor]) -> set[nn.Module]:
    """The layers whose own forward computes; in attention that reads `layer.weight` a hook would do nothing."""
    called: set[nn.Module] = set()
    modes = {layer: layer.training for layer in module.modules()}
    handles = [
        layer.register_forward_hook(lambda layer, args, output: called.add(layer))
        for layer in module.modules()
        if _takes(layer)
    ]
    device = next((p.device for p in module.parameters()), None)

    try:
        with torch.no_grad():
            module.eval()(*(t.to(device) for t in example))
    finally:
        for handle in handles:
            handle.remove()
        for layer, training in modes.items():
            layer.training = training

    return called


def targets(
    module: nn.Module, head: str, patterns: Sequence[str], example: Sequence[torch.Tensor]
) -> dict[str, nn.Module]:
    """The layers to adapt by name: those that can be, without the head; with `patterns` only what one of them matches.

    A pattern names layers as in `quantize.keep_float`: `layer4.*`, or a block whose layers are all meant. `example` is
    an input: layers that do not compute on it by their own forward are left alone, and so is a weight that two layers
    share. Raises `RecipeError` where a pattern, or all of the model, has no such layer.
    """
    layers = dict(module.named_modules())
    owners = [
        id(layer._parameters["weight"]) for layer in layers.values() if layer._parameters.get("weight") is not None
    ]
    called = _called(module, example)
    able = {
        name: layer
        for name, layer in layers.items()
        if layer in called and not under(name, head) and owners.count(id(layer._parameters["weight"])) == 1
    }
    if not able:
        raise RecipeError(
            f"update.policy = 'lora': {type(module).__name__} has no linear layer or 1x1 convolution besides its head",
            remedy='take update.policy = "last", "norm" or "full"',
        )

    for pattern in patterns:
        if not any(_matches(name, pattern) for name in able):
            raise RecipeError(
                f"update.layers: {pattern!r} matches no linear layer or 1x1 convolution",
                remedy=f"for example {', '.join(list(able)[-3:])}",
            )

    return {n: layer for n, layer in able.items() if not patterns or any(_matches(n, pattern) for pattern in patterns)}


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name, f"{pattern}.*")


def add(
    module: nn.Module, head: str, update: Update, example: Sequence[torch.Tensor], seed: int = 0
) -> dict[str, Adapter]:
    """Hang adapters on the layers that [update] names; returns them by layer. Raises what `targets` raises."""
    chosen: dict[str, Any] = targets(module, head, update.layers, example)
    for number, layer in enumerate(chosen.values()):
        adapter = Adapter(layer, update.rank, update.alpha, update.dropout, seed * 100_003 + number)
        layer.add_module(ADAPTER, adapter.train(layer.training))
        adapter.handle = layer.register_forward_hook(_hook)
    return adapted(module)


def adapted(module: nn.Module) -> dict[str, Adapter]:
    """The adapters that hang in a module, by the name of their layer."""
    adapters = ((name, getattr(layer, ADAPTER, None)) for name, layer in module.named_modules())
    return {name: adapter for name, adapter in adapters if isinstance(adapter, Adapter)}


def merge(module: nn.Module) -> list[str]:
    """Add every adapter to its layer's weight and take it off; returns the layers' names.

    The weight of an untrained adapter stays bit-identical.
    """
    adapters = adapted(module)
    with torch.no_grad():
        for name, adapter in adapters.items():
            layer: Any = module.get_submodule(name)
            merged = layer.weight.double() + adapter.delta().view(layer.weight.shape)
            layer.weight.copy_(merged.to(layer.weight.dtype))
            if adapter.handle is not None:
                adapter.handle.remove()
            delattr(layer, ADAPTER)

    return list(adapters)
