"""Words of a stream: those of the whole transcript, however the answers are cut; as run.py tells them."""

from __future__ import annotations

import draws
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeft.core.errors import BundleError, UsageError
from edgeft.tasks.speech import frames, stream

pytestmark = pytest.mark.board

WORDS, CHARACTERS = ("no", "on", "yes"), ("a", " ", "b")


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 9), st.sampled_from([WORDS, CHARACTERS]))
@draws.draws(40)
def test_words_are_those_of_the_whole_however_the_answers_come(
    seed: int, count: int, piece: int, labels: tuple[str, ...]
) -> None:
    logits = 4 * np.random.default_rng(seed).standard_normal((1, 1 + len(labels), count)).astype(np.float32)
    logits = np.repeat(logits, 2, axis=2)  # tokens of several frames
    (whole,) = frames.decode({"logits": logits}, labels)
    pieces = [logits[:, :, at : at + piece] for at in range(0, logits.shape[2], piece)]
    words = list(stream.words(pieces, labels, 0.5))
    assert [word["label"] for word in words] == [word["word"] for word in whole["words"]]
    assert [word["seconds"] for word in words] == [word["frame"] * 0.5 for word in whole["words"]]
    assert [word["confidence"] for word in words] == pytest.approx([word["confidence"] for word in whole["words"]])


def test_a_word_is_told_once_it_is_over() -> None:
    path = np.eye(4, dtype=np.float32)[[0, 1, 1, 0, 3]].T[None] * 9
    words = stream.words(iter([path[:, :, :3], path[:, :, 3:4], path[:, :, 4:]]), WORDS, 0.1)
    assert next(words)["label"] == "no" and [word["label"] for word in words] == ["yes"]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BundleError, match="3 labels for outputs"):
        list(stream.words([np.zeros((1, 7, 2), np.float32)], WORDS, 0.1))
    with pytest.raises(UsageError, match="is for streams of keywords"):
        stream.detectable(WORDS, {"step": 0.1})
    with pytest.raises(UsageError, match="characters"):
        stream.detectable(CHARACTERS, {})
    with pytest.raises(UsageError, match="--ignore"):
        stream.detectable(WORDS, {"ignore": ("no",)})
    assert stream.detectable(WORDS, {"ignore": ()}) == list(WORDS)  # as `edgeft.listen` hands on what nobody asked for
