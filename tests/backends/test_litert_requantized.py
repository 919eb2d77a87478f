"""Sigmoids, tanhs and softmaxes beside other values in a concatenation (heads of many detectors) reach a .tflite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from exporting import written
from torch import nn

from edgeft.backends.litert import BACKEND, exporter, requantized
from edgeft.config import target
from edgeft.quantize.graph import prepare
from edgeft.quantize.lower import lower
from edgeft.quantize.ranges import calibrate

HOST = target.load("host-litert")
BOUNDED = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softmax": lambda x: torch.softmax(x, 1),
    "hard sigmoid": nn.functional.hardsigmoid,
}


class Heads(nn.Module):
    """Scores in a range of their own beside distances that have none."""

    def __init__(self, bounded: str, last: bool) -> None:
        super().__init__()
        self.scores, self.boxes, self.mix = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Conv2d(8, 4, 1)
        self.bounded, self.last = BOUNDED[bounded], last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = torch.cat([self.bounded(self.scores(x)), torch.relu(self.boxes(x))], 1)
        return heads.flatten(2).transpose(1, 2) if self.last else self.mix(heads)


@pytest.mark.parametrize("last", [False, True], ids=["before a layer", "as the output"])
@pytest.mark.parametrize("bounded", list(BOUNDED))
def test_the_artifact_computes_what_the_graph_computes(bounded: str, last: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    pictures = (torch.randn(32, 3, 8, 8),)
    graph = prepare(Heads(bounded, last).eval(), pictures, HOST.scheme)
    graph.calibrate_weights()
    calibrate(graph.module, lambda: iter([pictures]))
    sample = (pictures[0][:1],)
    file = written(exporter, lower(graph, "qdq"), sample, ["x"], ["y"], tmp_path, target=HOST, dynamic_batch=False).file

    session, expected = BACKEND.load(tmp_path / file, options=BACKEND.options()), graph.module(*pictures).detach()
    rows = [next(iter(session.run({"x": pictures[0][i : i + 1].numpy()}).values())) for i in range(16)]
    step = graph.output_steps().get("output", float(np.ptp(expected.numpy())) / 255)
    steps = np.abs(np.concatenate(rows) - expected[:16].numpy()) / step
    assert steps.max() <= 2.01 and np.median(steps) < 0.01


def test_other_graphs_are_left_as_they_are() -> None:
    pictures = (torch.randn(4, 3, 8, 8),)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid(), nn.Conv2d(4, 2, 1))
    graph = prepare(net.eval(), pictures, HOST.scheme)
    graph.calibrate_weights()
    calibrate(graph.module, lambda: iter([pictures]))
    lowered = lower(graph, "qdq")
    module = getattr(lowered, "module", lowered)
    assert requantized.kept_apart(module) is module
