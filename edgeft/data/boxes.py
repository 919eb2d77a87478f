"""What formats of pictures with boxes share: checks of a box, samples that are left out, division by stretches."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..config import recipe
from ..core.errors import DataError
from ..inputs import picture_file
from ..inputs.picture_file import SUFFIXES
from . import left_out, pictures
from .folders import Scanned
from .samples import NAMES, Dataset, Split, fractions, grouped, listed, together

#: a box may reach beyond its picture by this share of the picture's side: rounding; it is cut off there
OUTSIDE = 0.01
#: pictures in the order of their names are divided in so many stretches: neighbours of a video look alike
STRETCHES = 20


class Wrong(Exception):
    """What is wrong with a sample, and where (file:line)."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where = where


@dataclass(frozen=True)
class Boxes:
    """One picture: its file, size (height, width), and boxes (M, 4) x1 y1 x2 y2 in pixels with their classes."""

    path: Path
    size: tuple[int, int]
    boxes: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray

    def target(self) -> dict[str, np.ndarray]:
        """The sample's target as `tasks/detect.py` has it."""
        return {
            "boxes": self.boxes,
            "classes": self.classes,
            "crowd": self.crowd,
            "size": np.asarray(self.size, np.int64),
        }


@dataclass
class Found:
    """The pictures of one split, those that cannot be used, and what there is to say of the others."""

    good: list[Boxes] = field(default_factory=list)
    bad: list[Wrong] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    twice: int = 0


def header_of(path: Path, spec: recipe.Data) -> picture_file.Header:
    """Size and orientation of a picture as `picture_file.header` has it; raises `Wrong` for one that is not read."""
    try:
        return picture_file.header(path, {"max_pixels": spec.max_pixels})
    except DataError as error:
        advice = f" ({error.remedy})" if "max_pixels" in error.remedy else ""
        raise Wrong(str(path), f"{error.message}{advice}") from error


def box(corners: Sequence[float], size: tuple[int, int], where: str) -> list[float]:
    """x1 y1 x2 y2 in pixels, cut off at the picture's edges; raises `Wrong` for what is no box of this picture."""
    values = np.asarray(corners, np.float64)
    if not np.isfinite(values).all():
        raise Wrong(where, "a number is not finite")
    if values[2] <= values[0] or values[3] <= values[1]:
        raise Wrong(where, f"the box has no area ({_words(values)})")

    limit = np.array([size[1], size[0]] * 2, np.float64)
    if (values < -OUTSIDE * limit).any() or (values > (1 + OUTSIDE) * limit).any():
        raise Wrong(where, f"the box ({_words(values)}) reaches outside of its picture of {size[1]}x{size[0]} pixels")

    cut = np.clip(values, 0, limit)
    if cut[2] <= cut[0] or cut[3] <= cut[1]:
        raise Wrong(where, f"the box ({_words(values)}) lies outside of its picture of {size[1]}x{size[0]} pixels")

    return [float(v) for v in cut]


def _words(values: np.ndarray) -> str:
    return "{:.5g},{:.5g} to {:.5g},{:.5g}".format(*values)


def picture(
    path: Path, size: tuple[int, int], rows: Sequence[tuple[int, Sequence[float], bool]], boxes_of_split: Found
) -> None:
    """Add a picture with its rows (class, corners, crowd) to `boxes_of_split`; a repeated row counts once."""
    once = list(dict.fromkeys((kind, tuple(corners), crowd) for kind, corners, crowd in rows))
    boxes_of_split.twice += len(rows) - len(once)
    boxes_of_split.good.append(
        Boxes(
            path,
            size,
            np.array([r[1] for r in once], np.float32).reshape(-1, 4),
            np.array([r[0] for r in once], np.int64),
            np.array([r[2] for r in once], bool),
        )
    )


def dataset(name: str, labels: tuple[str, ...], boxes_of: dict[str, Found], spec: recipe.Data) -> Dataset:
    """The splits of what was found, in the order of the files' names; a missing val or test is taken from train.

    Raises `DataError` where a split is empty or has no box, and for too many samples that cannot be used.
    """
    notes: list[str] = []
    used = {part: _used(part, boxes, notes, name) for part, boxes in boxes_of.items()}
    paths = [boxes.path for good in used.values() for boxes in good]
    settings = pictures.reading(spec, paths, notes)
    pool, splits, start = pictures.Files(paths, settings), {}, 0

    for part, good in used.items():
        targets = np.empty(len(good), object)
        for i, boxes in enumerate(good):
            targets[i] = boxes.target()
        splits[part] = Split(part, pool, np.arange(start, start + len(good)), targets)
        start += len(good)

    splits, more = _complete(splits, spec, name)
    notes += [*more, *_rare(splits, labels)]
    facts: dict[str, Any] = {"kind": "letterbox", **pictures.facts(settings)}
    return Dataset(name, labels, Scanned(splits, notes, labels, name), notes, facts)


def _used(part: str, boxes: Found, notes: list[str], where: str) -> list[Boxes]:
    total = len(boxes.good) + len(boxes.bad)
    if not total:
        raise DataError(f"the {part} split holds no pictures", where=where, remedy=f"readable: {', '.join(SUFFIXES)}")

    if boxes.bad:
        remedy = "repair or remove them"
        left_out.judge(
            boxes.bad, len(boxes.good), "pictures", notes, where=boxes.bad[0].where, remedy=remedy, part=part
        )

    if boxes.empty:
        notes.append(
            f"{part}: {len(boxes.empty)} of {total} pictures have no boxes and count as pictures without objects, "
            f"for example {boxes.empty[0]}"
        )

    if boxes.twice:
        notes.append(f"{part}: {boxes.twice} boxes occur twice and count once")

    if not sum(len(each.classes) for each in boxes.good):
        empty = f", for example {boxes.empty[0]}" if boxes.empty else ""
        raise DataError(
            f"the {part} split has not one box{empty}", where=where, remedy="are the labels where the pictures are?"
        )

    return sorted(boxes.good, key=lambda each: _natural(str(each.path)))


def _rare(splits: dict[str, Split], labels: tuple[str, ...]) -> list[str]:
    """Notes of classes that a split has no box of."""
    lines = []
    for name, split in splits.items():
        present = {int(kind) for target in split.targets for kind in target["classes"]}
        absent = [label for i, label in enumerate(labels) if i not in present]
        if absent:
            consequence = "it cannot be learned" if name == "train" else "this split says nothing about it"
            lines.append(f"{name}: no box is of {listed(absent)}; {consequence}")
    return lines


def _natural(name: str) -> list[Any]:
    """frame_9 before frame_10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def _complete(splits: dict[str, Split], spec: recipe.Data, where: str) -> tuple[dict[str, Split], list[str]]:
    """Take a missing val or test out of train in whole stretches of pictures that follow each other by name."""
    missing = [name for name in ("val", "test") if name not in splits]
    if "train" not in splits or not missing:
        return {name: splits[name] for name in NAMES if name in splits}, []

    share = dict(zip(NAMES, fractions(spec.split)))
    parts, train = ["train", *missing], splits["train"]
    total = sum(share[name] for name in parts)
    stretch = np.arange(len(train)) * min(STRETCHES, len(train)) // max(len(train), 1)
    positions = grouped(stretch, [share[name] / total for name in parts], spec.split_seed, where)
    positions, note_of_equal = together(train, positions)
    splits_made = dict(splits) | {name: train.subset(at, name) for name, at in zip(parts, positions)}
    counts = ", ".join(f"{name} {len(splits_made[name])}" for name in parts)
    note = (
        f"no {' and no '.join(missing)} split was given: train was divided in stretches of pictures that follow each "
        f"other by name, with seed {spec.split_seed}, into {counts}"
    )

    return {name: splits_made[name] for name in NAMES}, [note, *note_of_equal]
