"""Texts whose words are answered one by one: a text and the places of its words become token ids and a mask.

A raw sample is {"text": the text, "words": int32 (K, 2), where each word begins and ends in it}. Data name their words;
a user's text is divided by `WORD`. The same lines are in the bundle's `run.py` (edgeft/inputs/run_words.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.errors import DataError
from . import text

KIND = "words"
#: a letter of a script that has no blanks between words, letters and digits with a mark between two of them, or a mark
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+"
                  r"(?:[-'\u2019.,:/&@][^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+)*|[^\w\s]")  # fmt: skip


def configure(
    data: Any, defaults: Mapping[str, Any], facts: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """The `preprocess` table; see `text.configure`."""
    return text.configure(data, defaults, facts, say, KIND)


def of_words(words: Sequence[str]) -> dict[str, Any]:
    """The raw sample of words that data give, joined by a space."""
    ends = np.cumsum([len(word) + 1 for word in words]) - 1
    starts = ends - [len(word) for word in words]
    return {"text": " ".join(words), "words": np.stack([starts, ends], axis=1).astype(np.int32)}


def of_text(words: str) -> dict[str, Any]:
    """The raw sample of a user's text, divided into words by `WORD`."""
    places = [match.span() for match in WORD.finditer(words)]
    return {"text": words, "words": np.array(places, np.int32).reshape(-1, 2)}


def read(path: str, spec: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The text of a UTF-8 file, or `path` itself; raises `DataError` as `text.read` does."""
    return of_text(text.read(path, spec))


def parse(words: str, spec: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The text that a request holds; raises `DataError` for what is no text."""
    return of_text(text.parse(words, spec))


def checked(raw: Any) -> tuple[str, np.ndarray]:
    """(text, places of the words) of a raw sample, refused with `DataError` where it is none."""
    words = raw.get("text") if isinstance(raw, Mapping) else None
    places = np.asarray(raw.get("words")) if isinstance(raw, Mapping) else np.zeros(0)
    problem = text.fault(words)
    if problem:
        raise DataError(problem, where="text")
    if places.ndim != 2 or places.shape[1] != 2 or places.dtype.kind not in "iu":
        raise DataError("names no places of words", where="words")

    return str(words), places


def preprocess(raw: Any, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{ids: int32 (1, L), mask: int32 (1, L)}; see `text.preprocess`, which raises the same."""
    words, _ = checked(raw)
    return text.padded(text.encoded(words, spec, KIND).ids, spec)


def token_of_word(raw: Any, spec: Mapping[str, Any]) -> np.ndarray:
    """The position of the first token of each word, int64 (K,); -1 for a word behind the cut, or without a token."""
    words, places = checked(raw)
    return _first_tokens(text.encoded(words, spec, KIND).offsets, places)


def _first_tokens(offsets: Sequence[tuple[int, int]], places: np.ndarray) -> np.ndarray:
    """For each word the first token that shares a letter with it; special tokens have none."""
    at = np.full(len(places), -1, np.int64)
    tokens = [(start, end, position) for position, (start, end) in enumerate(offsets) if end > start]
    current = 0

    for word, (start, end) in enumerate(places):
        while current < len(tokens) and tokens[current][1] <= start:
            current += 1
        if current < len(tokens) and tokens[current][0] < end:
            at[word] = tokens[current][2]

    return at
