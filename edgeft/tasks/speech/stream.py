"""Words in a stream: a streaming graph names the frames chunk by chunk (CTC), and each word is told once it is over.

The words are those of the best path of the whole, since equal neighbours are joined across chunks: a token ends with
the first frame of another one. A word of characters ends with the space behind it, or with the stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...core.errors import BundleError, UsageError
from ...inputs import sound, sound_stream
from ...inputs.stepping import Stepper
from ...metrics.ctc import BLANK


def detectable(labels: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """The words that can be told; there are no options. Raises `UsageError` where the labels are characters."""
    _refuse(options)
    if " " in labels:
        raise UsageError(
            "the model writes characters, and a label track is compared word by word",
            where="--truth",
            remedy="compare the transcripts with `edgeft verify --data`",
        )
    return list(labels)


def _refuse(options: Mapping[str, Any]) -> None:
    for name in (key for key, value in options.items() if value not in (None, ())):
        raise UsageError("is for streams of keywords", where=f"--{name}", remedy="leave it out")


def listen(
    run: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]],
    chunks: Iterable[np.ndarray],
    rate: int,
    spec: Mapping[str, Any],
    labels: Sequence[str],
    options: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    """{"seconds", "label", "confidence"} of each word of a sound that comes in chunks, int16 or float32 (T,) at `rate`
    hertz, as soon as the word is over.

    `run` is the bundle's streaming graph, `spec["stream"]` the manifest's table of it. `seconds` is where the word was
    recognized, `confidence` as in a transcript. Raises `UsageError` for any option; else as `sound_stream.blocks`.
    """
    _refuse(options)
    table, features = spec["stream"], {key: value for key, value in spec.items() if key != "stream"}
    settings = sound.check(features)
    ahead = table["delay"] * table["chunk"] // table["frames"]
    blocks = sound_stream.blocks(chunks, rate, features, table["chunk"], ahead)
    stepper = Stepper(run, table)
    step = table["chunk"] * settings.hop / settings.rate / table["frames"]
    return words(map(stepper.answers, blocks), labels, step)


def words(answers: Iterable[np.ndarray], labels: Sequence[str], step: float) -> Iterator[dict[str, Any]]:
    """The words of logits (1, 1 + labels, n) that come piece by piece, their frames `step` seconds apart.

    Raises `BundleError` where the labels do not fit.
    """
    characters = " " in labels
    word: dict[str, Any] = {}

    for start, token, sure in _tokens(answers, len(labels)):
        piece = str(labels[token - 1])
        if word and (piece == " " or not characters):
            yield word
            word = {}
        if piece == " ":
            continue
        if not word:
            word = {"seconds": round(start * step, 3), "label": "", "confidence": 1.0}
        word["label"] += piece
        word["confidence"] = min(word["confidence"], sure)

    if word:
        yield word


def _tokens(answers: Iterable[np.ndarray], count: int) -> Iterator[tuple[int, int, float]]:
    """(first frame, token, largest probability of it) of each run of frames that name one token, once it is over."""
    current, start, sure, frame = BLANK, 0, 0.0, 0
    for logits in answers:
        if logits.ndim != 3 or logits.shape[1] != count + 1:
            raise BundleError(f"{count} labels for outputs {logits.shape}, of which one is blank", where="labels")

        for column in np.asarray(logits[0], np.float64).T:
            token = int(column.argmax()) if np.isfinite(column).all() else BLANK
            if token != current and current != BLANK:
                yield start, current, sure
            if token != current:
                current, start, sure = token, frame, 0.0
            if token != BLANK:
                powers = np.exp(column - column.max())
                sure = max(sure, float(powers[token] / powers.sum()))
            frame += 1

    if current != BLANK:
        yield start, current, sure
