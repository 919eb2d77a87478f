"""Connectionist temporal classification (Graves et al. 2006): what frames of tokens say, and how clearly.

Logits are (N, tokens, frames); token 0 is the blank. The best path is the best token of every frame; repeats are one
token, and blanks part equal ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BLANK = 0


@dataclass(frozen=True)
class Run:
    """A token that was said: its number, its first frame, and the first frame behind it."""

    token: int
    start: int
    end: int


def best_path(logits: np.ndarray) -> np.ndarray:
    """The best token of every frame, the first of equals: int64 (N, frames); of a sample that is not finite, blanks."""
    finite = np.isfinite(logits).all(axis=(1, 2))
    return np.where(finite[:, None], logits.argmax(axis=1), BLANK).astype(np.int64)


def runs(path: np.ndarray) -> list[Run]:
    """The tokens of one best path (frames,) in order."""
    edges = np.flatnonzero(np.diff(path)) + 1
    bounds = [0, *edges.tolist(), len(path)]
    spans = [Run(int(path[a]), a, b) for a, b in itertools.pairwise(bounds) if b > a]
    return [run for run in spans if run.token != BLANK]


def collapse(path: np.ndarray) -> np.ndarray:
    """The tokens of one best path (frames,), int64 (L,): equal neighbours are one, blanks are none."""
    path = np.asarray(path, np.int64)
    emitted = path != BLANK
    emitted[1:] &= path[1:] != path[:-1]
    values: np.ndarray = path[emitted]

    return values


def frames_needed(tokens: Sequence[int]) -> int:
    """The fewest frames that can say `tokens`: one each, and a blank between equal neighbours."""
    return len(tokens) + sum(a == b for a, b in itertools.pairwise(tokens))


def margins(logits: np.ndarray) -> np.ndarray:
    """How far each transcript is from another one, (N,) float64, in logit units.

    A frame changes its token when the difference between its best logit and another's is made up for. The margin is
    the smallest difference that, granted to all frames at once, leads to another transcript; below it none is
    reachable. Frames that may flip without changing a word (where a word ends, say) do not count. It is exact: a
    minimax search over all paths, whose state is how many tokens were said and whether the last frame was blank.
    """
    logits = np.asarray(logits, np.float64)
    count, width, frames = logits.shape
    if not count:
        return np.zeros(0)

    transcripts = [collapse(path) for path in best_path(logits)]
    most = max(map(len, transcripts))
    inf = np.inf

    # tokens[:, i] is the i-th that was said (1-based); -1 = there is none
    tokens = np.full((count, most + 2), -1, np.int64)
    for row, transcript in zip(tokens, transcripts):
        row[1 : len(transcript) + 1] = transcript

    transcript, following = tokens[:, :-1], tokens[:, 1:]  # (N, states)
    columns = np.arange(width)
    # what leads astray after a blank, and after the token itself
    from_blank = (columns != BLANK) & (columns != following[:, :, None])
    from_token = from_blank & (columns != transcript[:, :, None])
    blank = np.full((count, most + 1), inf)
    blank[:, 0] = 0.0
    token = np.full((count, most + 1), inf)
    astray = np.full(count, inf)

    with np.errstate(invalid="ignore"):
        gaps = logits.max(axis=1, keepdims=True) - logits  # (N, tokens, frames), 0 for the best

    here, ahead = (np.where(numbers < 0, BLANK, numbers) for numbers in (transcript, following))
    for t in range(frames):
        gap = gaps[:, :, t]
        stay = np.where(transcript < 0, inf, np.take_along_axis(gap, here, axis=1))
        step = np.where(following < 0, inf, np.take_along_axis(gap, ahead, axis=1))
        fork = np.minimum(blank, np.where(transcript == following, inf, token))  # from where the next token can be said
        wrong = np.minimum(
            np.maximum(blank, _least(gap, from_blank)).min(axis=1),
            np.maximum(token, _least(gap, from_token)).min(axis=1),
        )
        astray = np.minimum(astray, wrong)
        advanced = np.full_like(token, inf)
        advanced[:, 1:] = np.maximum(fork, step)[:, :-1]
        token, blank = (
            np.minimum(np.maximum(token, stay), advanced),
            np.maximum(np.minimum(blank, token), gap[:, BLANK, None]),
        )

    short = np.arange(most + 1) < np.array([len(transcript) for transcript in transcripts])[:, None]
    missing = np.where(short, np.minimum(token, blank), inf).min(axis=1)
    smallest = np.minimum(astray, missing)
    return np.where(np.isfinite(logits).all(axis=(1, 2)), smallest, 0.0)


def _least(gap: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The smallest of `gap` (N, tokens) over the tokens of each state in `among` (N, states, tokens)."""
    values: np.ndarray = np.where(among, gap[:, None, :], np.inf).min(axis=2)
    return values
