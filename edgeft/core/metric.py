"""A metric's record, and the one place where figures are written: `Metric.format` writes a WER, a BLEU, an MAE.

Units of a figure:

    "fraction"   0..1, written as a percentage, its differences in (percentage) points: accuracy, mIoU, WER
    "score"      0..100 without a unit word, two decimals: BLEU, chrF
    ""           the data's own unit, four significant digits: the mean absolute error of controls, a return
    "ratio" "ms" "bytes" "MB" "steps"   figures of the gates
    others       a word that is written behind the figure: "cm", "V"

A figure that is None, NaN or infinite is written as a dash: nothing was measured. A drop is positive when the
quantized artifact is worse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

DASH = "–"
#: the units of figures that gates judge beside the task's metric
GATE_UNITS = {
    "agreement": "fraction",
    "activation_scales": "fraction",
    "samples alike": "fraction",
    "speedup": "ratio",
    "p95_ms": "ms",
    "MB": "MB",
    "mJ": "mJ",
}


@dataclass(frozen=True)
class Metric:
    """What is known of a metric; it travels as `metric_record` in summary.json, report.json and manifest.json.

    `max_drop` is the default gate in the metric's own unit; where it is 0, `max_drop_relative` is, a share of the
    baseline (for metrics without a bound), or a hundredth of the baseline's distance from chance where that is more.
    `chance` names the best answer that looks at no input.
    """

    name: str
    unit: str = ""
    higher_is_better: bool = True
    max_drop: float = 0.0
    max_drop_relative: float = 0.0
    chance: str = "chance"

    def drop(self, before: float, after: float) -> float:
        """How much worse `after` is than `before`, in the metric's unit; negative where it is better."""
        return (before - after if self.higher_is_better else after - before) + 0.0  # never -0

    def better(self, value: float, reference: float) -> bool:
        """Whether `value` is better than `reference`; equal is not better."""
        return value > reference if self.higher_is_better else value < reference

    def format(self, value: Any) -> str:
        """A value: "12.30 %" of a word error rate, "27.41" of BLEU, "0.3468" of an error in its own unit."""
        return figure(value, self.unit)

    def format_drop(self, value: Any) -> str:
        """A difference of two values, signed: "+0.48 points" of a fraction."""
        return change(value, self.unit)

    def format_limit(self, value: Any) -> str:
        """A difference that is allowed, without a sign."""
        return change(value, self.unit).lstrip("+")

    def format_interval(self, value: Any, *, drop: bool = False) -> str:
        """`[low, high]` of values, or of drops (a fraction's in points); "" where there is none."""
        return interval(value, self.unit, drop=drop)

    def as_dict(self) -> dict[str, Any]:
        """The record as JSON values."""
        return asdict(self)


def from_dict(table: Any) -> Metric | None:
    """The record that a JSON file holds, or None where there is none or it is not one (other keys are ignored)."""
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str) or not table["name"]:
        return None

    values: dict[str, Any] = {"name": table["name"]}
    for key, default in asdict(Metric("x")).items():
        if key != "name" and type(table.get(key)) in ((float, int) if type(default) is float else (type(default),)):
            values[key] = table[key]

    return Metric(**values)


def gate_unit(name: str, metric: str) -> str:
    """The unit of the figures of a gate that does not judge a task's metric; parity is in quantization steps."""
    if name == "parity":
        return "steps"
    return "fraction" if metric.endswith("_share") else GATE_UNITS.get(metric, "")


def finite(value: Any) -> float | None:
    """`value` as a finite float, or None (also for a string or a bool: those are no figures)."""
    if isinstance(value, bool) or value is None:
        return None

    try:
        number = float(value)
    except (TypeError, ValueError):
        return None

    return number if math.isfinite(number) and not isinstance(value, str) else None


def pair(value: Any) -> tuple[float, float] | None:
    """An interval of two finite numbers, or None."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return None
    low, high = finite(value[0]), finite(value[1])
    return None if low is None or high is None else (low, high)


def plain(value: Any, digits: int = 4) -> str:
    """Four significant digits, no exponent where a person would write none."""
    number = finite(value)
    if number is None:
        return DASH
    if number == int(number) and abs(number) < 1e15:
        return f"{int(number):,}"

    text = f"{number:.{digits}g}"
    return text if "e" not in text or abs(number) < 1e-4 else f"{number:,.0f}"


def size(value: Any) -> str:
    """Bytes for people: decimal units, as storage is sold."""
    number = finite(value)
    if number is None:
        return DASH

    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(number) >= factor:
            return f"{number / factor:.3g} {unit}" if abs(number) < 1000 * factor else f"{number / factor:,.0f} {unit}"

    return f"{number:.0f} B"


def figure(value: Any, unit: str) -> str:
    """A figure with its unit; a dash where there is none."""
    number = finite(value)
    if number is None:
        return DASH
    if unit == "fraction":
        return f"{100 * number:.2f} %"
    if unit == "score":
        return f"{number:.2f}"
    if unit == "bytes":
        return size(number)
    if unit == "ratio":
        return f"{number:.2f}×"
    if unit == "steps" and number == 1:
        return "1 step"

    return f"{plain(number)} {unit}".rstrip()


def change(value: Any, unit: str) -> str:
    """A difference, signed; of fractions in points. Zero carries no sign."""
    number = finite(value)
    if number is None:
        return DASH
    if unit in ("fraction", "score"):
        shown = f"{100 * number:+.2f} points" if unit == "fraction" else f"{number:+.2f}"
        return shown[1:] if not float(shown.split()[0]) else shown

    return f"{number + 0.0:+.4g} {unit}".rstrip() if number else f"0 {unit}".rstrip()


def interval(value: Any, unit: str, *, drop: bool = False) -> str:
    """`[low, high]` in the unit's own scale; "" where there is none."""
    bounds = pair(value)
    if bounds is None:
        return ""

    if unit == "fraction":
        inner = ", ".join(f"{100 * v:.2f}" for v in bounds)
        return f"[{inner}]" + ("" if drop else " %")
    if unit == "score":
        return f"[{bounds[0]:.2f}, {bounds[1]:.2f}]"
    if unit == "bytes":
        return f"[{size(bounds[0])}, {size(bounds[1])}]"
    if unit == "ratio":
        return f"[{bounds[0]:.2f}, {bounds[1]:.2f}]×"

    return f"[{', '.join(f'{v:.4g}' for v in bounds)}]"
