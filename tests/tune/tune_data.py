"""A tiny data set of coloured shapes on noise, and recipes that learn it in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeft.config import recipe
from edgeft.config.recipe import Recipe

torch.set_num_threads(1)
LABELS = ("disc", "square", "cross")
COLOURS = np.array([[220, 60, 50], [60, 200, 70], [70, 90, 230]])


def picture(label: int, rng: np.random.Generator, size: int = 32) -> np.ndarray:
    """uint8 (size, size, 3): a shape of the class, somewhere, in its own colour, on gray noise."""
    image = rng.integers(60, 160, (size, size, 1)) + rng.integers(-10, 10, (size, size, 3))
    y, x = np.ogrid[:size, :size]
    cy, cx, radius = *rng.integers(10, size - 10, 2), rng.integers(5, 9)
    inside = (
        (y - cy) ** 2 + (x - cx) ** 2 <= radius**2,
        (abs(y - cy) <= radius) & (abs(x - cx) <= radius),
        ((abs(y - cy) <= 2) & (abs(x - cx) <= radius)) | ((abs(x - cx) <= 2) & (abs(y - cy) <= radius)),
    )[label]
    image[inside] = COLOURS[label] + rng.integers(-20, 20, (int(inside.sum()), 3))
    return image.clip(0, 255).astype(np.uint8)


def write(path: Path, counts: tuple[int, int, int] = (48, 18, 24), seed: int = 0, **more: Any) -> Path:
    """An .npz with train, val and test pictures, as many of each class."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, Any] = {"labels": np.array(LABELS), **more}
    for name, n in zip(("train", "val", "test"), counts):
        targets = np.arange(n) % len(LABELS)
        arrays[f"{name}_images"] = np.stack([picture(int(t), rng) for t in targets])
        arrays[f"{name}_labels"] = targets
    np.savez(path, **arrays)
    return path


def recipe_for(path: Path, *overrides: str, **tables: dict[str, Any]) -> Recipe:
    """ResNet-8 on the data at `path`: two float epochs, two of quantization-aware training, three batches each."""
    table: dict[str, Any] = {
        "task": "classify",
        "name": "shapes",
        "model": {"source": "builtin", "name": "resnet8"},
        "data": {"format": "npz", "path": str(path)},
        "train": {"epochs": 2, "batch_size": 16, "lr": 3e-3, "augment": "none", "seed": 7},
        "quantize": {"epochs": 2, "lr": 1e-4},
        "export": {"targets": ["host"]},
    }
    for name, values in tables.items():
        table[name] = {**table.get(name, {}), **values}
    return recipe.override(recipe.from_table(table, "test"), list(overrides))
