"""A store of baselines as a page: every comparison that was made, model by model and machine by machine.

Milliseconds of two days are no comparison, since the machine differs from itself; the change of each comparison, both
sides measured at the time, is. So the changes are what is judged, and the milliseconds stand beside them.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import RunError
from ..measure import store
from . import html, page, plots, words
from .page import el

Line = Mapping[str, Any]
#: comparisons of one model that are drawn and listed, the newest
_MOST = 60


def part(root: Path) -> html.Part:
    """The part of a page for a folder that `edgeft bench --accept` keeps; `RunError` where nothing was compared yet."""
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in store.history(root):
        groups.setdefault((words.line(line.get("key") or "?"), words.line(line.get("host") or "?")), []).append(line)

    if not groups:
        raise RunError(
            "holds no comparison yet",
            where=str(root / "history.jsonl"),
            remedy="edgeft bench BUNDLE --accept, and later edgeft bench BUNDLE",
        )

    several = {key for key, _ in groups if sum(key == key_of_other for key_of_other, _ in groups) > 1}
    boxes = [
        el(
            "header",
            el("h1", "Latency over time"),
            el("p", "Every comparison measured both sides then and there.", cls="muted"),
        ),
        *(_card(lines, host if key in several else "", k) for k, ((key, host), lines) in enumerate(groups.items())),
    ]
    latest = [lines[-1] for lines in groups.values()]
    slower = sum(line.get("verdict") == "fail" for line in latest)
    summary = f"{len(groups)} models, {slower} slower at the last comparison"

    return html.Part("Latency over time", tuple(boxes), ("", summary, *[words.DASH] * 4))


def _card(lines: Sequence[Line], host: str, number: int) -> ET.Element:
    last, recent = lines[-1], lines[-_MOST:]
    title = f"{words.line(last.get('name') or '?')} on {words.line(last.get('target') or '?')}"
    rows = [
        [
            words.line(line.get("at") or "?").replace("T", " ").removesuffix("Z"),
            page.badge(line.get("verdict")),
            _percent(line.get("estimate_pct")),
            _bounds(line),
            _percent(line.get("tolerance_pct")).lstrip("+"),
            *(words.figure(line.get(key), "ms") for key in ("float_p50_ms", "old_p50_ms", "p50_ms")),
            words.line(line.get("artifact") or "?")[:8],
        ]
        for line in reversed(recent)
    ]

    heads = ["at (UTC)", "verdict", "change", "99 %", "tolerance", "float", "old", "new", "bundle"]
    table = page.table(heads, rows, numeric=(2, 3, 4, 5, 6, 7))
    note = f"{words.line(last.get('backend') or '?')}{', machine ' + host if host else ''}. "
    note += "Above 0 the new artifact is slower than its baseline of that time; bars are the 99 % intervals."
    note += f" The newest {_MOST} of {len(lines)}." if len(lines) > _MOST else ""
    chart = chart_of(recent, number) if plots.available() and len(recent) > 1 else None

    return page.card(title, chart, page.details("as a table", table) if chart is not None else table, note=note)


def chart_of(lines: Sequence[Line], number: int = 0) -> ET.Element | None:
    """Changes with their intervals and the tolerance; below them the median milliseconds of the same runs."""
    colours = {"pass": plots.QUANTIZED, "fail": plots.BAD}
    changes = [
        (i, line, change)
        for i, line in enumerate(lines)
        if (change := words.finite(line.get("estimate_pct"))) is not None
    ]
    if not changes:
        return None

    timed = any(words.finite(line.get("p50_ms")) is not None for line in lines)
    description = f"change of the latency in {len(changes)} comparisons, the oldest first"
    with plots.canvas(f"trend{number}", plots.WIDE, 4.4 if timed else 2.4, description) as (figure, out):
        grid = figure.subplots(2 if timed else 1, 1, squeeze=False, sharex=True)
        axes = grid[0][0]
        axes.grid(True, axis="y")
        limits = [
            (i, limit) for i, line, _ in changes if (limit := words.finite(line.get("tolerance_pct"))) is not None
        ]
        if limits:
            axes.step(*zip(*limits), where="mid", color=plots.MUTED, linewidth=1.2, linestyle="--", label="tolerance")
        for verdict in dict.fromkeys(words.line(line.get("verdict") or "?") for _, line, _ in changes):
            some = [
                (i, line, change) for i, line, change in changes if words.line(line.get("verdict") or "?") == verdict
            ]
            places, middles = [i for i, _, _ in some], [change for _, _, change in some]
            reach = [_reach(line, change) for _, line, change in some]
            colour = colours.get(verdict, plots.PTQ)
            axes.errorbar(
                places,
                middles,
                yerr=list(zip(*reach)),
                fmt="o",
                markersize=4,
                color=colour,
                linewidth=1.4,
                label=verdict,
            )
        axes.axhline(0, color=plots.LINE, linewidth=1)
        axes.set_ylabel("change, %")
        axes.margins(y=0.2)
        axes.legend(loc="upper left", ncols=4)
        if timed:
            _medians(grid[1][0], lines)
        bottom = grid[-1][0]
        step = max(1, len(lines) // 8)
        shown = range(0, len(lines), step)
        bottom.set_xticks(list(shown), [words.line(lines[i].get("at") or "")[:10] for i in shown])
        for height in grid[:, 0]:
            height.tick_params(axis="y", labelcolor=plots.MUTED, labelsize=9)

    return out[0]


def _medians(axes: Any, lines: Sequence[Line]) -> None:
    """The median milliseconds of the float model and of the new artifact."""
    axes.grid(True, axis="y")
    for key, label, colour in (("float_p50_ms", "float", plots.FLOAT), ("p50_ms", "new", plots.QUANTIZED)):
        points = [(i, ms) for i, line in enumerate(lines) if (ms := words.finite(line.get(key))) is not None]
        if points:
            axes.plot(*zip(*points), "o-", color=colour, markersize=3.5, linewidth=1.6, label=label)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.25)  # room for the legend
    axes.set_ylabel("median, ms")
    axes.legend(loc="upper left", ncols=2)


def _reach(line: Line, change: float) -> tuple[float, float]:
    bounds = _interval(line)
    return (max(0.0, change - bounds[0]), max(0.0, bounds[1] - change)) if bounds else (0.0, 0.0)


def _interval(line: Line) -> tuple[float, float] | None:
    value = line.get("ci99_pct")
    ends = [words.finite(end) for end in value] if isinstance(value, list) and len(value) == 2 else [None, None]
    return (ends[0], ends[1]) if ends[0] is not None and ends[1] is not None else None


def _bounds(line: Line) -> str:
    interval = _interval(line)
    return f"[{interval[0]:+.1f}, {interval[1]:+.1f}]" if interval else words.DASH


def _percent(value: Any) -> str:
    number = words.finite(value)
    return words.DASH if number is None else f"{number:+.2f} %"
