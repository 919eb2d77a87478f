"""Regions with a mode of their own become part of the graph around them."""

from __future__ import annotations

import pytest
import torch
from quantize_nets import op_name
from torch import nn

from edgeft.graph.from_torch import capture_float


class Turned(nn.Module):
    """Linear layers, and angles that are computed without gradients, in a region in a region where `nested`."""

    def __init__(self, nested: bool) -> None:
        super().__init__()
        self.nested, self.linear = nested, nn.Linear(6, 6)
        self.register_buffer("rates", torch.arange(6) / 7)

    def angles(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            angles = x.sum(1, keepdim=True) * self.rates
            if self.nested:
                with torch.enable_grad():
                    angles = angles * 0.5
            return angles.cos(), angles.sin()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        cos, sin = self.angles(x)
        return self.linear(x) * cos + sin


@pytest.mark.parametrize("nested", [False, True])
def test_a_region_without_gradients_is_part_of_the_graph(nested: bool) -> None:
    torch.manual_seed(0)
    module = Turned(nested).eval()
    x = torch.randn(4, 6)
    captured = capture_float(module, (x,))
    names = {op_name(n).split(".")[0] for n in captured.module.graph.nodes if n.op == "call_function"}
    assert {"cos", "sin", "linear"} <= names and not any("wrap" in name for name in names)
    assert captured.dynamic and torch.allclose(captured.module(x[:3]), module(x[:3]), atol=1e-6)
    assert not [name for name, _ in captured.module.named_modules() if name.startswith("submod")], "the bodies are gone"
