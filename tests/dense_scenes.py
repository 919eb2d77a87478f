"""Pictures of twelve cells of three classes, as under a microscope: many red, a few white ones, tiny platelets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scenes

LABELS = ("platelet", "red", "white")
#: height and width of a picture in pixels, cells in it, and the share of each class
HEIGHT, WIDTH, CELLS = 96, 128, 12
SHARES = (0.15, 0.7, 0.15)
#: diameter of each class in pixels, least and most; and its colour
_SIDES = ((8, 11), (18, 25), (26, 34))
_COLOURS = ((120, 70, 150), (205, 120, 115), (95, 60, 135))
Box = tuple[int, int, int, int, int]


def scene(rng: np.random.Generator) -> tuple[np.ndarray, list[Box]]:
    """uint8 (96, 128, 3) and the boxes (class, x1, y1, x2, y2) of up to twelve cells, which may touch."""
    pixels = rng.normal((222, 205, 200), 9, (HEIGHT, WIDTH, 3))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    boxes: list[Box] = []
    for _ in range(40 * CELLS):
        kind = int(rng.choice(3, p=SHARES))
        w, h = (int(side) for side in rng.integers(*_SIDES[kind], 2))
        x, y = int(rng.integers(0, WIDTH - w)), int(rng.integers(0, HEIGHT - h))
        if any(shared((x, y, x + w, y + h), box[1:]) > 0.05 for box in boxes):
            continue
        reach = ((columns - x - w / 2) / (w / 2)) ** 2 + ((rows - y - h / 2) / (h / 2)) ** 2
        paler = 0.75 + 0.25 * np.clip(reach, 0, 1)[..., None] if kind == 1 else 1.0
        shade = np.asarray(_COLOURS[kind]) * rng.uniform(0.85, 1.15) / paler + rng.normal(0, 9, pixels.shape)
        pixels = np.where((reach <= 1)[..., None], shade, pixels)
        boxes.append((kind, x, y, x + w, y + h))
        if len(boxes) == CELLS:
            break
    return np.clip(pixels, 0, 255).astype(np.uint8), boxes


def shared(first: tuple[int, ...], second: tuple[int, ...]) -> float:
    """Intersection of two boxes over the smaller of them."""
    w, h = (min(first[k + 2], second[k + 2]) - max(first[k], second[k]) for k in (0, 1))
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return max(w, 0) * max(h, 0) / smaller


#: one LSB of class logits and of boxes, and the strides of the three levels
LOGIT_STEP, BOX_STEP, STRIDES = 0.06, 0.02, (8, 16, 32)


def steps() -> dict[str, float]:
    """One LSB of each of the six outputs that `outputs` makes."""
    return {f"output_{k}": LOGIT_STEP if k % 2 == 0 else BOX_STEP for k in range(6)}


def outputs(rng: np.random.Generator, pictures: int = 64) -> dict[str, np.ndarray]:
    """What a quantized detector gives for so many scenes, on a grid of LSBs: class logits and boxes of three levels.

    Every cell near the centre of a cell speaks for it, the less the further away it is, and its best score is anything
    from almost hidden to certain, as after a short training.
    """
    result = {}
    for k, stride in enumerate(STRIDES):
        h, w = HEIGHT // stride, WIDTH // stride
        result[f"output_{2 * k}"] = rng.normal(-5, 0.7, (pictures, 3, h, w))
        result[f"output_{2 * k + 1}"] = rng.normal(0, 0.5, (pictures, 4, h, w))
    for i in range(pictures):
        for kind, x1, y1, x2, y2 in scene(rng)[1]:
            level = int(np.clip(np.log2((x2 - x1) / 12), 0, 2).round())
            best = float(rng.uniform(-1.5, 2.5))
            x, y = (x1 + x2) / 2 / STRIDES[level], (y1 + y2) / 2 / STRIDES[level]
            logits, boxes = (result[f"output_{2 * level + part}"][i] for part in (0, 1))
            for row in range(max(int(y) - 1, 0), min(int(y) + 2, boxes.shape[1])):
                for column in range(max(int(x) - 1, 0), min(int(x) + 2, boxes.shape[2])):
                    away = np.hypot(column + 0.5 - x, row + 0.5 - y)
                    logits[kind, row, column] = max(logits[kind, row, column], best - 1.2 * away**2)
                    sides = np.log([(x2 - x1) / STRIDES[level] / 4, (y2 - y1) / STRIDES[level] / 4])
                    boxes[:, row, column] = (x - column - 0.5, y - row - 0.5, *(sides + rng.normal(0, 0.08, 2)))
    return {name: _on_grid(values, steps()[name]) for name, values in result.items()}


def restless(rng: np.random.Generator, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same from a runtime that rounds otherwise: half of the values are one LSB off, a few are up to five."""
    noise = {name: np.rint(rng.standard_t(4, v.shape) * 0.9).clip(-5, 5) for name, v in values.items()}
    return {name: (v + noise[name] * steps()[name]).astype(np.float32) for name, v in values.items()}


def _on_grid(values: np.ndarray, step: float) -> np.ndarray:
    return (np.rint(values / step) * step).astype(np.float32)


def write_yolo(root: Path, counts: dict[str, int], seed: int = 0) -> Path:
    """`images/<split>/0001.png` with `labels/<split>/0001.txt`, and data.yaml with the names."""
    rng = np.random.default_rng(seed)
    for split, count in counts.items():
        (root / "labels" / split).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels, boxes = scene(rng)
            scenes.save(root / "images" / split / f"{i:04}.png", pixels)
            lines = [
                f"{kind} {(x1 + x2) / 2 / WIDTH:.6f} {(y1 + y2) / 2 / HEIGHT:.6f} "
                f"{(x2 - x1) / WIDTH:.6f} {(y2 - y1) / HEIGHT:.6f}\n"
                for kind, x1, y1, x2, y2 in boxes
            ]
            (root / "labels" / split / f"{i:04}.txt").write_text("".join(lines))
    names = "".join(f"  {k}: {name}\n" for k, name in enumerate(LABELS))
    (root / "data.yaml").write_text(f"path: .\nnames:\n{names}")
    return root
