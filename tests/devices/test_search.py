"""Searches of the runtime's options with real runtimes. What is asserted holds however busy the machine is: reference
kernels are an order of magnitude slower than the optimized ones, and nothing else is said to be faster or slower."""

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
import tiny_bundle

from edgeft import adopt as adopting
from edgeft import backends as runtime
from edgeft.bundle import reader as bundles
from edgeft.cli.entry import run as main
from edgeft.core import files
from edgeft.core.errors import UsageError
from edgeft.devices import search as searching
from edgeft.devices.device import Here

CHIRPS = Path(__file__).parents[1] / "fixtures" / "chirps"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A LiteRT bundle that passes every gate."""
    tiny_bundle.usable("litert")
    return Path(shutil.copytree(CHIRPS, tmp_path / "bundle"))


def staged(bundle: Path, to: Path, **changes: Any) -> Path:
    """A copy with changed keys of the manifest."""
    shutil.copytree(bundle, to)
    manifest = json.loads((bundle / "manifest.json").read_text())
    del manifest["files"]
    bundles.write(to, {**manifest, **changes})
    return to


def written(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "manifest.json").read_text())["runtime"]
    return found


@pytest.mark.slow
def test_the_optimized_kernels_are_found_where_the_reference_ones_are_recorded(tmp_path: Path):
    data = os.environ.get("EDGEFT_DATA")
    model = Path(data or "nowhere") / "09_mlperf_tiny/models/ad01_int8.tflite"
    if not model.is_file():
        pytest.skip("EDGEFT_DATA names no folder with MLPerf Tiny's models")
    tiny_bundle.usable("litert")
    staging = tmp_path / "staging"
    manifest = tiny_bundle.stage(staging, "litert")
    for name in ("model.tflite", "baseline/model.tflite"):
        shutil.copy(model, staging / name)
    session = runtime.get("litert").load(staging / "model.tflite")
    x = np.random.default_rng(0).normal(0, 1, (4, 640)).astype(np.float32)
    np.savez(staging / "samples.npz", **{"input/x": x, "output/y": next(iter(session.run({"": x}).values()))})
    graph = manifest["graphs"][0]
    for key, name, tensor in (("inputs", "x", session.inputs[0]), ("outputs", "y", session.outputs[0])):
        borders = {"dtype": tensor.dtype, "scale": tensor.scale, "zero_point": tensor.zero_point}
        graph[key] = [{"name": name, "shape": [1, 640], "layout": "NC", **borders}]
    manifest["runtime"]["options"] = {"op_resolver": "BUILTIN_REF"}
    bundles.write(staging, manifest)

    found = searching.search(bundles.open(staging), device=Here(), threads=1, seed=0)
    assert found["changed"], found
    assert found["setting"] == {"threads": 1, "options": {"op_resolver": "AUTO"}}
    assert found["was"]["options"] == {"op_resolver": "BUILTIN_REF"}
    assert found["tried"][0]["verdict"] == "kept" and found["tried"][0]["speedup"] > 3
    assert found["final"]["speedup"] > 3 and found["final"]["interval"][0] > 1.01
    # without the delegate the bits differ, whatever the speed
    assert found["tried"][1]["verdict"] == "refused" and "same bits" in found["tried"][1]["why"]


def test_a_search_ends_with_a_bundle_that_verifies(bundle: Path, capfd: pytest.CaptureFixture[str]):
    files.write_json(bundle / "report.json", {"gates": []})
    recorded, digest = written(bundle), files.sha256(bundle / "manifest.json")
    assert main(["bench", str(bundle), "--search", "--seconds", "20", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["was"] == {key: recorded[key] for key in ("threads", "options")}
    assert {"op_resolver": "BUILTIN_WITHOUT_DEFAULT_DELEGATES"} in [each["change"] for each in found["tried"]]
    assert all(each["why"] for each in found["tried"])
    assert found["changed"] == (files.sha256(bundle / "manifest.json") != digest)
    now = written(bundle)
    assert {key: now[key] for key in ("threads", "options")} == found["setting"]
    assert ("search" in now) == found["changed"]
    assert main(["verify", str(bundle)]) == 0
    assert sorted(path.name for path in bundle.parent.iterdir()) == ["bundle"]


def setting(path: Path, **changes: Any) -> dict[str, Any]:
    was = {key: written(path)[key] for key in ("threads", "options")}
    return {"changed": True, "was": was, "setting": {**was, **changes}, "tried": [], "final": {"speedup": 2.0}}


def test_a_setting_is_adopted_with_its_evidence_and_verified(bundle: Path):
    accuracy = {"name": "accuracy", "verdict": "pass", "why": "as before", "metric": "accuracy", "float": 0.9}
    rest = {"quantized": 0.9, "drop": 0.0, "ci95": [0.0, 0.1], "limit": 0.01, "n": 100, "required": True}
    files.write_json(bundle / "report.json", {"gates": [{**accuracy, **rest}], "details": {"kept": 1}})
    report = adopting.adopt(bundles.open(bundle), setting(bundle, threads=2), Here())
    assert report["verdict"] == "pass", report
    now = written(bundle)
    assert now["threads"] == 2
    assert now["search"]["was"]["threads"] == 1 and now["search"]["at"]
    kept = json.loads((bundle / "report.json").read_text())
    told = {(gate["name"], gate["metric"]): gate for gate in kept["gates"]}
    assert told["accuracy", "accuracy"]["verdict"] == "pass" and told["accuracy", "accuracy"]["n"] == 100
    assert ("latency", "speedup") in told and kept["latency"]["quantized_ms"] > 0 and kept["details"] == {"kept": 1}
    assert "<html" in (bundle / "report.html").read_text()
    done = subprocess.run([sys.executable, str(bundle / "run.py")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_fails_with_the_new_options_stays_as_it_was(bundle: Path):
    stored = dict(np.load(bundle / "samples.npz"))
    shifted = {key: -value for key, value in stored.items() if key.startswith(("output/", "graph/"))}
    np.savez(bundle / "samples.npz", **{**stored, **shifted})
    staging = staged(bundle, bundle.with_name("staging"))
    digest = files.sha256(staging / "manifest.json")
    assert adopting.adopt(bundles.open(staging), setting(staging, threads=2), Here())["verdict"] == "fail"
    assert files.sha256(staging / "manifest.json") == digest
    assert sorted(path.name for path in bundle.parent.iterdir()) == ["bundle", "staging"]


def test_only_on_the_board_itself_and_before_it_learns(tmp_path: Path, bundle: Path, capfd: pytest.CaptureFixture[str]):
    board = staged(bundle, tmp_path / "board", target="rpi5")
    assert main(["bench", str(board), "--search"]) == 2
    assert "not the target rpi5" in capfd.readouterr().err
    (bundle / "state.npz").write_bytes(b"learned")
    assert main(["bench", str(bundle), "--search"]) == 2
    assert "personalize after" in capfd.readouterr().err
    assert main(["bench", str(bundle), "--search", "--accept"]) == 2
    assert main(["bench", str(board), "--search", "--device", "emulate:rpi5"]) in (2, 4)


def test_no_more_threads_than_the_profile_or_the_machine_has(tmp_path: Path):
    opened = bundles.open(tiny_bundle.build(tmp_path, "onnxruntime"))
    assert searching._most_threads(opened, {"cores": 3}) == 3
    rpi5 = bundles.Bundle(opened.path, {**opened.manifest, "target": "rpi5"})
    assert searching._most_threads(rpi5, {"cores": 16}) == 4
    was = searching.Setting(1, dict(opened.manifest["runtime"]["options"]))
    counts = searching._counts(opened, was, 4)
    spinning = {"session.intra_op.allow_spinning": "1"}
    assert counts == [change for n in (2, 4) for change in ({"threads": n}, {"threads": n, **spinning})]


def test_an_option_that_a_build_refuses_is_refused_and_the_search_goes_on(bundle: Path):
    opened = bundles.open(bundle)
    judge = searching._Judge(opened, Here(), 0.01, 0.99, 5.0, 0)
    was = searching.Setting(1, dict(opened.manifest["runtime"]["options"]))
    outputs = judge.outputs(was)
    found = judge.trial(was.with_({"op_resolver": "NO_SUCH_RESOLVER"}), was, outputs)
    assert found["verdict"] == "refused" and "op_resolver is one of" in found["why"]


def test_an_emulator_is_not_searched(bundle: Path):
    class Emulator(Here):
        timed = False  # type: ignore[assignment]

    with pytest.raises(UsageError, match="no figure of speed"):
        searching.search(bundles.open(bundle), device=Emulator())
