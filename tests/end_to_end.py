"""A whole path in a test module: a recipe is tuned, exported to several targets, and asked through the commands."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import schemas

from edgeft.cli.entry import run as command

#: this machine with each runtime of the default suite
TARGETS = ("host", "host-openvino", "host-litert")
PACKAGES = ("torch", "accelerate", "safetensors", "onnx", "onnxruntime", "openvino", "litert_torch")


class Reports(Mapping[str, dict[str, Any]]):
    """The reports of the bundles of `folder/run` by target. A bundle is exported when its report is first asked for."""

    def __init__(self, folder: Path, targets: Sequence[str]) -> None:
        self._folder, self._targets = folder, tuple(targets)
        self._exported: dict[str, dict[str, Any]] = {}

    def __getitem__(self, target: str) -> dict[str, Any]:
        if target not in self._targets:
            raise KeyError(target)
        if target not in self._exported:
            import edgeft

            (report,) = edgeft.export(self._folder / "run", [target], self._folder / "bundles")
            schemas.hold(self._folder / "run", [report])
            self._exported[target] = report
        return self._exported[target]

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)


@dataclasses.dataclass(frozen=True)
class Made:
    """The run's summary and its bundles' reports by target. Read only: copy before changing anything."""

    folder: Path
    run: dict[str, Any]
    reports: Mapping[str, dict[str, Any]]

    def bundle(self, name: str) -> Path:
        return Path(self.reports[name]["path"])


def need(*packages: str) -> None:
    """Skip without the packages that tuning and exporting to every runtime take, and those named."""
    for package in (*PACKAGES, *packages):
        pytest.importorskip(package, reason=f"the whole path needs {package}")


def quick(*targets: str) -> list[Any]:
    """TARGETS as parameters of a test: those of `targets` in the default suite, the others among the slow tests.

    For files whose network is lowered in every runtime by another file of the default suite too.
    """
    return [t if t in targets else pytest.param(t, marks=pytest.mark.slow) for t in TARGETS]


def tuned(folder: Path, recipe: str | dict[str, Any], targets: Sequence[str] = TARGETS) -> Made:
    """Tune a recipe (a table or TOML text) into `folder/run`, on one thread; each bundle is exported into
    `folder/bundles` when a test first asks for its report, and held against the JSON Schemas."""
    import torch

    import edgeft

    torch.set_num_threads(1)
    if isinstance(recipe, str):
        (folder / "recipe.toml").write_text(recipe)
    summary = edgeft.tune(folder / "recipe.toml" if isinstance(recipe, str) else recipe, folder / "run")
    return Made(folder, summary, Reports(folder, targets))


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


def alterations_are_caught(report: dict[str, Any], folder: Path) -> None:
    """One bit of a weight, and one scale by a hundredth, in copies of a bundle whose digests are redone: each fails."""
    import numpy as np
    import shapes_run

    import edgeft
    from edgeft import backends
    from edgeft.backends.onnxruntime.groups import packed

    bundle = edgeft.load(report["path"])
    (graph,) = (entry for entry in bundle.manifest["graphs"] if not entry.get("personalize"))
    weights = backends.get(bundle.manifest["backend"]).integer_weights(Path(report["path"]) / graph["file"])
    largest = max(weights, key=lambda weight: weight.data.size)
    # two values of 4 bits to a byte; a linear layer of 32 inputs has as many values a scale without being in groups
    grouped = report["format"] == "w4" and largest.scale.size * 32 == largest.data.size
    stored = packed(largest.data, 4, 32).tobytes() if grouped else np.ascontiguousarray(largest.data).tobytes()
    wrong_scale = largest.scale.copy()
    wrong_scale[-1] *= np.float32(1.01)
    alterations = {
        "recorded int8_weights_share": (stored, bytes([stored[0] ^ 1]) + stored[1:]),
        "recorded scales": (largest.scale.tobytes(), wrong_scale.tobytes()),
    }
    for metric, (old, new) in alterations.items():
        altered = Path(shutil.copytree(report["path"], folder / metric.replace(" ", "_")))
        model, seen = altered / graph["file"], 0
        for path in (model, model.with_suffix(".bin")):
            if path.is_file():
                content = path.read_bytes()
                seen += content.count(old)
                path.write_bytes(content.replace(old, new))
        assert seen, metric
        shapes_run.seal(altered)
        result = edgeft.verify(altered)
        verdicts = {gate["metric"]: gate["verdict"] for gate in result["gates"] if gate["name"] == "integer"}
        assert result["verdict"] == "fail" and verdicts[metric] == "fail", (metric, verdicts)
