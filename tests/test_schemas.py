"""The shipped JSON Schemas accept what the product writes and refuse what it must not write."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import schemas
import tiny_bundle

import edgeft

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.mark.parametrize("name", ["chirps", "people"])
def test_manifests_of_kept_bundles_conform(name: str) -> None:
    assert schemas.problems("manifest", json.loads((FIXTURES / name / "manifest.json").read_text())) == []


def test_a_verified_bundle_and_its_bench_results_conform(tmp_path: Path) -> None:
    bundle = tiny_bundle.build(tmp_path)
    report = edgeft.verify(bundle)
    assert schemas.problems("report", report) == []
    assert schemas.problems("manifest", json.loads((bundle / "manifest.json").read_text())) == []

    single = edgeft.bench(bundle, seconds=0.2, baselines=tmp_path / "baselines")
    assert schemas.problems("bench", single) == []
    compared = edgeft.bench(bundle, bundle, seconds=2, baselines=tmp_path / "baselines")
    assert compared["verdict"] and schemas.problems("bench", compared) == []


def test_every_report_of_the_small_run_conforms(exported: Any, shapes: Any) -> None:
    assert schemas.problems("summary", json.loads((shapes.run / "summary.json").read_text())) == []
    for report in exported.reports.values():
        assert schemas.problems("report", {key: value for key, value in report.items() if key != "path"}) == []


@pytest.mark.parametrize(
    ("kind", "place", "value"),
    [
        ("manifest", ("schema",), "2.0"),
        ("manifest", ("files", "model.tflite", "sha256"), "00"),
        ("manifest", ("files", "../model.tflite"), {"sha256": "0" * 64, "bytes": 1}),
        ("manifest", ("graphs",), []),
        ("manifest", ("runtime", "threads"), 0),
        ("report", ("verdict",), "maybe"),
        ("report", ("gates", 0, "verdict"), "passed"),
        ("report", ("gates", 0, "name"), "luck"),
        ("report", ("int8_share",), 1.5),
        ("report", ("latency", "where"), "somewhere"),
        ("bench", ("clock",), "sun"),
        ("bench", ("p50_ms",), -1),
        ("summary", ("schemes",), {"affine": {"ptq": 0.9}}),
        ("summary", ("seconds",), "long"),
    ],
)
def test_what_must_not_be_written_is_refused(
    kind: str, place: tuple[str | int, ...], value: object, documents: dict[str, Any]
) -> None:
    document = copy.deepcopy(documents[kind])
    assert schemas.problems(kind, document) == []
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    assert schemas.problems(kind, document)


@pytest.mark.parametrize("kind", ["manifest", "report", "bench", "summary"])
def test_every_required_key_is_missed(kind: str, documents: dict[str, Any]) -> None:
    for key in schemas.schema(kind)["required"]:
        assert schemas.problems(kind, {k: v for k, v in documents[kind].items() if k != key}), key


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory, shapes: Any) -> dict[str, Any]:
    """One document of each kind, written by the product."""
    folder = tmp_path_factory.mktemp("documents")
    bundle = tiny_bundle.build(folder)
    return {
        "manifest": json.loads((bundle / "manifest.json").read_text()),
        "report": edgeft.verify(bundle),
        "bench": edgeft.bench(bundle, seconds=0.2, baselines=folder / "baselines"),
        "summary": json.loads((shapes.run / "summary.json").read_text()),
    }
