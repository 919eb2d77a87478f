"""A streaming graph step by step: a chunk of frames and the states go in, answers and the new states come out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


class Stepper:
    """A stream from its first frame on. `run` is the streaming graph, `table` the manifest's `stream`."""

    def __init__(self, run: Run, table: Mapping[str, Any]) -> None:
        self._run, self._table = run, table
        self._states = {state["input"]: _start(state) for state in table["states"]}
        self._steps = 0

    def answers(self, chunk: np.ndarray) -> np.ndarray:
        """The answers that a chunk, float32 with `chunk` frames on `axis`, completes: none in the first steps, until
        the look-ahead of the first frame is there. Frames of the answers are on `output_axis`."""
        outputs = self._run({self._table["input"]: chunk, **self._states})
        self._steps += 1
        for state in self._table["states"]:
            # what lies before the first frame is zeros, as the padding of the whole network is
            early = self._steps <= state["warmup"]
            self._states[state["input"]] = _start(state) if early else outputs[state["output"]]

        answers = outputs[self._table["output"]]
        before = max(0, self._table["delay"] - (self._steps - 1) * self._table["frames"])
        kept = np.arange(min(before, self._table["frames"]), self._table["frames"])
        return np.take(answers, kept, axis=self._table["output_axis"])


def _start(state: Mapping[str, Any]) -> np.ndarray:
    return np.zeros(state["shape"], np.float32)


def answers_of(run: Run, table: Mapping[str, Any], features: np.ndarray) -> np.ndarray:
    """All answers to `features` (1, ...) as a stream: those of the whole chunks, whose look-ahead is there."""
    stepper, pieces = Stepper(run, table), [*chunks(features, table)]
    return np.concatenate([stepper.answers(piece) for piece in pieces], axis=table["output_axis"])


def chunks(features: np.ndarray, table: Mapping[str, Any]) -> Iterator[np.ndarray]:
    """The whole chunks of `features` in order."""
    axis, size = table["axis"], table["chunk"]
    for start in range(0, features.shape[axis] - size + 1, size):
        yield np.ascontiguousarray(np.take(features, np.arange(start, start + size), axis=axis))
