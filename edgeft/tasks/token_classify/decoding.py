"""Entities in texts: a tag for every word, in IOB2; the metric is the F1 of entities, as seqeval computes it.

Outputs are logits (N, L, C), one row a token; the answer for a word is that of its first token (Devlin et al. 2019).
Targets are an object array (N,) of {"tags": int64 (K,), "at": int64 (K,)}: the tag of each word, and the token that it
begins with, which `locate` finds (-1: a word behind the cut of the text, which counts as tagged "O"). A row that is not
finite gives no tag: it is "O" as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...core.errors import BundleError, DataError, nearest
from ...core.metric import Metric
from ...inputs import words
from ...inputs.words import configure, preprocess, read
from ...metrics import entities

__all__ = ["configure", "preprocess", "read"]

METRIC = Metric("entity F1", "fraction", max_drop=0.01, chance="one tag for every word")
EXTRA_METRICS = (
    Metric("precision", "fraction"),
    Metric("recall", "fraction"),
    Metric("word accuracy", "fraction"),
)
#: characters of a text that a report shows
SHOWN = 300


def locate(raw: Any, target: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The target with `at`, the first token of each of its words."""
    at, tags = words.token_of_word(raw, spec), np.asarray(target["tags"], np.int64)
    if len(at) != len(tags):
        raise DataError(f"{len(at)} words and {len(tags)} tags", where="targets")
    return {"tags": tags, "at": at}


def _logits(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    if len(outputs) != 1:
        raise BundleError(f"several outputs ({', '.join(outputs)}), expected one of shape (samples, tokens, tags)")
    logits = np.asarray(next(iter(outputs.values())), np.float64)
    if logits.ndim != 3 or logits.shape[2] < 2:
        raise BundleError(f"the output has shape {logits.shape}, expected (samples, tokens, tags)", where="logits")
    return logits


def _checked(outputs: Mapping[str, np.ndarray], targets: Any) -> np.ndarray:
    logits = _logits(outputs)
    if len(targets) != len(logits):
        raise DataError(f"{len(logits)} outputs for {len(targets)} targets", where="targets")
    if not len(targets):
        raise DataError("no samples to measure", where="targets")

    for target in targets:
        if "at" not in target:
            raise DataError("the words of a target have no places", where="targets", remedy="edgeft.data.located")
        if target["tags"].max(initial=0) >= logits.shape[2] or target["at"].max(initial=0) >= logits.shape[1]:
            problem = f"a target does not fit {logits.shape[1]} tokens and {logits.shape[2]} tags"
            raise DataError(problem, where="targets")

    return logits


# --- what is read -----------------------------------------------------------------------------------------------------


def tell(
    outputs: Mapping[str, np.ndarray],
    raw: Mapping[str, Any],
    spec: Mapping[str, Any],
    labels: Sequence[str],
    *,
    top: int = 5,
) -> dict[str, Any]:
    """Of one text: `entities` [{text, label, start, end, score}], `label` as words, and `unread`, the words behind the
    model's length (only where there are any).

    `start` and `end` are characters of the text (`end` is the first after), `score` is the mean over the entity's words
    of the softmax of their tags.
    """
    logits = _logits(outputs)
    if len(labels) != logits.shape[2]:
        raise BundleError(f"{len(labels)} labels for {logits.shape[2]} tags", where="labels")

    words_text, places = words.checked(raw)
    at = words.token_of_word(raw, spec)
    tags, shares = _words(logits[0], at)
    named = [str(labels[tag]) for tag in tags]
    rows: list[dict[str, Any]] = []

    for kind, first, end in entities.spans(named):
        start, stop = int(places[first][0]), int(places[end - 1][1])
        score = float(shares[first:end].mean())
        rows.append({"text": words_text[start:stop], "label": kind, "start": start, "end": stop, "score": score})

    unread = [words_text[start:end] for start, end in places[len(at) - _unread(at) :]]
    behind = f" ({len(unread)} words behind the model's length are not read)" if unread else ""
    words_of_all = ", ".join(f"{row['text']} ({row['label']} {100 * row['score']:.0f} %)" for row in rows)
    told = {"label": (words_of_all or "no entities") + behind, "entities": rows}

    return {**told, "unread": unread} if unread else told


def _unread(at: np.ndarray) -> int:
    """How many of the last words have no token: those that the cut of the text took."""
    read = np.flatnonzero(at >= 0)
    return len(at) - (int(read[-1]) + 1 if len(read) else 0)


def _words(logits: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(tag of each word, int64 (K,); softmax of that tag, float64 (K,)) of the logits (L, C) of one text."""
    tags, shares = np.zeros(len(at), np.int64), np.ones(len(at))
    read = at >= 0
    rows = logits[at[read]]
    finite = np.isfinite(rows).all(axis=1)
    rows = np.where(finite[:, None], rows, 0.0)
    best = rows.argmax(axis=1)
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    tags[read] = np.where(finite, best, 0)
    shares[read] = powers[np.arange(len(best)), best] / powers.sum(axis=1)

    return tags, shares


def decode(outputs: Mapping[str, np.ndarray], labels: Sequence[str], *, top: int = 5) -> list[dict[str, Any]]:
    """Per sample `tags`, the name of every token's tag (None: not finite), and `label`, those other than "O"."""
    logits = _logits(outputs)
    if len(labels) != logits.shape[2]:
        raise BundleError(f"{len(labels)} labels for {logits.shape[2]} tags", where="labels")
    results = []
    for row in decisions(outputs):
        tags = [str(labels[tag]) if tag >= 0 else None for tag in row]
        results.append({"label": " ".join(tag for tag in tags if tag and tag != entities.OUTSIDE), "tags": tags})
    return results


def describe(target: Mapping[str, Any], labels: Sequence[str]) -> str:
    """How many entities of each type a target has."""
    kinds = [kind for kind, _, _ in entities.spans([str(labels[tag]) for tag in target["tags"]])]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds))) or "no entities"


def marked(raw: Mapping[str, Any], spans: Sequence[tuple[str, int, int]]) -> str:
    """The text with entities (type, first character, end) in brackets, cut where it is long."""
    text, parts, at = str(raw["text"]), [], 0
    for kind, start, end in spans:
        parts += [text[at:start], f"[{text[start:end]} {kind}]"]
        at = end
    shown = "".join([*parts, text[at:]])
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]} ..."


def true_spans(raw: Mapping[str, Any], target: Mapping[str, Any], labels: Sequence[str]) -> list[tuple[str, int, int]]:
    """The entities of a target by characters of its text."""
    places = np.asarray(raw["words"])
    spans = entities.spans([str(labels[tag]) for tag in target["tags"]])
    return [(kind, int(places[first][0]), int(places[end - 1][1])) for kind, first, end in spans]


def draw(raw: Mapping[str, Any], decoded: Mapping[str, Any]) -> dict[str, Any]:
    """The text with what was decoded in brackets."""
    return {"text": marked(raw, [(row["label"], row["start"], row["end"]) for row in decoded.get("entities", ())])}


# --- how good it is ---------------------------------------------------------------------------------------------------


def join(targets: np.ndarray, ours: Sequence[str], theirs: Sequence[str], where: str) -> np.ndarray:
    """Targets numbered by `ours` as targets numbered by `theirs`, by name; `DataError` for a tag they do not have."""
    number = {label: i for i, label in enumerate(theirs)}
    present = sorted({int(tag) for target in targets for tag in np.unique(target["tags"])})
    unknown = [ours[tag] for tag in present if ours[tag] not in number]

    if unknown:
        raise DataError(
            f"the data has the tag {unknown[0]!r}, the bundle knows {', '.join(theirs)}",
            where=where,
            remedy=f"tags are joined by name: rename the type of the data; {nearest(unknown[0], theirs)}",
        )

    numbers = np.array([number.get(label, 0) for label in ours], np.int64)
    joined = np.empty(len(targets), object)
    for i, target in enumerate(targets):
        joined[i] = {**target, "tags": numbers[target["tags"]]}

    return joined


def decisions(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The tag of each token, (N, L) int64; -1 where it is not finite."""
    logits = _logits(outputs)
    return np.where(np.isfinite(logits).all(axis=2), logits.argmax(axis=2), -1).astype(np.int64)


def alike(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N, L) bool: the same tag of a token."""
    return np.asarray(decisions(first) == decisions(second))


def answered(outputs: Mapping[str, np.ndarray], targets: Any) -> np.ndarray:
    """(N, L) bool: the tokens that a word begins with; the others, and padding, answer nothing."""
    counted = np.zeros(_logits(outputs).shape[:2], bool)
    for i, target in enumerate(targets):
        counted[i, target["at"][target["at"] >= 0]] = True
    return counted


def margins(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The highest logit minus the second of each token, (N, L); 0 where it is not finite."""
    two = np.partition(_logits(outputs), -2, axis=2)[:, :, -2:]
    with np.errstate(invalid="ignore"):
        gap = two[:, :, 1] - two[:, :, 0]
    return np.where(np.isfinite(gap), gap, 0.0)


def _numbered(tags: np.ndarray) -> list[tuple[str, int, int]]:
    """The entities of tags by number, their types as numbers.

    Labels are "O" and then "B-" and "I-" of each type: tag k is of the type (k - 1) // 2, and odd k begins one.
    """
    return entities.spans(["O" if tag == 0 else f"{'IB'[tag % 2]}-{(tag - 1) // 2}" for tag in tags])


def _spans(outputs: Mapping[str, np.ndarray], targets: Any) -> list[tuple[set[Any], set[Any], np.ndarray]]:
    """(true entities, predicted ones, whether each word has its true tag) of each sample; types are numbers."""
    rows = []
    for row, target in zip(_checked(outputs, targets), targets):
        tags, _ = _words(row, target["at"])
        rows.append((set(_numbered(target["tags"])), set(_numbered(tags)), tags == target["tags"]))
    return rows


def statistics(outputs: Mapping[str, np.ndarray], targets: Any) -> np.ndarray:
    """(entities that are right, predicted, true) of each sample, int64 (N, 3)."""
    return np.array([(len(t & p), len(p), len(t)) for t, p, _ in _spans(outputs, targets)], np.int64)


def metric_of(statistics: Any) -> float:
    """Micro F1 of any selection of samples."""
    right, predicted, true = np.asarray(statistics, np.int64).sum(axis=0)
    return entities.precision_recall_f1(int(right), int(predicted), int(true))[2]


def metric(outputs: Mapping[str, np.ndarray], targets: Any) -> float:
    """Micro F1 of entities, 0..1: right ones have the type and the extent of a true one. Raises `DataError`."""
    return metric_of(statistics(outputs, targets))


def per_sample(outputs: Mapping[str, np.ndarray], targets: Any) -> None:
    """None: F1 is no mean over samples."""


def per_class(outputs: Mapping[str, np.ndarray], targets: Any, labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """{type: {"metric": F1, "n": true entities}}; a type without any is left out."""
    rows = _spans(outputs, targets)
    result: dict[str, dict[str, float]] = {}
    for number, label in enumerate(labels[1::2]):
        kind = str(number)
        true, predicted = ([{s for s in row[k] if s[0] == kind} for row in rows] for k in (0, 1))
        counts = (sum(map(len, part)) for part in ([t & p for t, p in zip(true, predicted)], predicted, true))
        right, claimed, present = counts
        if present:
            f1 = entities.precision_recall_f1(right, claimed, present)[2]
            result[str(label)[2:]] = {"metric": f1, "n": present}

    return result


def chance(targets: Any) -> float:
    """The F1 of the best tag that every word gets: each word is then an entity of one type."""
    if not len(targets):
        raise DataError("no samples to measure", where="targets")

    total, true, single = 0, 0, {"": 0}
    for target in targets:
        spans = _numbered(target["tags"])
        total, true = total + len(target["tags"]), true + len(spans)
        for kind, start, end in spans:
            single[kind] = single.get(kind, 0) + (end - start == 1)

    return max(entities.precision_recall_f1(right, total, true)[2] for right in single.values())


def extra_metrics(outputs: Mapping[str, np.ndarray], targets: Any) -> dict[str, float]:
    """`precision` and `recall` of entities, and `word accuracy`, the share of words with their true tag."""
    rows = _spans(outputs, targets)
    counts = [sum(len(part) for part in column) for column in zip(*[(t & p, p, t) for t, p, _ in rows])]
    precision, recall, _ = entities.precision_recall_f1(counts[0], counts[1], counts[2])
    return {
        "precision": precision,
        "recall": recall,
        "word accuracy": float(np.concatenate([r for *_, r in rows]).mean()),
    }
