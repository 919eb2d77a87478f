"""Transcripts: their words, the tokens of a model that has a label for each, and what a target of the data holds."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

#: `data.units` of models that bring a tokenizer: texts are learned as they are written
TEXT = "text"


def words_of(text: str) -> list[str]:
    """The words of a transcript: lower case, Unicode's composed form, no punctuation at the ends of a word."""
    words = []
    for word in unicodedata.normalize("NFC", text.lower()).split():
        letters = [i for i, c in enumerate(word) if not unicodedata.category(c).startswith("P")]
        if letters:
            words.append(word[letters[0] : letters[-1] + 1])

    return words


def pieces(words: Sequence[str], units: str) -> list[str]:
    """The tokens of a transcript: its words, or the characters of them with a space between words; none where the model
    has its own."""
    if units == TEXT:
        return []
    return list(words) if units == "words" else list(" ".join(words))


def target(words: Sequence[str], units: str, labels: Sequence[str], written: str = "") -> dict[str, Any]:
    """The target of a transcript for a model with these labels, and for one without as it is `written`."""
    number = {label: i + 1 for i, label in enumerate(labels)}
    tokens = np.array([number.get(piece, -1) for piece in pieces(words, units)], np.int64)
    separator = number[" "] if units == "characters" else 0
    table = {"text": " ".join(words), "tokens": tokens, "separator": separator}
    return {**table, "written": written} if units == TEXT else table


def grouped(tokens: Sequence[int] | np.ndarray, separator: int) -> list[tuple[int, ...]]:
    """The words of a sequence of tokens, each a tuple of tokens."""
    if not separator:
        return [(int(token),) for token in tokens]

    words: list[tuple[int, ...]] = []
    at: list[int] = []
    for token in (*tokens, separator):
        if token != separator:
            at.append(int(token))
        elif at:
            words.append(tuple(at))
            at = []

    return words
