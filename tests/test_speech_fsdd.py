"""Strings of real spoken digits: the example's own script and a smaller network, on a part of the data."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import real_data

from edgeft.config import recipe as recipes

TARGETS = ["host", "host-openvino", "host-litert"]


@pytest.mark.slow
def test_digits_are_recognized_in_strings(tmp_path: Path) -> None:
    root, example = real_data.folder("05_speech/fsdd"), real_data.example("speech")
    import edgeft

    spec = importlib.util.spec_from_file_location("prepare", example / "prepare.py")
    assert spec and spec.loader
    prepare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(prepare)
    prepare.make(root, tmp_path / "strings", {"train": 600, "val": 60, "test": 100})
    made = recipes.as_table(recipes.load(example / "recipe.toml"))
    made["data"]["path"] = str(tmp_path / "strings")
    made["model"]["args"] = {"width": 64, "blocks": 3}
    made["train"]["epochs"] = 10
    made["quantize"] |= {"method": "ptq"}
    made["export"] = {"targets": TARGETS}
    made["gates"] = {"min_speedup": 0.0, "max_drop": 0.03}
    summary = edgeft.tune(made, tmp_path / "run")
    assert summary["chance"] > 0.7 and summary["float"] < 0.25, json.dumps(summary["schemes"])
    for report in edgeft.export(tmp_path / "run", TARGETS, tmp_path / "bundles"):
        assert report["verdict"] == "pass", [g["why"] for g in report["gates"] if g["verdict"] == "fail"]
