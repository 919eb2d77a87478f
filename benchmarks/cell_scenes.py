"""Dense scenes of real cells: twelve of the blood cells of BCCD, cut out round, on a plain ground, with their boxes.

The crops in `EDGEFT_DATA` (`01_image_medical/bccd_cells`, 64 pixels of 128 around a cell) have no boxes in their smears,
so that scenes are put together of them: cells of `train/` in the training and validation pictures, of `test/` in those
that judge. The shares of the classes are those of drawn scenes (`tests/dense_scenes.py`).
"""

from __future__ import annotations

import sys
from pathlib import Path

import common
import numpy as np

sys.path.insert(0, str(common.HERE.parent / "tests"))
from dense_scenes import shared

LABELS = ("Platelets", "RBC", "WBC")
#: height and width of a scene in pixels, cells in it, and the share of each class
HEIGHT, WIDTH, CELLS = 160, 224, 12
SHARES = (0.15, 0.7, 0.15)
#: diameter in a scene, least and most; and the part of a crop's side that the cell in its middle fills
_SIDES = ((14, 20), (32, 44), (46, 58))
_MIDDLE = (0.36, 0.72, 0.94)
Box = tuple[int, int, int, int, int]


def crops(folder: Path) -> list[list[np.ndarray]]:
    """Of each class the pictures uint8 (64, 64, 3) in `folder`, in the order of their names."""
    from PIL import Image

    return [
        [np.asarray(Image.open(file).convert("RGB")) for file in sorted((folder / label).iterdir())] for label in LABELS
    ]


def scene(rng: np.random.Generator, cells: list[list[np.ndarray]]) -> tuple[np.ndarray, list[Box]]:
    """uint8 (160, 224, 3) and the boxes (class, x1, y1, x2, y2) of up to twelve cells, which hardly overlap."""
    from PIL import Image

    pixels, boxes = rng.normal((222, 212, 210), 5, (HEIGHT, WIDTH, 3)), list[Box]()
    for _ in range(40 * CELLS):
        kind, turn = int(rng.choice(3, p=SHARES)), int(rng.integers(4))
        side = int(rng.integers(*_SIDES[kind]))
        x, y = int(rng.integers(0, WIDTH - side)), int(rng.integers(0, HEIGHT - side))
        if any(shared((x, y, x + side, y + side), box[1:]) > 0.1 for box in boxes):
            continue

        crop = cells[kind][int(rng.integers(len(cells[kind])))]
        edge = round(32 * (1 - _MIDDLE[kind]))
        middle = Image.fromarray(crop[edge : 64 - edge, edge : 64 - edge]).resize((side, side))
        reach = np.hypot(*(np.mgrid[:side, :side] + 0.5 - side / 2)) / (side / 2)
        part = pixels[y : y + side, x : x + side]
        part[reach <= 1] = np.rot90(np.asarray(middle), turn)[reach <= 1]
        boxes.append((kind, x, y, x + side, y + side))
        if len(boxes) == CELLS:
            break

    return np.clip(pixels, 0, 255).astype(np.uint8), boxes


def write_yolo(root: Path, cells: Path, counts: dict[str, int]) -> Path:
    """`images/<split>/0001.png` with `labels/<split>/0001.txt`, and data.yaml; the same pictures every time."""
    from PIL import Image

    if (root / "data.yaml").is_file():
        return root

    pools = {part: crops(cells / part) for part in ("train", "test")}
    for number, (split, count) in enumerate(counts.items()):
        for name in ("images", "labels"):
            (root / name / split).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels, boxes = scene(np.random.default_rng([9, number, i]), pools["test" if split == "test" else "train"])
            Image.fromarray(pixels).save(root / "images" / split / f"{i:04}.png")
            lines = [
                f"{kind} {(x1 + x2) / 2 / WIDTH:.6f} {(y1 + y2) / 2 / HEIGHT:.6f} "
                f"{(x2 - x1) / WIDTH:.6f} {(y2 - y1) / HEIGHT:.6f}\n"
                for kind, x1, y1, x2, y2 in boxes
            ]
            (root / "labels" / split / f"{i:04}.txt").write_text("".join(lines))

    names = "".join(f"  {k}: {name}\n" for k, name in enumerate(LABELS))
    (root / "data.yaml").write_text(f"path: .\nnames:\n{names}")
    return root
