"""Mirrored pads without a batch axis reach a .tflite, in float and in integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from exporting import written
from torch import nn

from edgeft.backends.litert import BACKEND, exporter, pads
from edgeft.config import target
from edgeft.quantize.graph import prepare
from edgeft.quantize.lower import lower
from edgeft.quantize.ranges import calibrate

HOST = target.load("host-litert")


class Waves(nn.Module):
    """A wave (N, T, 1) padded along its middle axis, as exporters of Keras write it, and a convolution."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode, self.conv = mode, nn.Conv2d(1, 6, (1, 8), (1, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.pad(x, (0, 0, 5, 3), mode=self.mode)
        return self.conv(y.unsqueeze(1).reshape(-1, 1, 1, 48)).flatten(1)


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_the_artifact_computes_what_the_graph_computes(mode: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    waves = (torch.randn(32, 40, 1),)
    graph = prepare(Waves(mode).eval(), waves, HOST.scheme)
    graph.calibrate_weights()
    calibrate(graph.module, lambda: iter([waves]))
    sample = (waves[0][:1],)
    lowered = lower(graph, "qdq")
    file = written(exporter, lowered, sample, ["x"], ["y"], tmp_path, target=HOST, dynamic_batch=False).file

    session, expected = BACKEND.load(tmp_path / file, options=BACKEND.options()), graph.module(*waves).detach()
    rows = [next(iter(session.run({"x": waves[0][i : i + 1].numpy()}).values())) for i in range(8)]
    steps = np.abs(np.concatenate(rows) - expected[:8].numpy()) / graph.output_steps()["output"]
    assert steps.max() <= 1.01


def test_pads_with_a_batch_are_left_as_they_are() -> None:
    class Padded(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.pad(F.pad(x, (1, 1, 2, 2), mode="reflect"), (1, 1))

    example = (torch.randn(2, 3, 8, 8),)
    graph = torch.export.export(Padded(), example).module()
    changed = pads.with_batch(graph, example)
    assert [node.target for node in changed.graph.nodes] == [node.target for node in graph.graph.nodes]
    plain = nn.ReLU()
    assert pads.with_batch(plain, example) is plain
