"""Bundles and runs that edgeft 0.1.0 wrote still open, verify, predict, run and export."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sounds

import edgeft
from edgeft.cli.entry import run as command
from edgeft.config import target as targets
from edgeft.core.errors import UsageError

EARLIER = Path(__file__).parent / "fixtures" / "0.1.0"
RUNTIMES = {"host": "onnxruntime", "host-openvino": "openvino", "host-litert": "ai_edge_litert"}
EVERY_TARGET = pytest.mark.parametrize("target", RUNTIMES)
#: what the bundles were made from; tests/fixtures/README.md has the commands
COUNTS = {"train": 30, "val": 8, "test": 16}
SAMPLES = 48


@pytest.fixture
def bundle(target: str, tmp_path: Path) -> Path:
    """A copy of the earlier bundle for one runtime."""
    pytest.importorskip(RUNTIMES[target], reason=f"{RUNTIMES[target]} is not installed")
    return Path(shutil.copytree(EARLIER / target, tmp_path / target))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recordings that the earlier run was trained on."""
    return sounds.write_folder(tmp_path_factory.mktemp("earlier") / "sounds", COUNTS, seconds=0.25)


@pytest.fixture
def run(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the earlier run, in the current folder beside the data that its recipe names."""
    for package in ("torch", "accelerate", "safetensors"):
        pytest.importorskip(package, reason=f"a run needs {package}")
    (tmp_path / "sounds").symlink_to(data)
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(EARLIER / "run", tmp_path / "run"))


def answer(capfd: Any, *argv: object) -> dict[str, Any]:
    """The JSON object that a command which ends with 0 prints."""
    code = command([*map(str, argv), "--json"])
    out, err = capfd.readouterr()
    assert code == 0, out + err
    return dict(json.loads(out))


def recorded(target: str, file: str) -> dict[str, Any]:
    return dict(json.loads((EARLIER / target / file).read_text(encoding="utf-8")))


def accuracy(report: dict[str, Any]) -> dict[str, Any]:
    return next(gate for gate in report["gates"] if gate["name"] == "accuracy")


@pytest.mark.parametrize("target", [*RUNTIMES, "run"])
def test_the_fixtures_were_written_by_0_1_0(target: str) -> None:
    versions = recorded("run", "summary.json") if target == "run" else recorded(target, "manifest.json")["provenance"]
    assert versions["versions"]["edgeft"] == "0.1.0"


@EVERY_TARGET
def test_a_bundle_passes_verification(bundle: Path, target: str) -> None:
    report = edgeft.verify(bundle)
    assert report["verdict"] == "pass", [gate for gate in report["gates"] if gate["verdict"] == "fail"]
    assert (report["target"], report["backend"]) == (target, edgeft.load(bundle).manifest["backend"])
    parity = [gate for gate in report["gates"] if gate["name"] == "parity" and gate["required"]]
    assert parity and all(gate["verdict"] == "pass" and gate["n"] for gate in parity)
    # This version writes another run.py, which is said.
    others = [gate for gate in report["gates"] if gate["name"] == "parity" and gate not in parity]
    assert [(gate["metric"], gate["verdict"]) for gate in others] == [("run.py", "advisory")]


@EVERY_TARGET
def test_data_give_the_same_accuracy_as_at_export(bundle: Path, data: Path, target: str) -> None:
    gate, earlier = accuracy(edgeft.verify(bundle, data)), accuracy(recorded(target, "report.json"))
    assert gate["verdict"] == "pass" and gate["n"] == SAMPLES
    assert (gate["float"], gate["quantized"]) == (earlier["float"], earlier["quantized"])


@EVERY_TARGET
def test_a_bundle_predicts(bundle: Path, tmp_path: Path, capfd: Any) -> None:
    rng = np.random.default_rng(5)
    clips = [sounds.write(tmp_path / f"{label}.wav", sounds.clip(label, rng, seconds=0.25)) for label in sounds.LABELS]
    predictions = answer(capfd, "predict", bundle, *clips)["predictions"]
    assert [prediction["label"] for prediction in predictions] == list(sounds.LABELS)


@EVERY_TARGET
def test_a_bundle_is_measured(bundle: Path, target: str) -> None:
    result = edgeft.bench(bundle, seconds=0.2, baselines=bundle.parent / "baselines")
    assert result["target"] == target and result["samples"] > 0 and 0 < result["min_ms"] <= result["p50_ms"]


@EVERY_TARGET
def test_the_runner_in_a_bundle_checks_itself(bundle: Path) -> None:
    argv = [sys.executable, "-I", str(bundle / "run.py")]
    env = {**os.environ, "PYTHONUTF8": "1"}
    finished = subprocess.run(argv, capture_output=True, text=True, timeout=120, env=env)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "decisions alike: ok" in finished.stdout and "preprocessing: largest difference 0" in finished.stdout


def test_a_run_exports_to_the_same_integers(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the exporter to ONNX needs it")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    if targets.saturates():  # the run was trained on a CPU whose kernels take weights of 8 bits, this one's take 7
        with pytest.raises(UsageError, match="no model for the scheme affine-w7 of host"):
            edgeft.export(run, ["host"], tmp_path / "bundles")
        return

    (report,) = edgeft.export(run, ["host"], tmp_path / "bundles")
    assert report["verdict"] == "pass", [gate for gate in report["gates"] if gate["verdict"] == "fail"]
    gate, earlier = accuracy(report), accuracy(recorded("host", "report.json"))
    assert (gate["n"], gate["float"], gate["quantized"]) == (SAMPLES, earlier["float"], earlier["quantized"])
    weights = edgeft.load(report["path"]).manifest["integer_weights"]
    assert weights and weights == recorded("host", "manifest.json")["integer_weights"]
    # A square root of another CPU is another one in its last bit, and with it the scale of a channel.
    scales, earlier_scales = (onnx_scales(Path(path)) for path in (report["path"], EARLIER / "host"))
    assert scales and scales.keys() == earlier_scales.keys()
    for name, values in scales.items():
        np.testing.assert_array_almost_equal_nulp(values, earlier_scales[name], nulp=2)


def onnx_scales(bundle: Path) -> dict[str, np.ndarray]:
    """The scales of a bundle's graph, by the name of their tensor."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    graph = onnx.load(bundle / "model.onnx").graph
    names = {node.input[1] for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    return {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer if i.name in names}


def test_a_finished_run_resumes_to_the_same_float_weights(run: Path) -> None:
    before = {path.name: path.read_bytes() for path in run.glob("*.safetensors")}
    summary, earlier = edgeft.tune(run / "recipe.toml", run, resume=True), recorded("run", "summary.json")
    after = {path.name: path.read_bytes() for path in run.glob("*.safetensors")}
    # The quantized stage is trained again, and the augmentation of sounds is no longer that of 0.1.0.
    narrower = {"quantized.affine-w7.safetensors"} if targets.saturates() else set()
    assert len(before) == 2 and after.keys() == before.keys() | narrower
    assert after["float.safetensors"] == before["float.safetensors"]
    for key in ("metric", "float", "n", "updated_parameters", "total_parameters"):
        assert summary[key] == earlier[key]


def test_a_report_shows_an_earlier_run_and_its_bundles(run: Path, tmp_path: Path, capfd: Any) -> None:
    answer(capfd, "report", run, *(EARLIER / target for target in RUNTIMES), "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert all(target in page for target in RUNTIMES)
