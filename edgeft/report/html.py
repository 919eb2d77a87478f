"""report.html: one self-contained offline page of a bundle, of a run before export, or of several of them.

Pure functions of report.json, manifest.json, summary.json and a few arrays. Without matplotlib the page has tables
where the charts would be.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.metric import Metric
from . import (
    chosen,
    compiled,
    figures,
    mixed_precision,
    origin,
    page,
    planned,
    searched,
    sections,
    shown_samples,
    words,
)
from . import schemes as schemes_of
from .page import el

#: extras that report.json may hold itself.
_KEPT = ("per_class", "extra_metrics", "threshold", "confusion", "int8", "layer_error", "history", "rows", "worst")
_FOOTER = "Written by edgeft. The figures are also in the JSON files beside the model."


@dataclass(frozen=True)
class Part:
    """One bundle or run on a page: its title, its boxes, and its row in the overview of several."""

    title: str
    boxes: tuple[ET.Element, ...]
    overview: tuple[Any, ...]


def render(
    report: Mapping[str, Any],
    manifest: Mapping[str, Any],
    run_summary: Mapping[str, Any] | None = None,
    extras: Mapping[str, Any] | None = None,
) -> str:
    """The page of one bundle: `document` of one `bundle_part`."""
    return document([bundle_part(report, manifest, run_summary, extras)])


def render_run(summary: Mapping[str, Any], history: Sequence[Mapping[str, Any]] = (), recipe_text: str = "") -> str:
    """The page of a run directory before export: `document` of one `run_part`."""
    return document([run_part(summary, history, recipe_text)])


def document(parts: Sequence[Part]) -> str:
    """The page as HTML text; several parts follow an overview with a row each."""
    if len(parts) == 1:
        return page.document(parts[0].title, [*parts[0].boxes, el("footer", _FOOTER)])

    heads = ["", "", "metric, float → quantized", "drop", "speed over float", "size", "integer share"]
    rows = [[el("a", part.title, href=f"#part{i}"), *part.overview] for i, part in enumerate(parts)]
    children: list[Any] = [
        el("header", el("h1", f"{len(parts)} results")),
        page.card("Overview", page.table(heads, rows, numeric=(2, 3, 4, 5, 6))),
    ]

    for i, part in enumerate(parts):
        article = el("article", *part.boxes)
        page.rename_ids(article, f"part{i}")
        article.set("id", f"part{i}")
        children.append(article)

    return page.document("edgeft report", [*children, el("footer", _FOOTER)])


def bundle_part(
    report: Mapping[str, Any],
    manifest: Mapping[str, Any],
    run_summary: Mapping[str, Any] | None = None,
    extras: Mapping[str, Any] | None = None,
) -> Part:
    """One bundle.

    `report` is report.json, `manifest` manifest.json, `run_summary` summary.json or None (then what the manifest's
    provenance keeps of it). `extras`, each optional, else taken from `report["details"]` or the report itself:

    - `latency_samples` {"float": [ms], "quantized": [ms]}: milliseconds a run; else `report["latency"]["samples_ms"]`;
    - `per_class` {label: {"float", "quantized", "n"[, "drop"]}}: the task's metric of each class;
    - `extra_metrics` {name: {"float", "quantized"}} and `confusion` {"labels", "float", "quantized"}: counts (C, C);
    - `samples` [{"image" uint8 (H, W[, C]) or "text", "label", "float", "quantized"[, "group"]}]: decisions of both, in
      a card a group ("flipped", "worst", or those that the bundle carries); `worst`: the first two in words, for a page
      without their pictures;
    - `layer_error` [{"name", "sqnr_db", ...}]: further keys become columns;
    - `auto`: the record of a search for layers in float, as summary.json has it;
    - `history`: the rows of metrics.jsonl; `rows` {"float", "ptq", "quantized"}: the metric of each;
    - `int8` {"share", "float_ops": {op: count}}: `runtime.IntegerShare` of the artifact.

    Values may be None or NaN (nothing measured) and strings may hold anything.
    """
    facts = {key: report[key] for key in _KEPT if key in report} | dict(words.table(report.get("details")))
    facts["latency_samples"] = words.table(report.get("latency")).get("samples_ms")
    extras = facts | {key: value for key, value in (extras or {}).items() if value is not None}
    run_summary = run_summary or words.table(words.table(manifest.get("provenance")).get("run"))
    head = words.headline(report)
    name = words.line(manifest.get("name") or report.get("name") or "model")
    target = words.line(report.get("target") or manifest.get("target") or "?")
    runtime = words.table(manifest.get("runtime"))
    boxes = [
        sections.header(report, manifest, name, target, runtime),
        el("p", origin.PAGE, cls="muted"),
        sections.unverified(report),
        sections.tiles(head, extras),
        chosen.card(report),
        sections.gates(report, head["format"]),
        sections.accuracy_and_size(head, manifest, run_summary, extras),
        sections.latency(head, report, extras),
        sections.per_class(head, report, extras),
        *figures.boxes(extras, head["format"]),
        *shown_samples.boxes(extras.get("samples"), head["format"]),
        shown_samples.listed(extras.get("worst"), head["format"]),
        mixed_precision.card(extras.get("auto"), head["metric_record"], head["format"]),
        sections.layers(extras),
        sections.integer(head, extras, runtime),
        compiled.card(report, head["metric_record"]),
        searched.card(runtime),
        planned.card(words.table(run_summary).get("plan"), head["metric_record"]),
        sections.training(extras.get("history"), head["metric"]),
        sections.provenance(report, manifest, run_summary, runtime),
    ]

    boxes_shown = tuple(box for box in boxes if box is not None)
    return Part(f"{name} on {target}", boxes_shown, (page.badge(report.get("verdict")), *_overview(head)))


def _overview(head: Mapping[str, Any]) -> tuple[str, ...]:
    """The figures of a bundle's row where a page has several."""
    unit = head["unit"]
    where = f" on {head['where']}" if head["where"] and head["speedup"] is not None else ""
    return (
        f"{words.figure(head['float'], unit)} → {words.figure(head['quantized'], unit)}",
        words.change(head["drop"], unit),
        words.figure(head["speedup"], "ratio") + where,
        f"{words.size(head['float_bytes'])} → {words.size(head['quantized_bytes'])}",
        words.figure(head["int8_share"], "fraction"),
    )


def run_part(summary: Mapping[str, Any], history: Sequence[Mapping[str, Any]] = (), recipe_text: str = "") -> Part:
    """One run directory: `summary` is summary.json, `history` the rows of metrics.jsonl, `recipe_text` recipe.toml."""
    metric = words.metric_of(summary)
    name = words.line(summary.get("name") or summary.get("task") or "run")
    before, after = words.finite(summary.get("float")), words.finite(summary.get("quantized"))
    lost = metric.format_drop(metric.drop(before, after) if before is not None and after is not None else None)
    learned, total = words.finite(summary.get("updated_parameters")), words.finite(summary.get("total_parameters"))
    share = f"{100 * learned / total:.1f} % of {words.plain(total)}" if learned is not None and total else ""
    took = f"{words.duration(summary.get('seconds'))}, {words.plain(summary.get('steps'))} steps"
    schemes = {name: words.table(row) for name, row in words.table(summary.get("schemes")).items()}
    first = next(iter(schemes.values()), {})
    number_format = words.number_format(first)
    tiles = el(
        "div",
        page.tile(f"{metric.name}, float", metric.format(before), f"{words.plain(summary.get('n'))} samples"),
        page.tile(f"{metric.name}, {number_format}", metric.format(after), f"drop {lost}"),
        page.tile("updated parameters", words.plain(learned), share),
        page.tile("training memory, peak", words.size(summary.get("peak_training_bytes")), took),
        cls="tiles",
    )

    rows = {key: summary.get(key) for key in ("float", "ptq", "quantized")}
    how: dict[str, Any] = {"ptq_only": schemes_of.origin(first) == "ptq", "in_float": len(schemes_of.returned(first))}
    chart = sections.accuracy_chart(rows, metric, summary, number_format, **how)
    by_scheme = _schemes(schemes, metric)
    versions = words.table(summary.get("versions"))
    boxes = [
        el(
            "header",
            el("h1", f"{name}: a run, not yet exported"),
            el("p", "Figures of the quantized graph in training. The artifact is verified at export.", cls="muted"),
        ),
        tiles,
        page.card("Accuracy", el("div", chart, by_scheme, cls="two")),
        planned.card(summary.get("plan"), metric),
        *(
            mixed_precision.card(row.get("auto"), metric, words.number_format(row), scheme)
            for scheme, row in schemes.items()
        ),
        sections.training(history, metric.name),
        page.card("Recipe", el("pre", el("code", recipe_text))) if recipe_text else None,
        page.card("Versions", page.facts(versions)) if versions else None,
    ]

    scores = f"{metric.format(before)} → {metric.format(after)}"
    overview = ("not exported", scores, lost, *[words.DASH] * 3)
    return Part(f"{name}, run", tuple(box for box in boxes if box is not None), overview)


def _schemes(schemes: Mapping[str, Mapping[str, Any]], metric: Metric) -> ET.Element | None:
    """The metric of each scheme as calibrated and, where a scheme's trained weights were taken, as trained."""
    if not schemes:
        return None

    labels = list(dict.fromkeys(label for row in schemes.values() for label, _ in schemes_of.quantized_rows(row)))
    cells = [
        [name, *(metric.format(dict(schemes_of.quantized_rows(row)).get(label)) for label in labels)]
        for name, row in schemes.items()
    ]
    notes = [
        el("p", f"{name}: {why}", cls="muted")
        for name, row in schemes.items()
        for why in filter(None, (schemes_of.retried(row), schemes_of.why_ptq(row)))
    ]
    table = page.table(["scheme", *labels], cells, numeric=range(1, len(labels) + 1))

    return el("div", el("h3", "by scheme"), table, *notes)
