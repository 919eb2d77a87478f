"""Before training: what no runtime of the targets can run, or what a converter translates wrongly, is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from odd_nets import Apply, conv
from quantize_nets import seeded, settled
from shapes_run import recipe_of, write_data
from torch import nn

import edgeft
from edgeft.config import target
from edgeft.core.errors import ModelError
from edgeft.export import trial
from edgeft.export.convert import GraphConversion
from edgeft.graph.from_torch import capture_float


def strongest() -> nn.Module:
    """The mean of the ten greatest values a channel: LiteRT's converter writes a sort, which its runtime has not."""
    strong = Apply(lambda x: x.flatten(2).topk(10, -1)[0].mean(-1))
    return nn.Sequential(conv(3, 8, stride=2), nn.ReLU(), strong, nn.Linear(8, 3))


@pytest.mark.slow
def test_an_artifact_that_its_runtime_does_not_load_is_refused_before_training(tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")
    data = write_data(tmp_path / "shapes.npz", counts={"train": 12, "val": 6, "test": 6})
    recipe = recipe_of(data, export={"targets": ["host-litert"]})
    with pytest.raises(ModelError, match="the runtime does not take") as caught:
        edgeft.tune(recipe, out=tmp_path / "run", model=strongest())
    assert caught.value.where == "host-litert" and "rewrite" in caught.value.remedy
    assert not (tmp_path / "run").exists()


def test_a_float_artifact_that_computes_something_else_is_refused() -> None:
    captured = capture_float(settled(nn.Sequential(conv(3, 8), nn.ReLU())), (seeded(2, 3, 8, 8, seed=1),))
    names = captured.input_names, captured.output_names
    graph = GraphConversion("baseline", captured.module, captured.example, *names, captured.dynamic)
    with torch.no_grad():
        right = captured.module(*captured.example).numpy()
    profile = target.load("host")

    trial._compare(graph, [right + np.float32(1e-4)], profile)
    for wrong in (right[:, ::-1], right + 0.1, right[:, :, 1:]):
        with pytest.raises(ModelError, match="computes something else than this model"):
            trial._compare(graph, [np.ascontiguousarray(wrong)], profile)
