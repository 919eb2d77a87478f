"""What a streaming graph costs, in one sentence."""

from __future__ import annotations

from typing import Any

from . import words


def line(value: Any) -> str:
    """The sentence of `stream` in a report; "" where nothing was measured."""
    table = words.table(value)
    ratio = words.finite(table.get("ratio"))
    if ratio is None:
        return ""

    chunk, window = (words.figure(table.get(key), "ms") for key in ("chunk_ms", "window_ms"))
    times = [words.plain(table.get(key), 3) for key in ("chunk_seconds", "window_seconds", "delay_seconds")]
    return (
        f"Stream: {chunk} for a chunk of {times[0]} s; the whole window of {times[1]} s takes {window}, "
        f"{words.plain(ratio, 3)} times as long. Answers come {times[2]} s later."
    )
