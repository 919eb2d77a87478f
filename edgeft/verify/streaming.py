"""The streaming graph against the whole one, in the same runtime: equal answers, and what a chunk costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backends import IntegerShare, Session
from ..bundle.reader import Bundle
from ..config import scheme
from ..core.verdict import FAIL, PASS, Verdict
from ..inputs.stepping import answers_of, chunks
from ..measure.clock import Clock
from ..measure.quads import compare
from .latency import speedup
from .parity import output_steps, parity
from .samples import named
from .stored import in_integers

METRIC = "streaming graph"
#: seconds that chunk and window are timed beside each other
SECONDS = 2.0


def judged(
    opened: Bundle, session: Session, samples: Mapping[str, np.ndarray], share: IntegerShare, threads: int
) -> list[Verdict]:
    """The stored samples as streams, each from its first frame on, against the whole graph `session`; none for a bundle
    without a streaming graph.

    Compared are all frames whose look-ahead lies within the window. Where the runtime rounds alike whatever the shape
    and every layer runs in integers, each value has to be equal; else the limits of parity hold.
    """
    table = opened.manifest.get("stream")
    if table is None:
        return []

    step = opened.session(threads=threads, name=table["graph"])
    feeds, name = named(samples, "input")[table["input"]], table["output"]
    got = np.concatenate([answers_of(step.run, table, row[None]) for row in feeds])
    axis = table["output_axis"]
    whole = np.take(session.run({table["input"]: feeds})[name], np.arange(got.shape[axis]), axis=axis)
    if not got.size:
        return [Verdict("parity", FAIL, "no frame has its look-ahead within the window", metric=METRIC)]

    if opened.runtime.stream == "exact" and in_integers(opened) and share.share == 1.0 and not opened.exact:
        return [_equal(whole, got, axis)]

    tensors = [tensor for tensor in opened.graph()["outputs"] if tensor["name"] == name]
    steps = output_steps(tensors, {name: whole}, scheme.activations_of(opened.scheme))
    reach = {tensor["name"]: tensor["rounding"] for tensor in tensors if "rounding" in tensor}
    against = "the whole graph's answers"
    return [parity(opened.task, {name: whole}, {name: got}, steps, reach, metric=METRIC, against=against)]


def _equal(whole: np.ndarray, got: np.ndarray, axis: int) -> Verdict:
    """Whether a stream answers what the whole graph does, value by value."""
    frames, same = got.shape[axis], float((whole == got).mean())
    if same == 1.0:
        why = f"{len(got)} samples as streams: the first {frames} frames of answers are the whole graph's, bit for bit"
        return Verdict("parity", PASS, why, metric=METRIC, n=len(got))

    gap = float(np.abs(whole.astype(np.float64) - got).max())
    why = f"as streams {1 - same:.2%} of the values differ from the whole graph's, by up to {gap:.4g}"
    return Verdict("parity", FAIL, why, metric=METRIC, n=len(got))


def cost(
    opened: Bundle, session: Session, samples: Mapping[str, np.ndarray], threads: int, clock: Clock | None
) -> dict[str, Any]:
    """{"stream": figures} of a chunk beside the whole window, timed alternately; {} without a streaming graph.

    `chunk_ms` and `window_ms` are medians of a call, `ratio` is how many chunks one window costs, with its 99 %
    interval; `chunk_seconds` of sound are answered `delay_seconds` later.
    """
    table, spec = opened.manifest.get("stream"), opened.preprocess
    if table is None:
        return {}

    step = opened.session(threads=threads, name=table["graph"], exact=False)
    window = opened.session(threads=threads, exact=False) if opened.exact else session
    features = named(samples, "input")[table["input"]][:1]
    window.run({table["input"]: features})
    states = {state["input"]: np.zeros(state["shape"], np.float32) for state in table["states"]}
    step.run({table["input"]: next(chunks(features, table)), **states})

    found = compare(window.invoke, step.invoke, clock=clock, max_seconds=SECONDS)
    ratio, interval = speedup(found)
    seconds = spec["hop"] / spec["rate"]
    figures = {
        "chunk_ms": found.b_median_ms,
        "window_ms": found.a_median_ms,
        "ratio": ratio,
        "ratio_ci99": list(interval),
        "chunk_seconds": table["chunk"] * seconds,
        "delay_seconds": table["delay"] * table["chunk"] / table["frames"] * seconds,
        "window_seconds": features.shape[table["axis"]] * seconds,
    }
    return {"stream": figures}
