"""Test samples that the model was trained on: they stand in the report, and more than one in a hundred decide."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sounds
from shapes_run import gate, seal

from edgeft import data as datasets
from edgeft.bundle import reader as bundles
from edgeft.config.recipe import Data
from edgeft.core.verdict import Verdict
from edgeft.report import text
from edgeft.verify.leak import beside_leak
from edgeft.verify.run import run

EARLIER = Path(__file__).parents[1] / "fixtures" / "0.1.0" / "host"
PASS = Verdict("accuracy", "pass", "drop 0", n=200)


@pytest.mark.parametrize(
    ("leak", "allowed", "verdict", "words"),
    [
        ({"identical": 200, "n": 200}, False, "inconclusive", "200 of 200 test samples (100.0%)"),
        ({"identical": 3, "n": 200}, False, "inconclusive", "data.allow_leak = true"),
        ({"identical": 3, "n": 200}, True, "pass", "which data.allow_leak accepts"),
        ({"identical": 2, "n": 200}, False, "pass", "2 of 200"),
        ({"identical": 0, "n": 200}, False, "pass", "drop 0"),
        (None, False, "pass", "drop 0"),
        ({"identical": 9, "n": 3}, False, "pass", "drop 0"),
    ],
)
def test_the_accuracy_gate_beside_a_leak(leak, allowed, verdict, words):
    found = beside_leak(PASS, leak, allowed=allowed)
    assert found.verdict == verdict and words in found.why


def test_a_fail_stays_a_fail():
    fail = Verdict("accuracy", "fail", "drop 9", n=200)
    assert beside_leak(fail, {"identical": 200, "n": 200}, allowed=False).verdict == "fail"


@pytest.mark.parametrize("shared", [0, 1, 12])
def test_test_samples_in_the_training_split_are_counted_and_said(tmp_path, shared):
    rng = np.random.default_rng(0)
    train, val, test = (rng.integers(0, 256, (n, 8, 8, 3), np.uint8) for n in (24, 12, 12))
    test[:shared] = train[:shared]
    arrays: dict[str, Any] = {"labels": np.array(["a", "b"])}
    for name, images in (("train", train), ("val", val), ("test", test)):
        arrays |= {f"{name}_images": images, f"{name}_labels": np.arange(len(images)) % 2}
    np.savez(tmp_path / "data.npz", **arrays)
    findings = datasets.examine(datasets.open(Data(format="npz", path=str(tmp_path / "data.npz"))))
    assert findings.in_training == (shared, 12)
    summary = findings.leak()
    assert summary.get("leak") == ({"identical": shared, "n": 12} if shared else None)
    said = text.tuned({"metric": "accuracy", "float": 0.9, **summary})
    assert (f"{shared} of 12 test samples are also in train" in said) == bool(shared)


def test_a_recorded_leak_stands_in_the_report_and_decides_on_the_same_data(tmp_path):
    pytest.importorskip("onnxruntime")
    data = sounds.write_folder(tmp_path / "sounds", {"train": 30, "val": 8, "test": 16}, seconds=0.25)
    path = Path(shutil.copytree(EARLIER, tmp_path / "host"))
    provenance = bundles.open(path).manifest["provenance"]
    seal(path, provenance={**provenance, "leak": {"identical": 48, "n": 48}})
    report = run(path, data, measure_latency=False)
    found = gate(report, "accuracy")
    assert report["verdict"] == found["verdict"] == "inconclusive" and "48 of 48" in found["why"]
    assert any("48 of 48 test samples" in warning for warning in report["warnings"])
