"""Outputs of both artifacts on labelled data, with the data's labels joined to the bundle's by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import data as datasets
from ..bundle import Bundle
from ..errors import DataError
from ..recipe import Data
from ..runtime import Session
from ..tasks import Task

BATCH = 32
#: formats that hold pictures by class: `--data` may be of another one of them than the run's
PICTURES = ("image-folder", "npz", "embedded", "dataset")


@dataclass(frozen=True)
class Evaluated:
    """Outputs (N, ...) of the float baseline and of the quantized artifact, targets (N,) in the bundle's labels."""

    float_outputs: dict[str, np.ndarray]
    quantized_outputs: dict[str, np.ndarray]
    targets: np.ndarray
    notes: tuple[str, ...]


def evaluate(bundle: Bundle, path: Path, threads: int | None = None) -> Evaluated:
    """Run the test split at `path` (a folder of images or an .npz file) through both artifacts of `bundle`.

    Data without splits of its own is divided as the recipe divided it, so that no training sample is judged. Raises
    `DataError` where the data cannot be used or holds a label that the bundle does not know.
    """
    dataset = datasets.open(source(path, recorded(bundle.manifest, "data")))
    split = dataset.split("test")
    if hasattr(bundle.task, "refuse_unseen"):
        bundle.task.refuse_unseen(dataset.facts, bundle.preprocess, str(path))
    targets = bundle.task.join(split.targets, dataset.labels, bundle.labels, str(path))
    sessions = [bundle.session(threads=threads, baseline=True), bundle.session(threads=threads)]
    before, after = outputs_of(sessions, bundle.task, bundle.preprocess, split)
    absent = [label for label in bundle.labels if label not in dataset.labels]
    notes = [*dataset.notes] + ([f"no samples of {', '.join(absent)}"] if absent else [])
    return Evaluated(before, after, targets, tuple(notes))


def recorded(manifest: Mapping[str, Any], table: str) -> dict[str, Any]:
    """The recipe's table that export recorded under `provenance.recipe`, or {}."""
    recipe = manifest.get("provenance", {}).get("recipe")
    found = recipe.get(table) if isinstance(recipe, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def source(path: Path, table: Mapping[str, Any]) -> Data:
    """The data at `path` as a recipe would name it: read and divided as `table`, the recorded [data], says.

    Images come in two interchangeable formats; those are told apart by their looks.
    """
    if not path.exists():
        raise DataError("no such file or folder", where=str(path), remedy="give --data the data to judge the bundle on")
    known = {field.name for field in dataclasses.fields(Data)}
    kept: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in table.items() if key in known}
    form = str(table.get("format", "image-folder"))
    if form in PICTURES:
        form = "npz" if path.suffix.lower() == ".npz" else "image-folder"
    return Data(**{**kept, "format": form, "path": str(path)})


def outputs_of(
    sessions: Sequence[Session], task: Task, spec: Mapping[str, Any], samples: Any
) -> list[dict[str, np.ndarray]]:
    """The outputs (N, ...) of each session on `samples` (`len`, `.raw(i)`), each of which is read only once."""
    parts: list[list[dict[str, np.ndarray]]] = [[] for _ in sessions]
    for start in range(0, len(samples), BATCH):
        feeds = [task.preprocess(samples.raw(i), spec) for i in range(start, min(start + BATCH, len(samples)))]
        batch = {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
        for part, session in zip(parts, sessions):
            part.append(session.run(batch))
    return [{name: np.concatenate([p[name] for p in part]) for name in (part[0] if part else {})} for part in parts]
