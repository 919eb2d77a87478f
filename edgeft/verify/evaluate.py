"""Outputs of both artifacts on labelled data, with the data's labels joined to the bundle's by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import data as datasets
from ..bundle.manifest import recorded
from ..bundle.reader import Bundle
from ..inputs.batches import outputs_of, preprocessed


@dataclass(frozen=True)
class Evaluated:
    """Outputs (N, ...) of the float baseline and of the quantized artifact, targets (N,) in the bundle's labels."""

    float_outputs: dict[str, np.ndarray]
    quantized_outputs: dict[str, np.ndarray]
    targets: np.ndarray
    notes: tuple[str, ...]


def evaluate(bundle: Bundle, path: Path, threads: int | None = None, most: int | None = None) -> Evaluated:
    """Run the test split at `path` (a folder of images or an .npz file) through both artifacts of `bundle`.

    Data without splits of its own is divided as the recipe divided it, so that no training sample is judged. `most` is
    a number of samples to be content with, drawn by a fixed seed. Raises `DataError` where the data cannot be used or
    holds a label that the bundle does not know.
    """
    dataset = datasets.open(datasets.source(path, recorded(bundle.manifest, "data")))
    split, fewer = dataset.split("test"), ""
    if most is not None and most < len(split):
        fewer = f"{most} of {len(split)} test samples"
        split = split.subset(np.sort(np.random.default_rng(0).permutation(len(split))[:most]))
    if bundle.task.refuse_unseen is not None:
        bundle.task.refuse_unseen(dataset.facts, bundle.preprocess, str(path))
    targets = bundle.task.join(split.targets, dataset.labels, bundle.labels, str(path))
    sessions = [bundle.session(threads=threads, baseline=True), bundle.session(threads=threads)]
    before, after = outputs_of(sessions, preprocessed(bundle.task, bundle.preprocess, split))
    absent = [label for label in bundle.labels if label not in dataset.labels]
    notes = [*dataset.notes] + ([f"no samples of {', '.join(absent)}"] if absent else []) + ([fewer] if fewer else [])
    return Evaluated(before, after, targets, tuple(notes))
