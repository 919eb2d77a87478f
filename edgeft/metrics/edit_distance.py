"""Edit distance (Levenshtein 1966) between sequences: insertions, deletions and substitutions, each counted once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np


def table(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> np.ndarray:
    """Distances of every pair of beginnings, int64 (len(wanted) + 1, len(found) + 1)."""
    numbers: dict[Hashable, int] = {}
    a, b = (
        np.array([numbers.setdefault(x, len(numbers)) for x in words], np.int64) for words in (reference, hypothesis)
    )
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


def distance(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> int:
    """The fewest edits that make `hypothesis` of `reference`."""
    return int(table(reference, hypothesis)[-1, -1])


def kept(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> np.ndarray:
    """Bool (len(wanted),): which elements a best alignment keeps; the others are deleted or substituted."""
    rows = table(reference, hypothesis)
    same = np.zeros(len(reference), bool)
    i, j = len(reference), len(hypothesis)

    while i and j:
        equal = reference[i - 1] == hypothesis[j - 1]
        if rows[i, j] == rows[i - 1, j - 1] + (not equal):
            same[i - 1] = equal
            i, j = i - 1, j - 1
        elif rows[i, j] == rows[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1

    return same
