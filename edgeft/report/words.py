"""The sentences and rows that a page, a terminal and a pull request share; figures are written by `core.metric`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from .. import tasks
from ..config.scheme import Scheme
from ..core.metric import (
    DASH,
    Metric,
    change,
    figure,
    finite,
    from_dict,
    gate_unit,
    interval,
    pair,
    plain,
    size,
)
from ..core.verdict import ADVISORY, FAIL, INCONCLUSIVE, PASS, UNVERIFIED
from .limits import NO_LIMIT, WITH_LIMITS, limitless, recorded_keys, recorded_only

__all__ = ["DASH", "change", "figure", "finite", "interval", "pair", "plain", "size"]
#: the order in which gates are read: what was not checked comes first, then what went wrong.
READING_ORDER = (UNVERIFIED, FAIL, INCONCLUSIVE, PASS, ADVISORY)
#: keys of a bench result that are times, in the order people read them.
PERCENTILES = ("min_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms")
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)

#: what the reason of a gate says of test samples that are trained on
_LEAKED = "also in the training split"


def clean(value: Any) -> str:
    """`value` as text without control characters and marks of direction, safe in XML and on a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", "" if value is None else str(value))


def line(value: Any) -> str:
    """`clean`, on one line."""
    return " ".join(clean(value).split())


def table(value: Any) -> Mapping[str, Any]:
    """`value` if it is a JSON object, else an empty one: a report may lack any of its parts."""
    return value if isinstance(value, Mapping) else {}


def drop_of(values: Mapping[str, Any], metric: Metric) -> float | None:
    """The `drop` of a row, else that of its `float` and `quantized`; None without both."""
    recorded, before, after = (finite(values.get(key)) for key in ("drop", "float", "quantized"))
    if recorded is not None:
        return recorded
    return metric.drop(before, after) if before is not None and after is not None else None


def metric_of(*documents: Mapping[str, Any] | None, name: Any = None) -> Metric:
    """The record of the metric that a summary, a report or a manifest is about: the first `metric_record` of them.

    Files of edgeft 0.1.0 hold its name alone (`name`, else their key `metric`): then it is a known task's record.
    """
    for document in documents:
        if (record := from_dict(table(document).get("metric_record"))) is not None:
            return replace(record, name=line(record.name), unit=line(record.unit), chance=line(record.chance))

    names = [name, *(table(document).get("metric") for document in documents)]
    text = next((line(value) for value in names if isinstance(value, str) and value), "metric")
    return tasks.metric_named(text) or Metric(text)


def title(gate: Mapping[str, Any]) -> str:
    """A gate's name and what it judged: "parity (recorded outputs)", "parity (encoder: recorded outputs)".

    A metric that is called as the gate adds nothing: "accuracy". Figures of an earlier report that were not measured
    again are marked: "accuracy (recorded)", "parity (quantized graph, recorded)".
    """
    name, metric, graph = (line(gate.get(key) or "") for key in ("name", "metric", "graph"))
    subject = ": ".join(filter(None, [graph, metric.replace("_", " ") if metric != name else ""]))
    subject = ", ".join(filter(None, [subject, "recorded" if gate.get("recorded") else ""]))
    return f"{name or '?'} ({subject})" if subject else name or "?"


def unit_of(gate: Mapping[str, Any]) -> str:
    """The unit of a gate's `float` and `quantized`, see `core.metric`; files of 0.1.0 hold the metric's name alone."""
    if isinstance(gate.get("unit"), str) and gate["unit"]:
        return line(gate["unit"])
    return gate_unit(str(gate.get("name")), str(gate.get("metric"))) or metric_of(name=gate.get("metric")).unit


def cell(value: Any) -> str:
    """Any JSON value on one line: a number as `plain`, one that is not finite as a dash, nothing as nothing."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return plain(value) if isinstance(value, (int, float)) else line(value)


def count(value: Any) -> str:
    """How many: exact below a million, else three digits and a decimal prefix (multiply-accumulates)."""
    number = finite(value)
    if not number:
        return DASH

    for suffix, factor in (("G", 1e9), ("M", 1e6)):
        if number >= factor:
            return f"{number / factor:.3g} {suffix}"

    return plain(number)


def duration(value: Any) -> str:
    """Seconds for people."""
    number = finite(value)
    if number is None:
        return DASH
    if number < 60:
        return f"{number:.3g} s"

    minutes, seconds = divmod(round(number), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def limit(gate: Mapping[str, Any]) -> str:
    """A gate's limit as a condition ("≤ 1.00 points"); a dash where there is none or a budget of 0 says none."""
    value, unit, name = finite(gate.get("limit")), unit_of(gate), gate.get("name")
    if value is None or (value == 0 and (name in WITH_LIMITS or limitless(gate))):
        return DASH
    if name == "accuracy":
        return f"drop ≤ {change(value, unit).lstrip('+')}"
    if name in ("agreement", "integer"):
        return f"≥ {figure(value, unit)}"
    if name == "latency" and unit == "ratio":
        return f"≥ {figure(value, unit)}"

    return f"≤ {figure(value, unit)}"


def outcome(gate: Mapping[str, Any]) -> str:
    """A gate's verdict as it is shown: "no limit" instead of a pass that nothing could fail."""
    return NO_LIMIT if limitless(gate) else line(gate.get("verdict") or "?")


def in_reading_order(gates: Any) -> list[dict[str, Any]]:
    """The gates as they are shown: unverified first, then failures; other gates that are not required come last."""
    rank = {verdict: i for i, verdict in enumerate(READING_ORDER)}
    return sorted(
        (dict(g) for g in gates or () if isinstance(g, Mapping)), key=lambda g: rank.get(str(g.get("verdict")), 9)
    )


def unverified(report: Mapping[str, Any]) -> str:
    """What stands behind the verdict of a bundle that was not verified in full: " (unverified: vela)", or ""."""
    names = [line(name) for name in report.get("unverified") or () if isinstance(name, str)]
    return f" (unverified: {', '.join(names)})" if names else ""


def compiler_rows(compiler: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(what, figure, remark) of what a vendor's compiler made of the model, [] where none ran."""
    if not compiler:
        return []

    name = f"{line(compiler.get('name') or '?')} {line(compiler.get('version') or '')}".strip()
    if not compiler.get("accepted"):
        return [(name, "refused", line(compiler.get("refusal") or ""))]

    ops, macs = (finite(compiler.get(f"coverage_{kind}")) for kind in ("ops", "macs"))
    left = ", ".join(line(op) for op in compiler.get("fallback") or ())
    coverage = f"{figure(macs, 'fraction')} of the MACs, {figure(ops, 'fraction')} of the operations"
    rows = [(name, "on the accelerator", coverage + (f"; on the CPU: {left}" if left else ""))]

    if estimate := table(compiler.get("estimate")):
        parts = [
            f"{plain(finite(value))} {key}" if key == "cycles" else f"{figure(finite(value), 'ms')}"
            for key, value in estimate.items()
            if key in ("cycles", "milliseconds")
        ]
        parts += [
            f"{key[:-6].upper()} {size(finite(value))}" for key, value in estimate.items() if key.endswith("_bytes")
        ]
        rows.append(("vendor's estimate", ", ".join(parts), "of the compiler, not measured"))

    return rows


def sentence(report: Mapping[str, Any]) -> str:
    """The verdict in one sentence that names the gates which decided it, and what nobody checked."""
    gates = in_reading_order(report.get("gates"))

    def names(verdict: str) -> str:
        names_of_gates = [line(g.get("name", "?")) for g in gates if g.get("verdict") == verdict]
        return ", ".join(dict.fromkeys(names_of_gates))

    deciding = [g for g in gates if g.get("required", True) and g.get("verdict") in (PASS, FAIL, INCONCLUSIVE)]
    verdict = report.get("verdict")
    if verdict == PASS:
        text = f"All {sum(not limitless(g) for g in deciding)} required gates passed."
    elif verdict == FAIL:
        bad = [line(g.get("name", "?")) for g in deciding if g.get("verdict") == FAIL]
        text = f"Failed: {', '.join(dict.fromkeys(bad))}." if bad else "Failed: no required gate was measured."
    elif verdict == INCONCLUSIVE:
        text = f"Too noisy to judge: {names(INCONCLUSIVE) or 'the measurement'}."
        if any(_LEAKED in str(g.get("why", "")) for g in deciding):
            text = f"Not decided: {names(INCONCLUSIVE)}, since test samples are trained on too (data.allow_leak)."
    else:
        text = "No verdict."

    text += few_samples(gates)
    if open_gates := names(UNVERIFIED):
        text += f" Not verified here: {open_gates}."
    commands = [line(g["remedy"]) for g in gates if g.get("verdict") == UNVERIFIED and g.get("remedy")]
    if commands:
        installs = commands[0].startswith("edgeft device")  # what was installed judges at the next export
        text += f" To verify it: `{commands[0]}`{', then export again' if installs else ''}."
    if unlimited := dict.fromkeys(line(g.get("name", "?")) for g in gates if limitless(g)):
        text += f" No limit is set: {', '.join(unlimited)}."
    if advisory := names(ADVISORY):
        text += f" Advisory only: {advisory}."
    if recorded := [line(g.get("name", "?")) for g in gates if g.get("recorded")]:
        text += f" Recorded, not measured here: {', '.join(dict.fromkeys(recorded))}."
    text += recorded_keys([line(key) for key in recorded_only(report)])
    return text


def few_samples(gates: Iterable[Mapping[str, Any]]) -> str:
    """A sentence about gates whose number of samples leaves the decision open, with a space before it; "" of none."""
    parts = [
        f"{line(gate.get('name', '?'))} was judged on {plain(gate.get('n'))} "
        f"{'sample' if gate.get('n') == 1 else 'samples'}, where about {plain(gate['n_to_decide'])} would decide"
        for gate in gates
        if finite(gate.get("n_to_decide")) and gate.get("verdict") in (PASS, FAIL, INCONCLUSIVE)
    ]
    return f' Few samples: {"; ".join(parts)} (gates.decide = "bound" asks for them).' if parts else ""


def classes_named(report: Mapping[str, Any], unit: str) -> str:
    """The classes with the worst results, and the one that lost most, in a sentence each; "" where none is named."""
    heads = [("Worst class", "worst_class"), ("Largest drop", "largest_drop")]
    if "largest_drop" not in report:  # of a bundle of 0.1.0 `worst_class` is the class that lost most
        heads = [("Largest drop", "worst_class")]
    elif report.get("worst_class_float") != report.get("worst_class"):
        heads.insert(1, ("Worst class of float", "worst_class_float"))

    sentences = []
    for title_text, key in heads:
        row = report.get(key)
        if isinstance(row, Mapping):
            scores = f"{figure(row.get('float'), unit)} → {figure(row.get('quantized'), unit)}"
            drop = f"drop {change(row.get('drop'), unit)} of {count(row.get('n'))} samples"
            sentences.append(f"{title_text}: {line(row.get('label', '?'))}, {scores}, {drop}.")
        elif row:
            sentences.append(f"{title_text}: {line(row)}.")

    return " ".join(sentences)


def baselines(simple: Mapping[str, Any], metric: Metric) -> str:
    """What simple methods reach, by name: "popularity 55.74 %, item-kNN 62.74 %"; "" of none."""
    return ", ".join(f"{line(name)} {metric.format(value)}" for name, value in simple.items())


def threshold(settled: Mapping[str, Any]) -> tuple[str, str]:
    """The score above which a sample is an anomaly, and what it gives on the judged samples; a dash and "" of none."""
    score, allowed = finite(settled.get("score")), finite(settled.get("false_alarms_allowed"))
    if score is None or allowed is None:
        return DASH, ""
    shares = []
    for key, what in (("false_alarms", "normal samples"), ("detected", "anomalies")):
        row = table(settled.get(key))
        if finite(row.get("share")) is not None:
            spread = interval(row.get("ci95"), "fraction")
            shares.append(f"{figure(row['share'], 'fraction')} {spread} of {count(row.get('n'))} {what}")
    said = f"above it are {', '.join(shares)}; at most {figure(allowed, 'fraction')} false alarms are asked for"
    few = f", which the {count(settled.get('set_by'))} normal validation samples are too few for"
    return f"{score:.4g}", said + (few if settled.get("too_few") else "")


def headline(report: Mapping[str, Any]) -> dict[str, Any]:
    """The figures that every form of the report leads with; absent ones are None.

    Keys: metric, metric_record (a `Metric`), unit, float, quantized, drop, ci95, recorded (of the accuracy gate);
    speedup, ci99, float_ms, quantized_ms, where; float_bytes, quantized_bytes, size_ratio; int8_share; format (the name
    of the number format).
    """
    gates = [g for g in report.get("gates") or () if isinstance(g, Mapping)]
    accuracy = next((g for g in gates if g.get("name") == "accuracy"), {})
    metric = metric_of(report, name=accuracy.get("metric") or "accuracy")
    latency, bytes_ = table(report.get("latency")), table(report.get("size"))
    before, after = finite(bytes_.get("float_bytes")), finite(bytes_.get("quantized_bytes"))

    return {
        "metric": metric.name,
        "metric_record": metric,
        "unit": metric.unit,
        "float": finite(accuracy.get("float")),
        "quantized": finite(accuracy.get("quantized")),
        "drop": finite(accuracy.get("drop")),
        "ci95": pair(accuracy.get("ci95")),
        "limit": finite(accuracy.get("limit")),
        "n": accuracy.get("n"),
        "recorded": bool(accuracy.get("recorded")),
        "speedup": finite(latency.get("speedup")),
        "ci99": pair(latency.get("ci99")),
        "float_ms": finite(latency.get("float_ms")),
        "quantized_ms": finite(latency.get("quantized_ms")),
        "where": line(latency.get("where") or ""),
        "float_bytes": before,
        "quantized_bytes": after,
        "size_ratio": before / after if before and after else None,
        "int8_share": finite(report.get("int8_share")),
        "format": number_format(report),
    }


def number_format(value: Mapping[str, Any]) -> str:
    """The name of the number format of a report, or of a scheme's row in a summary; that of the default scheme where
    none is recorded, as in files of earlier versions."""
    return line(value.get("format") or Scheme().format)


def common_format(values: Iterable[Mapping[str, Any]]) -> str:
    """The name of the number format of all `values`, or "quantized" where they differ."""
    names = {number_format(value) for value in values}
    return names.pop() if len(names) == 1 else "quantized"


def mark_recorded(text: str, values: Mapping[str, Any]) -> str:
    """`text` with a mark where `values` (a gate or a headline) are of an earlier report and were not measured here."""
    return f"{text} (recorded)" if values.get("recorded") else text


def row(gate: Mapping[str, Any], number_format: str) -> str:
    """The figures of a gate on one line: float, quantized, drop with interval, limit, n; "" where it has none."""
    unit = unit_of(gate)
    lost = finite(gate.get("drop"))
    spread = interval(gate.get("ci95"), unit, drop=lost is not None)
    parts = [
        f"float {figure(gate['float'], unit)}" if finite(gate.get("float")) is not None else "",
        f"{number_format} {figure(gate['quantized'], unit)}" if finite(gate.get("quantized")) is not None else "",
        f"drop {change(lost, unit)}" if lost is not None else "",
        f"95 % {spread}" if spread else "",
        f"limit {limit(gate)}" if limit(gate) != DASH else "",
        f"n {count(gate['n'])}" if gate.get("n") else "",
    ]
    return ", ".join(filter(None, parts))


def control_rate(result: Mapping[str, Any]) -> str:
    """The rate that a control loop may run at, in one sentence; "" where nothing was measured for it.

    `result` has `rate_hz`, `p99_ms` and `samples`: a bench result, or `rate` of a report (then with `where`).
    """
    if "rate_hz" not in result:
        return ""

    hertz, calls = finite(result.get("rate_hz")), plain(result.get("samples"))
    if hertz is None:
        return f"Control rate: unknown, {calls} calls are too few for a p99."

    where = f", on the {line(result['where'])}" if result.get("where") else ""
    p99 = f"p99 {figure(result.get('p99_ms'), 'ms')} of {calls}{where}"
    return f"Control rate: {plain(hertz, 3)} Hz is what 99 of 100 calls keep up with ({p99})."


def latencies(result: Mapping[str, Any]) -> list[list[str]]:
    """The percentiles of a comparison, a head and a row for each of float, old and new; [] of one artifact alone."""
    if not any(result.get(f"old_{key}") is not None for key in PERCENTILES):
        return []

    sides = [("float", "float_"), ("old", "old_"), ("new", "")]
    keys = [key for key in PERCENTILES if any(result.get(f"{prefix}{key}") is not None for _, prefix in sides)]
    rows = [[name, *(figure(result.get(prefix + key), "ms") for key in keys)] for name, prefix in sides]
    return [["", *(key[:-3] for key in keys)], *(row for row in rows if set(row[1:]) != {DASH})]


def slowdown(result: Mapping[str, Any]) -> str:
    """A bench result in one sentence."""
    estimate, spread = finite(result.get("estimate_pct")), pair(result.get("ci99_pct"))
    if estimate is None:
        middle = figure(result.get("p50_ms"), "ms")
        text = f"Median {middle} of {plain(result.get('samples'))} runs ({line(result.get('clock') or 'wall')} clock)."
        return f"{text} Nothing was judged, since there is no baseline to compare with."
    direction = "slower" if estimate > 0 else "faster"
    text = f"{abs(estimate):.2f} % {direction}"
    if spread is not None:
        text += f", 99 % interval [{spread[0]:+.2f}, {spread[1]:+.2f}] %"

    if (tolerance := finite(result.get("tolerance_pct"))) is not None:
        text += f", tolerance {tolerance:g} %"
    text += f" ({plain(result.get('samples'))} samples, {line(result.get('clock') or 'wall')} clock"
    text += ", throttled)." if result.get("throttled") else ")."
    return f"{text} {why[0].upper()}{why[1:]}." if (why := line(result.get("why"))) else text
