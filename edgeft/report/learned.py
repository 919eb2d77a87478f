"""state.html: the personalized state of a device, before and after, with forgetting, per class.

A board has no plotting library, so the bars are drawn here, as SVG.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..core import files
from ..core.errors import SystemFailure
from ..core.metric import Metric
from . import page, words
from .page import el

_FACTS = ("user", "when", "version", "state", "bundle", "labels", "share", "loss")
_BAR, _ROW, _LEFT, _RIGHT = 260, 26, 150, 110


def write(result: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Write the page of a personalization beside its state file; a page that cannot be written is a warning."""
    try:
        files.write_text(Path(result["state"]).with_suffix(".html"), render(result))
    except SystemFailure as error:  # the state file is safe; only the page is missing
        say(f"warning: the page was not written: {error.message}")


def render(result: Mapping[str, Any]) -> str:
    """The page of a personalization: `result` is what `edgeft.personalize` returns."""
    metric = words.metric_of(result)
    new, old = result["new"], result["reference"]
    state_text = f"version {result['version']} is in use" if result["version"] else "the model as exported is in use"
    header = el(
        "header",
        el("h1", "Personalization", " ", page.badge(result["verdict"], big=True)),
        el("p", words.line(result["why"])),
    )

    tiles = el(
        "div",
        page.tile(f"{result['metric']}, new samples held out", _arrow(new, metric), f"{new['n']} samples"),
        *(_others(result, old, metric) if old else _alone(result)),
        page.tile(
            "trained on", f"{result['samples']} samples", f"{result['steps']} steps at a rate of {result['rate']:g}"
        ),
        cls="tiles",
    )
    boxes: list[ET.Element | None] = [header, tiles]
    better = "more" if metric.higher_is_better else "less"

    for table, title, note in (
        (new, "New samples that were held out", f"never trained on; {better} is better"),
        (old, "Reference samples of what the model knew", "what gets worse here is forgotten"),
    ):
        boxes.append(_classes(table, title, note, metric) if table else None)

    facts = {key: result[key] for key in _FACTS if result.get(key) not in (None, [])}
    boxes.append(page.card("About", page.facts({"in use": state_text, **facts})))

    return page.document(
        "Personalization", [*(box for box in boxes if box is not None), el("footer", "Written by edgeft.")]
    )


def _others(result: Mapping[str, Any], old: Mapping[str, Any], metric: Metric) -> tuple[ET.Element, ...]:
    """What it cost."""
    limit = metric.format_limit(result["gates"][0]["limit"])
    note = f"{old['n']} samples, before: as exported"
    return (
        page.tile(f"{result['metric']}, reference samples", _arrow(old, metric), note),
        page.tile("forgetting", metric.format_drop(result["forgetting"]), f"limit {limit}"),
    )


def _alone(result: Mapping[str, Any]) -> tuple[ET.Element, ...]:
    """Of a user whose vectors alone moved."""
    return (page.tile("user", words.line(str(result["user"])), "of no other user anything changed"),)


def _arrow(table: Mapping[str, Any], metric: Metric) -> str:
    return f"{metric.format(table['before'])} → {metric.format(table['after'])}"


def _classes(table: Mapping[str, Any], title: str, note: str, metric: Metric) -> ET.Element | None:
    rows = words.table(table.get("per_class"))
    if not rows:
        return None

    cells = [
        (
            words.line(label),
            str(row["n"]),
            metric.format(row["before"]),
            metric.format(row["after"]),
            metric.format_drop(row["after"] - row["before"]),
        )
        for label, row in rows.items()
    ]
    numbers = page.table(("class", "samples", "before", "after", "change"), cells, numeric=(1, 2, 3, 4))

    return page.card(title, _bars(rows) if metric.unit == "fraction" and _shares(rows) else None, numbers, note=note)


def _shares(rows: Mapping[str, Any]) -> bool:
    return all(0 <= row[key] <= 1 for row in rows.values() for key in ("before", "after"))


def _bars(rows: Mapping[str, Any]) -> ET.Element:
    """Two bars a class from zero to one, before above after."""
    width, height = _LEFT + _BAR + _RIGHT, _ROW * len(rows) + 6
    svg = el(
        "svg", viewBox=f"0 0 {width} {height}", width=str(width), role="img", aria_label="before and after per class"
    )

    for number, (label, row) in enumerate(rows.items()):
        top = 3 + _ROW * number
        name = words.line(label)
        name = name if len(name) <= 20 else name[:19] + "…"
        svg.append(
            el("text", name, x=str(_LEFT - 8), y=str(top + 14), text_anchor="end", font_size="12", fill="currentColor")
        )
        for key, at, colour in (("before", top + 2, "var(--muted)"), ("after", top + 11, "var(--quantized)")):
            size = max(1.0, _BAR * float(row[key]))
            svg.append(el("rect", x=str(_LEFT), y=str(at), width=f"{size:.1f}", height="8", fill=colour))

        svg.append(
            el(
                "text",
                f"{100 * row['before']:.0f} → {100 * row['after']:.0f} %",
                x=str(_LEFT + _BAR + 6),
                y=str(top + 14),
                font_size="11",
                fill="currentColor",
            )
        )

    return svg
