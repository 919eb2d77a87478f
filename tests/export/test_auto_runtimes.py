"""Layers that `auto` returned to float, in the artifacts of three runtimes."""

from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path

import badly_scaled
import end_to_end
import pytest
import schemas
from shapes_run import failed

import edgeft

TARGETS = ("host", "host-openvino", "host-litert")


@pytest.mark.slow
def test_a_net_with_a_bad_value_passes_in_every_runtime(tmp_path: Path) -> None:
    end_to_end.need()
    module = badly_scaled.trained(tmp_path / "shapes.npz")
    table = badly_scaled.recipe_of(tmp_path / "shapes.npz", gates={"max_drop": 0.03})
    edgeft.tune(table, tmp_path / "run", model=copy.deepcopy(module))
    reports = edgeft.export(tmp_path / "run", TARGETS, tmp_path / "auto", model=copy.deepcopy(module))
    schemas.hold(tmp_path / "run", reports)
    for report in reports:
        assert failed(report) == [], report["target"]
        accuracy = next(gate for gate in report["gates"] if gate["name"] == "accuracy")
        assert accuracy["drop"] <= 0.03, report["target"]
        assert report["int8_share"] == pytest.approx(0.64, abs=0.03), "layers 0 and 2 are in float"
        manifest = json.loads((Path(report["path"]) / "manifest.json").read_text())
        assert set(manifest["provenance"]["keep_float"]) == set(badly_scaled.BAD)
        held = {name.rsplit(".", 1)[0] for name in manifest["integer_weights"]}
        assert held == {"4", "6", "8", "12"}, report["target"]
        assert report["details"]["auto"]["verdict"] == "pass"

    if importlib.util.find_spec("executorch") is not None:
        (report,) = edgeft.export(
            tmp_path / "run", ["host-executorch"], tmp_path / "executorch", ptq=True, model=copy.deepcopy(module)
        )
        assert failed(report) == [] and report["int8_share"] == pytest.approx(0.64, abs=0.03)

    # as a finished model that is calibrated anew at export; without auto the same net fails
    (again,) = edgeft.export(tmp_path / "run", ["host"], tmp_path / "again", ptq=True, model=copy.deepcopy(module))
    assert again["details"]["auto"]["keep_float"] == reports[0]["details"]["auto"]["keep_float"]
    (plain,) = edgeft.export(
        tmp_path / "run",
        ["host"],
        tmp_path / "plain",
        ptq=True,
        overrides=["quantize.method=ptq"],
        model=copy.deepcopy(module),
    )
    assert plain["verdict"] == "fail" and "auto" not in plain["details"]
    assert [name for name, _ in failed(plain)] == ["accuracy"]
