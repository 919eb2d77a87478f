"""Sets of rows in no order: which row of one set is which row of another. Numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Outputs = Mapping[str, np.ndarray]
Steps = Mapping[str, float | Sequence[float]]
#: rows at the same position that are at most so many LSB apart are the same row
EQUAL = 1.0


def in_order_of(expected: Outputs, outputs: Outputs, names: Sequence[str], steps: Steps) -> dict[str, np.ndarray]:
    """`outputs` with the rows of each sample in the order of those in `expected` that they are closest to.

    `names` are the outputs (N, Q, ...) whose second axis is the set: row q of a sample is described by all of them
    together and moves in all of them alike. Other outputs stay as they are. `expected` has the same shapes, `steps` is
    one LSB of each output, or one of each place of its last axis.

    Rows are matched one to one, the closest pair first, so that a row that only one of both sets has stays as far from
    its partner as it is: the differences are never below those of the best assignment. How far two rows are apart is
    the mean over the values of an output in LSB, of the output where it is largest.
    """
    ordered = {name: np.array(values) if name in names else values for name, values in outputs.items()}
    for i in range(len(ordered[names[0]])):
        first, second = ([_in_steps(arrays[name][i], steps[name]) for name in names] for arrays in (expected, outputs))
        order = _order(first, second)
        for name in names:
            ordered[name][i] = outputs[name][i][order]

    return ordered


def _in_steps(rows: np.ndarray, step: float | Sequence[float]) -> np.ndarray:
    """One sample's rows (Q, ...) in LSB, float64 (Q, values of a row)."""
    scaled: np.ndarray = rows.astype(np.float64) / np.asarray(step)
    return scaled.reshape(len(rows), -1)


def _order(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> np.ndarray:
    """For each row of `first` the position of its partner in `second`, int64 (Q,)."""
    order = np.arange(len(first[0]))
    moved = np.zeros(len(order), bool)
    for ours, theirs in zip(first, second):
        moved |= np.abs(ours - theirs).max(axis=1, initial=0) > EQUAL

    rows = np.flatnonzero(moved)
    if len(rows) < 2:
        return order

    distances = np.zeros((len(rows), len(rows)))
    for ours, theirs in zip(first, second):
        for k, row in enumerate(rows):  # of all pairs at once the differences would take hundreds of megabytes
            apart = np.abs(ours[row] - theirs[rows]).mean(axis=1)
            distances[k] = np.maximum(distances[k], apart)

    taken = np.zeros((2, len(rows)), bool)
    for pair in np.argsort(distances, axis=None, kind="stable"):
        a, b = divmod(int(pair), len(rows))
        if not taken[0, a] and not taken[1, b]:
            order[rows[a]] = rows[b]
            taken[0, a] = taken[1, b] = True

    return order
