"""A layer that Keras itself computes within the torch graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn


class Kept(nn.Module):
    """Calls a Keras layer of the torch backend on tensors in Keras' order of axes.

    `listed`: it takes its tensors as one list; else `rest` are its positional arguments, None where a tensor goes;
    `named` are the names of the tensors that follow, `plain` its other arguments.
    """

    def __init__(
        self, layer: Any, listed: bool, rest: Sequence[Any], named: Sequence[str], plain: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.of_keras = [layer]  # in a list, since what is in it are no parameters: its weights stay as they are
        self.listed, self.rest, self.named, self.plain = listed, list(rest), list(named), dict(plain)

    def forward(self, *tensors: torch.Tensor) -> Any:
        """Tensors in the order of the arguments -> a tensor, or several."""
        inputs = list(tensors)
        count = len(inputs) - len(self.named)
        if self.listed:
            args: list[Any] = [inputs[:count]]
        else:
            pending = iter(inputs[:count])
            args = [next(pending) if item is None else item for item in self.rest]

        more = dict(zip(self.named, inputs[count:]))
        return self.of_keras[0].call(*args, **more, **self.plain)
