"""Outputs of both artifacts on labelled data, with the data's labels joined to the bundle's by name."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import data as datasets
from ..bundle.manifest import recorded
from ..bundle.reader import Bundle
from ..config.recipe import Data
from ..core.errors import DataError
from ..inputs.batches import outputs_of, preprocessed
from ..personalize.run import session as personalized


@dataclass(frozen=True)
class Evaluated:
    """Outputs (N, ...) of the float baseline and of the quantized artifact, targets (N,) in the bundle's labels.

    Of a personalized bundle `quantized_outputs` are those of the model in use, and `exported_outputs` those of the
    artifact as it was exported (None without a state); `labels` then hold the classes that were added.
    `same_data`: the data are those that the bundle was exported with. `available` is the number of samples that would
    be judged without a limit, 0 where that is not known.
    """

    float_outputs: dict[str, np.ndarray]
    quantized_outputs: dict[str, np.ndarray]
    targets: np.ndarray
    notes: tuple[str, ...]
    labels: tuple[str, ...] = ()
    exported_outputs: dict[str, np.ndarray] | None = None
    same_data: bool = False
    available: int = 0


def evaluate(
    bundle: Bundle, path: Path, threads: int | None = None, most: int | None = None, state: Path | str | None = None
) -> Evaluated:
    """Run the labelled data at `path` through both artifacts of `bundle`: its test split, or all of it; see `judged`.

    `state` names the bundle's state on this device (None: the file in its folder, if there is one). `most` is
    a number of samples to be content with, drawn by a fixed seed. Raises `DataError` where the data cannot be used or
    holds a label that the bundle does not know.
    """
    dataset, split, note = judged(bundle, path)
    notes, available = [note], len(split)
    if most is not None and most < len(split):
        notes.append(f"{most} of {len(split)} samples")
        split = split.subset(np.sort(np.random.default_rng(0).permutation(len(split))[:most]))

    split = datasets.located(split, bundle.task, bundle.preprocess)
    pictures, split = split, datasets.windowed(split, bundle.task, bundle.preprocess, notes)
    if split is not pictures:  # how many windows the pictures have that were left out is not known
        available = len(split) if len(pictures) == available else 0
    personal = personalized(bundle, state, threads=threads)
    labels = personal.labels if personal else bundle.labels
    if bundle.task.refuse_unseen is not None:
        bundle.task.refuse_unseen(dataset.facts, personal.preprocess if personal else bundle.preprocess, str(path))

    targets = bundle.task.join(split.targets, dataset.labels, labels, str(path))
    sessions = [bundle.session(threads=threads, baseline=True), bundle.session(threads=threads)]
    feeds = preprocessed(bundle.task, bundle.preprocess, split, title=f"{split.name} samples")
    before, after = outputs_of(sessions, feeds)
    same_data = datasets.fingerprint(dataset) == bundle.manifest.get("provenance", {}).get("data")
    absent = [label for label in labels if label not in dataset.labels]
    notes += [*dataset.notes, *([f"no samples of {', '.join(absent)}"] if absent else [])]
    if personal is None:
        return Evaluated(before, after, targets, tuple(notes), labels, None, same_data, available)

    (in_use,) = outputs_of([personal.session], preprocessed(bundle.task, personal.preprocess, split))
    before, after = (_widened(outputs, in_use, len(bundle.labels)) for outputs in (before, after))
    notes.append(f"version {personal.version} of the personalized state was judged")
    return Evaluated(before, in_use, targets, tuple(notes), labels, after, same_data, available)


def _widened(outputs: dict[str, np.ndarray], like: dict[str, np.ndarray], known: int) -> dict[str, np.ndarray]:
    """Class scores of a model that does not know the added classes, with scores for them that never win."""
    widened = {}
    for name, values in outputs.items():
        more = like[name].shape[-1] - known if values.ndim == 2 else 0
        never = np.full((len(values), max(more, 0)), values.min(initial=0.0) - 30.0, values.dtype)
        widened[name] = np.concatenate([values[:, :known], never], axis=1) if more > 0 else values
    return widened


def judged(bundle: Bundle, path: Path) -> tuple[datasets.Dataset, datasets.Split, str]:
    """The data at `path`, the samples of it that are judged, and a sentence that says which they are.

    A test split of the data's own is judged alone. Data without one is judged as a whole, unless it is what the bundle
    was trained on: that is divided as the recipe divided it, so that no training sample is judged. Data that are not in
    the recipe's format are read in one of the task's that they are recognized by.
    """
    source = datasets.source(path, recorded(bundle.manifest, "data"))
    source, entire, read_as = _entire(bundle, path, source)
    if "test" in entire.splits:
        dataset = datasets.open(source)
        split = dataset.split("test")
        return dataset, split, f"{len(split)} samples: the test split of {path}{read_as}"

    parts = [entire.split(name) for name in entire.splits]
    total = sum(map(len, parts))
    divided = _training_data(bundle, path, source)

    if divided is not None:
        split = divided.split("test")
        why = "the other samples were used to train and calibrate the model"
        return divided, split, f"{len(split)} of {total} samples: {why}{read_as}"

    positions, targets = (np.concatenate([getattr(part, key) for part in parts]) for key in ("indices", "targets"))
    split = datasets.Split("test", parts[0].pool, positions, targets)
    return entire, split, f"all {total} samples, since {path} has no test split{read_as}"


def _entire(bundle: Bundle, path: Path, source: Data) -> tuple[Data, datasets.Dataset, str]:
    """The data as they are read, whole, and what is to be told where that is not in the recipe's format."""

    def whole(spec: Data) -> datasets.Dataset:
        return datasets.open(dataclasses.replace(spec, split=datasets.WHOLE, group=""))

    try:
        return source, whole(source), ""
    except DataError:
        other = datasets.in_another_format(path, source, bundle.task.name)
        if other is None:
            raise
        spec, sentence = other
        return spec, whole(spec), f"; {sentence}"


def _training_data(bundle: Bundle, path: Path, source: Data) -> datasets.Dataset | None:
    """The data at `path` divided as the recipe says; None where it is other data than the recipe's."""
    try:
        dataset = datasets.open(source)
        if "test" not in dataset.splits:
            return None
        known = bundle.manifest.get("provenance", {}).get("data")
        recipe_path = str(recorded(bundle.manifest, "data").get("path", ""))
        same = bool(recipe_path) and Path(recipe_path).resolve() == path.resolve()
        return dataset if same or datasets.fingerprint(dataset) == known else None
    except DataError:
        return None  # it cannot be divided: too few samples of a class, for example, so nothing was trained on it
