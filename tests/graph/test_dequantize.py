"""Each reader gets a dequantize of its own where a runtime wants that, and the graph computes the same."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn

from edgeft.graph.dequantize import dequantize_for_each_reader

qd = torch.ops.quantized_decomposed


class Shared(nn.Module):
    """An activation that three ops read and a weight, with a scale a channel, that two read."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("integers", torch.arange(-8, 8, dtype=torch.int8).reshape(4, 4))
        self.register_buffer("scales", torch.tensor([0.1, 0.2, 0.3, 0.4]))
        self.register_buffer("zeros", torch.zeros(4, dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stored = qd.quantize_per_tensor.default(x, 0.05, 3, -128, 127, torch.int8)
        real = qd.dequantize_per_tensor.default(stored, 0.05, 3, -128, 127, torch.int8)
        grid = (self.scales, self.zeros, 0, -128, 127, torch.int8)
        weight = qd.dequantize_per_channel.default(self.integers, *grid)
        return torch.relu(real @ weight + (real + 1) @ weight) + real


@pytest.mark.parametrize("weights", [False, True])
def test_each_reader_has_a_dequantize_of_its_own(weights: bool) -> None:
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    module = torch.export.export(Shared().eval(), (x,)).module()
    before = module(x)

    dequantize_for_each_reader(module.graph, weights=weights)
    module.graph.lint()
    module.recompile()

    assert torch.equal(module(x), before)
    counts = Counter(node.target for node in module.graph.nodes if node.op == "call_function")
    assert counts[qd.dequantize_per_tensor.default] == 3
    assert counts[qd.dequantize_per_channel.default] == (2 if weights else 1)
    repeated = [node for node in module.graph.nodes if node.target is qd.dequantize_per_tensor.default]
    assert all(len(node.users) == 1 for node in repeated)
