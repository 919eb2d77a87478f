"""Models that are exported as several graphs: which of their submodules, with which inputs and outputs.

`Learning.parts` gives {name of a submodule: `Part`} of such a model. The whole module is trained; its forward joins the
parts. A task without it has models of one graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..backends import Tensor


@dataclass(frozen=True)
class Part:
    """`example`: one tensor an input, batch first, of the shapes that the exported graph has; names of the border."""

    example: tuple[torch.Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class TorchSession:
    """A submodule with the interface of a runtime's session: named numpy arrays in and out.

    `outputs` have names alone: shapes and types are those of what the submodule returns.
    """

    def __init__(self, module: nn.Module, part: Part) -> None:
        self.module, self.part = module, part
        self.outputs = tuple(Tensor(name, (), "") for name in part.outputs)
        self.device = next((p.device for p in module.parameters()), torch.device("cpu"))

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        values = [
            torch.from_numpy(np.require(feeds[name], requirements=("C", "W"))).to(self.device)
            for name in self.part.inputs
        ]
        with torch.no_grad():
            outputs = self.module(*values)

        leaves = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
        return {name: value.cpu().numpy() for name, value in zip(self.part.outputs, leaves)}
