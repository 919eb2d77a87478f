"""CTC decoding against its definition, and margins against every path there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from draws import draws
from hypothesis import given
from hypothesis import strategies as st

from edgeft.metrics import ctc

pytestmark = pytest.mark.board


@pytest.mark.parametrize(
    ("path", "tokens"),
    [
        ([], []),
        ([0, 0, 0], []),
        ([1, 1, 1], [1]),
        ([1, 0, 1], [1, 1]),
        ([0, 1, 1, 0, 2, 2, 2, 0], [1, 2]),
        ([1, 2, 1], [1, 2, 1]),
        ([3, 3, 0, 0, 3, 2], [3, 3, 2]),
    ],
)
def test_equal_neighbours_are_one_and_blanks_are_none(path: list[int], tokens: list[int]) -> None:
    found = np.array(path, np.int64)
    assert ctc.collapse(found).tolist() == tokens
    spans = ctc.runs(found)
    assert [run.token for run in spans] == tokens
    assert all((found[run.start : run.end] == run.token).all() for run in spans)


@draws(30)
@given(st.lists(st.integers(1, 3), max_size=4))
def test_as_many_frames_as_needed_say_a_text_and_one_less_does_not(tokens: list[int]) -> None:
    needed = ctc.frames_needed(tokens)
    said = {tuple(ctc.collapse(np.array(p, np.int64))) for p in itertools.product(range(4), repeat=min(needed, 6))}
    assert (tuple(tokens) in said) == (needed <= 6)
    if 0 < needed <= 6:
        fewer = itertools.product(range(4), repeat=needed - 1)
        assert all(ctc.collapse(np.array(p, np.int64)).tolist() != tokens for p in fewer)


def by_every_path(logits: np.ndarray) -> float:
    """The margin of (tokens, frames) by its definition."""
    width, frames = logits.shape
    best = ctc.collapse(logits.argmax(axis=0))
    gaps = logits.max(axis=0) - logits
    return min(
        max(gaps[token, t] for t, token in enumerate(path))
        for path in itertools.product(range(width), repeat=frames)
        if not np.array_equal(ctc.collapse(np.array(path)), best)
    )


@draws(60)
@given(st.integers(2, 4), st.integers(1, 5), st.integers(1, 3), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_margin_is_the_least_change_that_leads_to_another_transcript(
    width: int, frames: int, count: int, ties: bool, seed: int
) -> None:
    logits = np.random.default_rng(seed).normal(size=(count, width, frames))
    logits = np.round(logits) if ties else logits
    assert np.array_equal(ctc.margins(logits), [by_every_path(row) for row in logits])


def test_a_word_that_ends_a_frame_earlier_is_no_close_call() -> None:
    logits = np.zeros((1, 2, 4))
    logits[0, 1] = [-9, 9, 0.1, -9]  # the third frame is a toss-up between the word and nothing after it
    assert ctc.collapse(ctc.best_path(logits)[0]).tolist() == [1]
    assert ctc.margins(logits) == pytest.approx([9])


def test_what_is_not_finite_says_nothing_and_is_not_clear() -> None:
    logits = np.zeros((2, 3, 4))
    logits[:, 1, 1] = 5
    logits[1, 2, 0] = np.nan
    assert ctc.best_path(logits).tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]
    assert ctc.margins(logits)[1] == 0 and ctc.margins(np.zeros((0, 3, 4))).shape == (0,)
