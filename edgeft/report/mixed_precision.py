"""Layers that `quantize.method = "auto"` returned to float, and their sensitivity: sentences, tables and pictures."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.metric import Metric
from . import page, plots, schemes, words
from .page import el

#: layers of a picture
_MOST = 24


def card(auto: Any, metric: Metric, number_format: str, scheme: str = "") -> ET.Element | None:
    """The card of a search (`auto` of a scheme in summary.json); None where there was none, or nothing to draw."""
    auto = words.table(auto)
    points = [row for row in map(words.table, _rows(auto.get("path"))) if words.finite(row.get("metric")) is not None]
    if not auto or not points:
        return None

    returned = [words.line(name) for name in _rows(auto.get("keep_float"))]
    ranked = [words.table(row) for row in _rows(words.table(auto.get("sensitivity")).get("layers"))]
    note = (
        f"Limits: {words.line(auto.get('why'))}. Each point is the whole model, on {words.plain(auto.get('n'))} "
        f"validation samples, with its share of multiply-accumulates in {number_format}; the test split was not read."
    )
    tried = page.table(
        ["", f"in {number_format}", metric.name, "drop", "holds"],
        [
            [
                _point(row) + (" (taken)" if _is_taken(row, points, returned) else ""),
                words.figure(row.get("int8_macs"), "fraction"),
                metric.format(row.get("metric")),
                metric.format_drop(row.get("drop")),
                "yes" if row.get("holds") else "no",
            ]
            for row in points
        ],
        numeric=(1, 2, 3),
    )
    drawn = plots.available()
    chart = _curve(points, returned, auto, metric, number_format) if drawn else None
    named = el("p", "In float: ", el("code", json.dumps(returned, ensure_ascii=False)), cls="small")

    return page.card(
        f"Layers in float{', ' + words.line(scheme) if scheme else ''}",
        el("div", chart, el("div", tried, named if returned else None), cls="two"),
        *ranking(ranked, returned),
        note=note,
    )


def ranking(rows: Sequence[Mapping[str, Any]], returned: Sequence[str] = ()) -> list[ET.Element]:
    """The layers of a sensitivity, most sensitive first, as a picture and a table; [] of none."""
    if not rows:
        return []

    cells = [
        [
            words.line(row.get("name")),
            *(_decibels(words.table(row.get(part)).get("sqnr_db")) for part in ("weights", "activations")),
            _decibels(row.get("sqnr_db")),
            words.plain(row.get("macs")),
            "float" if words.line(row.get("name")) in returned else "",
        ]
        for row in rows
    ]
    heads = ["layer", "SQNR of weights", "of activations", "of both", "multiply-accumulates", ""]
    table = page.table(heads, cells, numeric=(1, 2, 3, 4))
    chart = _ranking(rows, returned) if plots.available() else None
    if chart is None:
        return [table]

    shown = f" The most sensitive {_MOST} of {len(rows)}." if len(rows) > _MOST else ""
    note = (
        "Signal to quantization noise of the outputs with this layer alone on its grid, all others in float: 20 dB is "
        f"noise of a tenth. The names are patterns that quantize.keep_float takes.{shown}"
    )

    return [
        el("h3", "Sensitivity by layer"),
        el("p", note, cls="muted small"),
        chart,
        page.details("as a table", table),
    ]


def sensitivity_page(result: Mapping[str, Any]) -> str:
    """What `edgeft sensitivity` measured, as a page."""
    title = f"Sensitive layers of {words.line(result.get('run'))}, {words.line(result.get('scheme'))}"
    about = f"Each layer quantized alone, on {words.plain(result.get('n'))} validation samples."
    rows = [words.table(row) for row in _rows(result.get("layers"))]
    return page.document(
        title, [el("header", el("h1", title), el("p", about, cls="muted")), page.card("Layers", *ranking(rows))]
    )


def _rows(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _decibels(value: Any) -> str:
    number = words.finite(value)
    return words.DASH if number is None else f"{number:.1f} dB"


def _point(row: Mapping[str, Any]) -> str:
    if held := len(_rows(row.get("keep_float"))):
        return schemes.in_float(held)
    return {"ptq": "calibrated", "qat": "trained"}.get(str(row.get("method")), "as quantized")


def _is_taken(row: Mapping[str, Any], points: Sequence[Mapping[str, Any]], returned: Sequence[str]) -> bool:
    """Whether this is the point that was taken: of those with these layers in float, the best."""
    alike = [p for p in points if [words.line(name) for name in _rows(p.get("keep_float"))] == list(returned)]
    holding = [p for p in alike if p.get("holds")] or alike
    return bool(holding) and row is holding[-1]


def _curve(
    points: Sequence[Mapping[str, Any]],
    returned: Sequence[str],
    auto: Mapping[str, Any],
    metric: Metric,
    number_format: str,
) -> ET.Element | None:
    """The metric of each point against what is left in integers; the float model and the limit as lines."""
    scale = 100.0 if metric.unit == "fraction" else 1.0
    drawn = [
        (100 * share, scale * float(p["metric"]), p) for p in points if (share := words.finite(p.get("int8_macs")))
    ]
    before, limit = words.finite(auto.get("float")), words.finite(auto.get("limit"))
    if not drawn:
        return None

    description = f"{metric.name} against the share of multiply-accumulates in {number_format}, {len(drawn)} points"
    with plots.canvas("mixed-precision", plots.NARROW, 3.1, description) as (figure, out):
        axes = figure.subplots()
        axes.grid(True, axis="y")
        if before is not None:
            axes.axhline(scale * before, color=plots.FLOAT, linewidth=1.4, label="float")
            if limit is not None:
                edge = before - limit if metric.higher_is_better else before + limit
                axes.axhline(scale * edge, color=plots.BAD, linewidth=1.2, linestyle=(0, (3, 3)), label="limit")
        for share, value, point in drawn:
            taken = _is_taken(point, points, returned)
            axes.plot(share, value, "o", ms=9 if taken else 5, color=plots.PTQ if taken else plots.QUANTIZED)
            count = len(_rows(point.get("keep_float")))
            axes.annotate(str(count), (share, value), (0, 8), textcoords="offset points", fontsize=8, ha="center")
        axes.margins(x=0.08, y=0.16)
        axes.invert_xaxis()
        axes.set_xlabel(f"multiply-accumulates in {number_format}, % (numbers: layers in float)")
        axes.set_ylabel(metric.name + (", %" if metric.unit == "fraction" else ""))
        if before is not None:
            axes.legend(loc="best")

    return out[0]


def _ranking(rows: Sequence[Mapping[str, Any]], returned: Sequence[str]) -> ET.Element | None:
    """A line a layer, the most sensitive on top, with the noise of its weights and of its activations."""
    entries = [(words.line(row.get("name")), row) for row in rows if words.finite(row.get("sqnr_db")) is not None][
        :_MOST
    ]
    if not entries:
        return None

    worst = f"{entries[0][0]}, {_decibels(entries[0][1].get('sqnr_db'))}"
    description = f"signal to quantization noise of the outputs by layer; the most sensitive is {worst}"
    with plots.canvas("sensitivity", plots.WIDE, 0.95 + 0.27 * len(entries), description) as (figure, out):
        axes = figure.subplots()
        axes.grid(True, axis="x")
        for part, colour, marker in (("weights", plots.QUANTIZED, "o"), ("activations", plots.PTQ, "D")):
            found = [
                (words.finite(words.table(row.get(part)).get("sqnr_db")), at) for at, (_, row) in enumerate(entries)
            ]
            at = [(value, place) for value, place in found if value is not None]
            if at:
                axes.plot(*zip(*at), marker, color=colour, ms=6, label=f"{part} alone")
        for place, (name, row) in enumerate(entries):
            both = words.finite(row.get("sqnr_db"))
            axes.plot([both, both], [place - 0.3, place + 0.3], color=plots.INK, linewidth=1.6)
            if name in returned:
                axes.axhspan(place - 0.46, place + 0.46, color=plots.BAD, alpha=0.12, linewidth=0)
        names = [_short(name) + (" (float)" if name in returned else "") for name, _ in entries]
        axes.set_yticks(range(len(entries)), names)
        axes.set_ylim(len(entries) - 0.45, -0.55)
        axes.set_xlabel("SQNR of the outputs, dB (left is more sensitive; the stroke is both together)")
        figure.legend(loc="outside upper right", ncols=2)

    return out[0]


def _short(name: str, longest: int = 34) -> str:
    """A layer's name with its end, which tells layers of one block apart."""
    return name if len(name) <= longest else "…" + name[1 - longest :]
