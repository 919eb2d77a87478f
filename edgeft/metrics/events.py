"""Detections in a long recording, judged against the words that are in it: detection rate and false alarms an hour.

The truth is a label track as Audacity exports it: a line `start<TAB>end<TAB>label` a word, in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import DataError

#: seconds by which a detection may lie before or behind a word
TOLERANCE = 0.5
#: lines of a label track that are read
MAX_EVENTS = 1_000_000


@dataclass(frozen=True)
class Event:
    """A word in a recording, from `start` to `end` seconds."""

    start: float
    end: float
    label: str


def read(path: Path | str) -> list[Event]:
    """The events of a label track, by their start; raises `DataError` naming the line that is none."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError("is no text in UTF-8", where=str(path)) from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=str(path)) from error

    if len(lines) > MAX_EVENTS:
        raise DataError(f"has {len(lines)} lines, at most {MAX_EVENTS} are read", where=str(path))

    # Audacity writes the frequencies of a spectral selection in a second line that begins with a backslash
    numbered = [(i, line) for i, line in enumerate(lines, 1) if line.strip() and not line.startswith("\\")]
    return sorted((_event(line, f"{path}:{i}") for i, line in numbered), key=lambda event: event.start)


def _event(line: str, where: str) -> Event:
    fields = line.split("\t")
    try:
        start, end, label = float(fields[0]), float(fields[1]), "\t".join(fields[2:]).strip()
    except (ValueError, IndexError):
        start, end, label = math.nan, math.nan, ""

    if not (label and 0 <= start <= end < math.inf):
        raise DataError(
            f"{line[:60]!r} is no line of a label track",
            where=where,
            remedy="write start, end (seconds) and label with tabs between them, as Audacity exports labels",
        )

    return Event(start, end, label)


def judge(
    detections: Sequence[Mapping[str, Any]], events: Iterable[Event], labels: Iterable[str]
) -> dict[str, dict[str, int]]:
    """{label: {"events", "detected", "false_alarms"}} of each of `labels`, the words that can be detected.

    A detection (`seconds`, `label`) is right where a word of that label lies within `TOLERANCE` of it. A word is
    detected once: a second detection of it is a false alarm, as is one of a label at any other place.
    """
    counts = {label: {"events": 0, "detected": 0, "false_alarms": 0} for label in labels}
    open_events = [event for event in events if event.label in counts]
    for event in open_events:
        counts[event.label]["events"] += 1

    for detection in detections:
        seconds, label = detection["seconds"], detection["label"]
        near = [
            event
            for event in open_events
            if event.label == label and event.start - TOLERANCE <= seconds <= event.end + TOLERANCE
        ]
        if near:
            open_events.remove(near[0])
        counts[label]["detected" if near else "false_alarms"] += 1

    return counts
