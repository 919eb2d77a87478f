"""The candidates of a bundle that was chosen among several: speed, metric and size, and why the others were not."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from . import page, words
from .page import el

HEADS = ("candidate", "verdict", "speed over float", "metric", "drop", "size", "Pareto", "why")
#: columns of figures, which are set to the right, and the one of sentences
FIGURES, WHY = (2, 3, 4, 5), 7


def candidates(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of the report's `choice`, [] where nothing was chosen."""
    rows = words.table(report.get("choice")).get("candidates")
    return [row for row in rows or () if isinstance(row, Mapping)]


def sentence(report: Mapping[str, Any]) -> str:
    """What was chosen of how many, and why; "" where nothing was."""
    rows = candidates(report)
    shipped = next((row for row in rows if row.get("chosen")), None)
    if shipped is None:
        return ""

    choice = words.table(report.get("choice"))
    text = f"Chosen of {len(rows)} candidates: {words.line(shipped.get('name'))}, {words.line(shipped.get('why'))}."
    return f"{text} Speed did not decide: {words.line(choice['unmeasured'])}." if choice.get("unmeasured") else text


def rows_of(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row of text a candidate, under `HEADS`; the shipped one first, then as they were made."""
    metric = words.metric_of(report, name=words.headline(report)["metric"])
    ordered = sorted(candidates(report), key=lambda row: not row.get("chosen"))
    return [_cells(row, metric) for row in ordered]


def _cells(row: Mapping[str, Any], metric: Any) -> tuple[str, ...]:
    speed = words.figure(row.get("speedup"), "ratio")
    if spread := words.interval(row.get("interval"), "ratio"):
        speed = f"{speed} {spread}"
    elif row.get("in_choice") and not row.get("yardstick"):
        speed += " (too few runs for an interval)"

    if speed != words.DASH and not row.get("in_choice"):
        speed += " (of its gate)"

    method = f", {words.line(row['method'])}" if row.get("method") else ""
    return (
        f"{words.line(row.get('name') or '?')}{method}",
        "shipped" if row.get("chosen") else words.line(row.get("verdict") or "not made"),
        speed,
        metric.format(words.finite(row.get("metric"))),
        metric.format_drop(words.finite(row.get("drop"))),
        words.size(words.finite(row.get("bytes"))),
        "yes" if row.get("pareto") else "",
        words.line(row.get("why") or ""),
    )


def note(report: Mapping[str, Any]) -> str:
    """How the speeds of the table came about."""
    choice = words.table(report.get("choice"))
    if choice.get("unmeasured"):
        return f"Speed did not decide: {words.line(choice['unmeasured'])}."

    confidence = words.figure(choice.get("confidence"), "fraction")
    yardstick, device = words.line(choice.get("yardstick") or "?"), words.line(choice.get("device") or "host")
    return (
        f"Speed is that over {yardstick}, in pairs of fresh processes on {device}, with an interval of {confidence} "
        "each. A candidate that failed a gate was not measured: its speed is that of its gate, over float in its own "
        "runtime. Pareto: no other candidate is as good in speed, metric and size and better in one of them."
    )


def card(report: Mapping[str, Any]) -> ET.Element | None:
    """The card of the candidates; None where nothing was chosen."""
    rows = rows_of(report)
    if not rows:
        return None

    shipped, *others = rows
    body: list[Sequence[Any]] = [
        [el("span", el("b", shipped[0]), " (shipped)"), page.badge(report.get("verdict")), *shipped[2:]],
        *([row[0], page.badge(row[1]), *row[2:]] for row in others),
    ]
    table = page.table(HEADS, body, numeric=FIGURES, why=WHY)

    return page.card("Candidates", el("p", sentence(report)), table, note=note(report))
