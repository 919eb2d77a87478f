"""One-hot vectors of whole numbers reach a .tflite before a quantized layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from exporting import written
from torch import nn

from edgeft.backends.litert import BACKEND, exporter, one_hot
from edgeft.config import target
from edgeft.quantize.graph import prepare
from edgeft.quantize.lower import lower
from edgeft.quantize.ranges import calibrate

HOST = target.load("host-litert")


class Bytes(nn.Module):
    """Bytes as one-hot vectors, and a linear layer, as JAX and TensorFlow write an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(17, 8)
        self.register_buffer("kinds", torch.arange(17))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear((x.unsqueeze(-1) == self.kinds).to(torch.float32)).flatten(1)


def test_the_artifact_computes_what_the_graph_computes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    numbers = (torch.randint(0, 17, (32, 6)),)
    graph = prepare(Bytes().eval(), numbers, HOST.scheme)
    graph.calibrate_weights()
    calibrate(graph.module, lambda: iter([numbers]))
    sample = (numbers[0][:1],)
    file = written(exporter, lower(graph, "qdq"), sample, ["x"], ["y"], tmp_path, target=HOST, dynamic_batch=False).file

    session, expected = BACKEND.load(tmp_path / file, options=BACKEND.options()), graph.module(*numbers).detach()
    rows = [next(iter(session.run({"x": numbers[0][i : i + 1].numpy()}).values())) for i in range(8)]
    steps = np.abs(np.concatenate(rows) - expected[:8].numpy()) / graph.output_steps()["output"]
    assert steps.max() <= 1.01


def test_other_graphs_are_left_as_they_are() -> None:
    class Cast(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.to(torch.float32) * (x > 1)

    graph = torch.export.export(Cast(), (torch.arange(4),)).module()
    assert one_hot.as_choices(graph) is graph
