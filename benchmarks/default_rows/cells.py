"""Detection of blood cells in drawn smears: many red cells, few white ones, few and small platelets (about 13 to 1 to 1).

200 pictures of 640 x 480 pixels, 12 red cells each, overlapping, with blur, shading and debris that is no cell. Real boxes
were not to be had. The baseline takes connected regions of dark or violet pixels and names them by their area and colour.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from . import Figures, Outcome, Row, interval, trained

SIZE, COUNTS = (480, 640), {"train": 140, "val": 20, "test": 40}
NAMES = ("RBC", "WBC", "Platelets")


def smear(rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[int, float, float, float, float]]]:
    """A picture uint8 (H, W, 3) and its boxes (class, x1, y1, x2, y2) in pixels."""
    from scipy import ndimage

    height, width = SIZE
    rows, columns = np.mgrid[:height, :width].astype(float)
    picture = np.array([228.0, 214, 216]) + rng.normal(0, 6, 3)
    picture = (
        picture + (6 * np.sin(columns / rng.uniform(150, 400)) + 6 * np.cos(rows / rng.uniform(150, 400)))[..., None]
    )
    boxes = []
    kinds = [0] * int(rng.integers(8, 17)) + [1] * int(rng.random() < 0.85) + [2] * int(rng.poisson(1.0))

    for kind in rng.permutation(kinds):
        base = {0: rng.uniform(38, 52), 1: rng.uniform(62, 92), 2: rng.uniform(9, 17)}[int(kind)]
        y, x, flat, turn = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0.85, 1.15), rng.uniform(0, np.pi)
        along = (rows - y) * np.cos(turn) + (columns - x) * np.sin(turn)
        across = (columns - x) * np.cos(turn) - (rows - y) * np.sin(turn)
        far = np.hypot(along * flat, across / flat) / base
        inside = 1 / (1 + np.exp((far - 1) * base / 1.5))[..., None]
        if kind == 0:  # red: a pale middle
            colour = np.array([214.0, 150, 160]) + rng.normal(0, 7, 3) + 38 * np.exp(-np.square(far / 0.42))[..., None]
        elif kind == 1:  # white: pale body, lobes of a violet nucleus
            colour = np.array([205.0, 175, 205]) + rng.normal(0, 6, 3) + np.zeros((height, width, 1))
            for _ in range(int(rng.integers(2, 5))):
                dy, dx, size = *rng.uniform(-0.4, 0.4, 2) * base, rng.uniform(0.25, 0.45) * base
                lobe = np.exp(-(np.square(np.hypot(rows - y - dy, columns - x - dx) / size) ** 2))[..., None]
                colour = colour * (1 - lobe) + lobe * (np.array([110.0, 60, 150]) + rng.normal(0, 8, 3))
        else:
            colour = np.array([150.0, 105, 175]) + rng.normal(0, 10, 3) + np.zeros((height, width, 1))
        picture = picture * (1 - 0.9 * inside) + 0.9 * inside * colour
        seen_rows, seen_columns = np.nonzero(far < 1)
        if len(seen_rows) > 0.3 * np.pi * base**2:
            x1, y1 = float(seen_columns.min()), float(seen_rows.min())
            boxes.append((int(kind), x1, y1, float(seen_columns.max() + 1), float(seen_rows.max() + 1)))

    for _ in range(int(rng.integers(0, 4))):  # stain: no cell
        y, x, size = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(2, 5)
        spot = np.exp(-np.square(np.hypot(rows - y, columns - x) / size))[..., None]
        picture = picture * (1 - spot) + spot * np.array([120.0, 90, 110])

    picture = ndimage.gaussian_filter(picture, (rng.uniform(0.6, 1.4),) * 2 + (0,)) + rng.normal(0, 5, picture.shape)
    return picture.clip(0, 255).astype(np.uint8), boxes


def written(folder: Path) -> Path:
    """images/SPLIT and labels/SPLIT as YOLO has them, and data.yaml; the same pictures every time."""
    from PIL import Image

    if (folder / "data.yaml").is_file():
        return folder

    height, width = SIZE
    for number, (split, count) in enumerate(COUNTS.items()):
        for name in ("images", "labels"):
            (folder / name / split).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels, boxes = smear(np.random.default_rng([5, number, i]))
            Image.fromarray(pixels).save(folder / "images" / split / f"{i:03d}.jpg", quality=92)
            lines = [
                f"{k} {(a + c) / 2 / width:.6f} {(b + d) / 2 / height:.6f} {(c - a) / width:.6f} {(d - b) / height:.6f}"
                for k, a, b, c, d in boxes
            ]
            (folder / "labels" / split / f"{i:03d}.txt").write_text("\n".join(lines) + "\n")

    names = ", ".join(NAMES)
    (folder / "data.yaml").write_text(f"train: images/train\nval: images/val\ntest: images/test\nnames: [{names}]\n")
    return folder


def regions(pixels: np.ndarray) -> list[tuple[int, float, tuple[float, float, float, float]]]:
    """(class, score, box) of connected regions that are darker than the ground."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(pixels.astype(float), (2, 2, 0))
    labelled, _ = ndimage.label(smooth[..., 1] < 190)
    found = []

    for i, place in enumerate(ndimage.find_objects(labelled), 1):
        inside = labelled[place] == i
        area, violet = int(inside.sum()), smooth[place][inside][:, 2].mean() - smooth[place][inside][:, 0].mean()
        if area < 100:
            continue
        kind = 2 if area < 1500 else 1 if violet > 5 and area > 5000 else 0
        rows, columns = place
        found.append((kind, area / (area + 2000), (columns.start, rows.start, columns.stop, rows.stop)))

    return found


def by_regions(folder: Path) -> float:
    """AP50 of `regions` over the test pictures, the mean over the classes."""
    from PIL import Image

    height, width = SIZE
    said: list[list[tuple[float, bool]]] = [[] for _ in NAMES]
    total = [0] * len(NAMES)

    for file in sorted((folder / "images" / "test").iterdir()):
        rows = [line.split() for line in (folder / "labels" / "test" / f"{file.stem}.txt").read_text().splitlines()]
        truth = [(int(k), *(float(v) for v in box)) for k, *box in rows if box]
        left = [
            (k, (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
            for k, x, y, w, h in truth
        ]
        for k, *_ in left:
            total[k] += 1
        for kind, score, box in sorted(regions(np.asarray(Image.open(file))), key=lambda r: -r[1]):
            hits = [(_overlap(box, other[1:]), j) for j, other in enumerate(left) if other[0] == kind]
            best = max(hits, default=(0.0, -1))
            said[kind].append((score, best[0] >= 0.5))
            if best[0] >= 0.5:
                left.pop(best[1])

    return float(np.mean([_precision(entries, count) for entries, count in zip(said, total)]))


def _overlap(first: Any, second: Any) -> float:
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    inner = max(0.0, wide) * max(0.0, high)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return inner / max(sum(areas) - inner, 1e-9)


def _precision(entries: list[tuple[float, bool]], total: int) -> float:
    """Average precision of (score, right) with the envelope of all points."""
    right = np.cumsum([hit for _, hit in sorted(entries, key=lambda e: -e[0])])
    if not len(right) or not total:
        return 0.0
    precision, recall = right / np.arange(1, len(right) + 1), right / total
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(np.concatenate([[0], recall])) * envelope).sum())


def measure(data: Path, out: Path) -> Figures:
    folder = written(out / "data")
    outcome: Outcome = trained("detect", folder, out)
    per_class = outcome.bundle.task.per_class(outcome.quantized_outputs, outcome.targets, outcome.bundle.labels)
    return Figures(
        outcome.float,
        outcome.quantized,
        interval(outcome),
        len(outcome.targets),
        by_regions(folder),
        outcome.minutes,
        {name: row["metric"] for name, row in per_class.items()},
    )


ROW = Row(
    name="cells",
    task="detect",
    data=f"drawn blood smears, {COUNTS['train']} to learn from",
    metric="AP50",
    goal=0.8,
    baseline="connected regions by area and colour",
    measure=measure,
    short={"train.epochs": 8},
)
