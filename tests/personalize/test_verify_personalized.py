"""`verify --data` of a bundle that has learned judges the model in use, and shows the exported one beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

import edgeft
from edgeft.verify.run import run


def test_the_model_in_use_is_judged_beside_the_exported_one(
    chirps: Path, heard: tuple[Path, Path], tmp_path: Path
) -> None:
    other, buzz = heard
    exported = next(g for g in run(chirps, other, measure_latency=False)["gates"] if g["name"] == "accuracy")
    learned = edgeft.personalize(chirps, other)
    assert learned["verdict"] == "pass", learned["why"]
    assert learned["folds"] == 5 and learned["new"]["n"] == learned["samples"] == 36, "every sample teaches and judges"

    report = run(chirps, other, measure_latency=False)
    in_use, before = (gate for gate in report["gates"] if gate["name"] == "accuracy")
    assert in_use["required"] and in_use["metric"] == "accuracy" and in_use["quantized"] > exported["quantized"]
    assert before["metric"] == "accuracy as exported" and before["verdict"] == "advisory" and not before["required"]
    assert before["quantized"] == exported["quantized"] and before["n"] == in_use["n"] == 36
    assert "version 1 of the personalized state was judged" in report["data"]["notes"]

    assert edgeft.personalize(chirps, buzz)["version"] == 2
    every = shutil.copytree(buzz, shutil.copytree(other, tmp_path / "every"), dirs_exist_ok=True)
    report = run(chirps, every, measure_latency=False)
    in_use, before = (gate for gate in report["gates"] if gate["name"] == "accuracy")
    assert in_use["n"] == 48 and in_use["quantized"] > before["quantized"] + 0.2
    assert report["per_class"]["buzz"]["quantized"] == 1 and report["per_class"]["buzz"]["float"] == 0
