"""An exponential moving average of weights: they are validated and saved instead of the weights of the last step.

Averages of the last some hundred steps lie in flatter minima than the single steps (Polyak and Juditsky 1992; detectors
take it from Tan and Le 2019). The average follows slowly; it starts as fast as 1 / t, so that few steps count too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import nn

#: at step t the decay is at most (1 + t) / (this + t)
_WARM = 10.0


class Averaged:
    """The moving average of the trainable parameters of a module; `decay` in [0, 1) is that of one step."""

    def __init__(self, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.values: dict[str, torch.Tensor] = {}

    def state(self) -> dict[str, torch.Tensor]:
        """What a checkpoint needs: the averages by parameter name, and `steps`."""
        return {**self.values, "steps": torch.tensor(self.steps)}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what `state` gave."""
        self.steps = int(state["steps"])
        self.values = {name: tensor.clone() for name, tensor in state.items() if name != "steps"}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the weights after one more step."""
        self.steps += 1
        share = 1 - min(self.decay, (1 + self.steps) / (_WARM + self.steps))
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            if name in self.values:
                self.values[name].lerp_(parameter.detach(), share)
            else:  # unfrozen since the last step
                self.values[name] = parameter.detach().clone()

    @contextlib.contextmanager
    def shown(self, module: nn.Module) -> Iterator[None]:
        """Within the block `module` has the averages, afterwards its weights again."""
        parameters = dict(module.named_parameters())
        own = {name: parameters[name].detach().clone() for name in self.values}
        try:
            _copy(parameters, self.values)
            yield
        finally:
            _copy(parameters, own)


@torch.no_grad()
def _copy(parameters: Mapping[str, nn.Parameter], values: Mapping[str, torch.Tensor]) -> None:
    for name, value in values.items():
        parameters[name].copy_(value)
