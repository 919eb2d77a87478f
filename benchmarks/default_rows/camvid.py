"""Street scenes (CamVid, every fourth frame of its own division, 360 x 480 pixels, 11 classes without void).

The baseline is the commonest class of each place in the training masks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import Figures, Outcome, Row, interval, linked, trained


def measure(data: Path, out: Path) -> Figures:
    source = data / "04_segmentation" / "camvid"
    names = {p.relative_to(source).as_posix(): p for p in sorted(source.rglob("*")) if p.is_file()}
    folder = linked(out / "data", names)
    outcome = trained("segment", folder, out, {"data.masks": {"void": "Unlabelled"}})
    per_class = outcome.bundle.task.per_class(outcome.quantized_outputs, outcome.targets, outcome.bundle.labels)

    return Figures(
        outcome.float,
        outcome.quantized,
        interval(outcome),
        len(outcome.targets),
        _by_place(outcome, folder),
        outcome.minutes,
        {name: row["metric"] for name, row in per_class.items()},
        ("data.masks = { void = 'Unlabelled' } is stated too, since the data does not say it.",),
    )


def _by_place(outcome: Outcome, folder: Path) -> float:
    from edgeft import data as datasets
    from edgeft.bundle.manifest import recorded

    train = datasets.open(datasets.source(folder, recorded(outcome.bundle.manifest, "data"))).split("train")
    masks = np.stack([np.asarray(target) for target in train.targets])
    count = len(outcome.bundle.labels)
    votes = np.stack([(masks == c).sum(axis=0) for c in range(count)]).astype(np.float32)
    logits = np.repeat(votes[None], len(outcome.targets), axis=0)

    return float(outcome.bundle.task.score({"logits": logits}, outcome.targets))


ROW = Row(
    name="camvid",
    task="segment",
    data="CamVid, 92 frames to learn from",
    metric="mIoU",
    goal=0.5,
    baseline="the commonest class of each place",
    measure=measure,
    short={"train.epochs": 5},
)
