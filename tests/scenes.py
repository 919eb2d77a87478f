"""Drawn scenes with boxes: discs and bars on a noisy ground, written as YOLO text or as COCO json."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

LABELS = ("disc", "bar")
HEIGHT, WIDTH = 60, 100
Box = tuple[int, int, int, int, int]


def scene(rng: np.random.Generator, most: int = 3) -> tuple[np.ndarray, list[Box]]:
    """uint8 (60, 100, 3) and its boxes (class, x1, y1, x2, y2); a disc is reddish, a bar bluish."""
    pixels = rng.integers(70, 110, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    boxes: list[Box] = []
    for _ in range(int(rng.integers(1, most + 1))):
        kind = int(rng.integers(2))
        w = int(rng.integers(14, 26))
        h = w if kind == 0 else int(rng.integers(30, 44))
        x, y = int(rng.integers(0, WIDTH - w)), int(rng.integers(0, HEIGHT - h))
        if any(x < b[3] + 2 and b[1] < x + w + 2 and y < b[4] + 2 and b[2] < y + h + 2 for b in boxes):
            continue
        inside = (columns >= x) & (columns < x + w) & (rows >= y) & (rows < y + h)
        if kind == 0:
            inside &= (columns + 0.5 - x - w / 2) ** 2 + (rows + 0.5 - y - h / 2) ** 2 <= (w / 2) ** 2
        pixels[inside] = (220, 60, 50) if kind == 0 else (50, 90, 230)
        boxes.append((kind, x, y, x + w, y + h))
    return pixels, boxes


def line(box: Box) -> str:
    kind, x1, y1, x2, y2 = box
    cx, cy, w, h = (x1 + x2) / 2 / WIDTH, (y1 + y2) / 2 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT
    return f"{kind} {cx:.6f} {cy:.6f} {w:.6f} {h:.6f}"


def save(path: Path, pixels: np.ndarray) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_yolo(root: Path, counts: dict[str, int], seed: int = 0) -> Path:
    """`images/<split>/0001.png` with `labels/<split>/0001.txt`, and data.yaml with the names."""
    rng = np.random.default_rng(seed)
    for split, count in counts.items():
        (root / "labels" / split).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels, boxes = scene(rng)
            save(root / "images" / split / f"{i:04}.png", pixels)
            (root / "labels" / split / f"{i:04}.txt").write_text("".join(line(b) + "\n" for b in boxes))
    (root / "data.yaml").write_text("path: .\nnames:\n  0: disc\n  1: bar\n")
    return root


def write_coco(root: Path, counts: dict[str, int], seed: int = 0) -> Path:
    """The same scenes with `annotations/instances_<split>.json` and pictures in `<split>/`."""
    rng = np.random.default_rng(seed)
    (root / "annotations").mkdir(parents=True)
    for split, count in counts.items():
        images, annotations = [], []
        for i in range(count):
            pixels, boxes = scene(rng)
            save(root / split / f"{i:04}.png", pixels)
            images.append({"id": i + 1, "file_name": f"{i:04}.png", "width": WIDTH, "height": HEIGHT})
            for kind, x1, y1, x2, y2 in boxes:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": i + 1,
                        "category_id": 10 * (kind + 1),
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "iscrowd": 0,
                    }
                )
        table = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 20, "name": "bar"}, {"id": 10, "name": "disc"}],
        }
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(table))
    return root
