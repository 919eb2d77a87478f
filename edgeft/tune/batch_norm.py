"""Running statistics of BatchNorm where an epoch has few steps: they lag behind the weights that validation sees."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from ..core import interrupt

Layer = nn.modules.batchnorm._BatchNorm
#: after one epoch, what is left of the BatchNorm statistics that a pretrained net came with
_OLD_STATISTICS = 0.01
#: torch's default; above it the statistics are those of a few batches
_FASTEST_MOMENTUM = 0.1


def pace_statistics(module: nn.Module, steps_in_epoch: int) -> float | None:
    """Raise BatchNorm momenta that are too slow for an epoch this short; returns the new one, None if nothing changed.

    A net pretrained with momentum 0.01 over a million steps still carries most of its old running statistics after
    fifty steps on new data: its training loss falls and its validation metric does not. Call it in training mode;
    layers in eval mode (frozen ones) are left alone.
    """
    momentum = min(_FASTEST_MOMENTUM, 1 - _OLD_STATISTICS ** (1 / max(steps_in_epoch, 1)))
    raised = None
    for layer in module.modules():
        if not isinstance(layer, Layer) or not layer.training or layer.momentum is None:
            continue
        if layer.track_running_stats and layer.momentum < momentum:
            layer.momentum = raised = momentum
    return raised


#: epochs of at least so many steps leave statistics that have caught up with the weights
_ENOUGH_STEPS = 100
#: batches that statistics are measured on
_BATCHES = 32


def has_batch_norm(module: nn.Module) -> bool:
    """Does a layer of `module` keep running statistics of its batches?"""
    return any(isinstance(layer, Layer) for layer in module.modules())


@torch.no_grad()
def measure(module: nn.Module, batches: Iterable[Any], steps_in_epoch: int, forward: Callable[[Any], Any]) -> bool:
    """Measure the running statistics anew with the weights as they are; returns whether that was done.

    A running average with momentum 0.1 still holds what a net was a dozen steps ago. Where an epoch has four of them, a
    net that fits its training samples can answer like chance in eval mode. So after a short epoch the statistics become
    the mean over up to 32 training batches (Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021). Call it in
    training mode: layers in eval mode (frozen ones) are left alone. Dropout is off meanwhile, as in use.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, Layer) and layer.training]
    layers = [layer for layer in layers if layer.track_running_stats and layer.momentum is not None]
    if not layers or steps_in_epoch >= _ENOUGH_STEPS:
        return False

    momenta, counts = [layer.momentum for layer in layers], [layer.num_batches_tracked.clone() for layer in layers]
    module.eval()
    for layer in layers:
        layer.train()
        layer.reset_running_stats()
        layer.momentum = None  # torch's cumulative average

    try:
        for batch in itertools.islice(batches, _BATCHES):
            interrupt.check()
            forward(batch)
    finally:
        for layer, momentum, count in zip(layers, momenta, counts):
            layer.momentum = momentum
            layer.num_batches_tracked.copy_(count)
        module.eval()

    return True


def share_buffers(module: nn.Module) -> None:
    """BatchNorm statistics of the main process everywhere: each process has trained on other samples."""
    if dist.is_available() and dist.is_initialized():
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)
