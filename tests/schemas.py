"""Documents that the product wrote, held against the JSON Schemas that it ships (edgeft/schemas)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import edgeft


@cache
def schema(kind: str) -> dict[str, Any]:
    """The schema `kind`: manifest, report, bench or summary."""
    return json.loads((Path(edgeft.__file__).parent / "schemas" / f"{kind}.json").read_text(encoding="utf-8"))


def problems(kind: str, document: Any) -> list[str]:
    """Where the document differs from its schema: "path: message" lines, none where it conforms."""
    jsonschema = pytest.importorskip("jsonschema", reason="pip install 'edgeft[dev]'")
    jsonschema.Draft202012Validator.check_schema(schema(kind))
    errors = jsonschema.Draft202012Validator(schema(kind)).iter_errors(document)
    return [f"{error.json_path}: {error.message[:300]}" for error in errors]


def hold(run: Path | str, reports: list[Mapping[str, Any]]) -> None:
    """Assert that the summary of a run, and manifest and report of each bundle exported from it, conform."""
    documents = {("summary", Path(run) / "summary.json")}
    for report in reports:
        documents |= {(kind, Path(report["path"]) / f"{kind}.json") for kind in ("manifest", "report")}
    for kind, path in sorted(documents):
        assert problems(kind, json.loads(path.read_text(encoding="utf-8"))) == [], path
