"""The next film of a user: MovieLens latest-small, the last film of each user against 99 that the user never rated.

The baseline is item-kNN: the cosine of who took two items, over all items of the user.
"""

from __future__ import annotations

from pathlib import Path

from . import Figures, Row
from ._recommend import figures


def measure(data: Path, out: Path) -> Figures:
    return figures(data / "06_recommendation" / "ml-latest-small", out)


ROW = Row(
    name="recommend",
    task="recommend",
    data="MovieLens latest-small, leave-one-out by time",
    metric="HR@10",
    goal=0.653,
    baseline="item-kNN",
    measure=measure,
)
