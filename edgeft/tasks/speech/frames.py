"""Transcripts that are read off frame by frame (CTC): logits (N, 1 + labels, frames), the blank first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...core.errors import BundleError
from ...metrics import ctc
from .answers import AnswerForm
from .transcript import grouped


def _logits(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    if len(outputs) != 1:
        raise BundleError(f"several outputs ({', '.join(outputs)}), expected one of shape (samples, tokens, frames)")

    logits = np.asarray(next(iter(outputs.values())), np.float64)
    if logits.ndim != 3 or logits.shape[1] < 2 or not logits.shape[2]:
        raise BundleError(f"the output has shape {logits.shape}, expected (samples, tokens, frames)", where="logits")

    return logits


def words(outputs: Mapping[str, np.ndarray], targets: Sequence[Any] | np.ndarray) -> list[tuple[list[Any], list[Any]]]:
    """(words that were said, words that were heard) of each sample, words as tuples of tokens."""
    return [
        (grouped(target["tokens"], target["separator"]), grouped(ctc.collapse(path), target["separator"]))
        for path, target in zip(ctc.best_path(_logits(outputs)), targets)
    ]


def decode(outputs: Mapping[str, np.ndarray], labels: Sequence[str], *, top: int = 5) -> list[dict[str, Any]]:
    """Per sample `label` (the transcript) and `words`: each with its first `frame` and its `confidence`.

    The confidence is the largest probability of a token within its frames, of a word of characters that of the least
    sure one. A sample that is not finite has `label` None. Raises `BundleError` when the labels do not fit.
    """
    logits = _logits(outputs)
    if len(labels) + 1 != logits.shape[1]:
        raise BundleError(f"{len(labels)} labels for {logits.shape[1]} outputs, of which one is blank", where="labels")

    results: list[dict[str, Any]] = []
    for row, path in zip(logits, ctc.best_path(logits)):
        if not np.isfinite(row).all():
            results.append({"label": None, "words": []})
            continue

        powers = np.exp(row - row.max(axis=0))
        shares = powers / powers.sum(axis=0)
        words: list[dict[str, Any]] = []
        inside = False
        for run in ctc.runs(path):
            piece, sure = str(labels[run.token - 1]), float(shares[run.token, run.start : run.end].max())
            if piece == " ":
                inside = False
            elif inside:
                words[-1]["word"] += piece
                words[-1]["confidence"] = min(words[-1]["confidence"], sure)
            else:
                words.append({"word": piece, "frame": run.start, "confidence": sure})
                inside = " " in labels
        results.append({"label": " ".join(word["word"] for word in words), "words": words})

    return results


def tell(
    outputs: Mapping[str, np.ndarray],
    raw: Any,
    spec: Mapping[str, Any],
    labels: Sequence[str],
    *,
    top: int = 5,
) -> dict[str, Any]:
    """As `decode`, of one sample, with the `seconds` from the recording's start at which a word was recognized."""
    (decoded,) = decode(outputs, labels, top=top)
    step = spec["length"] / spec["rate"] / _logits(outputs).shape[2]
    for word in decoded["words"]:
        word["seconds"] = round(word.pop("frame") * step, 3)

    return decoded


def decisions(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The best token of every frame, int64 (N, frames)."""
    return ctc.best_path(_logits(outputs))


def alike(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) bool: the same transcript."""
    pairs = zip(decisions(first), decisions(second))
    return np.array([np.array_equal(ctc.collapse(a), ctc.collapse(b)) for a, b in pairs], bool)


def margins(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """How far each transcript is from flipping, (N,) float64 in logit units; see `ctc.margins`."""
    return ctc.margins(_logits(outputs))


FORM = AnswerForm(lambda outputs: len(_logits(outputs)), words, decode, tell, decisions, alike, margins)
