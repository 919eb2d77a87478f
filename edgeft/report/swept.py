"""A sweep in words and as a page: its trials by their validation metric, the Pareto front, and the best recipe."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from . import page, plots, words
from .page import el
from .text import table

#: objective beside the metric -> (key of its figure, head, unit): median of one call in one thread; the model's files
COSTS = {"latency": ("p50_ms", "latency", "ms"), "size": ("bytes", "size", "bytes")}
#: trials of a table that is not asked for in full
MOST = 12
#: keys of a trial's values are shown by their last part where that is unambiguous
STATES = ("done", "stopped", "failed", "running")


def _trials(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The trials, the best first, then those that were stopped, failed or are running."""
    metric = words.metric_of(result)
    rows = [row for row in result.get("trials") or () if isinstance(row, Mapping)]

    def order(row: Mapping[str, Any]) -> tuple[int, float, int]:
        value = words.finite(row.get("validation")) or 0.0
        state = STATES.index(row["state"]) if row.get("state") in STATES else len(STATES)
        return state, -value if metric.higher_is_better else value, int(row.get("number") or 0)

    return sorted(rows, key=order)


def _keys(result: Mapping[str, Any]) -> dict[str, str]:
    """{searched key: its head}."""
    keys = list(words.table(result.get("space")))
    lasts = [key.rpartition(".")[2] for key in keys]
    return {key: last if lasts.count(last) == 1 else key for key, last in zip(keys, lasts)}


def _costs(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The figures beside the metric that any trial has."""
    rows = _trials(result)
    return [cost for cost in COSTS.values() if any(words.finite(row.get(cost[0])) is not None for row in rows)]


def _cells(result: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    metric, keys, costs = words.metric_of(result), _keys(result), _costs(result)
    heads = ["trial", *keys.values(), f"{metric.name} (validation)", *(head for _, head, _ in costs), "Pareto", ""]
    cells = [
        [
            words.line(row.get("number")),
            *(_value(words.table(row.get("values")).get(key)) for key in keys),
            metric.format(row.get("validation")),
            *(words.figure(row.get(key), unit) for key, _, unit in costs),
            "yes" if row.get("pareto") else "",
            _became(row),
        ]
        for row in rows
    ]

    return heads, cells


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else words.cell(value)


def _became(row: Mapping[str, Any]) -> str:
    state, why = words.line(row.get("state")), words.line(row.get("why") or "")
    return "" if state == "done" else f"{state}: {why}" if why else state


def text(result: Mapping[str, Any], most: int = MOST) -> str:
    """What `edgeft sweep` prints: the table (the first `most`; 0: all) and where the best recipe is."""
    rows = _trials(result)
    heads, cells = _cells(result, rows[:most] if most else rows)
    lines = table(heads, cells, right=tuple(range(1, len(heads) - 2)))
    if most and len(rows) > most:
        lines.append(f"{len(rows) - most} more trials are in sweep.json and with -v")

    counts = words.table(result.get("counts"))
    lines.append(", ".join(f"{counts[state]} {state}" for state in STATES if counts.get(state)) or "no trial yet")
    best = words.table(result.get("best"))

    if not best:
        lines.append("no trial is done yet, so that there is no best recipe")
        return "\n".join(lines)

    metric = words.metric_of(result)
    test = words.table(best.get("test"))
    after = metric.format(test.get("quantized"))
    lines.append(
        f"best: trial {best.get('number')}, {metric.name} {metric.format(best.get('validation'))} on validation, by "
        f"which it was chosen. On the test split, looked at for this trial only: {after} "
        f"(float {metric.format(test.get('float'))}, n = {words.plain(test.get('n'))})"
        if test.get("quantized") is not None
        else f"best: trial {best.get('number')}, {metric.name} {metric.format(best.get('validation'))} on validation"
    )
    lines.append(f"its recipe: {words.line(best.get('recipe'))}")

    return "\n".join(lines)


def page_of(result: Mapping[str, Any]) -> str:
    """The sweep as one HTML page: the front, the trials, and what was searched."""
    rows = _trials(result)
    heads, cells = _cells(result, rows)
    title = f"Sweep of {words.line(result.get('task'))} for {words.line(result.get('target'))}"
    counts = words.table(result.get("counts"))
    about = ", ".join(f"{counts[state]} {state}" for state in STATES if counts.get(state)) or "no trial yet"
    figures = tuple(range(1, len(heads) - 2))
    picture = _picture(result, rows) if plots.available() else None
    front = "A trial is on the front where no other one is as good in every objective and better in one of them."
    cards = [
        el("header", el("h1", title), el("p", about, cls="muted")),
        page.card("Pareto front", picture, note=front) if picture is not None else None,
        page.card("Trials", page.table(heads, cells, numeric=figures, why=len(heads) - 1), note=_NOTE),
        page.card("Searched", page.facts(words.table(result.get("space")))),
    ]

    return page.document(title, [card for card in cards if card is not None])


_NOTE = (
    "The metric is that of the model as it would be exported, on the validation split; no figure of the test split has "
    "a part in the choice. A stopped trial was behind the median of the others at that epoch, or missed a limit of the "
    "recipe before it was trained."
)


def _picture(result: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> ET.Element | None:
    """The metric over the first cost, the front joined; over the number of the trial where there is no cost."""
    metric, costs = words.metric_of(result), _costs(result)
    key, head, unit = costs[0] if costs else ("number", "trial", "")
    points = [
        (x / (1e6 if unit == "bytes" else 1), y, bool(row.get("pareto")))
        for row in rows
        if row.get("state") == "done"
        and (x := words.finite(row.get(key))) is not None
        and (y := words.finite(row.get("validation"))) is not None
    ]
    if len(points) < 2:
        return None

    shown = 100.0 if metric.unit == "fraction" else 1.0
    description = f"{metric.name} on validation over {head} of {len(points)} trials"
    with plots.canvas("sweep", plots.WIDE, 3.4, description) as (figure, out):
        axes = figure.subplots()
        axes.grid(True)
        rest = [(x, shown * y) for x, y, on_front in points if not on_front]
        front = sorted((x, shown * y) for x, y, on_front in points if on_front)
        if rest:
            axes.plot(*zip(*rest), "o", color=plots.PTQ, markersize=5, label="trial")
        if front:
            axes.plot(*zip(*front), "o-" if costs else "o", color=plots.QUANTIZED, markersize=7, label="Pareto front")
        axes.set_xlabel(f"{head}, MB" if unit == "bytes" else f"{head}, {unit}".rstrip(", "))
        axes.set_ylabel(f"{metric.name}, %" if metric.unit == "fraction" else metric.name)
        axes.tick_params(axis="y", labelcolor=plots.MUTED, labelsize=9)
        axes.legend(loc="best")

    return out[0]
