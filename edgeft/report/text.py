"""Lines for a terminal: figures with units and intervals, an aligned table of gates, a sentence for the verdict.

Pure functions of JSON values. `color=True` (a terminal that wants it) paints verdict words and nothing else; control
characters in names are replaced, so no escape sequence of a bundle reaches the terminal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.verdict import ADVISORY, FAIL, INCONCLUSIVE, PASS, UNVERIFIED
from . import chosen, energy, float_model, origin, slower, streaming, words
from . import schemes as schemes_of

_PAINT = {
    PASS: "32",
    FAIL: "31;1",
    INCONCLUSIVE: "33",
    UNVERIFIED: "33;1",
    ADVISORY: "2",
    "ok": "32",
    "missing": "33",
    "broken": "31;1",
}
#: extras of a checkout, which nobody with an installed package needs
_OF_DEVELOPERS = ("dev", "peers")


def render(value: Mapping[str, Any], *, title: str = "", color: bool = False) -> str:
    """One bundle as `export` and `verify` print it: figures, the table of gates, the verdict and where it lies."""
    head = words.headline(value)
    unit = head["unit"]
    name = words.line(title or value.get("target") or "bundle")
    spread = words.interval(head["ci95"], unit, drop=True)
    figures = [
        (
            words.mark_recorded(head["metric"], head),
            f"{words.figure(head['float'], unit)} → {words.figure(head['quantized'], unit)}",
            f"drop {words.change(head['drop'], unit)} {spread}".strip(),
        ),
        (
            "latency",
            f"{words.figure(head['float_ms'], 'ms')} → {words.figure(head['quantized_ms'], 'ms')}",
            _speed(head),
        ),
        (
            "size",
            f"{words.size(head['float_bytes'])} → {words.size(head['quantized_bytes'])}",
            f"{head['size_ratio']:.2f}× smaller" if head["size_ratio"] else "",
        ),
        (
            "baselines",
            words.baselines(words.table(value.get("baselines")), head["metric_record"]),
            "of the same samples",
        ),
        ("threshold", *words.threshold(words.table(value.get("threshold")))),
        ("integer share", words.figure(head["int8_share"], "fraction"), "of the multiply-accumulates"),
        *words.compiler_rows(words.table(value.get("compiler"))),
    ]
    rows = [row for row in figures if set(row[1]) - set(f"{words.DASH} →")]
    lines = [f"{name}: {_paint(value.get('verdict') or 'no verdict', color)}{words.unverified(value)}"]
    lines += [f"  {text}" for text in table([], rows)]
    rate_text = words.control_rate(words.table(value.get("rate")))
    costs = rate_text, energy.line(value.get("energy")), streaming.line(value.get("stream"))
    lines += [f"  {text}" for text in costs if text]

    lines += [
        "",
        *(f"  {text}" for text in gates(value.get("gates") or (), head["format"], color=color)),
        "",
        words.sentence(value),
    ]

    if choice := chosen.sentence(value):
        heads, *body = table(chosen.HEADS, chosen.rows_of(value), right=chosen.FIGURES)
        lines += [choice, "", f"  {heads}", *(f"  {row}" for row in body), ""]
    lines += [float_note] if (float_note := float_model.sentence(value)) else []
    lines += [slow_note] if (slow_note := slower.sentence(value)) and not slower.told(value.get("gates")) else []
    lines += [f"warning: {words.line(warning)}" for warning in value.get("warnings") or ()]
    if notes := words.table(value.get("data")).get("notes"):
        lines.append(f"data: {words.line(notes[0])}")

    lines.append(f"trust: {origin.sentence(value)}")
    if value.get("path"):
        lines.append(f"bundle: {words.line(value['path'])}")

    return "\n".join(lines)


def gates(values: Sequence[Mapping[str, Any]], number_format: str, *, color: bool = False) -> list[str]:
    """The aligned table of gates with a reason under each gate that did not pass."""
    ordered = words.in_reading_order(values)
    if not ordered:
        return ["no gate measured anything"]

    rows = []
    for gate in ordered:
        unit = words.unit_of(gate)
        drop = words.finite(gate.get("drop"))
        spread = words.interval(gate.get("ci95"), unit, drop=drop is not None)
        change = words.change(drop, unit) if drop is not None else ""
        rows.append(
            (
                words.outcome(gate),
                words.title(gate),
                words.figure(gate.get("float"), unit),
                words.figure(gate.get("quantized"), unit),
                f"{change} {spread}".strip() or words.DASH,
                words.limit(gate),
                words.count(gate.get("n")),
            )
        )

    lines = table(("verdict", "gate", "float", number_format, "drop [95 %]", "limit", "n"), rows, right=(2, 3, 4, 5, 6))
    out = [lines[0]]
    for gate, text in zip(ordered, lines[1:]):
        verdict = words.outcome(gate)
        out.append(_paint(verdict, color) + text[len(verdict) :])
        if (gate.get("verdict") != PASS or gate.get("n_to_decide")) and gate.get("why"):
            out.append(f"    {words.line(gate['why'])}")

    return out


def reports(values: Sequence[Mapping[str, Any]], *, color: bool = False) -> str:
    """Several bundles as one table, a row each, and the sentence of every one that did not simply pass."""
    rows, notes = [], []
    for value in values:
        head = words.headline(value)
        unit = head["unit"]
        verdict, target = words.line(value.get("verdict") or "no verdict"), words.line(value.get("target") or "?")
        rows.append(
            (
                verdict + words.unverified(value),
                target,
                words.mark_recorded(
                    f"{words.figure(head['float'], unit)} → {words.figure(head['quantized'], unit)}", head
                ),
                f"{words.figure(head['speedup'], 'ratio')} {'on ' + head['where'] if head['where'] else ''}".strip(),
                f"{words.size(head['float_bytes'])} → {words.size(head['quantized_bytes'])}",
                words.figure(head["int8_share"], "fraction"),
            )
        )
        sentence = words.sentence(value)
        if value.get("verdict") != PASS or "Not verified" in sentence or "Few samples" in sentence:
            notes.append(f"{target}: {sentence}")

        notes += [
            f"{target}: {note}"
            for note in (chosen.sentence(value), float_model.sentence(value), slower.sentence(value))
            if note
        ]

    heads = ("verdict", "target", f"float → {words.common_format(values)}", "speed", "size", "integer share")
    lines = table(heads, rows, right=(2, 3, 4, 5))
    verdicts = [words.line(value.get("verdict") or "no verdict") for value in values]
    painted = [_paint(verdict, color) + text[len(verdict) :] for verdict, text in zip(verdicts, lines[1:])]

    of_key: dict[str, list[str]] = {}
    for value in values:
        of_key.setdefault(origin.sentence(value), []).append(words.line(value.get("target") or "?"))

    # One line where all are alike; else a line a kind, with the targets.
    notes += [f"trust: {said}" if len(of_key) == 1 else f"trust: {', '.join(t)}: {said}" for said, t in of_key.items()]

    return "\n".join([lines[0], *painted, "", *notes])


def tuned(summary: Mapping[str, Any], *, folder: str = "") -> str:
    """What `tune` prints at its end: float, PTQ and QAT rows, updated parameters, memory and time."""
    metric = words.metric_of(summary)
    before = words.finite(summary.get("float"))
    schemes = words.table(summary.get("schemes")) or {words.number_format(summary): summary}

    rows, notes = [("float", metric.format(before), "")], []
    for name, scheme in schemes.items():
        for label, value in schemes_of.quantized_rows(words.table(scheme)):
            lost = f"drop {metric.format_drop(metric.drop(before, value))}" if before is not None else ""
            rows.append((f"{words.line(name)}, {label}", metric.format(value), lost))
        said = (of(words.table(scheme)) for of in (schemes_of.retried, schemes_of.why_ptq, schemes_of.sentence))
        notes += [f"{words.line(name)}: {sentence}" for sentence in said if sentence]

    chance, name = words.finite(summary.get("chance")), words.line(summary.get("chance_is") or metric.chance)
    about = f"{metric.name} of {words.plain(summary.get('n'))} samples"
    if summary.get("unlabelled"):
        about += " without labels: what the float model answers counts as right"

    simple = {**({name: chance} if chance is not None else {}), **words.table(summary.get("baselines"))}
    lines = [about + (f" ({words.baselines(simple, metric)})" if simple else "")]
    lines += [*(f"  {text}" for text in table([], rows, right=(1, 2))), *notes]

    learned, total = (words.plain(summary.get(f"{which}_parameters")) for which in ("updated", "total"))
    took = f"{words.plain(summary.get('steps'))} steps in {words.duration(summary.get('seconds'))}"
    peak = words.size(summary.get("peak_training_bytes"))
    policy = summary.get("policy") or "full"
    how = f" ({words.line(policy)})" if policy != "full" else ""
    lines.append(f"{learned} of {total} parameters updated{how}; {took}, peak {peak}")

    lines += [f"warning: {words.line(text)}" for text in summary.get("leaks") or ()]
    if folder:
        lines.append(f"run: {words.line(folder)}")

    return "\n".join(lines)


def bench(result: Mapping[str, Any], *, color: bool = False) -> str:
    """One bench result: the verdict's sentence and the percentiles that the number of samples supports."""
    verdict = f"{_paint(result['verdict'], color)}: " if result.get("verdict") else ""
    rate_text = words.control_rate(result)
    lines = [verdict + words.slowdown(result)]

    if rows := words.latencies(result):
        heads, *body = rows
        lines += [f"  {text}" for text in table(heads, body, right=tuple(range(1, len(heads))))]
    else:
        shown = [
            (key[:-3], words.figure(result[key], "ms")) for key in words.PERCENTILES if result.get(key) is not None
        ]
        lines += [f"  {text}" for text in table([], shown, right=(1,))]

    lines += [f"  {spent}"] if (spent := energy.line(result.get("energy"))) else []
    lines += [f"note: {words.line(note)}" for note in result.get("notes") or []]
    return "\n".join([*lines, *([rate_text] if rate_text else [])])


def doctor(examination: Mapping[str, Any], *, color: bool = False) -> str:
    """What `edgeft doctor` found (`edgeft.doctor.examine`), for people."""
    cpu = examination["cpu"]
    lines = [f"edgeft {examination['edgeft']} · Python {examination['python']} · {examination['platform']}", ""]
    lines.append(
        f"cpu: {words.line(cpu['name'] or 'unknown')} ({cpu['isa']}, {cpu['usable']} of {cpu['cores']} cores usable)"
    )
    lines += [f"  {words.line(', '.join(cpu['flags']))}"] if cpu["flags"] else []
    ready = examination["ready"]
    able = [
        ("run and verify bundles", ", ".join(ready["run"]) or "no: no runtime loads"),
        ("train", "yes" if ready["train"] else "no: needs the extra tune"),
        ("export", ", ".join(ready["export"]) or "no: needs the extra tune and that of a runtime"),
    ]
    lines += [f"  {words.line(cpu['note'])}", "", "what works here", *[f"  {text}" for text in table([], able)]]
    lines += ["", "runtimes"]
    state = {True: "ok", False: "missing"}
    rows = [
        (
            state[r["loads"]] if r["loads"] or not r["installed"] else "broken",
            r["name"],
            r["version"] or r["why"],
            r["install"],
        )
        for r in examination["runtimes"]
    ]
    lines += [*_marked(rows, color), "", "extras, each needed only for what its name says"]
    extras = [e for e in examination["extras"] if e["complete"] or e["name"] not in _OF_DEVELOPERS]
    extras.sort(key=lambda extra: not extra["complete"])
    rows = [(state[e["complete"]], e["name"], e["install"], ", ".join(e["missing"])) for e in extras]
    lines += [*_marked(rows, color), "", "packages"]
    here = [(p["name"], p["version"]) for p in examination["packages"] if p["version"]]
    lines += [f"  {text}" for text in table([], here)]

    return "\n".join(lines)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """Columns two spaces apart, as wide as a terminal shows them (an East Asian character takes two places)."""
    cells = [[words.line(cell) for cell in row] for row in ([heads, *rows] if heads else rows)]
    if not cells:
        return []

    widths = [max(_width(row[i]) for row in cells) for i in range(len(cells[0]))]
    out = []
    for row in cells:
        padded = [
            " " * (width - _width(cell)) + cell if i in right else cell + " " * (width - _width(cell))
            for i, (cell, width) in enumerate(zip(row, widths))
        ]
        out.append("  ".join(padded).rstrip())

    return out


def _marked(rows: Sequence[tuple[str, ...]], color: bool) -> list[str]:
    return [f"  {_paint(row[0], color)}{text[len(row[0]) :]}" for row, text in zip(rows, table([], rows))]


def _speed(head: Mapping[str, Any]) -> str:
    if head["speedup"] is None:
        return ""
    spread = words.interval(head["ci99"], "ratio")
    where = f", on {head['where']}" if head["where"] else ""
    return f"{words.figure(head['speedup'], 'ratio')} float" + (f", 99 % {spread}" if spread else "") + where


def _paint(word: Any, color: bool) -> str:
    text = words.line(word)
    return f"\x1b[{_PAINT[text]}m{text}\x1b[0m" if color and text in _PAINT else text


def _width(text: str) -> int:
    wide = sum(1 for c in text if unicodedata.east_asian_width(c) in "WF")
    return len(text) + wide - sum(1 for c in text if unicodedata.combining(c))
