"""`edgeft export` and `verify` for a board whose compiler is a stand-in in a real environment, by the command line.

A ResNet-8 that learned shapes (tests/conftest.py); the compiler is obedient_compiler.py, installed by `edgeft device
setup` from an index on the loopback. What it makes, refuses, leaves and how it ends is each a setting of the profile.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obedient
import pytest
import shapes_run

from edgeft.backends.onnxruntime import wire
from edgeft.cli.entry import run as main
from edgeft.core import files
from edgeft.devices import known
from edgeft.export import compiling

COMPILED = "compiled/model.obedient"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The record of `edgeft device setup compile:obedient`."""
    folder = tmp_path_factory.mktemp("obedient")
    with pytest.MonkeyPatch.context() as patch, obedient.served("1.0") as index:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        obedient.configure_pip(folder / "pip", index, patch)
        obedient.record(folder / "site", patch)
        assert main(["device", "setup", "compile:obedient"]) == 0
        record = known.read("compile:obedient")
    assert record is not None
    yield record


@dataclass
class Board:
    """A folder to work in, with the run to export; `record` replaces what is known of the compiler's environment."""

    folder: Path
    run: Path
    patch: pytest.MonkeyPatch
    capfd: pytest.CaptureFixture[str]

    def set_up(self, environment: dict[str, Any], **changes: Any) -> None:
        known.write("compile:obedient", {**environment, **changes})

    def offer(self, **changes: Any) -> None:
        obedient.record(self.folder / "site", self.patch, **changes)

    def export(self, **settings: str) -> tuple[int, dict[str, Any], str]:
        """The exit code, the answer with --json, and what stood on stderr."""
        obedient.profile(self.targets, **settings)
        words = ["export", str(self.run), "--target", "board", "--out", str(self.folder / "bundles"), "--json"]
        code = main([*words, "--set", "gates.min_speedup=0.0"])
        out, err = self.capfd.readouterr()
        assert "Traceback" not in err
        return code, json.loads(out), err

    @property
    def targets(self) -> Path:
        return self.folder / "config" / "edgeft" / "targets"

    @property
    def bundle(self) -> Path:
        return self.folder / "bundles" / "board"

    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.bundle / "report.json").read_text())
        return report

    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads((self.bundle / "manifest.json").read_text())
        return manifest


@pytest.fixture
def board(
    shapes: Any,
    environment: dict[str, Any],
    nothing_set_up: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Board:
    (nothing_set_up / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(nothing_set_up / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    made = Board(nothing_set_up, shapes.run, monkeypatch, capfd)
    made.set_up(environment)
    return made


def is_gone(pid: str) -> bool:
    """Whether a process ended, after the while that a busy machine takes to deliver a signal."""
    stat, end = Path("/proc") / pid / "stat", time.monotonic() + 20.0
    while time.monotonic() < end:
        try:
            if stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_a_bundle_carries_what_the_compiler_made_and_who_judged_it(board: Board) -> None:
    board.offer()
    code, _, _ = board.export()
    report, manifest = board.report(), board.manifest()
    assert (code, report["verdict"]) == (0, "pass"), shapes_run.failed(report)

    content = (board.bundle / COMPILED).read_bytes()
    assert content == b"OBEDIENT" + (board.bundle / "model.onnx").read_bytes()
    assert manifest["files"][COMPILED]["sha256"] == files.sha256(board.bundle / COMPILED)
    made = manifest["compiler"]
    assert (made["name"], made["version"], made["files"]) == ("obedient", "1.0", {"main": [COMPILED]})

    compiler = report["compiler"]
    assert (compiler["coverage_macs"], compiler["coverage_ops"], compiler["fallback"]) == (1.0, 1.0, [])
    assert compiler["estimate"]["cycles"] > 0
    gate = shapes_run.gate(report, "compatibility")
    assert gate["verdict"] == "pass" and "100.0% of the multiply-accumulates run on the test NPU" in gate["why"]
    simulated, accuracy = (shapes_run.gate(report, "accuracy", metric) for metric in ("simulated", "accuracy"))
    assert simulated["verdict"] == "pass" and "in the simulator of Obedient" in simulated["why"]
    assert compiler["simulated"]["metric"] == simulated["quantized"] == accuracy["quantized"]
    assert compiler["simulated"]["n"] == shapes_run.COUNTS["test"]

    assert main(["verify", str(board.bundle)]) == 0
    printed = board.capfd.readouterr().out
    assert re.search(r"obedient 1\.0 +on the accelerator +100\.00 % of the MACs", printed), printed
    assert "obedient 1.0" in (board.bundle / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("repeats", [True, False])
def test_another_file_than_the_compiler_makes_fails_where_it_makes_the_same_each_time(
    board: Board, repeats: bool
) -> None:
    """The file that the board loads, all digests redone; without `repeats` nothing says that it was not made so."""
    board.offer(repeats=repeats)
    assert board.export()[0] == 0
    with (board.bundle / COMPILED).open("ab") as file:
        file.write(b"another")
    shapes_run.seal(board.bundle)

    code = main(["verify", str(board.bundle), "--json"])
    gate = shapes_run.gate(json.loads(board.capfd.readouterr().out), "compatibility")
    assert (code, gate["verdict"]) == ((1, "fail") if repeats else (0, "pass"))
    assert (f"{COMPILED} is not what Obedient 1.0 makes of the model" in gate["why"]) == repeats


def test_a_refusal_fails_and_names_the_first_node(board: Board) -> None:
    board.offer()
    code, _, _ = board.export(refuses="Conv")
    report = board.report()
    gate = shapes_run.gate(report, "compatibility")
    assert (code, report["verdict"], gate["verdict"]) == (1, "fail", "fail")
    first = next(node.name for node in wire.read(board.bundle / "model.onnx").nodes() if node.op == "Conv")
    assert f"Obedient 1.0 refuses the model: Conv at '{first}': 9 of them have no kernel" in gate["why"]
    assert report["compiler"]["simulated"] is None and not (board.bundle / "compiled").exists()
    assert main(["verify", str(board.bundle)]) == 1


def test_what_stays_on_the_cpu_is_named_and_a_wrong_simulation_fails(board: Board) -> None:
    board.offer()
    code, _, _ = board.export(leaves="Gemm", computes="wrong")
    report = board.report()
    assert code == 1
    assert 0.95 < report["compiler"]["coverage_macs"] < 1.0 and report["compiler"]["fallback"] == ["Gemm"]
    gate = shapes_run.gate(report, "compatibility")
    assert gate["verdict"] == "pass" and "on the CPU: 1 x Gemm" in gate["why"]
    (simulated,) = [gate for gate in report["gates"] if gate["metric"] == compiling.SIMULATED]
    assert simulated["verdict"] == "fail" and simulated["drop"] > 0.3
    assert shapes_run.failed(report) == [("accuracy", simulated["why"])], "the artifact itself is right"


def test_a_file_that_a_license_keeps_back_is_judged_and_not_shipped(board: Board) -> None:
    board.offer(shipped=False)
    code, _, _ = board.export()
    report, manifest = board.report(), board.manifest()
    assert (code, report["verdict"]) == (0, "pass"), shapes_run.failed(report)
    assert report["compiler"]["simulated"]["n"] == shapes_run.COUNTS["test"]
    assert not (board.bundle / "compiled").exists() and manifest["compiler"]["files"] == {}
    assert not [name for name in manifest["files"] if "obedient" in name]
    assert main(["verify", str(board.bundle)]) == 0


@pytest.mark.parametrize("step", ["compile", "simulate"])
def test_what_hangs_is_stopped_with_all_that_it_started(board: Board, step: str) -> None:
    pids = board.folder / "pids"
    board.patch.setenv("OBEDIENT_PIDS", str(pids))
    board.patch.setattr(compiling, "SECONDS", 0.5)
    board.offer(seconds=3.0 if step == "compile" else 15.0)
    code, _, _ = board.export(ends=f"{step} hang")

    named = {"compile": ("compatibility", "refuses the model: Obedient did not end within 3 s and was stopped")}
    named["simulate"] = ("accuracy", "the simulator of Obedient did not run the compiled model: Obedient did not end")
    (failed,) = shapes_run.failed(board.report())
    assert code == 1 and failed[0] == named[step][0] and named[step][1] in failed[1]
    assert [is_gone(pid) for pid in pids.read_text().split()] == [True, True]
    assert not list((board.folder / "temporary").glob("edgeft-*"))
    assert (board.bundle / "compiled").exists() == (step == "simulate")


@pytest.mark.parametrize("step", ["compile", "simulate"])
def test_a_crash_is_a_fail_that_names_the_signal(board: Board, step: str) -> None:
    board.offer()
    code, _, _ = board.export(ends=f"{step} signal")
    (failed,) = shapes_run.failed(board.report())
    assert code == 1 and failed[0] == {"compile": "compatibility", "simulate": "accuracy"}[step]
    assert "Obedient was ended by signal SIGSEGV" in failed[1]
    assert not list((board.folder / "temporary").glob("edgeft-*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"python": os.devnull + "/python"}, "does not exist"),
        ({"requirements": ["obedient==0.9"], "version": "0.9"}, "Obedient 0.9 is installed, this edgeft knows 1.0"),
    ],
)
def test_a_damaged_environment_ends_the_export_before_anything_is_made(
    board: Board, environment: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    board.offer()
    board.set_up(environment, **changes)
    code, answer, _ = board.export()
    assert (code, answer["exit_code"]) == (4, 4)
    assert message in answer["message"] and answer["remedy"] == "edgeft device setup compile:obedient"
    assert not board.bundle.exists() and not list((board.folder / "temporary").glob("edgeft-*"))


def test_an_environment_that_lost_its_package_ends_the_export(board: Board, environment: dict[str, Any]) -> None:
    board.offer()
    site = next(Path(environment["python"]).parents[1].glob("lib/python*/site-packages"))
    module = site / "obedient_compiler.py"
    content = module.read_bytes()
    module.unlink()
    try:
        code, answer, _ = board.export()
    finally:
        module.write_bytes(content)

    assert code == 4 and "No module named 'obedient_compiler'" in answer["message"]
    assert answer["remedy"] == "edgeft device setup compile:obedient"
    assert not board.bundle.exists()


def test_where_it_is_not_set_up_the_verdict_says_what_is_missing(board: Board) -> None:
    board.offer()
    known.path_of("compile:obedient").unlink()
    obedient.profile(board.targets)
    words = ["export", str(board.run), "--target", "board", "--out", str(board.folder / "bundles")]
    assert main([*words, "--set", "gates.min_speedup=0.0"]) == 0
    printed = board.capfd.readouterr().out
    assert "pass (unverified: obedient)" in printed and "edgeft device setup compile:obedient" in printed

    report = board.report()
    gate = shapes_run.gate(report, "compatibility")
    assert gate["verdict"] == "unverified" and gate["needs"] == "obedient"
    assert "compiler" not in report and not (board.bundle / "compiled").exists()
