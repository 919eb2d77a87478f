"""Drawn scenes for segmentation: bright disks and dark boxes on a noisy ground, an undecided rim around each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("ground", "rim", "disk", "box")
LABELS = ("ground", "disk", "box")
RIM = 1
_COLOURS = {"ground": (96, 110, 90), "disk": (220, 170, 60), "box": (40, 70, 150)}


def scene(rng: np.random.Generator, side: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """A picture uint8 (side, side, 3) and its label ids uint8 (side, side) by `CLASSES`."""
    rows, columns = np.mgrid[:side, :side]
    ids = np.zeros((side, side), np.uint8)
    pixels = np.tile(np.array(_COLOURS["ground"], np.float32), (side, side, 1))
    for kind in rng.permutation(["disk", "box"]):
        size = rng.uniform(0.16, 0.26) * side
        y, x = rng.uniform(size, side - size, 2)
        far = np.hypot(rows - y, columns - x) if kind == "disk" else np.maximum(abs(rows - y), abs(columns - x))
        ids[far < size + 1] = RIM
        ids[far < size - 1] = CLASSES.index(str(kind))
        pixels[far < size] = np.array(_COLOURS[str(kind)], np.float32) + rng.uniform(-25, 25)
    noisy = pixels + rng.normal(0, 12, pixels.shape) + rng.uniform(-15, 15)
    return noisy.clip(0, 255).astype(np.uint8), ids


def write_folder(folder: Path, counts: dict[str, int], side: int = 64, seed: int = 0) -> Path:
    """`folder`/SPLIT/images and labels with so many scenes, and the class file."""
    rng = np.random.default_rng(seed)
    for split, count in counts.items():
        for name in ("images", "labels"):
            (folder / split / name).mkdir(parents=True)
        for i in range(count):
            pixels, ids = scene(rng, side)
            Image.fromarray(pixels).save(folder / split / "images" / f"{i:03d}.png")
            Image.fromarray(ids).save(folder / split / "labels" / f"{i:03d}.png")
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    return folder
