"""Two graphs are compared to the bit, and memory layout is no part of what they compute."""

from __future__ import annotations

import pytest
import torch
from quantize_nets import calibrated, seeded, settled

from edgeft.graph.same import same
from edgeft.quantize.lower import lower


class Turned(torch.nn.Module):
    """Features become the channels of a convolution along time, as in a recognizer of speech."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(40, 64, (9, 1), (2, 1), (4, 0))
        self.head = torch.nn.Conv2d(64, 11, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.stem(x.transpose(1, 3)))).flatten(2)


@pytest.mark.parametrize("rows", [4, 32])
def test_a_transposed_input_is_the_same_in_the_lowered_graph(rows: int) -> None:
    graph = calibrated(settled(Turned()), (seeded(8, 1, 299, 40),))
    feeds = [seeded(rows, 1, 299, 40, seed=3)]
    lowered = lower(graph, "int")
    assert same(graph.module.eval(), lowered, feeds)
    with torch.no_grad():
        next(b for n, b in lowered.named_buffers() if n.endswith("_int8"))[0, 0, 4, 0] += 1
    assert not same(graph.module.eval(), lowered, feeds), "one step of one weight is a difference"
