"""A whole path in a test module: a recipe is tuned, exported to several targets, and asked through the commands."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import schemas

from edgeft.cli.entry import run as command

PACKAGES = ("torch", "accelerate", "safetensors", "onnx", "onnxruntime", "openvino", "litert_torch")


@dataclasses.dataclass(frozen=True)
class Made:
    """The run's summary and its bundles' reports by target. Read only: copy before changing anything."""

    folder: Path
    run: dict[str, Any]
    reports: dict[str, dict[str, Any]]

    def bundle(self, name: str) -> Path:
        return Path(self.reports[name]["path"])


def need(*packages: str) -> None:
    """Skip without the packages that tuning and exporting to every runtime take, and those named."""
    for package in (*PACKAGES, *packages):
        pytest.importorskip(package, reason=f"the whole path needs {package}")


def tuned_and_exported(folder: Path, recipe: str | dict[str, Any], targets: Sequence[str]) -> Made:
    """Tune a recipe (a table or TOML text) into `folder/run` and export it into `folder/bundles`, on one thread.

    What both wrote is held against the JSON Schemas.
    """
    import torch

    import edgeft

    torch.set_num_threads(1)
    if isinstance(recipe, str):
        (folder / "recipe.toml").write_text(recipe)
    summary = edgeft.tune(folder / "recipe.toml" if isinstance(recipe, str) else recipe, folder / "run")
    reports = edgeft.export(folder / "run", list(targets), folder / "bundles")
    schemas.hold(folder / "run", reports)
    return Made(folder, summary, {report["target"]: report for report in reports})


def ask(capfd: Any, *argv: object) -> tuple[int, dict[str, Any], str]:
    """Exit code, the one JSON object on stdout, and stderr."""
    code = command([*map(str, argv), "--json"])
    out, err = capfd.readouterr()
    assert out.count("\n") == 1 and "Traceback" not in err, (out, err)
    return code, json.loads(out), err


def exported_in(number_format: str, run: Path, targets: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """Export a finished run in another number format; every bundle passes, names the format, and verifies again."""
    import edgeft

    settings = [f"quantize.format={number_format}", "gates.min_speedup=0"]
    reports = edgeft.export(run, list(targets), folder, ptq=True, overrides=settings)
    schemas.hold(run, reports)
    for report in reports:
        failed = [gate for gate in report["gates"] if gate["verdict"] not in ("pass", "advisory", "unverified")]
        assert report["verdict"] == "pass" and report["format"] == number_format, failed
        assert edgeft.load(report["path"]).manifest["scheme"]["format"] == number_format
        assert number_format in (Path(report["path"]) / "report.html").read_text()
    again = edgeft.verify(reports[0]["path"])
    assert again["verdict"] == "pass" and again["format"] == number_format
    return reports
