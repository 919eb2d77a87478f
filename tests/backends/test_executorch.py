"""A small quantized net as an ExecuTorch program: what the file holds, what the runtime computes, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from exporting import written
from quantize_nets import HOST, calibrated, seeded, settled
from torch import nn

pytest.importorskip("executorch", reason="the runtime under test")

from edgeft import backends
from edgeft.backends import Backend
from edgeft.backends.executorch import etdump, exporter, loader, program
from edgeft.backends.executorch.session import trace
from edgeft.config import target
from edgeft.core.errors import BundleError
from edgeft.core.runner import Stop
from edgeft.quantize.graph import QuantizedGraph
from edgeft.quantize.lower import integer_weights, lower
from edgeft.verify.integer import integer
from edgeft.verify.scales import activation_scales

BACKEND: Backend = backends.get("executorch")
TARGET = target.load("host-executorch")
#: conv 3x3 3->8 over 8x8, conv 3x3 8->8 over 8x8, depthwise 3x3 over 8x8, linear 8->5
MACS = 8 * 8 * 8 * 27 + 8 * 8 * 8 * 72 + 8 * 8 * 8 * 9 + 40
PICTURES = seeded(16, 3, 8, 8, seed=3)


class Small(nn.Module):
    """A residual block whose input two ops read, a depthwise convolution with a clamp, a mean and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.depthwise, self.head = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.first(x))
        x = F.relu(self.second(x) + x)
        x = torch.clamp(self.depthwise(x), 0.0, 6.0)
        return self.head(x.mean((2, 3)))


@dataclass(frozen=True)
class Exported:
    graph: QuantizedGraph
    module: torch.fx.GraphModule
    file: Path


def export(net: nn.Module, example: torch.Tensor, folder: Path) -> Exported:
    graph = calibrated(settled(net), (example,), HOST)
    module = lower(graph, BACKEND.lowering)
    artifact = written(
        exporter, module, (example,), ["x"], ["y"], folder, target=TARGET, dynamic_batch=True, kind="quantized"
    )
    return Exported(graph, module, folder / artifact.file)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(Small(), PICTURES[:4], tmp_path_factory.mktemp("executorch"))


@pytest.fixture
def altered(small: Exported, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "model.pte"
    path.write_bytes(small.file.read_bytes())
    return path


def test_outputs_are_those_of_the_graph_within_one_step(small: Exported) -> None:
    with torch.no_grad():
        expected = small.module(PICTURES)
    expected = (expected[0] if isinstance(expected, (tuple, list)) else expected).numpy()
    session = BACKEND.load(small.file, options={"input_names": ["x"], "output_names": ["y"]})
    outputs = session.run({"x": PICTURES.numpy()})["y"]
    (step,) = small.graph.output_steps().values()
    apart = np.abs(outputs - expected) / step

    assert apart.max() <= 1.001 and (apart < 0.001).mean() > 0.8
    assert np.ptp(expected) / step > 30, "a net that answers one value would agree too"


def test_weights_scales_and_grids_are_those_of_the_graph(small: Exported) -> None:
    expected = {weight.name: (weight.data, weight.scale) for weight in integer_weights(small.graph)}
    assert len(expected) == 4
    assert integer(expected, BACKEND.integer_weights(small.file)).verdict == "pass"
    grids = [fake.parameters_of_grid() for fake in small.graph.activations().values()]
    stored = BACKEND.activation_grids(small.file)
    assert len({(grid.scale, grid.zero_point) for grid in stored}) >= 6
    assert activation_scales(grids, stored).verdict == "pass"


def test_the_runtime_computes_all_of_it_in_integers(small: Exported) -> None:
    share = BACKEND.integer_share(small.file)
    assert (share.macs, share.integer_macs, share.float_ops) == (MACS, MACS, {})
    ran = [name for name in etdump.executed(trace(small.file)) if etdump.weighted(name)]
    assert len(ran) == 4 and all(map(etdump.integer, ran))
    assert BACKEND.emitted(small.file)["delegates"] == 1


def test_values_flow_from_the_input_through_every_weight_to_the_output(small: Exported) -> None:
    flow = BACKEND.flow(small.file)
    assert flow is not None
    live = flow.live()
    read = {key for step in live for key in step.reads}
    assert len(flow.weights) == 4 and {key for key, _ in flow.weights} <= read
    assert sum(step.macs for step in live) == MACS == sum(op.macs for op in BACKEND.operations(small.file))


def test_an_altered_weight_and_an_altered_scale_are_found(small: Exported, altered: Path) -> None:
    expected = {weight.name: (weight.data, weight.scale) for weight in integer_weights(small.graph)}
    data, weight = altered.read_bytes(), BACKEND.integer_weights(altered)[0]
    old = weight.data.tobytes()
    altered.write_bytes(data.replace(old, bytes([old[0] ^ 1]) + old[1:]))
    verdict = integer(expected, BACKEND.integer_weights(altered))
    assert verdict.verdict == "fail" and "'first.weight'" in verdict.why

    scale = weight.scale.copy()
    scale[3] *= np.float32(1.01)
    altered.write_bytes(data.replace(weight.scale.tobytes(), scale.tobytes()))
    assert "another scale" in integer(expected, BACKEND.integer_weights(altered)).why

    grids = [fake.parameters_of_grid() for fake in small.graph.activations().values()]
    grid = np.float32(BACKEND.activation_grids(altered)[1].scale)
    altered.write_bytes(data.replace(grid.tobytes(), np.float32(grid * 1.5).tobytes()))
    assert activation_scales(grids, BACKEND.activation_grids(altered)).verdict == "fail"


def test_a_broken_file_is_refused_before_the_runtime_reads_it(altered: Path) -> None:
    data = altered.read_bytes()
    for length in (0, 4, 12, 40, 200, 1000, len(data) // 2, len(data) - 400):
        altered.write_bytes(data[:length])
        with pytest.raises(BundleError, match="ExecuTorch program"):
            BACKEND.integer_weights(altered)
        with pytest.raises(BundleError, match="ExecuTorch program"):
            BACKEND.load(altered)


def test_a_part_compiled_for_another_backend_is_refused(altered: Path) -> None:
    altered.write_bytes(altered.read_bytes().replace(b"XnnpackBackend", b"OpenvinoBackend"[:14]))
    with pytest.raises(BundleError, match="XNNPACK's only"):
        program.read(altered)


def test_a_random_byte_gives_no_traceback(altered: Path) -> None:
    data, rng = altered.read_bytes(), np.random.default_rng(0)
    for _ in range(100):
        broken = bytearray(data)
        broken[rng.integers(len(data))] = rng.integers(256)
        altered.write_bytes(broken)
        try:
            BACKEND.integer_weights(altered), BACKEND.emitted(altered), BACKEND.flow(altered)
        except BundleError:
            continue


def test_sessions_of_different_thread_counts_live_side_by_side(small: Exported) -> None:
    feeds = {"input_0": PICTURES[:2].numpy()}
    one, two = BACKEND.load(small.file, threads=1), BACKEND.load(small.file, threads=2)
    with pytest.raises(BundleError, match="nothing was run yet"):
        one.invoke()
    first = one.run(feeds)["output_0"]
    for session in (two, one, two):
        np.testing.assert_array_equal(session.run(feeds)["output_0"], first)
    one.invoke(), two.invoke(), one.invoke()


def test_a_repeated_run_reads_its_input_again(small: Exported) -> None:
    """The memory of inputs is not planned into that of other values, so that timing runs on what was fed."""
    session = BACKEND.load(small.file)
    first = session.run({"input_0": PICTURES[:1].numpy()})["output_0"]
    for _ in range(3):
        session.invoke()
    np.testing.assert_array_equal(session.handle.get_outputs()[0].numpy(), first)  # type: ignore[attr-defined]


class Tail(nn.Module):
    """The last layer with weights that are inputs, and its own input handed on: what learns on a device."""

    def forward(self, x: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x @ weight.t(), x


def test_an_input_that_is_an_output_too_is_read_and_handed_on(tmp_path: Path) -> None:
    example = seeded(1, 8, seed=1), seeded(4, 8, seed=2)
    module = torch.fx.symbolic_trace(Tail())
    names = ["x", "weight"], ["y", "same"]
    artifact = written(exporter, module, example, *names, tmp_path, target=TARGET, dynamic_batch=False, kind="fixed")
    session = BACKEND.load(tmp_path / artifact.file)
    for seed in (3, 4):
        x, weight = seeded(1, 8, seed=seed).numpy(), seeded(4, 8, seed=seed + 9).numpy()
        outputs = list(session.run({"input_0": x, "input_1": weight}).values())
        np.testing.assert_allclose(outputs[0], x @ weight.T, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(outputs[1], x)


def test_the_part_of_run_py_computes_the_same(small: Exported, capfd: pytest.CaptureFixture[str]) -> None:
    feed = PICTURES[:1].numpy()
    expected = BACKEND.load(small.file).run({"input_0": feed})["output_0"]
    inputs, outputs, run = loader.open_model(str(small.file), 1, {})
    assert (inputs, outputs) == (["input_0"], ["output_0"])
    np.testing.assert_array_equal(run([feed])[0], expected)
    assert capfd.readouterr() == ("", "")
    with pytest.raises(Stop) as caught:
        loader.open_model(str(Path(__file__)), 1, {})
    assert caught.value.code == 3
