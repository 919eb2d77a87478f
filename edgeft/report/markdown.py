"""A summary for a pull request: one row a target, then what was not verified and what failed, in words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.verdict import FAIL, INCONCLUSIVE, PASS, UNVERIFIED
from . import chosen, energy, float_model, slower, words

_SIGN = {PASS: "✅ pass", FAIL: "❌ fail", INCONCLUSIVE: "❔ inconclusive"}


def render(results: Mapping[str, Any] | Sequence[Mapping[str, Any]], title: str = "edgeft") -> str:
    """Markdown (GitHub flavour) of report.json contents, or of bench results (what has no `gates`): one or several.

    Strings are escaped so that none becomes markup.
    """
    every = [results] if isinstance(results, Mapping) else list(results)
    parts = [_bench(result, title) for result in every if "gates" not in result]
    reports = [result for result in every if "gates" in result]
    return "\n".join([*([_reports(reports, title)] if reports or not parts else []), *parts])


def _reports(reports: Sequence[Mapping[str, Any]], title: str) -> str:
    metric = f"metric, float → {words.common_format(reports)}"
    heads = ("target", "verdict", metric, "drop [95 %]", "speed over float", "size", "integer share")
    lines = [f"### {_escape(title)}", "", _row(heads), _row(["---"] * 2 + ["---:"] * 5)]
    notes: list[str] = []

    for report in reports:
        head = words.headline(report)
        target = _escape(report.get("target") or "?")
        gates = words.in_reading_order(report.get("gates"))
        advisory = {str(g.get("name")) for g in gates if g.get("verdict") == "advisory"}
        unit = head["unit"]
        spread = words.interval(head["ci95"], unit, drop=True)
        speed = words.figure(head["speedup"], "ratio")
        if head["where"] and speed != words.DASH:
            speed += f" ({'advisory, ' if 'latency' in advisory else ''}{_escape(head['where'])})"

        share = words.figure(head["int8_share"], "fraction") + (" (advisory)" if "integer" in advisory else "")
        bytes_ = f"{words.size(head['float_bytes'])} → {words.size(head['quantized_bytes'])}"
        scores = f"{words.figure(head['float'], unit)} → {words.figure(head['quantized'], unit)}"
        scores = f"{_escape(words.mark_recorded(head['metric'], head))} {scores}"
        verdict = _SIGN.get(str(report.get("verdict")), _escape(report.get("verdict") or "no verdict"))
        lines.append(
            _row(
                [target, verdict, scores, f"{words.change(head['drop'], unit)} {spread}".strip(), speed, bytes_, share]
            )
        )
        for gate in gates:
            if gate.get("verdict") in (UNVERIFIED, FAIL, INCONCLUSIVE) or gate.get("n_to_decide"):
                optional = "" if gate.get("required", True) or gate.get("verdict") == UNVERIFIED else " (not required)"
                why = _escape(gate.get("why") or "no reason was recorded")
                notes.append(f"- **{target}**: {_escape(words.title(gate))} **{gate.get('verdict')}**{optional}: {why}")

        for note in filter(None, (chosen.sentence(report), float_model.sentence(report))):
            notes.append(f"- **{target}**: {_escape(note)}")

        shown = [g for g in gates if g.get("verdict") in (FAIL, INCONCLUSIVE)]
        if (slow_note := slower.sentence(report)) and not slower.told(shown):
            notes.append(f"- **{target}**: {_escape(slow_note)}")

    rank = {UNVERIFIED: 0, FAIL: 1, INCONCLUSIVE: 2}
    notes.sort(key=lambda note: next((r for v, r in rank.items() if f"**{v}**" in note), 9))
    return "\n".join([*lines, *(["", *notes] if notes else [])]) + "\n"


def _bench(result: Mapping[str, Any], title: str) -> str:
    verdict = _SIGN.get(str(result.get("verdict")), "latency")
    about = " · ".join(_escape(result[key]) for key in ("target", "backend") if result.get(key))
    lines = [
        f"### {_escape(title)}: {verdict}",
        "",
        *([about, ""] if about else []),
        _escape(words.slowdown(result)),
        "",
    ]

    shown = [(key[:-3], words.figure(result[key], "ms")) for key in words.PERCENTILES if result.get(key) is not None]
    if rows := words.latencies(result):
        heads, *body = rows
        lines += [_row(heads), _row(["---"] + ["---:"] * (len(heads) - 1)), *map(_row, body)]
    elif shown:
        lines += [_row([k for k, _ in shown]), _row(["---:"] * len(shown)), _row([v for _, v in shown])]

    if result.get("notes"):
        lines += ["", *(f"- {_escape(note)}" for note in result["notes"])]
    if rate_text := words.control_rate(result):
        lines += ["", _escape(rate_text)]
    if spent := energy.line(result.get("energy")):
        lines += ["", _escape(spent)]

    return "\n".join(lines).rstrip() + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape(value: Any) -> str:
    """Text on one line in which no character starts markup, a mention or a cell."""
    text = words.line(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "@\u200b")
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", text)
