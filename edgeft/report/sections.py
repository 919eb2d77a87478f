"""The parts of a report page, functions of JSON values: each returns one box, or None when it has nothing to say."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.metric import Metric
from ..core.verdict import ADVISORY, UNVERIFIED
from . import energy, float_model, page, plots, schemes, slower, streaming, words
from .page import el
from .words import table as _table

#: rows of a table of classes that is open
_MOST_CLASSES = 24
_PERSONAL = ("user", "host", "hostname", "path")  # what a page that is passed on should not tell


def header(
    report: Mapping[str, Any], manifest: Mapping[str, Any], name: str, target: str, runtime: Mapping[str, Any]
) -> ET.Element:
    engine = words.line(f"{runtime.get('name') or report.get('backend') or '?'} {runtime.get('version') or ''}")
    about = " · ".join(filter(None, [words.line(manifest.get("task") or ""), engine, _scheme_name(manifest)]))
    return el(
        "header",
        el(
            "div",
            el("div", el("h1", f"{name} on {target}"), el("p", about, cls="muted")),
            page.badge(report.get("verdict"), big=True),
            cls="head",
        ),
        el("p", " ".join(filter(None, [float_model.sentence(report), words.sentence(report)]))),
        el("p", slow_note) if (slow_note := slower.sentence(report)) else None,
    )


def unverified(report: Mapping[str, Any]) -> ET.Element | None:
    """What nobody checked comes before everything that was."""
    gates = words.in_reading_order(report.get("gates"))
    open_, advisory = ([g for g in gates if g.get("verdict") == v] for v in (UNVERIFIED, ADVISORY))
    warnings = _list(report.get("warnings"))
    if not open_ and not advisory and not warnings:
        return None

    def items(chosen: list[dict[str, Any]]) -> ET.Element:
        return el("ul", *(el("li", el("b", words.title(g)), ": ", str(g.get("why") or "")) for g in chosen))

    return el(
        "section",
        *([el("h2", "Not verified here"), items(open_)] if open_ else []),
        *([el("h2", "Advisory: these gates do not affect the verdict"), items(advisory)] if advisory else []),
        *([el("h2", "Warnings"), el("ul", *(el("li", str(text)) for text in warnings))] if warnings else []),
        cls="card callout",
    )


def tiles(head: Mapping[str, Any], extras: Mapping[str, Any]) -> ET.Element:
    unit = head["unit"]
    where = f"measured on: {head['where']}" if head["where"] else ""
    speed = words.interval(head["ci99"], "ratio")
    share = head["int8_share"] if head["int8_share"] is not None else _table(extras.get("int8")).get("share")
    spread = words.interval(head["ci95"], unit, drop=True)
    lost = f"drop {words.change(head['drop'], unit)} {spread}".strip() if head["drop"] is not None else ""
    smaller = f"{head['size_ratio']:.2f}× smaller" if head["size_ratio"] else ""

    return el(
        "div",
        page.tile(
            words.mark_recorded(f"{head['metric']}, {head['format']}", head),
            words.figure(head["quantized"], unit),
            f"float {words.figure(head['float'], unit)}",
            lost,
        ),
        page.tile(
            "speed over float",
            words.figure(head["speedup"], "ratio"),
            f"{words.figure(head['quantized_ms'], 'ms')} against {words.figure(head['float_ms'], 'ms')}",
            f"99 % interval {speed}" if speed else "",
            where,
        ),
        page.tile("size", words.size(head["quantized_bytes"]), f"float {words.size(head['float_bytes'])}", smaller),
        page.tile(
            "integer share", words.figure(share, "fraction"), "of the multiply-accumulates ran in integer kernels"
        ),
        cls="tiles",
    )


def gates(report: Mapping[str, Any], number_format: str) -> ET.Element:
    rows = []
    for gate in words.in_reading_order(report.get("gates")):
        unit = words.unit_of(gate)
        drop = words.finite(gate.get("drop"))
        spread = words.interval(gate.get("ci95"), unit, drop=drop is not None)
        about, _, subject = words.title(gate).partition(" (")
        title = el("div", el("b", about), el("div", subject[:-1], cls="muted small") if subject else None)
        silent = not gate.get("required", True) and gate.get("verdict") not in (UNVERIFIED, ADVISORY)
        optional = "(not required) " if silent else ""
        rows.append(
            [
                page.badge(words.outcome(gate)),
                title,
                words.figure(gate.get("float"), unit),
                words.figure(gate.get("quantized"), unit),
                el("div", words.change(drop, unit), el("div", spread, cls="muted small") if spread else None),
                words.limit(gate),
                words.count(gate.get("n")),
                optional + str(gate.get("why") or ""),
            ]
        )

    if not rows:
        return page.card("Gates", el("p", "Nothing was measured."))

    heads = ["", "gate", "float", number_format, "drop [95 %]", "limit", "n", "why"]
    return page.card("Gates", page.table(heads, rows, numeric=(2, 3, 4, 5, 6), why=7))


def accuracy_chart(
    rows: Mapping[str, Any],
    metric: Metric,
    run: Mapping[str, Any],
    number_format: str,
    *,
    ptq_only: bool,
    in_float: int = 0,
) -> ET.Element:
    """`run` is the run's summary, which has the chance level; `in_float` layers were returned to float."""
    calibrated, trained = f"{number_format}, calibrated (PTQ)", f"{number_format}, trained (QAT)"
    trained = f"{number_format}, {schemes.in_float(in_float)}" if in_float else trained
    names = {"float": "float", "ptq": calibrated, "quantized": trained}
    if ptq_only and not in_float:
        names = {"float": "float", "quantized": calibrated}

    chart_rows = [(text, words.finite(rows.get(key)), metric.format(rows.get(key)), key) for key, text in names.items()]
    level = words.finite(run.get("chance"))
    chart = None

    if plots.available():
        name = words.line(run.get("chance_is") or metric.chance)
        mark = (f"{name} {metric.format(level)}", level) if level is not None else None
        chart = plots.figures("accuracy", chart_rows, mark)

    if all(value is None for _, value, _, _ in chart_rows):
        chart = el("p", "Not measured.")
    if chart is None:
        chart = page.table(["", metric.name], [[text, shown] for text, _, shown, _ in chart_rows], numeric=(1,))

    simple = words.baselines(words.table(run.get("baselines")), metric)
    note = el("p", f"Simple methods on the same samples: {simple}.") if simple else None
    return el("div", el("h3", metric.name), chart, note, cls="half")


def accuracy_and_size(
    head: Mapping[str, Any], manifest: Mapping[str, Any], run: Mapping[str, Any] | None, extras: Mapping[str, Any]
) -> ET.Element:
    run = run or {}
    rows = {
        "float": head["float"] if head["float"] is not None else run.get("float"),
        "ptq": run.get("ptq"),
        "quantized": head["quantized"] if head["quantized"] is not None else run.get("quantized"),
        **{k: v for k, v in _table(extras.get("rows")).items() if words.finite(v) is not None},
    }

    origin = _table(manifest.get("provenance"))
    how: dict[str, Any] = {"ptq_only": origin.get("method") == "ptq", "in_float": len(_list(origin.get("keep_float")))}
    accuracy = accuracy_chart(rows, head["metric_record"], run, head["format"], **how)
    sizes = [
        ("float", head["float_bytes"], words.size(head["float_bytes"]), "float"),
        (head["format"], head["quantized_bytes"], words.size(head["quantized_bytes"]), "quantized"),
    ]
    size = plots.figures("size", sizes) if plots.available() else None
    lost = plots.drop(head["drop"], head["ci95"], head["limit"], head["unit"]) if plots.available() else None
    files = size if size is not None else page.table(["", "size"], [[a, c] for a, _, c, _ in sizes], numeric=(1,))
    spread = [el("h3", f"drop of {head['metric']} with its 95 % interval"), lost] if lost is not None else []
    right = el("div", el("h3", "model files"), files, *spread, cls="half")

    return page.card("Accuracy and size", el("div", accuracy, right, cls="two"), _netron(manifest))


def _netron(manifest: Mapping[str, Any]) -> ET.Element | None:
    """How to look at the graph of the model file."""
    graphs = [_table(graph) for graph in _list(manifest.get("graphs"))]
    names = [words.line(graph["file"]) for graph in graphs if graph.get("file")]
    if not names:
        return None
    command = el("code", f"pip install netron && netron {names[0]}")
    return el("p", "To look at the layers of the model file, open it in Netron: ", command, cls="muted small")


def latency(head: Mapping[str, Any], report: Mapping[str, Any], extras: Mapping[str, Any]) -> ET.Element | None:
    samples = _table(extras.get("latency_samples"))
    clean = {k: [v for v in map(words.finite, _list(samples.get(k))) if v is not None] for k in ("float", "quantized")}
    if not any(clean.values()):
        return None

    rows = [
        [label, *(f"{v:.4g}" for v in (min(values), *np.percentile(values, [50, 90, 95]))), len(values)]
        for label, values in (("float", clean["float"]), (head["format"], clean["quantized"]))
        if values
    ]
    table = page.table(
        ["ms", "min", "p50", "p90", "p95", "measurements"], [[str(c) for c in r] for r in rows], numeric=(1, 2, 3, 4, 5)
    )
    chart = plots.latency(clean, head["format"]) if plots.available() else None
    where = f"Measured on: {head['where']}. " if head["where"] else ""
    pair = f"float and {head['format']} interleaved in one process"
    note = f"{where}Each measurement is one run or the mean of a few, {pair}."
    rate_text = words.control_rate(_table(report.get("rate")))

    return page.card(
        "Latency",
        el("p", el("b", rate_text)) if rate_text else None,
        el("p", spent) if (spent := energy.line(report.get("energy"))) else None,
        el("p", text) if (text := streaming.line(report.get("stream"))) else None,
        chart,
        page.details("as a table", table) if chart is not None else table,
        note=note,
    )


def per_class(head: Mapping[str, Any], report: Mapping[str, Any], extras: Mapping[str, Any]) -> ET.Element | None:
    table = {str(k): _table(v) for k, v in _table(extras.get("per_class")).items()}
    note = words.classes_named(report, head["unit"])
    if not table and not note:
        return None

    unit = head["unit"]

    rows = []
    for label, row in table.items():
        lost = words.drop_of(row, head["metric_record"])
        scores = [words.figure(row.get(key), unit) for key in ("float", "quantized")]
        rows.append((lost, [label, *scores, words.change(lost, unit), words.plain(row.get("n"))]))

    rows.sort(key=lambda r: -r[0] if r[0] is not None else 1e9)
    full = (
        page.table(["class", "float", head["format"], "drop", "n"], [r for _, r in rows], numeric=(1, 2, 3, 4))
        if rows
        else None
    )

    chart = plots.per_class(table, head["metric_record"], head["format"]) if table and plots.available() else None
    if chart is not None and full is not None and len(rows) > _MOST_CLASSES:
        full = page.details(f"all {len(rows)} classes as a table", full)

    return page.card("Per class", chart, full, note=note)


def layers(extras: Mapping[str, Any]) -> ET.Element | None:
    rows = [r for r in _list(extras.get("layer_error")) if isinstance(r, Mapping)]
    if not rows:
        return None

    rows.sort(key=lambda r: value if (value := words.finite(r.get("sqnr_db"))) is not None else float("inf"))
    keys = list(dict.fromkeys(["name", "sqnr_db", *(str(k) for row in rows for k in row)]))
    cells = [[words.cell(r.get(k)) for k in keys] for r in rows]
    table = page.table(keys, cells, numeric=range(1, len(keys)))
    chart = plots.layers(rows) if plots.available() else None
    shown = f" The worst 24 of {len(rows)}." if len(rows) > 24 else ""
    note = (
        "The noise that quantization adds to each layer's output (or input), in decibels below its signal: 20 dB is a "
        f"tenth. The names are patterns that quantize.keep_float takes.{shown}"
    )

    return page.card(
        "Quantization error by layer",
        chart,
        page.details("as a table", table) if chart is not None else table,
        note=note,
    )


def integer(head: Mapping[str, Any], extras: Mapping[str, Any], runtime: Mapping[str, Any]) -> ET.Element | None:
    stored = _table(extras.get("int8"))
    share = words.finite(stored.get("share", head["int8_share"]))
    ops = _table(stored.get("float_ops"))
    if share is None and not ops:
        return None

    width = 100 * min(max(share or 0.0, 0.0), 1.0)
    engine = words.line(runtime.get("name") or "the runtime")

    if ops:
        chips = el(
            "ul", *(el("li", el("code", words.line(op)), f" × {words.plain(n)}") for op, n in ops.items()), cls="plain"
        )
        listed = el("div", el("p", "Ops that stayed float:"), chips)
    else:
        listed = el(
            "p",
            "No computing op stayed float." if "float_ops" in stored else "Which ops stayed float was not recorded.",
        )

    return page.card(
        "Integer share",
        el(
            "p",
            el("b", words.figure(share, "fraction")),
            f" of the multiply-accumulates ran in integer kernels of {engine}.",
        ),
        el("div", el("i", style=f"width:{width:.2f}%"), cls="meter"),
        listed,
    )


def training(history: Any, metric: str) -> ET.Element | None:
    rows = [r for r in _list(history) if isinstance(r, Mapping)]
    if not rows:
        return None

    chart = plots.curves(rows, metric) if plots.available() else None
    keys = list(dict.fromkeys(str(k) for row in rows for k in row))[:10]
    cells = [[words.cell(r.get(k)) for k in keys] for r in rows[-200:]]
    table = page.table(keys, cells)

    return page.card("Training", chart, page.details("as a table", table) if chart is not None else table)


def provenance(
    report: Mapping[str, Any], manifest: Mapping[str, Any], run: Mapping[str, Any] | None, runtime: Mapping[str, Any]
) -> ET.Element:
    machine = {k: v for k, v in _table(report.get("fingerprint")).items() if k not in _PERSONAL}
    versions = {**_table(_table(run).get("versions")), **_table(_table(manifest.get("provenance")).get("versions"))}
    origin = {k: v for k, v in _table(manifest.get("provenance")).items() if k not in ("versions", "fingerprint")}
    blocks = [
        (title, page.facts(values))
        for title, values in (
            ("measured on", machine),
            ("runtime", runtime),
            ("versions", versions),
            ("scheme", _table(manifest.get("scheme"))),
            ("requires", _table(manifest.get("requires"))),
        )
        if values
    ]
    columns = el("div", *(el("div", el("h3", title), facts) for title, facts in blocks), cls="two")
    files = _table(manifest.get("files"))
    rows = [
        [path, words.size(_table(f).get("bytes")), words.line(_table(f).get("sha256", ""))] for path, f in files.items()
    ]
    listing = page.details(
        f"{len(rows)} files with their digests", page.table(["file", "size", "sha256"], rows, numeric=(1,))
    )
    provenance_card = page.details("how it was made: recipe, data, run", page.facts(origin)) if origin else None

    return page.card("Fingerprint and versions", columns, provenance_card, listing if rows else None)


def _scheme_name(manifest: Mapping[str, Any]) -> str:
    scheme = manifest.get("scheme")
    return words.line((scheme.get("name") or "") if isinstance(scheme, Mapping) else scheme or "")


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple, np.ndarray)) else []
