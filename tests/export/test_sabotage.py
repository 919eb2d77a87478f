"""Every way in which an export can be wrong is caught by a gate that names it, at export and on the board."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapes_run
from shapes_run import failed, gate, seal

import edgeft
from edgeft import backends as runtime
from edgeft.bundle import reader as bundles
from edgeft.cli.entry import run as command
from edgeft.core.errors import BundleError
from edgeft.verify.run import run

verify = importlib.import_module("edgeft.verify")  # the subpackage: `edgeft.verify` is the function

BACKENDS = {"host": "onnxruntime", "host-litert": "litert", "host-openvino": "openvino"}
EACH = pytest.mark.parametrize("name", BACKENDS)
Tamper = Callable[[str, Path], None]


def rewrite(model: Path, old: bytes, new: bytes) -> None:
    """Replace every `old` in the model file or in the weights beside it; there must be one."""
    assert len(old) == len(new)
    seen = 0
    for path in (model, model.with_suffix(".bin")):
        if path.is_file():
            data = path.read_bytes()
            seen += data.count(old)
            path.write_bytes(data.replace(old, new))
    assert seen, "the bytes to be changed are not in the artifact"


def flip_a_weight(backend: str, model: Path) -> None:
    """The lowest bit of one weight of the largest tensor."""
    largest = max(runtime.get(backend).integer_weights(model), key=lambda t: t.data.size)
    old = np.ascontiguousarray(largest.data).tobytes()
    rewrite(model, old, bytes([old[0] ^ 1]) + old[1:])


def change_a_weight_scale(backend: str, model: Path) -> None:
    """One channel of one tensor, by a hundredth."""
    weights = max(runtime.get(backend).integer_weights(model), key=lambda t: t.scale.size)
    new = weights.scale.copy()
    new[3] *= np.float32(1.01)
    rewrite(model, weights.scale.tobytes(), new.tobytes())


def change_an_activation_scale(backend: str, model: Path) -> None:
    """Some activation's, half as large again; which hardly moves the outputs."""
    grids = runtime.get(backend).activation_grids(model)
    scale = np.float32(grids[len(grids) // 2].scale)
    if backend == "openvino":  # it stores the range of a grid and the way back from it: the scale is in the latter
        scale = np.float32(next(g.scale for g in grids[len(grids) // 2 | 1 :]))
    rewrite(model, scale.tobytes(), np.float32(scale * 1.5).tobytes())


@pytest.fixture
def tampered(shapes: Any, exported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Tamper], dict]:
    """Export to the three runtimes with a converter that does something wrong, and give the reports by target."""

    def export(tamper: Tamper) -> dict[str, dict[str, Any]]:
        for backend in BACKENDS.values():
            module = importlib.import_module(f"edgeft.backends.{backend}.exporter")

            def wrong(request: Any, folder: Path, _export: Any = module.export, _backend: str = backend) -> Any:
                artifact = _export(request, folder)
                if request.kind == "quantized":
                    tamper(_backend, folder / artifact.file)
                return artifact

            monkeypatch.setattr(module, "export", wrong)
        return {r["target"]: r for r in edgeft.export(shapes.run, list(BACKENDS), tmp_path / "wrong")}

    return export


@pytest.fixture
def copied(exported: Any, tmp_path: Path) -> Callable[[str], Path]:
    def copy(name: str) -> Path:
        return Path(shutil.copytree(exported.bundle(name), tmp_path / name))

    return copy


# -- wrong from the start: the manifest's digests fit what is wrong ---------------------------------------------------
def test_a_flipped_weight_bit_fails_the_export(tampered):
    for name, report in tampered(flip_a_weight).items():
        assert report["verdict"] == "fail", name
        weights = [g for g in report["gates"] if "int8_weights_share" in g["metric"]]
        assert len(weights) == 2  # against the torch graph, and against the manifest in the process that knows no torch
        assert all(g["verdict"] == "fail" and ".weight'" in g["why"] for g in weights), name


@pytest.mark.slow
def test_a_wrong_weight_scale_fails_the_export(tampered):
    for name, report in tampered(change_a_weight_scale).items():
        assert report["verdict"] == "fail", name
        found = gate(report, "integer", "int8_weights_share")
        assert found["verdict"] == "fail" and "another scale" in found["why"], name


@pytest.mark.slow
def test_a_wrong_activation_scale_fails_the_export(tampered):
    for name, report in tampered(change_an_activation_scale).items():
        assert report["verdict"] == "fail", name
        found = gate(report, "integer", "activation_scales")
        assert found["verdict"] == "fail" and "which the quantized graph does not have" in found["why"], name


def test_a_float_model_called_int8_fails_the_export(shapes, exported, tmp_path, monkeypatch):
    for backend in BACKENDS.values():
        module = importlib.import_module(f"edgeft.backends.{backend}.exporter")

        def instead(request: Any, folder: Path, _export: Any = module.export) -> Any:
            artifact = _export(request, folder)
            if request.kind == "float":
                for file in artifact.files:
                    shutil.copy(folder / file, folder.parent / file)
            return artifact

        monkeypatch.setattr(module, "export", instead)
    for report in edgeft.export(shapes.run, list(BACKENDS), tmp_path / "float"):
        assert report["verdict"] == "fail"
        assert {g["verdict"] for g in report["gates"] if "int8_weights_share" in g["metric"]} == {"fail"}
        share = gate(report, "integer", "int8_share")
        assert share["verdict"] == "fail" and share["quantized"] == report["int8_share"] == 0


def test_a_swapped_label_map_fails_the_export(shapes, exported, tmp_path, monkeypatch):
    write = bundles.write

    def swapped(folder: Path, manifest: dict[str, Any]) -> None:
        write(folder, {**manifest, "labels": [manifest["labels"][i] for i in (1, 0, 2)]})

    monkeypatch.setattr(bundles, "write", swapped)
    (report,) = edgeft.export(shapes.run, ["host"], tmp_path)
    found = gate(report, "parity", "label map")
    assert report["verdict"] == "fail" and found["verdict"] == "fail" and "label map" in found["why"]


# -- altered afterwards, with every digest redone ----------------------------------------------------------------------
@EACH
@pytest.mark.parametrize(
    ("tamper", "metric", "words"),
    [
        (flip_a_weight, "recorded int8_weights_share", "byte-identically"),
        (change_a_weight_scale, "recorded scales", "scales"),
        (change_an_activation_scale, "recorded scales", "scales"),
    ],
)
def test_an_altered_model_is_named(copied, name, tamper, metric, words):
    path = copied(name)
    tamper(BACKENDS[name], bundles.open(path).graph_path())
    with pytest.raises(BundleError, match="altered") as caught:
        bundles.open(path)
    assert caught.value.exit_code == 3
    report = run(seal(path), measure_latency=False)
    found = next(g for g in report["gates"] if g["metric"] == metric and g["name"] == "integer")
    assert report["verdict"] == "fail" and found["verdict"] == "fail" and words in found["why"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("host", {"session.disable_quant_qdq": "1"}),
        ("host", {"graph_optimization_level": "ORT_DISABLE_ALL"}),
        ("host-openvino", {"LP_TRANSFORMS_MODE": "NO"}),
    ],
)
def test_runtime_options_that_switch_integer_kernels_off_fail_the_share(copied, name, options):
    path = copied(name)
    recorded = bundles.open(path).manifest["runtime"]
    seal(path, runtime={**recorded, "options": {**recorded["options"], **options}})
    report = run(path, measure_latency=False)
    share = gate(report, "integer", "int8_share")
    assert report["verdict"] == share["verdict"] == "fail" and share["quantized"] == report["int8_share"] == 0


@EACH
def test_a_float_model_called_int8_is_named(copied, name):
    path = copied(name)
    for file in (path / "baseline").iterdir():
        shutil.copy(file, path / file.name)
    report = run(seal(path), measure_latency=False)
    assert gate(report, "integer", "int8_weights_share")["verdict"] == "fail"
    assert gate(report, "integer", "int8_share")["verdict"] == "fail" and report["verdict"] == "fail"


def test_a_swapped_label_map_is_named_with_and_without_data(copied, shapes):
    path = copied("host")
    seal(path, labels=[shapes_run.LABELS[i] for i in (0, 2, 1)])
    report = run(path, measure_latency=False)
    assert [name for name, why in failed(report) if "label map" in why] == ["parity"]
    report = run(path, shapes.data, measure_latency=False)
    assert {name for name, why in failed(report) if "label map" in why} == {"parity", "accuracy"}


@pytest.mark.parametrize(
    "change",
    [
        {"mean": [0.5, 0.5, 0.5]},
        {"std": [0.25, 0.25, 0.25]},
        {"resize": "nearest"},
        {"resize": "bicubic"},
        {"size": [28, 28]},
        {"scale": 1.0},
    ],
    ids=str,
)
def test_changed_preprocessing_is_named(copied, change):
    path = copied("host")
    before = bundles.open(path).preprocess
    assert all(before[key] != value for key, value in change.items())
    report = run(seal(path, preprocess={**before, **change}), measure_latency=False)
    found = gate(report, "parity", "preprocessing")
    assert report["verdict"] == "fail" and found["verdict"] == "fail" and "preprocessing" in found["why"]


def test_an_altered_manifest_is_refused(copied, capfd):
    path = copied("host")
    table = json.loads((path / "manifest.json").read_text())
    table["gates"]["max_drop"] = 1.0
    (path / "manifest.json").write_text(json.dumps(table))
    with pytest.raises(BundleError, match=r"manifest\.json was altered"):
        bundles.open(path)
    assert command(["verify", str(path), "--json"]) == 3
    found = json.loads(capfd.readouterr().out)
    assert found["error"] == "BundleError" and found["exit_code"] == 3


class Clock:
    """Time that passes only when a session runs."""

    resolution_ns = 1

    def __init__(self) -> None:
        self.now = 0

    def wall(self) -> int:
        return self.now

    def cpu(self) -> int:
        return self.now


class Timed:
    """A session whose every run takes `cost` ns of the clock."""

    def __init__(self, session: Any, clock: Clock, cost: int) -> None:
        self._session, self._clock, self._cost = session, clock, cost
        self.inputs, self.outputs = session.inputs, session.outputs

    def run(self, feeds: Any) -> Any:
        return self._session.run(feeds)

    def invoke(self) -> None:
        self._session.invoke()
        self._clock.now += self._cost


@pytest.mark.parametrize(("cost", "verdict"), [(3_000_000, "fail"), (400_000, "pass")])
def test_a_three_times_slower_artifact_is_named(copied, monkeypatch, cost, verdict):
    clock, open_session = Clock(), bundles.Bundle.session

    def timed(self: bundles.Bundle, **options: Any) -> Any:
        return Timed(open_session(self, **options), clock, 1_000_000 if options.get("baseline") else cost)

    monkeypatch.setattr(bundles.Bundle, "session", timed)
    path = copied("host-litert")
    gates = {**bundles.open(path).manifest["gates"], "min_speedup": 1.0}
    report = run(seal(path, gates=gates), clock=clock)
    found = gate(report, "latency")
    assert found["verdict"] == report["verdict"] == verdict and found["required"]
    assert report["latency"]["speedup"] == pytest.approx(1_000_000 / cost)


def test_a_slow_model_of_an_absent_board_decides_nothing(copied, monkeypatch):
    clock, open_session = Clock(), bundles.Bundle.session

    def timed(self: bundles.Bundle, **options: Any) -> Any:
        return Timed(open_session(self, **options), clock, 1_000_000 if options.get("baseline") else 9_000_000)

    monkeypatch.setattr(bundles.Bundle, "session", timed)
    path = copied("jetson-orin-nano")
    gates = {**bundles.open(path).manifest["gates"], "min_speedup": 1.0}
    report = run(seal(path, gates=gates), clock=clock)
    assert gate(report, "latency")["verdict"] == "advisory" and report["verdict"] == "pass"


# -- the gates of scales by themselves ---------------------------------------------------------------------------------
def test_activation_scales_judges_what_the_artifact_wrote():
    expected = [(0.1, -128), (0.02, 5)]
    good = [runtime.Grid("a", 0.1 * (1 + 1e-7), -128)]
    assert verify.activation_scales(expected, good).verdict == "pass"
    for grid in (runtime.Grid("b", 0.101, -128), runtime.Grid("b", 0.1, -127), runtime.Grid("b", 0.02, -128)):
        found = verify.activation_scales(expected, [*good, grid])
        assert found.verdict == "fail" and "'b'" in found.why and found.quantized == 0.5
    assert verify.activation_scales(expected, []).verdict == "fail"
    assert verify.activation_scales([], good).verdict == "fail"


def test_scales_that_nobody_recorded_are_advisory():
    found = verify.same_scales(None, [], [runtime.Grid("a", 0.1, 0)])
    assert found.verdict == "advisory" and not found.required
