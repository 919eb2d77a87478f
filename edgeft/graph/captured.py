"""The record of a captured float graph, wherever it comes from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import fx


@dataclass(frozen=True)
class Captured:
    """A float graph in normal form: what every scheme starts from, and the float baseline of every exporter.

    `module` is in eval mode; `example` holds one tensor per input with a batch of 1. `dynamic` says whether the batch
    may have any size. `input_names` and `output_names` are in the graph's order. `apart`: every channel of an output is
    a value with a unit of its own.
    """

    module: fx.GraphModule
    example: tuple[torch.Tensor, ...]
    dynamic: bool
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    apart: bool = False
