"""Vectors of texts for semantic search: a query's vector is nearest to that of the passage that answers it.

Outputs are vectors of length 1, (N, width). Samples of a split are its queries and its different passages; targets are
int64 (N, 2): the number of a passage, and 1 for a query that it answers or 0 for the passage itself. The metric is
recall@1: the share of queries whose own passage is the nearest of all passages of the split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...core.errors import BundleError, DataError
from ...core.metric import Metric
from ...inputs import lines
from ...inputs.lines import configure, preprocess, read
from ..show import show

__all__ = ["configure", "preprocess", "read"]

METRIC = Metric("recall@1", "fraction", max_drop=0.02, chance="a passage at random")
#: further depths of recall, and of the mean reciprocal rank
DEPTHS, RECIPROCAL = (5, 10), 10
EXTRA_METRICS = (*(Metric(f"recall@{k}", "fraction") for k in DEPTHS), Metric(f"MRR@{RECIPROCAL}", "fraction"))
#: two vectors of a text whose cosine is at least this are the same vector for a search
ALIKE = 0.98
#: queries whose passages are ranked together
_CHUNK = 1024
#: numbers of a vector, and passages, that are shown
SHOWN, BEST = 4, 3
#: characters of a passage that are shown
CHARACTERS = 60


def _vectors(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    if len(outputs) != 1:
        raise BundleError(f"several outputs ({', '.join(outputs)}), expected one of shape (samples, width)")
    vectors = np.asarray(next(iter(outputs.values())), np.float64)
    if vectors.ndim != 2:
        raise BundleError(f"the output has shape {vectors.shape}, expected (samples, width)", where="graphs.outputs")
    return vectors


def _cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosines (n, m) of vectors (n, width) and (m, width); those of a vector that is not finite are NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (first, second)]
        cosines: np.ndarray = unit[0] @ unit[1].T
    return cosines


# --- words -----------------------------------------------------------------------------------------------------


def decode(outputs: Mapping[str, np.ndarray], labels: Sequence[str], *, top: int = 5) -> list[dict[str, Any]]:
    """Per text `embedding`, the numbers of its vector, and the first of them as words in `label`."""
    results: list[dict[str, Any]] = []
    for vector in _vectors(outputs):
        shown = ", ".join(f"{value:.3f}" for value in vector[:SHOWN])
        more = ", ..." if len(vector) > SHOWN else ""
        results.append({"label": f"[{shown}{more}] ({len(vector)} numbers)", "embedding": vector.tolist()})
    return results


def tell(
    outputs: Mapping[str, np.ndarray], raw: Any, spec: Mapping[str, Any], labels: Sequence[str], *, top: int = 5
) -> dict[str, Any]:
    """`decode` of one text; of a file with several `passages` [{line, text, embedding}], one a line."""
    rows = decode(outputs, labels)
    if not isinstance(raw, Mapping):
        return rows[0]
    texts = lines.texts_of(raw)
    passages = [
        {"line": i, "text": words, "embedding": row["embedding"]} for i, (words, row) in enumerate(zip(texts, rows), 1)
    ]
    return {"label": f"{len(rows)} texts of {len(rows[0]['embedding'])} numbers each", "passages": passages}


def relate(results: Sequence[dict[str, Any]]) -> None:
    """The first input is the query: each further one gets its `similarity` (the cosine), and the passages of a file are
    ranked, the nearest first. Where the first is a file with several lines there is no query."""
    if not results or "embedding" not in results[0]:
        return

    query = np.array([results[0]["embedding"]])
    for result in results[1:]:
        rows = result.get("passages") or [result]
        cosines = _cosines(query, np.array([row["embedding"] for row in rows]))[0]
        for row, cosine in zip(rows, cosines):
            row["similarity"] = float(cosine) if np.isfinite(cosine) else None
        if "passages" in result:
            rows.sort(key=lambda row: -np.inf if row["similarity"] is None else row["similarity"], reverse=True)
            result["label"] = "; ".join(
                f"{_figure(row)} line {row['line']}: {_cut(row['text'])}" for row in rows[:BEST]
            )
        else:
            result["label"] = f"similarity {_figure(result)}"


def _figure(row: Mapping[str, Any]) -> str:
    return "undecided" if row["similarity"] is None else f"{row['similarity']:.3f}"


def _cut(words: str) -> str:
    return words if len(words) <= CHARACTERS else f"{words[:CHARACTERS]} ..."


def describe(target: Any, labels: Sequence[str]) -> str:
    """Which passage a text is, or is answered by."""
    number, is_query = (int(value) for value in np.asarray(target))
    return f"query of passage {number}" if is_query else f"passage {number}"


def draw(raw: Any, decoded: Mapping[str, Any]) -> dict[str, Any]:
    """The text."""
    return show(raw)


# --- how good it is ---------------------------------------------------------------------------------------------------


def join(targets: np.ndarray, ours: Sequence[str], theirs: Sequence[str], where: str) -> np.ndarray:
    """The targets as they are: passages are numbered within the data."""
    return np.asarray(targets)


def statistics(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> np.ndarray:
    """The rank from 1 of each query's own passage among all passages, int64 (N,); 0 for a passage.

    Other passages that are as near count before the own one, so that equal vectors find nothing. Raises `DataError`
    without queries, or for a query whose passage is not there.
    """
    vectors, targets = _vectors(outputs), np.asarray(targets, np.int64)
    if targets.shape != (len(vectors), 2):
        raise DataError(f"{len(vectors)} vectors for targets of shape {targets.shape}", where="targets")

    queries, passages = (np.flatnonzero(targets[:, 1] == kind) for kind in (1, 0))
    if not len(queries) or not len(passages):
        raise DataError("no queries or no passages to measure", where="targets")

    column_of = {int(number): k for k, number in enumerate(targets[passages, 0])}
    absent = [int(n) for n in targets[queries, 0] if int(n) not in column_of]
    if absent:
        raise DataError(f"passage {absent[0]} of a query is not among the passages", where="targets")

    ranks = np.zeros(len(vectors), np.int64)
    for start in range(0, len(queries), _CHUNK):
        at = queries[start : start + _CHUNK]
        cosines = np.nan_to_num(_cosines(vectors[at], vectors[passages]), nan=-2.0)
        own = np.array([column_of[int(number)] for number in targets[at, 0]])
        ranks[at] = (cosines >= cosines[np.arange(len(at)), own][:, None]).sum(axis=1)

    return ranks


def _recall(ranks: np.ndarray, depth: int) -> float:
    found = ranks[ranks > 0]
    return float((found <= depth).mean()) if len(found) else float("nan")


def metric_of(statistics: Any) -> float:
    """Recall@1 of any selection of samples; NaN of one without queries."""
    return _recall(np.asarray(statistics), 1)


def metric(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> float:
    """Recall@1, 0..1."""
    return metric_of(statistics(outputs, targets))


def extra_metrics(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> dict[str, float]:
    """Recall at further depths, and the mean reciprocal rank of own passages among the first ten."""
    ranks = statistics(outputs, targets)
    found = ranks[ranks > 0]
    reciprocal = float(np.where(found <= RECIPROCAL, 1 / found, 0.0).mean())
    return {**{f"recall@{k}": _recall(ranks, k) for k in DEPTHS}, f"MRR@{RECIPROCAL}": reciprocal}


def per_sample(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> None:
    """None: half of the samples are passages, which are found and do not search."""


def per_class(outputs: Mapping[str, np.ndarray], targets: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    """{}: there are no classes."""
    return {}


def chance(targets: np.ndarray) -> float:
    """One passage at random."""
    passages = int((np.asarray(targets)[:, 1] == 0).sum())
    if not passages:
        raise DataError("no samples to measure", where="targets")
    return 1 / passages


def decisions(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The vectors themselves, (N, width)."""
    return _vectors(outputs)


def alike(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) bool: both vectors of a text have a cosine of at least `ALIKE`."""
    left, right = _vectors(first), _vectors(second)
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((left * right).sum(axis=1) / norms >= ALIKE)


def margins(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """How far a vector of length 1 may move and still be alike, (N,): the chord of the angle."""
    return np.full(len(_vectors(outputs)), float(np.sqrt(2 - 2 * ALIKE)))
