"""Bilinear sampling at computed places reaches a .tflite as gathers, and computes what torch computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from exporting import written
from torch import nn
from torch.nn import functional as F

from edgeft.backends.litert import BACKEND, exporter, grid_samples
from edgeft.config import target
from edgeft.quantize.graph import prepare
from edgeft.quantize.lower import lower
from edgeft.quantize.ranges import calibrate

HOST = target.load("host-litert")


class Sampled(nn.Module):
    """A map of two heads, sampled at places that a layer computes, some of them outside of it."""

    def __init__(self) -> None:
        super().__init__()
        self.maps, self.places, self.out = nn.Conv2d(3, 16, 1), nn.Linear(3, 12), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch = x.shape[0]
        maps = self.maps(x).reshape(batch * 2, 8, 5, 7)
        grid = self.places(x.mean((2, 3))).reshape(batch * 2, 1, 3, 2) * 3
        return self.out(F.grid_sample(maps, grid, align_corners=False).flatten(2).transpose(1, 2)).reshape(batch, 24)


@pytest.mark.parametrize("align", [False, True])
def test_gathers_compute_what_torch_computes(align: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 4, 5, 7, generator=generator)
    grid = torch.randn(3, 6, 2, 2, generator=generator) * 1.2
    grid[0, 0, 0], grid[0, 0, 1] = torch.tensor([-1.0, 1.0]), torch.tensor([1.0, -1.0])
    assert (grid.abs() > 1).any(), "places beyond the border"
    expected = F.grid_sample(maps, grid, align_corners=align)
    torch.testing.assert_close(grid_samples.sampled(maps, grid, align), expected, atol=1e-5, rtol=1e-4)


def test_the_artifact_computes_what_the_graph_computes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(32, 3, 5, 7) + torch.randn(32, 3, 1, 1)
    graph = prepare(Sampled().eval(), (x,), HOST.scheme)
    graph.calibrate_weights()
    calibrate(graph.module, lambda: iter([(x,)]))
    file = written(
        exporter, lower(graph, "qdq"), (x[:1],), ["x"], ["y"], tmp_path, target=HOST, dynamic_batch=False
    ).file

    session, expected = BACKEND.load(tmp_path / file, options=BACKEND.options()), graph.module(x).detach()
    rows = [next(iter(session.run({"x": x[i : i + 1].numpy()}).values())) for i in range(8)]
    steps = np.abs(np.concatenate(rows) - expected[:8].numpy()) / graph.output_steps()["output"]
    assert np.quantile(steps, 0.9) <= 1.01 and steps.max() <= 3.01, steps


def test_other_graphs_are_left_as_they_are() -> None:
    class Nearest(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.grid_sample(x, x.permute(0, 2, 3, 1)[..., :2], mode="nearest", align_corners=False)

    graph = torch.export.export(Nearest(), (torch.zeros(1, 2, 4, 4),)).module()
    assert grid_samples.as_gathers(graph) is graph
