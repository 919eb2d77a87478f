"""What a user took for a page, and how popular each item is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..record import LabelCounts

#: items of a row that are listed
LISTED = 6


def show(split: Any, i: int, labels: Sequence[str]) -> dict[str, Any]:
    """The user, what the user took (of a row that is judged: the held-out item), and how many candidates there are."""
    raw, target = split.raw(i), np.asarray(split.targets[i]).reshape(-1)
    rows = [("user", str(raw["user"]))]
    number = int(target[-1])

    if 0 <= number < len(labels):
        rows.append(("held-out item", str(labels[number])))
    elif hasattr(split.pool, "learned"):
        _, items, positive = split.pool.learned(int(split.indices[i]), split.pool.seed)
        names = [str(labels[k]) for k in items[positive == 1]]
        more = f"; and {len(names) - LISTED} more" if len(names) > LISTED else ""
        rows.append(("took", "; ".join(names[:LISTED]) + more))

    rows.append(("candidates", str(len(np.atleast_1d(raw["items"])))))
    return {"rows": rows, "caption": ""}


def count(split: Any, labels: Sequence[str]) -> LabelCounts:
    """How often each item was taken: in the training split all training interactions, else the held-out ones."""
    histories = getattr(split.pool, "histories", None)
    if split.name == "train" and histories is not None:
        return LabelCounts("interactions", histories.popularity(), balance=False)
    numbers = np.asarray(split.targets).reshape(len(split), -1)[:, -1].astype(np.int64)
    return LabelCounts("interactions", np.bincount(numbers[numbers >= 0], minlength=len(labels)), balance=False)
