"""What a decoder's graph is given while a model of two graphs writes texts: rows to judge the graph by."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..metrics import beam_search as search


def recorded(
    decoder: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]],
    memory: np.ndarray,
    source_mask: np.ndarray | None,
    before: np.ndarray,
    ends: np.ndarray,
    steps: int = 4,
) -> dict[str, np.ndarray]:
    """The feeds of `steps` steps of each text, spread over it, {input: (rows, ...)}.

    `before` int32 (N, T) has the token that each step is given, `ends` (N,) how many of them there are, `memory`
    (N, 2 D, S, d) what the encoder says. One step of each text comes first, then a second of each: whoever keeps the
    first few rows has different texts.
    """
    steps_of = [{int(k * end) // steps for k in range(steps)} for end in ends]
    cache = np.zeros((*memory.shape[:2], before.shape[1], memory.shape[3]), np.float32)
    rows: list[tuple[int, dict[str, np.ndarray]]] = []

    for t in range(int(ends.max(initial=0))):
        feeds = search.feeds(before[:, t], t, cache, memory, source_mask)
        rows += [(i, {k: v[i].copy() for k, v in feeds.items()}) for i in range(len(before)) if t in steps_of[i]]
        cache[:, :, t] = search.stacked(decoder(feeds))[:, :, 0]

    counts: dict[int, int] = {}
    order = []
    for k, (i, _) in enumerate(rows):
        counts[i] = counts.get(i, 0) + 1
        order.append((counts[i] + i % steps, i, k))

    chosen = [rows[k][1] for _, _, k in sorted(order)]
    return {key: np.stack([row[key] for row in chosen]) for key in chosen[0]}
