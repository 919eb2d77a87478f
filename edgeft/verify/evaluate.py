"""Outputs of both artifacts on labelled data, with the data's labels joined to the bundle's by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import data as datasets
from ..bundle import Bundle
from ..errors import DataError, nearest
from ..recipe import Data
from ..runtime import Session
from ..tasks import Task

BATCH = 32


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
    targets = join_labels(split.targets, dataset.labels, bundle.labels, str(path))
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
    """The data at `path` as a recipe would name it: its format by its looks, its division as `table` recorded it."""
    form = "npz" if path.suffix.lower() == ".npz" else "image-folder"
    if not path.exists():
        raise DataError("no such file or folder", where=str(path), remedy="give --data a folder of images or an .npz")
    split, seed = table.get("split", Data.split), table.get("split_seed", Data.split_seed)
    return Data(format=form, path=str(path), split=tuple(split), split_seed=int(seed))


def join_labels(targets: np.ndarray, ours: Sequence[str], theirs: Sequence[str], where: str) -> np.ndarray:
    """Targets numbered by `ours` as targets numbered by `theirs`, by name; `DataError` for a name they do not have."""
    number = {label: i for i, label in enumerate(theirs)}
    unknown = [label for label in ours if label not in number]
    if unknown:
        raise DataError(
            f"the data has the label {unknown[0]!r}, the bundle knows {', '.join(theirs)}",
            where=where,
            remedy=f"{nearest(unknown[0], theirs)} Labels are joined by name: rename the class of the data",
        )
    return np.array([number[label] for label in ours], np.int64)[np.asarray(targets, np.int64)]


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
