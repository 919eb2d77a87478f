"""EASE, solved: scores of all items for all users, as a product of two tables.

"Embarrassingly Shallow Autoencoders for Sparse Data" (Steck, WWW 2019): of the interactions X, 0 or 1 of users and
items, the item-item matrix B of zero diagonal that minimizes |X - XB|^2 + penalty |B|^2. With P the inverse of
X'X + penalty I it is B = I - P / diag(P), column by column. Where there are fewer users than items the inverse is that
of a matrix of users (the identity of Woodbury). The scores XB are approximated at a fixed rank by a randomized singular
value decomposition (Halko, Martinsson and Tropp 2011), so that a device keeps two tables and no item-item matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg, sparse

#: a matrix of more rows is not inverted: 1.2 GB of float64
MOST_INVERTED = 12_000
#: the users' side is used up to so many users, since it needs a table of users and items
MOST_USERS = 4_000
#: columns beyond the rank, and iterations, of the randomized decomposition
_SPARE, _ITERATIONS = 16, 4


@dataclass(frozen=True)
class Scores:
    """The linear map XB, (users, items), without its matrix: its product with a table, and that of its transpose."""

    shape: tuple[int, int]
    times: Callable[[np.ndarray], np.ndarray]
    transposed_times: Callable[[np.ndarray], np.ndarray]


def interactions(histories: Any) -> sparse.csr_matrix:
    """X of the training interactions of `edgeft.data.interactions.Histories`, float64 (users, items)."""
    rows = [histories.learned(user) for user in range(len(histories))]
    ends = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    items = np.concatenate(rows)
    return sparse.csr_matrix((np.ones(len(items)), items, ends), shape=(len(rows), histories.n_items))


def scores(x: sparse.csr_matrix, penalty: float) -> Scores:
    """XB of `x`. Of more than `MOST_INVERTED` items those with most interactions are solved, the others score 0."""
    users, items = x.shape
    if users < items and users <= MOST_USERS:
        return _by_users(x, penalty)

    solved = np.sort(np.argsort(-np.asarray(x.sum(axis=0)).ravel(), kind="stable")[:MOST_INVERTED])
    return _by_items(x, solved, penalty)


def _by_users(x: sparse.csr_matrix, penalty: float) -> Scores:
    gram = (x @ x.T).toarray()
    gram[np.diag_indices_from(gram)] += penalty
    projected = np.ascontiguousarray((x.T @ linalg.inv(gram, overwrite_a=True)).T)  # XP, since X(X'X + cI)^-1 is this
    diagonal = (1 - np.asarray(x.multiply(projected).sum(axis=0)).ravel()) / penalty

    return Scores(
        x.shape,
        lambda v: x @ v - projected @ (v / diagonal[:, None]),
        lambda v: x.T @ v - (projected.T @ v) / diagonal[:, None],
    )


def _by_items(x: sparse.csr_matrix, solved: np.ndarray, penalty: float) -> Scores:
    part = x[:, solved]
    gram = (part.T @ part).toarray()
    gram[np.diag_indices_from(gram)] += penalty
    weights = -linalg.inv(gram, overwrite_a=True)
    weights /= -np.diag(weights)
    weights[np.diag_indices_from(weights)] = 0

    def transposed_times(v: np.ndarray) -> np.ndarray:
        result = np.zeros((x.shape[1], v.shape[1]))
        result[solved] = weights.T @ (part.T @ v)
        return result

    return Scores(x.shape, lambda v: part @ (weights @ v[solved]), transposed_times)


def tables(of: Scores, rank: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of users (U, rank) and items (I, rank), float64, whose products are `of` at that rank."""
    width = min(rank + _SPARE, *of.shape)
    basis = np.random.default_rng(seed).standard_normal((of.shape[1], width))
    for _ in range(_ITERATIONS):
        basis, _ = linalg.qr(of.transposed_times(of.times(basis)), mode="economic")

    left, values, right = linalg.svd(of.times(basis), full_matrices=False)
    root = np.sqrt(values[:rank])
    return left[:, :rank] * root, (basis @ right.T)[:, :rank] * root
