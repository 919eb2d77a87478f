"""The record of the export in a manifest, which is written together: a part that is gone or altered is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sounds
from shapes_run import gate, seal

from edgeft.bundle import reader as bundles
from edgeft.core.errors import BundleError
from edgeft.verify import isolated
from edgeft.verify.run import run

EARLIER = Path(__file__).parents[1] / "fixtures" / "0.1.0" / "host"
LATER = {"figures": {"metric": "accuracy", "float": 1.0, "quantized": 1.0, "n": 48}, "samples": {"n": 16}}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    pytest.importorskip("onnxruntime")
    return Path(shutil.copytree(EARLIER, tmp_path / "host"))


def manifest_of(path: Path) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((path / "manifest.json").read_text())
    return table


def verified(path: Path, data: Path | None = None) -> dict[str, Any]:
    return run(path, data, measure_latency=False)


def later(bundle: Path, **change: Any) -> Path:
    """A bundle as exports since 0.1.0 write it, with `change`; None takes a key out."""
    record = {**LATER, "metric_record": bundles.open(bundle).task.metric.as_dict(), **change}
    return seal(bundle, **{key: value for key, value in record.items() if value is not None})


@pytest.mark.parametrize("gone", ["figures", "samples", "metric_record"])
def test_a_part_of_the_record_that_is_gone(bundle, gone):
    """Without the figures nothing would be compared with those of the data; what is written together goes together."""
    assert not [g for g in verified(later(bundle))["gates"] if g["metric"] == "record of the export"]
    table = {key: value for key, value in manifest_of(bundle).items() if key not in (gone, "files")}
    bundles.write(bundle, table)
    found = gate(verified(bundle), "parity", "record of the export")
    assert found["required"] and found["verdict"] == "fail" and gone in found["why"]


@pytest.mark.parametrize("gone", ["recipe", "run", "versions", "fingerprint", "recipe.gates", ""])
def test_a_provenance_of_which_a_part_is_gone(bundle, gone):
    """Gates were looser than those of a recipe that nobody sees, and no gate said so."""
    provenance = manifest_of(bundle)["provenance"]
    if gone == "recipe.gates":
        provenance["recipe"].pop("gates")
    else:
        provenance = {key: value for key, value in provenance.items() if gone and key != gone}
    report = verified(later(bundle, provenance=provenance))
    found = gate(report, "parity", "record of the export")
    assert report["verdict"] == "fail" and found["required"] and f"provenance.{gone}" in found["why"] + ", provenance."


@pytest.mark.parametrize("gone", ["the file", "the gate"])
def test_a_record_of_the_accuracy_that_is_gone_is_unverified(bundle, gone):
    """A failed accuracy must not vanish with report.json: `--strict` fails."""
    later(bundle)
    record = json.loads((bundle / "report.json").read_text())
    before = isolated.checked(bundles.open(bundle), measure_latency=False)
    assert gate(before, "accuracy")["verdict"] == "advisory" and "accuracy" in before["not_repeated"]

    if gone == "the file":
        (bundle / "report.json").unlink()
    else:
        record["gates"] = [entry for entry in record["gates"] if entry["name"] != "accuracy"]
        (bundle / "report.json").write_text(json.dumps(record))
    found = gate(isolated.checked(bundles.open(bundle), measure_latency=False), "accuracy")
    assert found["verdict"] == "unverified" and "report.json" in found["why"]


def test_figures_of_another_metric(bundle):
    report = verified(later(bundle, figures={**LATER["figures"], "metric": "accuracyx"}))
    found = gate(report, "parity", "metric of the task")
    assert found["required"] and found["verdict"] == "fail" and "accuracyx" in found["why"]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"figures": {**LATER["figures"], "float": "1"}}, "figures.float"),
        ({"figures": {**LATER["figures"], "n": 0}}, "figures.n"),
        ({"figures": {"metric": "accuracy", "n": 48}}, "figures.float"),
        ({"figures": []}, "figures"),
        ({"samples": {"n": "16"}}, "samples.n"),
        ({"samples": {}}, "samples.n"),
    ],
    ids=str,
)
def test_records_of_wrong_types_are_refused_by_key(bundle, change, key):
    with pytest.raises(BundleError, match=rf"manifest\.json: {key}"):
        bundles.open(later(bundle, **change))


def test_figures_are_named_as_recorded_until_data_repeat_them(bundle, tmp_path):
    data = sounds.write_folder(tmp_path / "sounds", {"train": 30, "val": 8, "test": 16}, seconds=0.25)
    later(bundle)
    assert "figures" in verified(bundle)["unmeasured"] and "figures" not in verified(bundle, data)["unmeasured"]
