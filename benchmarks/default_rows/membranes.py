"""Thin structures: drawn electron micrographs, 512 pixels a side, in which membranes are a tenth of the pixels.

Cells with dark membranes of varying width and strength; inside of them dark bodies and round vesicles with rims of their
own, which are no membranes; blur, shading and noise. The baseline is a threshold on the smoothed picture, chosen on the
training pictures. A public set of such pictures was not to be had.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from . import Figures, Row, interval, trained

SIDE = 512
COUNTS = {"train": 20, "val": 5, "test": 10}


def micrograph(rng: np.random.Generator, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """A gray picture uint8 (side, side) and its mask: 1 = membrane."""
    from scipy import ndimage
    from scipy.spatial import cKDTree

    count = rng.integers(60, 100)
    rows, columns = np.mgrid[:side, :side].astype(float)
    bend = [8 * _smooth(rng, side, 24) for _ in range(2)]
    places = np.stack([rows + bend[0], columns + bend[1]], axis=-1).reshape(-1, 2)
    seeds = rng.uniform(-20, side + 20, (count, 2))
    near, second = cKDTree(seeds).query(places, k=2)[0].T
    border = ((second - near) / 2).reshape(side, side)
    width = np.clip(1.8 + 0.9 * _smooth(rng, side, 40), 1.0, 4.0)
    mask = border < width

    picture = 165 + 12 * rng.standard_normal() + 22 * _smooth(rng, side, 60) + 14 * _smooth(rng, side, 6)
    strength = np.clip(85 + 30 * _smooth(rng, side, 30), 25, 130)
    picture = picture - strength * np.exp(-np.square(border / (width + 0.6)))
    inside = border > 9

    for _ in range(rng.integers(60, 110)):  # vesicles: bright or dark discs with a dark rim
        y, x, radius, filling = *rng.uniform(0, side, 2), rng.uniform(3, 9), rng.uniform(-25, 15)
        at = _around(y, x, radius + 5, side)
        far = np.hypot(rows[at] - y, columns[at] - x)
        picture[at] += inside[at] * ((far < radius) * filling - 70 * np.exp(-np.square((far - radius) / 1.5)))

    for _ in range(rng.integers(12, 24)):  # dark bodies
        y, x, long, flat = *rng.uniform(0, side, 2), rng.uniform(8, 22), rng.uniform(0.4, 0.9)
        turn, depth = rng.uniform(0, np.pi), rng.uniform(35, 75)
        at = _around(y, x, long, side)
        along = (rows[at] - y) * np.cos(turn) + (columns[at] - x) * np.sin(turn)
        across = (columns[at] - x) * np.cos(turn) - (rows[at] - y) * np.sin(turn)
        body = (np.hypot(along, across / flat) < long) & inside[at]
        picture[at] -= body * (depth + 12 * np.sin(across * 1.2))

    picture = ndimage.gaussian_filter(picture, 1.0) + rng.normal(0, 16, (side, side))
    return picture.clip(0, 255).astype(np.uint8), mask.astype(np.uint8)


def _around(y: float, x: float, reach: float, side: int) -> tuple[slice, slice]:
    rows, columns = (slice(max(0, int(at - reach)), min(side, int(at + reach) + 2)) for at in (y, x))
    return rows, columns


def _smooth(rng: np.random.Generator, side: int, scale: float) -> np.ndarray:
    """A random field of mean 0 and std 1."""
    from scipy import ndimage

    step = max(1, int(scale / 4))
    coarse = ndimage.gaussian_filter(rng.standard_normal((side // step + 8,) * 2), scale / step)
    values = ndimage.zoom(coarse, step, order=1)[:side, :side]
    return (values - values.mean()) / values.std()


def written(folder: Path) -> Path:
    """train/ val/ test/, each with images/ and labels/, and classes.txt; the same pictures every time."""
    from PIL import Image

    if (folder / "classes.txt").is_file():
        return folder

    for number, (split, count) in enumerate(COUNTS.items()):
        for name in ("images", "labels"):
            (folder / split / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels, mask = micrograph(np.random.default_rng([7, number, i]))
            Image.fromarray(pixels).save(folder / split / "images" / f"{i:02d}.png")
            Image.fromarray(mask).save(folder / split / "labels" / f"{i:02d}.png")

    (folder / "classes.txt").write_text("inside\nmembrane\n")
    return folder


def pairs(folder: Path, split: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """(picture, mask) of every file of a split."""
    from PIL import Image

    files = sorted((folder / split / "images").iterdir())
    return [(np.asarray(Image.open(f)), np.asarray(Image.open(folder / split / "labels" / f.name))) for f in files]


def thresholded(folder: Path) -> float:
    """mIoU on the test pictures of the threshold and smoothing that are best on the training pictures."""
    from scipy import ndimage

    def score(split: str, blur: float, level: float) -> float:
        table = np.zeros((2, 2))
        for pixels, mask in loaded[split]:
            decided = (ndimage.gaussian_filter(pixels.astype(float), blur) < level).astype(int)
            np.add.at(table, (mask.ravel(), decided.ravel()), 1)
        hits = np.diag(table)
        return float((hits / (table.sum(0) + table.sum(1) - hits)).mean())

    loaded: dict[str, Any] = {"train": pairs(folder, "train")[:6], "test": pairs(folder, "test")}
    tried = [(score("train", blur, level), blur, level) for blur in (1.0, 2.0) for level in range(70, 160, 10)]
    _, blur, level = max(tried)
    return score("test", blur, level)


def measure(data: Path, out: Path) -> Figures:
    folder = written(out / "data")
    outcome = trained("segment", folder, out)
    return Figures(
        outcome.float,
        outcome.quantized,
        interval(outcome),
        len(outcome.targets),
        thresholded(folder),
        outcome.minutes,
    )


ROW = Row(
    name="membranes",
    task="segment",
    data=f"drawn micrographs of {SIDE} px, {COUNTS['train']} to learn from",
    metric="mIoU",
    goal=0.75,
    baseline="a threshold on the smoothed picture",
    measure=measure,
    short={"train.epochs": 8},
)
