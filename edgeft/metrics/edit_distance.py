"""Edit distance (Levenshtein 1966) between sequences: insertions, deletions and substitutions, each counted once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np


def table(wanted: Sequence[Hashable], found: Sequence[Hashable]) -> np.ndarray:
    """Distances of every pair of beginnings, int64 (len(wanted) + 1, len(found) + 1)."""
    numbers: dict[Hashable, int] = {}
    a, b = (np.array([numbers.setdefault(x, len(numbers)) for x in words], np.int64) for words in (wanted, found))
    at = np.arange(len(b) + 1)
    rows = np.empty((len(a) + 1, len(b) + 1), np.int64)
    rows[0] = at
    for i, word in enumerate(a):
        before = rows[i]
        best = before + 1
        best[1:] = np.minimum(best[1:], before[:-1] + (b != word))
        # the best along the row: min over k <= j of best[k] + (j - k)
        rows[i + 1] = np.minimum.accumulate(best - at) + at
    return rows


def distance(wanted: Sequence[Hashable], found: Sequence[Hashable]) -> int:
    """The fewest edits that make `found` of `wanted`."""
    return int(table(wanted, found)[-1, -1])


def kept(wanted: Sequence[Hashable], found: Sequence[Hashable]) -> np.ndarray:
    """Bool (len(wanted),): which elements a best alignment keeps; the others are deleted or substituted."""
    rows = table(wanted, found)
    same = np.zeros(len(wanted), bool)
    i, j = len(wanted), len(found)
    while i and j:
        equal = wanted[i - 1] == found[j - 1]
        if rows[i, j] == rows[i - 1, j - 1] + (not equal):
            same[i - 1] = equal
            i, j = i - 1, j - 1
        elif rows[i, j] == rows[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return same
