"""Ratings made up: users of four kinds, each of which takes its own quarter of the items, in an order of time."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_ratings(path: Path, users: int = 60, items: int = 80, each: int = 14, seed: int = 0) -> Path:
    """A `ratings.csv` as MovieLens has it; the ids are words."""
    rng = np.random.default_rng(seed)
    lines = ["userId,movieId,rating,timestamp"]
    for user in range(users):
        quarter = np.arange(user % 4, items, 4)
        for time, item in enumerate(rng.choice(quarter, each, replace=False)):
            lines.append(f"u{user},i{item},{rng.integers(1, 6)},{1000 + time}")
    path.write_text("\n".join(lines) + "\n")
    return path
