"""Torch graph and the artifacts of all three runtimes against the exact integer reference: at most one step apart."""

from __future__ import annotations

from pathlib import Path

import integer_reference as exact
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from exporting import written
from integer_reference import Exact
from quantize_nets import Excite, Residual, calibrated, seeded, settled
from torch import nn

from edgeft import backends as runtime
from edgeft.backends.litert import exporter as litert
from edgeft.backends.onnxruntime import exporter as onnxruntime
from edgeft.backends.openvino import exporter as openvino
from edgeft.config import target
from edgeft.config.scheme import SchemeTable
from edgeft.quantize.graph import QuantizedGraph
from edgeft.quantize.lower import lower

EXPORTERS = {
    "onnxruntime": (onnxruntime, "host", "int"),
    "openvino": (openvino, "host-openvino", "int"),
    "litert": (litert, "host-litert", "qdq"),
}


class Ops(nn.Module):
    """Every op for itself between the grids of its inputs and of its output."""

    NAMES = (
        "conv",
        "conv_relu",
        "strided",
        "depthwise",
        "pointwise",
        "linear",
        "add",
        "add_relu",
        "mul",
        "average",
        "largest",
        "concat",
        "mean",
        "sigmoid",
    )

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.conv_relu = nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(4, 6, 3)
        self.strided = nn.Conv2d(4, 8, 3, stride=2, dilation=2, groups=2, bias=False)
        self.depthwise, self.pointwise = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 5, 1)
        self.linear = nn.Linear(4 * 8 * 8, 7)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (
            self.conv(x),
            F.relu(self.conv_relu(x)),
            self.strided(x),
            F.relu6(self.depthwise(x)),
            self.pointwise(x),
            self.linear(x.flatten(1)),
            x + y,
            F.relu(x + y),
            x * y,
            F.avg_pool2d(x, 2),
            F.max_pool2d(x, 3, 2),
            torch.cat([x, y], 1),
            x.mean((2, 3)),
            torch.sigmoid(x),
        )


class Branches(nn.Module):
    """Two convolutions joined, pooled, classified."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.head = nn.Linear(8 * 4 * 4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        joined = torch.cat([F.relu(self.a(x)), F.relu(self.b(x))], 1)
        return self.head(F.max_pool2d(joined, 2).flatten(1))


BLOCKS: dict[str, tuple[nn.Module, tuple[torch.Tensor, ...]]] = {
    "ops": (Ops(), (seeded(8, 4, 8, 8, seed=1), seeded(8, 4, 8, 8, seed=2) * 0.7 + 0.2)),
    "residual": (Residual(), (seeded(8, 3, 8, 8, seed=3),)),
    "excite": (Excite(), (seeded(8, 3, 8, 8, seed=4),)),
    "branches": (Branches(), (seeded(8, 3, 8, 8, seed=5),)),
}
_graphs: dict[str, QuantizedGraph] = {}


def graph_of(name: str) -> QuantizedGraph:
    if name not in _graphs:
        net, feeds = BLOCKS[name]
        _graphs[name] = calibrated(settled(net, seed=11), feeds)
    return _graphs[name]


def names_of(name: str, graph: QuantizedGraph) -> tuple[str, ...]:
    return Ops.NAMES if name == "ops" else graph.captured.output_names


def differences(name: str, graph: QuantizedGraph, outputs: list[np.ndarray]) -> dict[str, int]:
    """Largest distance in steps, by output."""
    want = exact.evaluate(graph, BLOCKS[name][1])
    grids = exact.output_grids(graph)
    assert len(want) == len(outputs) == len(names_of(name, graph))
    return {
        each: int(np.abs(exact.integers(out, grid) - ints).max())
        for each, ints, out, grid in zip(names_of(name, graph), want, outputs, grids)
    }


@pytest.mark.parametrize("name", BLOCKS)
def test_the_fake_quantized_graph(name: str) -> None:
    graph = graph_of(name)
    with torch.no_grad():
        out = graph.module(*BLOCKS[name][1])
    outputs = [t.numpy() for t in (out if isinstance(out, tuple) else (out,))]
    apart = differences(name, graph, outputs)
    assert max(apart.values()) <= 1, apart
    moved = [np.ptp(ints) for ints in exact.evaluate(graph, BLOCKS[name][1])]
    assert min(moved) > 60, "every output uses a good part of its grid, or the comparison says little"


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("backend", EXPORTERS)
def test_the_artifact_in_its_runtime(backend: str, name: str, tmp_path: Path) -> None:
    pytest.importorskip({"litert": "litert_torch"}.get(backend, backend))
    graph, feeds = graph_of(name), BLOCKS[name][1]
    module, profile, form = EXPORTERS[backend]
    inputs, outputs = graph.captured.input_names, graph.captured.output_names
    artifact = written(
        module,
        lower(graph, form),
        graph.captured.example,
        inputs,
        outputs,
        tmp_path,
        target=target.load(profile),
        dynamic_batch=False,
    )
    session = runtime.get(backend).load(tmp_path / artifact.file)
    # LiteRT keeps positions, not names
    said = session.run({t.name: f.numpy() for t, f in zip(session.inputs, feeds)})
    apart = differences(name, graph, [said[t.name] for t in session.outputs])
    assert max(apart.values()) <= 1, apart


def test_a_fault_of_two_steps_would_be_seen() -> None:
    graph = graph_of("residual")
    with torch.no_grad():
        out = graph.module(*BLOCKS["residual"][1]).numpy()
    step = exact.output_grids(graph)[0][0]
    assert max(differences("residual", graph, [out + 2 * np.float32(step)]).values()) >= 2


def test_requantization_rounds_half_to_even() -> None:
    value = Exact(
        torch.tensor([-5.0, -3.0, -1.0, 1.0, 3.0, 5.0, 600.0], dtype=torch.float64), torch.tensor(0.5).double()
    )
    got = exact.requantize(value, 1.0, 3, -128, 127)
    assert (got.count + 3).tolist() == [1, 1, 3, 3, 5, 5, 127]


def test_a_convolution_by_hand() -> None:
    """Two by two, one channel: sum of products of integers, bias in its unit, one rounding."""
    net = nn.Conv2d(1, 1, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[[[127.0, -64.0], [0.0, 1.0]]]]) / 127)
        net.bias.fill_(0.5)
    x = torch.tensor([[[[-1.0, 0.5], [0.25, 1.0]]], [[[1.0, 1.0], [1.0, 1.0]]]])
    graph = calibrated(net.eval(), (x,), SchemeTable(activation_symmetric=True).scheme())
    (step_in, _), (step_out, _) = (
        m.parameters_of_grid() for m in (graph.activations()[n] for n in ("act_fq_0", "act_fq_1"))
    )
    weight_step = float(next(iter(graph.weights().values())).scale().detach())
    integers_in = np.rint(x.numpy().astype(np.float64) / step_in).astype(np.int64).reshape(2, 4)
    sums = integers_in @ np.array([127, -64, 0, 1]) + round(0.5 / (step_in * weight_step))
    want = np.clip(np.rint(sums * (step_in * weight_step / step_out)), -128, 127)
    assert exact.evaluate(graph, (x,))[0].ravel().tolist() == want.tolist()
