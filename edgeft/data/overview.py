"""What was understood of data: splits, labels, what was left out, imbalance and leaks, as JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import tasks
from ..config import recipe
from ..tasks import LabelCounts, Task
from .checks import Findings, calibration_indices, examine
from .samples import NAMES, Dataset, Split

#: words by which a reader's note says that something was left out
_LEFT_OUT = (
    "left out",
    "skipped",
    "not read",
    "no sounds",
    "no class",
    "not there",
    "absent",
    "ignored",
    "not decoded",
)
#: samples whose sizes are looked at, evenly spread over the first split
PROBED = 100
#: from so many labels on, what the most frequent tenth of them holds is stated where it is more than half
MANY, TENTH, MOST = 50, 0.1, 0.5


def overview(dataset: Dataset, spec: recipe.Data, task: Task, findings: Findings | None = None) -> dict[str, Any]:
    """`task`, `format`, `path`, `splits` {name: samples}, `labels`, `inputs` (words), `counts` {"unit", "by_label"
    {label: {split: n}}}, `values` {label: {min, mean, max, std}} of recorded numbers, and lists of sentences:
    `left_out`, `notes`, `imbalance` and `leaks`.

    `findings` are those of `checks.examine`, which reads every sample; without them it is called. Raises `DataError`
    where a split cannot be used.
    """
    findings = findings or examine(dataset, task)
    splits = {name: dataset.split(name) for name in NAMES if name in dataset.splits}
    counted = {
        name: counts
        for name, split in splits.items()
        if (counts := tasks.count_labels(task, split, dataset.labels)) is not None
    }
    by_label = {
        str(label): {name: int(counts.counts[k]) for name, counts in counted.items()}
        for k, label in enumerate(dataset.labels if counted else ())
    }
    left_out = [note for note in findings.notes if any(words in note for words in _LEFT_OUT)]
    tails = [line for name, counts in counted.items() for line in _long_tail(name, counts)]

    return {
        "task": task.name,
        "format": spec.format,
        "path": spec.path,
        "splits": {name: len(split) for name, split in splits.items()},
        "labels": [str(label) for label in dataset.labels],
        "inputs": _inputs(next(iter(splits.values()))) if splits else "",
        "counts": {"unit": next((counts.unit for counts in counted.values()), ""), "by_label": by_label},
        "values": _values(dataset),
        "left_out": left_out,
        "notes": [*(note for note in findings.notes if note not in left_out), *findings.limits],
        "imbalance": [*findings.imbalance, *tails],
        "leaks": list(findings.leaks),
    }


def _long_tail(split: str, counted: LabelCounts) -> list[str]:
    """What the most frequent tenth of many labels holds, where uneven labels are no fault of the data."""
    counts = np.sort(counted.counts)[::-1]
    tenth = int(len(counts) * TENTH)
    if counted.balance or len(counts) < MANY or not counts.sum():
        return []
    share = counts[:tenth].sum() / counts.sum()
    return [f"{split}: {tenth} of {len(counts)} labels hold {share:.0%} of the {counted.unit}"] if share > MOST else []


def _inputs(split: Split) -> str:
    """What raw samples are, in words: "pictures of 640x480 pixels, 3 channels"."""
    at = np.unique(np.linspace(0, len(split) - 1, min(len(split), PROBED)).astype(int)) if len(split) else ()
    raws = [split.raw(int(i)) for i in at]
    if not raws:
        return ""

    first = raws[0]
    if isinstance(first, str):
        return f"texts of {_span([len(raw.split()) for raw in raws])} words"

    if isinstance(first, Mapping) and "samples" in first:
        seconds = _span([len(raw["samples"]) / raw["rate"] for raw in raws])
        return f"sounds of {seconds} seconds at {_span([int(raw['rate']) for raw in raws])} Hz"

    if isinstance(first, np.ndarray) and first.ndim in (2, 3) and first.dtype == np.uint8:
        widths, heights = ([raw.shape[k] for raw in raws] for k in (1, 0))
        channels = _span([1 if raw.ndim == 2 else raw.shape[2] for raw in raws])
        return f"pictures, width {_span(widths)}, height {_span(heights)} pixels, channels {channels}"

    if isinstance(first, np.ndarray) and first.ndim == 1:
        return f"{len(first)} numbers each"
    return ""


def _span(values: list[Any]) -> str:
    """A range, or the one value."""
    low, high = min(values), max(values)
    if isinstance(low, int):
        return f"{low}" if low == high else f"{low} to {high}"
    return f"{low:g}" if low == high else f"{low:.4g} to {high:.4g}"


def _values(dataset: Dataset) -> dict[str, dict[str, float]]:
    """Of recorded numbers of the first split: how they are spread; those of several columns without names together."""
    name = next((name for name in NAMES if name in dataset.splits), "")
    targets = dataset.split(name).targets if name else np.empty(0)
    if targets.dtype.kind != "f" or targets.ndim != 2 or not len(targets):
        return {}

    figures = (("min", np.nanmin), ("mean", np.nanmean), ("max", np.nanmax), ("std", np.nanstd))
    if targets.shape[1] != len(dataset.labels):
        return {" ".join(map(str, dataset.labels)): {key: float(figure(targets)) for key, figure in figures}}

    return {
        str(label): {key: float(figure(column)) for key, figure in figures}
        for label, column in zip(dataset.labels, targets.T)
    }


def drawn(dataset: Dataset, task: Task, count: int = 10, seed: int = 0) -> list[dict[str, Any]]:
    """`count` samples as `tasks.show_sample` shows them, with `split` and `source`: six of ten from the first split,
    the rest from the others, from as many classes as there is room for; the same ones for the same seed."""
    names = [name for name in NAMES if name in dataset.splits]
    later = 0.4 / max(1, len(names) - 1)
    samples: list[dict[str, Any]] = []

    for name in names:
        split = dataset.split(name)
        share = 1.0 if len(names) == 1 else 0.6 if name == names[0] else later
        room = min(max(1, round(count * share)), len(split), count - len(samples))
        for i in calibration_indices(split, room, "stratified", seed) if room > 0 else ():
            shown = tasks.show_sample(task, split, int(i), dataset.labels)
            samples.append({**shown, "split": name, "source": split.source(int(i))})

    return samples
