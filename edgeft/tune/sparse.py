"""Sparse updates: trainable biases, layers with trainable weights, and the share of their input channels.

Input channels, because the gradient of a weight's column needs no more of the layer's input than that channel (Lin et
al., "On-device training under 256KB memory", 2022): a quarter of the channels keeps a quarter of the activation. Of a
depthwise layer they are its channels. The channels with the largest weights are taken.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ..core.errors import RecipeError, nearest

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear)
_WITH_BIAS = (*LAYERS, nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class Plan:
    """The trainable parameters of a sparse update beside the head.

    `biases` are patterns of layer names as in the recipe, `weights` {layer: share of its input channels}; `channels`
    {layer: (axis of the weight, positions)} where the share is below 1.
    """

    biases: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    channels: Mapping[str, tuple[int, tuple[int, ...]]] = field(default_factory=dict)

    def has_bias(self, layer: str) -> bool:
        return any(fnmatch.fnmatchcase(layer, pattern) for pattern in self.biases)

    def names(self, parameters: Iterable[str]) -> set[str]:
        """A module's trainable parameters, without the head."""
        names = set()
        for name in parameters:
            layer, _, leaf = name.rpartition(".")
            if (leaf == "weight" and layer in self.weights) or (leaf == "bias" and self.has_bias(layer)):
                names.add(name)

        return names

    def under(self, part: str) -> Plan:
        """The plan of the graph `part` of a model of several, by that graph's own names."""
        start = f"{part}."
        return Plan(
            tuple(pattern.removeprefix(start) for pattern in self.biases),
            {name.removeprefix(start): share for name, share in self.weights.items() if name.startswith(start)},
            {name.removeprefix(start): at for name, at in self.channels.items() if name.startswith(start)},
        )

    def as_dict(self) -> dict[str, Any]:
        return {"biases": list(self.biases), "weights": dict(self.weights)}


def plan(
    module: nn.Module,
    biases: Iterable[str],
    weights: Mapping[str, float],
    where: str = "update",
    *,
    exact: bool = False,
) -> Plan:
    """The plan of patterns of layer names. `RecipeError` for a pattern that fits nothing, and for an impossible share.

    A pattern names layers or what holds them: `layer3` is all of `layer3.*`; with `exact` it names one layer.
    """
    if exact:
        chosen = {layer: channels(module.get_submodule(layer), s) for layer, s in weights.items() if s < 1}
        return Plan(tuple(biases), dict(weights), chosen)

    layers = {name: m for name, m in module.named_modules() if isinstance(m, LAYERS)}
    with_bias = {name for name, m in module.named_modules() if isinstance(m, _WITH_BIAS)}
    patterns = tuple(dict.fromkeys(p for pattern in biases for p in (pattern, f"{pattern}.*")))

    for pattern in biases:
        if not _fit(pattern, with_bias):
            raise RecipeError(
                f"no layer {pattern!r}", where=f"{where}.biases", remedy=nearest(pattern, _known(with_bias))
            )

    shares: dict[str, float] = {}
    parts: dict[str, tuple[int, tuple[int, ...]]] = {}
    for pattern, share in weights.items():
        if not 0 < share <= 1:
            raise RecipeError(
                f"the share {share:g} of {pattern!r} must be above 0 and at most 1", where=f"{where}.weights"
            )

        matching = _fit(pattern, set(layers))
        if not matching:
            raise RecipeError(
                f"no convolution or linear layer {pattern!r}",
                where=f"{where}.weights",
                remedy=nearest(pattern, _known(set(layers))),
            )

        for name in matching:
            shares[name] = share
            parts.pop(name, None)
            if share < 1:
                if not splits(layers[name]):
                    raise RecipeError(
                        f"{name} has groups of channels: its weights are trainable as a whole or not at all",
                        where=f"{where}.weights",
                        remedy=f'"{name}" = 1.0',
                    )
                parts[name] = channels(layers[name], share)

    return Plan(patterns, shares, parts)


def _known(layers: set[str]) -> set[str]:
    """Layers and what holds them."""
    return {".".join(parts[:n]) for parts in (name.split(".") for name in layers) for n in range(1, len(parts) + 1)}


def _fit(pattern: str, layers: set[str]) -> list[str]:
    return sorted(n for n in layers if fnmatch.fnmatchcase(n, pattern) or fnmatch.fnmatchcase(n, f"{pattern}.*"))


def splits(layer: nn.Module) -> bool:
    """Can some of the layer's channels be trained without the others? Not where several share a group."""
    groups = getattr(layer, "groups", 1)
    return groups == 1 or groups == layer.in_channels == layer.out_channels


def channels(layer: nn.Module, share: float) -> tuple[int, tuple[int, ...]]:
    """(axis of the weight, positions) of the trainable share of channels: those with the largest weights."""
    weight: torch.Tensor = layer.weight.detach()
    axis = 0 if getattr(layer, "groups", 1) > 1 else 1
    sizes = weight.transpose(0, axis).flatten(1).norm(dim=1)
    count = max(1, round(share * len(sizes)))

    return axis, tuple(sorted(sizes.argsort(descending=True, stable=True)[:count].tolist()))


def mark(module: nn.Module, plan: Plan) -> None:
    """Record on every partly trainable weight which of its channels are trainable, for `Frugal` and `kept_still`."""
    for name, parameter in module.named_parameters():
        layer, _, leaf = name.rpartition(".")
        if leaf == "weight" and layer in plan.channels:
            axis, positions = plan.channels[layer]
            parameter.learns_channels = (axis, torch.tensor(positions))


def kept_still(parameters: Iterable[torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """(parameter, bool mask of its trainable values, present values) of every partly trainable weight."""
    names = []
    for parameter in parameters:
        if hasattr(parameter, "learns_channels"):
            axis, positions = parameter.learns_channels
            shape = [1] * parameter.dim()
            shape[axis] = parameter.shape[axis]
            mask = torch.zeros(parameter.shape[axis], dtype=torch.bool)
            mask[positions] = True
            names.append((parameter, mask.view(shape).to(parameter.device), parameter.detach().clone()))

    return names


def restore(still: Iterable[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> None:
    """Restore the frozen channels, which a step's weight decay has changed: they are bit-identical afterwards."""
    with torch.no_grad():
        for parameter, trainable, before in still:
            parameter.copy_(torch.where(trainable, parameter, before))
