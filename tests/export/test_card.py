"""The model card and the bill of materials of real bundles, read by the packages that read them in the field."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import shapes_run

from edgeft.bundle import card, materials
from edgeft.core import files

ALL = pytest.mark.parametrize("name", shapes_run.TARGETS)


@ALL
def test_the_hub_reads_the_card(exported: Any, name: str) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    path = exported.bundle(name)
    manifest = json.loads((path / "manifest.json").read_text())
    read = hub.ModelCard((path / "README.md").read_text(encoding="utf-8"))
    assert read.data.pipeline_tag == "image-classification" and "int8" in read.data.tags
    (result,) = read.data.eval_results
    figures = manifest["figures"]
    assert result.metric_name == "accuracy" and result.metric_value == figures["quantized"]
    assert f"{100 * figures['float']:.2f} %" in read.text and f"{figures['n']} test samples" in read.text
    assert all(f"`{label}`" in read.text for label in shapes_run.LABELS)


@ALL
def test_the_bill_of_materials_is_valid_and_lists_the_model_files(exported: Any, name: str) -> None:
    path = exported.bundle(name)
    text = (path / "bom.cdx.json").read_text()
    validator = pytest.importorskip("cyclonedx.validation.json", reason="cyclonedx-python-lib is not installed")
    from cyclonedx.schema import SchemaVersion

    assert validator.JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    components = {part["name"]: part for part in json.loads(text)["components"]}
    manifest = json.loads((path / "manifest.json").read_text())
    graph = manifest["graphs"][0]
    for file in (graph["file"], graph["baseline"]):
        assert components[file]["hashes"] == [{"alg": "SHA-256", "content": files.sha256(path / file)}]
    assert components["numpy"]["scope"] == "required" and components["torch"]["scope"] == "excluded"
    assert components["torch"]["version"] == manifest["provenance"]["versions"]["torch"]
    assert {card.FILE, materials.FILE} <= set(manifest["files"]), "both are covered by the digests"


def test_names_of_users_do_not_break_the_card(exported: Any) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    manifest = json.loads((exported.bundle(shapes_run.TARGETS[0]) / "manifest.json").read_text())
    labels = ["a|b", "`code`", "two\nlines", "<b>", *map(str, range(100))]
    text = card.text({**manifest, "name": 'x: "y" #|\n', "labels": labels}, "Board", "aarch64")
    _, head, body = re.split(r"^---$", text, maxsplit=2, flags=re.M)
    assert yaml.safe_load(head)["model-index"][0]["name"] == 'x: "y" #|\n'
    assert '# x: "y" #\\| (Board)\n' in body and "`a\\|b`, `'code'`, `two lines`" in body and "and 84 more" in body


def test_the_same_model_has_the_same_bill(exported: Any) -> None:
    path: Path = exported.bundle(shapes_run.TARGETS[0])
    manifest = json.loads((path / "manifest.json").read_text())
    digests = {"model.onnx": "0" * 64}
    first = materials.bill(manifest, digests)
    assert first == materials.bill(manifest, digests)
    assert first["serialNumber"] != materials.bill(manifest, {"model.onnx": "1" * 64})["serialNumber"]
