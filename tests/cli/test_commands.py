"""The commands themselves: what they accept, refuse and print. What they call has tests of its own."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle

from edgeft.cli.entry import run
from edgeft.config import recipe, starting_recipes


def ask(capfd: pytest.CaptureFixture[str], *argv: object) -> tuple[int, dict, str]:
    """Exit code, the one JSON object on stdout, and stderr."""
    code = run([*map(str, argv), "--json"])
    out, err = capfd.readouterr()
    assert out.count("\n") == 1, out
    assert "Traceback" not in err
    return code, json.loads(out), err


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test in a folder of its own, without profiles of the user's."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


# -- init ------------------------------------------------------------------------------------------------------------
def test_init_writes_a_recipe_that_loads_and_never_over_another(capfd: pytest.CaptureFixture[str]) -> None:
    code, found, _ = ask(capfd, "init")
    assert (code, found["recipe"]) == (0, "recipe.toml")
    assert recipe.load("recipe.toml").task == "classify"
    Path("recipe.toml").write_text("mine")
    assert ask(capfd, "init")[0] == 2
    assert Path("recipe.toml").read_text() == "mine"
    assert ask(capfd, "init", "--overwrite")[0] == 0
    assert recipe.load("recipe.toml").task == "classify"


def test_init_writes_the_recipe_of_data_and_nothing_for_what_it_does_not_know(
    capfd: pytest.CaptureFixture[str],
) -> None:
    rows = [f"{i},{i / 7},{('on', 'off')[i % 2]}" for i in range(40)]
    Path("machine.csv").write_text("\n".join(["id,torque,state", *rows]))
    Path("notes.bin").write_bytes(b"\0")
    code, answer, _ = ask(capfd, "init", "--data", "machine.csv", "--target", "intel-nuc", "--target", "rpi4")
    assert (code, answer["error"]) == (3, "DataError"), "one column of numbers is no table"
    assert not Path("recipe.toml").exists()

    Path("machine.csv").write_text("\n".join(["id,torque,heat,state", *(f"{i},{row}" for i, row in enumerate(rows))]))
    code, answer, _ = ask(capfd, "init", "--data", "machine.csv", "--target", "intel-nuc", "--target", "rpi4")
    assert (code, answer["task"]) == (0, "tabular") and "state" in answer["recognized_by"]
    written = recipe.load("recipe.toml")
    assert (written.name, written.data.label, written.export.targets) == ("machine", "state", ("intel-nuc", "rpi4"))
    assert written.data.path == str(Path("machine.csv").resolve())

    chosen = ["tabular-values", "--data", "machine.csv", "--set", "data.label=heat", "--set", "train.epochs=2"]
    code, answer, _ = ask(capfd, "init", *chosen, "--out", "heat.toml")
    values = recipe.load("heat.toml")
    assert (code, values.data.format, values.data.label, values.train.epochs) == (0, "table-values", "heat", 2)
    code, answer, _ = ask(capfd, "init", "tabular", "--data", "notes.bin", "--format", "table", "--out", "notes.toml")
    assert (code, recipe.load("notes.toml").data.format) == (0, "table"), "the user's word counts"

    for argv, error in (
        (["--data", "notes.bin"], "DataError"),
        (["--data", "machine.csv", "--set", "train.epoch=2"], "RecipeError"),
        (["--data", "machine.csv", "--set", "data.label=heats"], "DataError"),
        (["--format", "table"], "UsageError"),
        (["--data", "absent"], "DataError"),
        (["--data", "machine.csv", "--target", "toaster"], "UsageError"),
        (["clasify", "--data", "machine.csv"], "UsageError"),
    ):
        code, answer, _ = ask(capfd, "init", *argv, "--overwrite")
        assert (code != 0, answer["error"]) == (True, error) and answer["remedy"]
    assert recipe.load("recipe.toml") == written


# -- tune ------------------------------------------------------------------------------------------------------------
def test_a_wrong_key_names_file_line_and_nearest_key(capfd: pytest.CaptureFixture[str]) -> None:
    Path("r.toml").write_text('task = "classify"\n[train]\nepoch = 3\n')
    code, found, _ = ask(capfd, "tune", "r.toml")
    assert code == 3 and found["error"] == "RecipeError"
    assert found["where"] == "r.toml:3"
    assert "epochs" in found["remedy"]
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("setting", "code"), [("train.epochs", 2), ("train.epoch=3", 3), ("train.epochs=many", 3), ("train.lr=-1", 3)]
)
def test_a_wrong_setting_is_refused(setting: str, code: int, capfd: pytest.CaptureFixture[str]) -> None:
    assert ask(capfd, "tune", "--set", setting)[0] == code


def test_the_embedded_recipe_says_that_it_reads_none_of_the_folder(capfd: pytest.CaptureFixture[str]) -> None:
    embedded = ("tune", "--dry-run", "--set", "train.epochs=two")  # ends before anything is loaded
    assert "for yours" not in ask(capfd, *embedded)[2]

    Path("mine.toml").write_text('task = "detect"')
    Path("pyproject.toml").write_text('[tool.x]\nname = "y"')
    code = run(["tune", "--dry-run", "--set", "train.epochs=0", "--set", "data.format=npz", "--set", "data.path=none"])
    assert code == 3 and "embedded recipe runs" in (err := capfd.readouterr().err)
    assert "for yours: `edgeft tune mine.toml`\n" in err


def test_a_missing_recipe_is_invalid_input(capfd: pytest.CaptureFixture[str]) -> None:
    code, found, _ = ask(capfd, "tune", "nowhere.toml")
    assert code == 3 and "nowhere.toml" in found["where"]


def test_an_out_that_is_not_empty_is_refused_and_untouched(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    Path("old").mkdir()
    Path("old/mine.txt").write_text("mine")
    code, found, _ = ask(capfd, "tune", "--out", "old")
    assert code == 2 and "--overwrite" in found["remedy"]
    assert [path.name for path in Path("old").iterdir()] == ["mine.txt"]


def test_a_run_is_resumed_in_its_own_folder(capfd: pytest.CaptureFixture[str]) -> None:
    assert ask(capfd, "tune", "--resume", "runs/none")[0] == 3
    assert ask(capfd, "tune", "--resume", "runs/none", "--out", "other")[0] == 2
    assert ask(capfd, "tune", "recipe.toml", "--resume", "runs/none")[0] == 2


# Even root cannot make a file or a folder in /proc.
@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which nobody may write")
@pytest.mark.parametrize("argv", [["tune", "--out", "/proc/run"], ["init", "--out", "/proc/recipe.toml"]])
def test_an_unwritable_out_is_the_systems_failure(argv: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    if argv[0] == "tune":
        pytest.importorskip("torch")
    code, found, _ = ask(capfd, *argv)
    assert code == 6 and found["error"] == "SystemFailure" and "/proc/" in found["where"]


def test_a_full_disk_is_the_systems_failure(capfd: pytest.CaptureFixture[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    argv = [sys.executable, "-m", "edgeft", "targets", "list"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 6 and "No space left" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_exits_130_and_says_how_to_go_on(as_json: bool) -> None:
    for package in ("torch", "accelerate", "mlxtend"):
        pytest.importorskip(package)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, "-m", "edgeft", "tune", "--out", "run", *(["--json"] if as_json else [])]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 120
    while not Path("run/recipe.toml").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, (out, err)
    assert "edgeft tune --resume run" in err and "Traceback" not in err
    if as_json:
        assert json.loads(out)["exit_code"] == 130
    else:
        assert out == ""
    recorded = recipe.load("run/recipe.toml")  # the embedded one, with the digest of its weights
    assert len(recorded.model.sha256) == 1
    unpinned = dataclasses.replace(recorded.model, sha256={})
    assert dataclasses.replace(recorded, model=unpinned) == starting_recipes.embedded()


# -- export ----------------------------------------------------------------------------------------------------------
def test_export_without_a_run_says_what_to_do(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    code, found, _ = ask(capfd, "export", "--target", "rpi5")
    assert code == 3 and "edgeft tune" in found["remedy"]
    run_folder = Path("runs/digits-1")
    run_folder.mkdir(parents=True)
    (run_folder / "recipe.toml").write_text(recipe.dumps(starting_recipes.embedded()))
    code, found, _ = ask(capfd, "export", "--target", "rpi5")
    assert code == 3 and found["remedy"] == "edgeft tune --resume runs/digits-1"


def test_a_finished_model_needs_pictures(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    code, found, _ = ask(capfd, "export", "model.onnx", "--target", "rpi5")
    assert code == 2 and "pictures or arrays to calibrate on" in found["message"] and found["remedy"] == "--data DIR"
    code, found, _ = ask(capfd, "export", "model.onnx", "--target", "rpi5", "--data", ".", "--size", "0x3")
    assert code == 2 and found["where"] == "--size"


# -- bundles ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle.build(tmp_path)


@pytest.mark.board
def test_verify_prints_the_report_and_exits_by_its_verdict(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, found, err = ask(capfd, "verify", bundle)
    # The bundle names no integer weights: a required gate that measured nothing fails.
    assert code == 1 and found["verdict"] == "fail"
    assert found["path"] == str(bundle)
    assert [each["gates"] for each in found["bundles"]] == [found["gates"]]
    assert {gate["name"] for gate in found["gates"]} >= {"parity", "integer", "latency", "size", "compatibility"}
    assert "fail" in err

    code, found, _ = ask(capfd, "verify", bundle, bundle)
    assert code == 1 and found["verdict"] == "fail" and len(found["bundles"]) == 2


@pytest.mark.board
def test_an_altered_bundle_is_untrusted_input(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = bundle / "model.tflite"
    model.write_bytes(model.read_bytes()[:-1] + b"\x01")
    for command in ("verify", "bench"):
        code, found, _ = ask(capfd, command, bundle)
        assert code == 3 and found["error"] == "BundleError" and "model.tflite" in found["where"]
    assert ask(capfd, "predict", bundle, "x.png")[0] == 3
    assert ask(capfd, "verify", "nowhere")[0] == 3


@pytest.mark.board
def test_bench_prints_percentiles_and_writes_for_ci(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, found, _ = ask(
        capfd, "bench", bundle, "--seconds", "0.1", "--threads", 2, "--junit", "j.xml", "--markdown", "m.md"
    )
    assert code == 0
    assert found["samples"] >= 64 and found["clock"] == "wall"
    assert 0 < found["min_ms"] <= found["p50_ms"] <= found["p90_ms"]
    assert found["fingerprint"]["threads"] == 2
    assert {"schema", "verdict", "estimate_pct", "ci99_pct", "tolerance_pct", "looks", "throttled"} <= set(found)
    suite = ET.parse("j.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("1", "0")
    assert "p50" in Path("m.md").read_text()


@pytest.mark.board
def test_predict_prints_what_the_bundle_sees(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for level in (0, 255):
        np.save(f"{level}.npy", tiny_bundle.pixels(level))
    code, found, err = ask(capfd, "predict", bundle, "0.npy", "255.npy")
    assert code == 0
    assert [each["label"] for each in found["predictions"]] == ["dark", "bright"]
    assert "dark" in err and "bright" in err
    code, found, _ = ask(capfd, "predict", bundle, "0.npy", "missing.npy")
    readable, unreadable = found["predictions"]
    assert code == 3 and readable["label"] == "dark"
    assert unreadable["error"]["exit_code"] == 3 and "missing.npy" in unreadable["error"]["where"]
    code, found, _ = ask(capfd, "predict", bundle, "missing.npy")
    assert code == 3 and "missing.npy" in found["where"]


@pytest.mark.board
def test_report_refuses_what_is_neither_run_nor_bundle(elsewhere: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert ask(capfd, "report", elsewhere)[0] == 3
    assert not Path("report.html").exists()
    Path("report.html").write_text("mine")
    assert ask(capfd, "report", elsewhere)[0] in (2, 3)
    assert Path("report.html").read_text() == "mine"


# -- targets, doctor -------------------------------------------------------------------------------------------------
@pytest.mark.board
def test_targets_are_listed_and_shown(capfd: pytest.CaptureFixture[str]) -> None:
    code, found, err = ask(capfd, "targets", "show", "jetson")
    assert code == 0 and found["name"] == "jetson-orin-nano" and found["scheme"]["activation_symmetric"] is True
    assert "Jetson Orin Nano" in err
    assert run(["targets", "list"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert re.split(r"\s{2,}", lines[0]) == ["NAME", "RUNTIME", "COMPILER", "VERIFIED BY", "SCHEME", "BOARD"]
    assert {"coral", "rpi4", "rpi5"} <= {line.split()[0] for line in lines}


def test_targets_check_says_what_a_board_objects_to(capfd: pytest.CaptureFixture[str]) -> None:
    for package in ("torch", "mlxtend"):
        pytest.importorskip(package)
    Path("r.toml").write_text(
        recipe.dumps(recipe.override(starting_recipes.embedded(), ["model.name=resnet8", "model.weights="]))
    )
    code, found, _ = ask(capfd, "targets", "check", "jetson", "r.toml")
    assert found["target"] == "jetson-orin-nano"
    assert code == (1 if any(each["severity"] == "refuse" for each in found["objections"]) else 0)
    assert not list(Path().glob("runs/*"))
    assert ask(capfd, "targets", "check", "jetsn", "r.toml")[0] == 2


@pytest.mark.board
def test_doctor_names_every_runtime(capfd: pytest.CaptureFixture[str]) -> None:
    code, found, err = ask(capfd, "doctor")
    assert code == 0
    assert {each["name"] for each in found["runtimes"]} == {"executorch", "litert", "onnxruntime", "openvino"}
    assert "litert" in err
