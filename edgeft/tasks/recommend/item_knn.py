"""Item-kNN: an item is scored by its similarity to what the user took; the usual baseline of recommenders.

The similarity of two items is the cosine of who took them (Sarwar et al., "Item-based Collaborative Filtering", 2001),
and all of a user's items count. Ferrari Dacrema et al. ("Are We Really Making Much Progress?", RecSys 2019) show that
it is no easy baseline.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse


def normalized(x: sparse.csr_matrix) -> sparse.csc_matrix:
    """`x`, interactions of (users, items), with columns of length 1; an item that nobody took stays empty."""
    lengths = np.sqrt(np.asarray(x.multiply(x).sum(axis=0)).ravel())
    return (x @ sparse.diags(1 / np.maximum(lengths, 1e-12))).tocsc()


def scores(unit: sparse.csc_matrix, history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """How similar `candidates` are to the items of `history`, both numbers, float64 (C,); `unit` is `normalized`."""
    return np.asarray((unit[:, candidates].T @ unit[:, history]).sum(axis=1)).ravel()
