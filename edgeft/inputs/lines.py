"""Texts of which a file may hold many, one a line: token ids and masks as in `text.py`, a row for each text.

A raw sample is a string, or {"texts": strings (n,)} of a file with several lines. The same lines are in the bundle's
`run.py` (edgeft/inputs/run_lines.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..core.errors import DataError
from . import text

KIND = "lines"


def configure(
    data: Any, defaults: Mapping[str, Any], facts: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """The `preprocess` table; see `text.configure`."""
    return text.configure(data, defaults, facts, say, KIND)


def read(path: str, spec: Mapping[str, Any] | None = None) -> Any:
    """The text, or the texts of a UTF-8 file with several lines that are not blank; raises as `text.read` does."""
    return _of_lines(text.read(path, spec))


def _of_lines(words: str) -> Any:
    lines = [line.strip() for line in words.split("\n") if line.strip()]
    return lines[0] if len(lines) == 1 else {"texts": np.array(lines)}


def parse(words: str, spec: Mapping[str, Any] | None = None) -> Any:
    """The text, or the texts of several lines, that a request holds; raises `DataError` for what is no text."""
    return _of_lines(text.parse(words, spec))


def texts_of(raw: Any) -> list[str]:
    """The texts of a raw sample; raises `DataError` for what is none."""
    if not isinstance(raw, Mapping):
        return [text.checked(raw, "text")]
    if "texts" not in raw or not len(raw["texts"]):
        raise DataError("holds no texts", where="texts")
    return [text.checked(str(words), f"text {i + 1}") for i, words in enumerate(raw["texts"])]


def preprocess(raw: Any, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{ids: int32 (n, L), mask: int32 (n, L)}, a row a text; see `text.preprocess`, which raises the same."""
    rows = [text.padded(text.encoded(words, spec, KIND).ids, spec) for words in texts_of(raw)]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
