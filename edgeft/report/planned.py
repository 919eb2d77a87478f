"""The plan of a partial update as a picture: the trainable part of each layer, and accuracy against memory."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.metric import Metric
from . import page, plots, words
from .page import el


def card(plan: Any, metric: Metric) -> ET.Element | None:
    """The card of `summary["plan"]`; None where a run had none."""
    plan = words.table(plan)
    rows = [row for row in plan.get("layers") or () if isinstance(row, Mapping)]
    if not plan or not rows:
        return None

    points = [p for p in plan.get("curve") or () if isinstance(p, Mapping)]
    learned = [row for row in rows if words.finite(row.get("values"))]
    of = f" of a budget of {words.size(plan.get('budget'))}" if plan.get("budget") else ""
    note = (
        f"A training step takes {words.size(plan.get('bytes'))}{of}; everything would take "
        f"{words.size(plan.get('full_bytes'))}, the head alone {words.size(plan.get('head_bytes'))}. "
        f"{len(learned)} of {len(rows)} layers are trainable besides the head."
    )

    cells = [
        [words.line(row.get("layer")), _what(row), words.plain(row.get("values")), words.size(row.get("bytes"))]
        for row in learned
    ]
    numbers = page.table(["layer, in order", "trainable part", "values", "memory"], cells, numeric=(2, 3))
    chart = _curve(points, metric.name) if plots.available() else None
    tried = page.table(
        ["tried for a few steps", "memory", f"{metric.name}, validation", "loss"],
        [
            [
                words.line(p.get("name")) + (" (taken)" if p.get("taken") else ""),
                words.size(p.get("bytes")),
                metric.format(p.get("validation")),
                words.plain(p.get("loss")),
            ]
            for p in points
        ],
        numeric=(1, 2, 3),
    )

    picture = _layers(rows) if plots.available() else None
    return page.card(
        "Trainable parameters",
        picture,
        page.details("all trainable layers", numbers) if learned else None,
        el("div", chart, tried, cls="two") if points else None,
        note=note,
    )


def _what(row: Mapping[str, Any]) -> str:
    share = words.finite(row.get("share")) or 0.0
    parts = ([f"{100 * share:.4g} % of the weights"] if share else []) + (["biases"] if row.get("bias") else [])
    return ", ".join(parts)


def _layers(rows: Sequence[Mapping[str, Any]]) -> ET.Element | None:
    """A column a layer, from input to head: trainable share of its weights, trainable biases, memory."""
    shares = [words.finite(row.get("share")) or 0.0 for row in rows]
    sizes = [words.finite(row.get("bytes")) or 0.0 for row in rows]
    with plots.canvas("planned", plots.WIDE, 3.0, "memory and trainable share of each layer") as (figure, out):
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        at = range(len(rows))
        above.bar(at, [s / 1e6 for s in sizes], color=plots.QUANTIZED, width=0.75)
        above.set_ylabel("MB")
        below.bar(at, [100 * s for s in shares], color=plots.PTQ, width=0.75, label="share of the weights")
        marks = [i for i, row in enumerate(rows) if row.get("bias")]
        below.plot(marks, [-14] * len(marks), "s", ms=4, color=plots.FLOAT, label="biases", clip_on=False)
        below.set_ylim(-24, 105)
        below.set_yticks([0, 50, 100])
        below.set_ylabel("% trainable")
        below.set_xlabel("layers in the order of computation, input first")
        step = max(1, len(rows) // 12)
        below.set_xticks(list(at)[::step], [str(i + 1) for i in at][::step])
        figure.legend(loc="outside upper right", ncols=2)

    return out[0]


def _curve(points: Sequence[Mapping[str, Any]], metric: str) -> ET.Element | None:
    curve_points = [
        (size, score, p)
        for p in points
        if (size := words.finite(p.get("bytes"))) and (score := words.finite(p.get("validation"))) is not None
    ]
    if len(curve_points) < 2:
        return None

    with plots.canvas("planned-curve", plots.NARROW, 3.0, f"{metric} against memory of a training step") as (
        figure,
        out,
    ):
        axes = figure.subplots()
        axes.grid(True, axis="y")
        axes.plot([s / 1e6 for s, _, _ in curve_points], [v for _, v, _ in curve_points], "-", color=plots.MUTED, lw=1)
        for number, (size, score, point) in enumerate(curve_points):
            colour = plots.PTQ if point.get("taken") else plots.QUANTIZED
            axes.plot(size / 1e6, score, "o", ms=7 if point.get("taken") else 5, color=colour)
            axes.annotate(
                words.line(point.get("name")),
                (size / 1e6, score),
                (0, 7 if number % 2 else -13),
                textcoords="offset points",
                fontsize=8,
                ha="center",
            )

        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.margins(x=0.15, y=0.2)
        axes.set_xlabel("memory of a training step, MB")
        axes.set_ylabel(words.line(metric))

    return out[0]
