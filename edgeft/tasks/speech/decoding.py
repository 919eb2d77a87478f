"""Speech: the words of a recording, read off frame by frame (CTC) or written as a text by an encoder and a decoder; the
metric is the word error rate.

Outputs are logits (N, 1 + labels, frames), the blank first, then the labels in order (`frames.py`); or tokens and texts
that a search has found (`sequences.py`), which have no labels. Labels are whole words, or characters of which one is
the space. A target is {"text": the words, "tokens": int64 (L,) outputs, "separator": the
output of the space, 0 where every token is a word of its own}; a token that the model does not have is -1, and counts
as an error. For texts "written" is the transcript as it stands in the data.

Every recording is followed by zeros up to the length of the model. They belong to what is heard and judged: that the
model says nothing there is trained and measured like everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError, RecipeError
from ...core.metric import Metric
from ...inputs import log_mel, sound, sound_file, waveform
from ...metrics import edit_distance as edits
from . import frames, sequences
from .answers import AnswerForm
from .transcript import TEXT

NAME = "speech"
METRIC = Metric("word error rate", "fraction", higher_is_better=False, max_drop=0.01, chance="the best constant answer")
EXTRA_METRICS = (Metric("sentence_error_rate", "fraction", higher_is_better=False),)
#: in the recipe's [data] table `sound`: log mel energies of the whole recording; `seconds` = 0 is the longest one
DEFAULTS: dict[str, float] = {
    **sound.DEFAULTS,
    "seconds": 0,
    "window": 0.025,
    "hop": 0.010,
    "fmax": 0,
    "coefficients": 0,
}
#: constant answers that `chance` tries: texts of the data, spread evenly
TRIED = 64
#: words of the table by class: the most frequent ones
SHOWN = 50
#: more texts than this share with words that the model does not know: it cannot be judged on them
MAX_UNKNOWN = 0.05


# --- what is heard ----------------------------------------------------------------------------------------------------


def configure(
    data: Any, defaults: Mapping[str, Any], facts: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """The `preprocess` table: features of the whole recording from its start, zeros behind it; or its waveform, or the
    spectrogram of a model that writes texts, where the model reads that."""
    refuse_units(facts, defaults.get("kind") == log_mel.KIND)
    if defaults.get("kind") == log_mel.KIND:
        return sequences.configure(data, defaults, facts, say)

    waves = defaults.get("kind") == waveform.KIND
    standard = {"seconds": DEFAULTS["seconds"]} if waves else dict(DEFAULTS)
    if "longest" in facts:
        standard["seconds"] = float(np.ceil(10 * facts["longest"]) / 10)

    settings = {"sound": {k: v for k, v in dict(data.sound).items() if k != "seconds" or v}}
    if not (settings["sound"].get("seconds") or standard["seconds"]):
        raise RecipeError("is not stated, and the data does not tell it", where="data.sound.seconds")

    here = {key: value for key, value in facts.items() if key != "seconds"}
    if waves:
        return waveform.configure(_View(data, settings), defaults, here, say, standard, place="start")

    table = sound.configure(_View(data, settings), defaults, here, say, standard)
    return {**table, "place": "start"}


def refuse_units(facts: Mapping[str, Any], writes: bool) -> None:
    """Raise `RecipeError` where `data.units` are not those of a model that writes texts, or of one that does not."""
    units = facts.get("units")
    if writes and units not in (None, TEXT):
        raise RecipeError(
            f"is {units!r}, and this model writes texts by its own tokenizer",
            where="data.units",
            remedy=f'set data.units = "{TEXT}"',
        )

    if not writes and units == TEXT:
        raise RecipeError(
            f"is {TEXT!r}, and this model has an output for each label",
            where="data.units",
            remedy='set data.units = "characters" or "words", or take a model that writes texts (Whisper)',
        )


class _View:
    """The recipe's [data] with other values of some keys."""

    def __init__(self, data: Any, changed: Mapping[str, Any]) -> None:
        self._data, self._changed = data, changed

    def __getattr__(self, name: str) -> Any:
        return self._changed[name] if name in self._changed else getattr(self._data, name)


def measure(spec: Mapping[str, Any], raws: Iterable[Any]) -> dict[str, Any]:
    """`spec` with mean and std of each feature over the training recordings, without the zeros behind them."""
    return sound.measure(spec, raws) if spec.get("kind") == sound.KIND else dict(spec)


def read(path: str | Path, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A sound file; raises `DataError` naming it where it is too long for the model, and as `sound_file.read` does."""
    raw = sound_file.read(path)
    seconds, most = len(raw["samples"]) / raw["rate"], spec["length"] / spec["rate"]

    if -(-len(raw["samples"]) * spec["rate"] // raw["rate"]) > spec["length"]:
        raise DataError(
            f"is {seconds:.2f} s long, and the model hears at most {most:.2f} s",
            where=str(path),
            remedy="cut it where nobody speaks, or train with a larger data.sound.seconds",
        )

    return raw


def preprocess(raw: Any, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{input name: float32 (1, 1, frames, features)}, the waveform (1, T), or (1, mels, frames) for a model that writes
    texts; see `sound.preprocess`."""
    kinds = {waveform.KIND: waveform.preprocess, log_mel.KIND: log_mel.preprocess}
    return kinds.get(str(spec.get("kind")), sound.preprocess)(raw, spec)


# --- what is said -----------------------------------------------------------------------------------------------------


def form(outputs: Mapping[str, np.ndarray]) -> AnswerForm:
    """How a transcript is read of these outputs."""
    return sequences.FORM if "text" in outputs else frames.FORM


def _heard(outputs: Mapping[str, np.ndarray], targets: Sequence[Any] | np.ndarray) -> list[tuple[list[Any], list[Any]]]:
    """(words that were said, words that were heard) of each sample."""
    reader = form(outputs)
    count = reader.count(outputs)
    if len(targets) != count:
        raise DataError(f"{count} outputs for {len(targets)} targets", where="targets")
    if not len(targets):
        raise DataError("no samples to measure", where="targets")

    return reader.words(outputs, targets)


def decode(outputs: Mapping[str, np.ndarray], labels: Sequence[str], *, top: int = 5) -> list[dict[str, Any]]:
    """Per sample `label` (the transcript), and what else the form of the answers has."""
    return form(outputs).decode(outputs, labels, top=top)


def tell(
    outputs: Mapping[str, np.ndarray],
    raw: Any,
    spec: Mapping[str, Any],
    labels: Sequence[str],
    *,
    top: int = 5,
) -> dict[str, Any]:
    """As `decode`, of one sample, with the times of words where frames say them."""
    return form(outputs).tell(outputs, raw, spec, labels, top=top)


def decisions(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """What was decided: the best token of every frame, or the tokens of the text, int64 (N, ...)."""
    return form(outputs).decisions(outputs)


def alike(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) bool: the same transcript."""
    return form(first).alike(first, second)


def margins(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """How far each transcript is from flipping, (N,) float64 in logit units."""
    return form(outputs).margins(outputs)


def describe(target: Any, labels: Sequence[str]) -> str:
    """The words of a target."""
    return str(target["text"])


def draw(raw: Any, decoded: Mapping[str, Any]) -> dict[str, Any]:
    """The waveform."""
    return {"image": sound.picture(raw, width=320)}


def join(targets: np.ndarray, ours: Sequence[str], theirs: Sequence[str], where: str) -> np.ndarray:
    """Targets in the bundle's outputs, by name; `DataError` where too many texts hold what the bundle does not know.

    A bundle without labels writes any text, and is judged by the words.
    """
    if not theirs:
        return targets

    number = {label: i + 1 for i, label in enumerate(theirs)}
    if (" " in ours) != (" " in theirs):
        raise DataError("the bundle and the data do not agree on data.units", where=where)

    renumbered = np.array([-1, *(number.get(label, -1) for label in ours)], np.int64)
    joined = np.empty(len(targets), object)
    strange: list[str] = []

    for i, target in enumerate(targets):
        tokens = np.where(target["tokens"] > 0, renumbered[np.maximum(target["tokens"], 0)], -1)
        joined[i] = {**target, "tokens": tokens, "separator": number.get(" ", 0) if target["separator"] else 0}
        if (tokens < 0).any():
            strange.append(target["text"])

    if len(strange) > MAX_UNKNOWN * len(targets):
        raise DataError(
            f"{len(strange)} of {len(targets)} texts hold what the bundle does not know, for example {strange[0]!r}; "
            f"it knows {', '.join(map(repr, theirs[:20]))}",
            where=where,
            remedy="judge it on texts of its own vocabulary",
        )

    return joined


# --- how well ---------------------------------------------------------------------------------------------------------


def statistics(outputs: Mapping[str, np.ndarray], targets: Sequence[Any] | np.ndarray) -> np.ndarray:
    """(errors, words) of each sample, int64 (N, 2)."""
    return np.array(
        [(edits.distance(reference, heard), len(reference)) for reference, heard in _heard(outputs, targets)], np.int64
    )


def metric_of(statistics: Any) -> float:
    """Errors over words of any selection of samples."""
    errors, words = np.asarray(statistics, np.int64).sum(axis=0)
    return float(errors / max(words, 1))


def metric(outputs: Mapping[str, np.ndarray], targets: Sequence[Any] | np.ndarray) -> float:
    """Word error rate: edits that make the words that were heard of those that were said, over the number said."""
    return metric_of(statistics(outputs, targets))


def per_sample(outputs: Mapping[str, np.ndarray], targets: Any) -> None:
    """None: texts differ in length, so the rate is no mean over samples."""


def per_class(
    outputs: Mapping[str, np.ndarray], targets: Sequence[Any] | np.ndarray, labels: Sequence[str]
) -> dict[str, dict[str, float]]:
    """{word: {"metric": the share of its occurrences that were not recognized, "n": occurrences}}, the commonest."""
    counts: dict[str, list[int]] = {}
    for (reference, heard), target in zip(_heard(outputs, targets), targets):
        for word, right in zip(target["text"].split(), edits.kept(reference, heard)):
            row = counts.setdefault(word, [0, 0])
            row[0] += not right
            row[1] += 1

    shown = sorted(sorted(counts, key=lambda word: -counts[word][1])[:SHOWN])
    return {word: {"metric": counts[word][0] / counts[word][1], "n": counts[word][1]} for word in shown}


def chance(targets: Sequence[Any] | np.ndarray) -> float:
    """The word error rate of the best answer that hears nothing: no words (1.0), or one of the texts themselves."""
    if not len(targets):
        raise DataError("no samples to measure", where="targets")

    texts = [target["text"].split() for target in targets]
    total = max(sum(map(len, texts)), 1)
    tried = [texts[i] for i in np.unique(np.linspace(0, len(texts) - 1, min(len(texts), TRIED)).astype(int))]
    return min(1.0, *(sum(edits.distance(text, answer) for text in texts) / total for answer in tried))


def extra_metrics(outputs: Mapping[str, np.ndarray], targets: Sequence[Any] | np.ndarray) -> dict[str, float]:
    """`sentence_error_rate`: the share of samples with any error."""
    return {"sentence_error_rate": float((statistics(outputs, targets)[:, 0] > 0).mean())}
