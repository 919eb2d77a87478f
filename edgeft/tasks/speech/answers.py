"""Two forms of answers of one task: tokens frame by frame (`frames.py`), and texts (`sequences.py`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class AnswerForm:
    """How a transcript is read of outputs; the functions are those of `Task`."""

    #: how many samples outputs are of
    count: Callable[[Outputs], int]
    #: (outputs, targets) -> (words that were said, words that were heard) of each sample; a word is anything that can
    #: be compared
    words: Callable[[Outputs, Sequence[Any] | np.ndarray], list[tuple[list[Any], list[Any]]]]
    decode: Callable[..., list[dict[str, Any]]]
    tell: Callable[..., dict[str, Any]]
    decisions: Callable[[Outputs], np.ndarray]
    alike: Callable[[Outputs, Outputs], np.ndarray]
    margins: Callable[[Outputs], np.ndarray]
