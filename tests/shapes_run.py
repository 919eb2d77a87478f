"""A small real job: shapes on noise, ResNet-8, three schemes. Made once a session by the fixtures of conftest.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from edgeft.config import target
from edgeft.core import files

LABELS = ("circle", "cross", "square")
COUNTS = {"train": 300, "val": 60, "test": 120}
#: one target a runtime and one a scheme
TARGETS = ("host", "host-litert", "host-openvino", "jetson-orin-nano", "generic-x86-no-vnni")
#: the scheme of this machine: 7-bit weights where its CPU has no VNNI
HOST = target.load("host").scheme.name
SCHEME_OF = {"host": HOST, "jetson-orin-nano": "symmetric-residual_branch", "generic-x86-no-vnni": "affine-w7"}


def picture(label: str, rng: np.random.Generator) -> np.ndarray:
    """One shape of a random colour, place and size, with noise: uint8 (36, 36, 3), which the net sees at 32 px."""
    y, x = np.mgrid[:36, :36].astype(float)
    (cy, cx), r = rng.uniform(13, 23, 2), rng.uniform(7, 11)
    dy, dx = abs(y - cy), abs(x - cx)
    inside = {
        "circle": np.hypot(dy, dx) < r,
        "square": np.maximum(dy, dx) < r * 0.85,
        "cross": ((dy < r / 3) | (dx < r / 3)) & (np.maximum(dy, dx) < r),
    }[label]
    ground, ink = rng.uniform(30, 100, 3), rng.uniform(140, 230, 3)
    image = np.where(inside[..., None], ink, ground) + rng.normal(0, 18, (36, 36, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def write_data(path: Path, *, random_labels: bool = False, counts: dict[str, int] | None = None) -> Path:
    """The data set as .npz. With `random_labels` there is nothing to learn: every model stays at chance."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {"labels": np.array(LABELS)}
    for split, n in (counts or COUNTS).items():
        targets = rng.permutation(np.arange(n) % len(LABELS))
        arrays[f"{split}_images"] = np.stack([picture(LABELS[t], rng) for t in targets])
        arrays[f"{split}_labels"] = rng.permutation(targets) if random_labels else targets
    np.savez(path, **arrays)
    return path


def recipe_of(data: Path, /, **tables: dict[str, Any]) -> dict[str, Any]:
    """The recipe as a table; `tables` add to its tables.

    No speed limit stands in it: what these tests decide must not hang on how busy the machine is.
    """
    table: dict[str, Any] = {
        "name": "shapes",
        "model": {"name": "resnet8"},
        "data": {"format": "npz", "path": str(data)},
        "train": {"epochs": 4, "lr": 5e-3, "batch_size": 30, "augment": "none"},
        "quantize": {"epochs": 1, "calibration": "minmax"},
        "export": {"targets": list(SCHEME_OF)},
        "gates": {"max_drop": 0.05, "min_speedup": 0.0},
    }
    for name, values in tables.items():
        table[name] = {**table[name], **values}
    return table


def gate(report: dict[str, Any], name: str, metric: str = "") -> dict[str, Any]:
    """The first gate of a report with that name whose metric holds `metric`."""
    return next(g for g in report["gates"] if g["name"] == name and metric in g["metric"])


def failed(report: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, why) of the required gates that failed."""
    return [(g["name"], g["why"]) for g in report["gates"] if g["required"] and g["verdict"] == "fail"]


def seal(bundle: Path, **changes: Any) -> Path:
    """Change keys of a bundle's manifest and redo every digest, as somebody with bad intentions would."""
    table = json.loads((bundle / "manifest.json").read_text())
    table.update(changes)
    for name in table["files"]:
        table["files"][name] = {"sha256": files.sha256(bundle / name), "bytes": (bundle / name).stat().st_size}
    files.write_json(bundle / "manifest.json", table)
    files.write_text(bundle / "manifest.sha256", files.sha256(bundle / "manifest.json") + "\n")
    return bundle
