"""The return of a closed loop is a gate: float and int8 swing up the same pendulum."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pendulum
import pytest
import tiny_bundle

import edgeft
from edgeft import data, tasks
from edgeft.bundle import reader
from edgeft.cli.entry import run as command
from edgeft.config import target as targets
from edgeft.config.recipe import Data, Gates
from edgeft.core import installation
from edgeft.core.errors import BundleError, DataError, Missing, RecipeError
from edgeft.verify.closed_loop import OPEN_LOOP, closed_loop, in_environment
from edgeft.verify.run import run

control = tasks.get("control")
SPEC = {"kind": "vector", "size": [3], "input": "x", "mean": [0.0] * 3, "std": [1.0] * 3}
GATES = Gates(environment="Pendulum-v1", episodes=10)


class Controller:
    """A session whose answer is a function of the state."""

    inputs = outputs = ()

    def __init__(self, gain: float) -> None:
        self.gain = gain

    def run(self, feeds: Any) -> dict[str, np.ndarray]:
        cos, sin, speed = feeds["x"][0].astype(np.float64)
        torque = pendulum.expert(np.array([np.arctan2(sin, cos)]), np.array([speed]))
        return {"y": (self.gain * torque)[None]}


def judged(first: float, second: float, gates: Gates = GATES) -> Any:
    pytest.importorskip("gymnasium", reason="the environment is gymnasium's")
    return closed_loop(control, (Controller(first), Controller(second)), SPEC, gates)  # type: ignore[arg-type]


def test_a_policy_that_earns_as_much_passes_and_one_that_does_not_fails() -> None:
    same = judged(1, 1)
    assert same.verdict == "pass" and same.drop == 0 and same.n == 10 and same.float == same.quantized < -50
    assert same.limit == pytest.approx(0.02 * abs(same.float)) and same.metric == "return of Pendulum-v1"
    worse = judged(1, 0.3)
    assert worse.verdict == "fail" and worse.drop > worse.limit and worse.ci95[0] < worse.drop < worse.ci95[1]
    few = judged(1, 0.93, Gates(environment="Pendulum-v1", episodes=3, max_return_drop=0.001, decide="bound"))
    assert few.verdict in ("inconclusive", "fail") and "over 3 episodes" in few.why


def test_a_float_policy_that_is_no_better_than_random_actions_fails() -> None:
    verdict = judged(-1, -1)
    assert verdict.verdict == "fail" and "random actions" in verdict.why


def test_an_environment_that_is_not_there_is_named() -> None:
    pytest.importorskip("gymnasium", reason="the environment is gymnasium's")
    with pytest.raises(DataError, match="'Pendulam-v1'"):
        judged(1, 1, Gates(environment="Pendulam-v1"))
    with pytest.raises(RecipeError, match=r"gates\.environment"):
        edgeft.tune({"task": "classify", "gates": {"environment": "Pendulum-v1"}}, dry_run=True)


def test_controls_become_actions_of_either_kind_of_space() -> None:
    pushes = type("Discrete", (), {"n": 3, "start": 1})()
    act = control.action
    assert act is not None
    assert [act({"y": np.array([[v]])}, pushes) for v in (-3.0, 1.2, 2.7, 9.0)] == [1, 1, 3, 3]
    assert act({"y": np.array([[0.1, 0.9, 0.3]])}, pushes) == 2
    with pytest.raises(DataError, match="2 controls"):
        act({"y": np.zeros((1, 2))}, pushes)


def test_rows_with_extremes_are_calibrated_on(tmp_path: Path) -> None:
    path = pendulum.write_rollouts(tmp_path / "r.npz", 12)
    train = data.open(Data(format="trajectories", path=str(path))).split("train")
    rows = np.stack([train.raw(i) for i in range(len(train))])
    chosen = rows[data.extreme_rows(train)]
    assert len(chosen) <= 24 and (chosen.min(0) == rows.min(0)).all() and (chosen.max(0) == rows.max(0)).all()


@pytest.fixture(scope="module")
def swinging(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of a bundle that was cloned from the expert. Read only."""
    for package in ("gymnasium", "torch", "openvino", "accelerate"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    folder = tmp_path_factory.mktemp("pendulum")
    table = {
        "task": "control",
        "name": "pendulum",
        "model": {"source": "builtin", "name": "mlp", "args": {"hidden": [64, 64]}},
        "data": {"format": "trajectories", "path": str(pendulum.write_rollouts(folder / "r.npz", 60))},
        "train": {"epochs": 10, "lr": 3e-3, "batch_size": 64},
        "quantize": {"method": "ptq"},
        "export": {"targets": ["host-openvino"]},
        "gates": {"min_speedup": 0, "environment": "Pendulum-v1", "episodes": 30},
    }
    edgeft.tune(table, folder / "run")
    (report,) = edgeft.export(folder / "run", out=folder / "bundles")
    return report


def gate(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(g for g in report["gates"] if g["name"] == name)


@pytest.mark.slow
def test_int8_keeps_the_return_and_the_layers_run_in_integers(swinging: dict[str, Any]) -> None:
    loop = gate(swinging, "return")
    assert loop["verdict"] == "pass" and loop["required"] and loop["float"] > -250, loop["why"]
    assert loop["drop"] <= 0.02 * abs(loop["float"]), "rare states are beyond the range of the inputs"
    error = gate(swinging, "accuracy")
    assert error["verdict"] == "advisory" and "the return of the closed loop decides" in error["why"]
    assert swinging["int8_share"] > 0.9, "OpenVINO fuses the layers into one float kernel unless it is told not to"
    assert swinging["verdict"] == "pass", [g["why"] for g in swinging["gates"] if g["verdict"] == "fail"]
    assert OPEN_LOOP not in swinging["warnings"]
    manifest = json.loads((Path(swinging["path"]) / "manifest.json").read_text())
    fused = [] if targets.saturates() else ["SNIPPETS_MODE"]  # without VNNI the layers are not fused
    assert manifest["runtime"].get("artifact_options", []) == fused


@pytest.mark.slow
def test_verify_runs_the_loop_again_and_says_where_it_cannot(
    swinging: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    again = gate(run(swinging["path"], measure_latency=False), "return")
    assert again["verdict"] == "pass" and again["quantized"] == pytest.approx(gate(swinging, "return")["quantized"])
    assert command(["verify", swinging["path"], "--strict", "--json"]) in (0, 1)
    assert "return" not in json.loads(capfd.readouterr().out)["not_repeated"]
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    without = run(swinging["path"], measure_latency=False)
    assert "return" in without["unverified"] and "return" in without["not_repeated"]
    assert installation.command("closed-loop") in gate(without, "return")["why"]


@pytest.mark.slow
def test_a_missing_package_stops_the_export_before_anything_is_written(
    swinging: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(Missing, match="gymnasium"):
        edgeft.export(Path(swinging["path"]).parents[1] / "run", out=tmp_path / "bundles")
    assert not (tmp_path / "bundles").exists()


@pytest.mark.slow
def test_without_an_environment_the_report_says_that_an_error_is_no_return(
    swinging: dict[str, Any], tmp_path: Path
) -> None:
    (report,) = edgeft.export(
        Path(swinging["path"]).parents[1] / "run", out=tmp_path / "bundles", overrides=['gates.environment=""']
    )
    assert OPEN_LOOP in report["warnings"] and not [g for g in report["gates"] if g["name"] == "return"]
    assert gate(report, "accuracy")["required"]


def test_a_manifest_decides_nothing_that_is_imported(tmp_path: Path) -> None:
    """gymnasium imports the module in front of an environment's name."""
    tiny_bundle.usable("litert")
    module = tmp_path / "imported_by_a_name.py"
    module.write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    sys.path.insert(0, str(tmp_path))
    opened = reader.open(tiny_bundle.build(tmp_path))
    gates = Gates(environment="imported_by_a_name:Some-v0", episodes=2)
    try:
        with pytest.raises(BundleError, match="the task classify has no actions"):
            in_environment(opened, opened.session(), gates, 1, imports=True)
        acting = reader.Bundle(opened.path, {**opened.manifest, "task": "control"})
        found = in_environment(acting, opened.session(), gates, 1, imports=False)
    finally:
        sys.path.remove(str(tmp_path))
    assert found.verdict == "unverified" and "has a module to be imported" in found.why
    assert not (tmp_path / "executed").exists() and module.stem not in sys.modules
