"""The next artist of a listener: implicit plays that are made here, since no such data were to be had.

An artist belongs to one of 40 genres and is as popular in it as Zipf's law says. A listener likes three genres, and
plays artists of them, of neighbouring genres at times, and now and then any. The baseline is item-kNN, and the goal is
what it reaches on these plays.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import Figures, Row
from ._recommend import figures

USERS, ITEMS, GENRES = 800, 2000, 40


def written(folder: Path) -> Path:
    """plays.csv of user, item, time; the same every time."""
    path = folder / "plays.csv"
    if path.is_file():
        return path

    rng = np.random.default_rng(4)
    genre = rng.integers(0, GENRES, ITEMS)
    fame = 1 / (1 + rng.permutation(ITEMS) % (ITEMS // GENRES)) ** 0.7
    lines = ["user,item,timestamp"]

    for user in range(USERS):
        taste = np.full(GENRES, 0.004)
        for liked, weight in zip(rng.choice(GENRES, 3, replace=False), rng.dirichlet((2, 2, 2))):
            taste[liked] += weight
            taste[(liked + 1) % GENRES] += 0.15 * weight
        chances = taste[genre] * fame
        count = int(np.clip(rng.lognormal(3.4, 0.6), 8, 300))
        artists = rng.choice(ITEMS, count, replace=False, p=chances / chances.sum())
        lines += [f"u{user},a{artist},{1000 + k}" for k, artist in enumerate(rng.permutation(artists))]

    folder.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def measure(data: Path, out: Path) -> Figures:
    return figures(written(out / "data"), out)


ROW = Row(
    name="recommend_plays",
    task="recommend",
    data=f"simulated plays of {USERS} listeners and {ITEMS} artists, the last one held out",
    metric="HR@10",
    goal=0.71,
    baseline="item-kNN",
    measure=measure,
)
