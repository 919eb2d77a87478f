"""Parts of a report page that do not affect the verdict: threshold of anomalies, further metrics, confusions."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

from . import page, words

#: written in capitals
_SHORT = ("auc", "f1", "mae", "rmse", "wer", "cer", "mrr", "ap", "iou", "bleu")


def boxes(extras: Mapping[str, Any], number_format: str) -> list[ET.Element | None]:
    """The parts that there is something to say in, in reading order."""
    return [threshold(extras), further(extras, number_format), confusion(extras, number_format)]


def threshold(extras: Mapping[str, Any]) -> ET.Element | None:
    """The score above which a sample is an anomaly, and how often it is right."""
    score, text = words.threshold(words.table(extras.get("threshold")))
    if not text:
        return None
    body = page.el("p", f"Threshold {score}: {text}.")
    note = "Set by the artifact's scores of the normal validation samples; `predict` and run.py use it."
    return page.card("Threshold", body, note=note)


def further(extras: Mapping[str, Any], number_format: str) -> ET.Element | None:
    """A table of the task's further metrics, float beside quantized."""
    rows = []
    for name, row in words.table(extras.get("extra_metrics")).items():
        before, after = (words.finite(words.table(row).get(key)) for key in ("float", "quantized"))
        if before is None and after is None:
            continue

        metric = words.metric_of(words.table(row), name=name)
        lost = metric.drop(before, after) if before is not None and after is not None else None
        shown = [metric.format(value) for value in (before, after)]
        title_words = (w.upper() if w in _SHORT else w for w in words.line(name).split("_"))
        rows.append([" ".join(title_words), *shown, metric.format_drop(lost)])

    if not rows:
        return None

    table = page.table(["metric", "float", number_format, "drop"], rows, numeric=(1, 2, 3))
    return page.card("Further metrics", table, note="On the same samples; no gate looks at them.")


def confusion(extras: Mapping[str, Any], number_format: str) -> ET.Element | None:
    """Counts of true class (row) by decision (column): one number where both models agree, else both."""
    matrices = words.table(extras.get("confusion"))
    labels = matrices.get("labels")
    before, after = (_counts(matrices.get(key), labels) for key in ("float", "quantized"))
    if before is None or after is None:
        return None

    rows: list[list[Any]] = []
    for i, label in enumerate(labels or ()):
        total = max(sum(after[i]), 1)
        cells = [_cell(*counts, total, is_right=i == k) for k, counts in enumerate(zip(before[i], after[i]))]
        rows.append([page.el("b", words.line(label)), *cells])

    heads = ["true class", *(words.line(label) for label in labels or ())]
    table = page.table(heads, rows, numeric=range(1, len(heads)), cls="counts")
    differs = f"where {number_format} differs, float → {number_format}"
    note = f"How many samples of each true class (row) were taken for which class (column); {differs}. The shade of a "
    note += f"cell is its share of the row in {number_format}: blue where the decision is right, red where it is wrong."

    return page.card("Confusion", table, note=note)


def _cell(before: float, after: float, total: float, *, is_right: bool) -> ET.Element:
    """A count, shaded by its share of the row."""
    text = words.plain(after) if before == after else f"{words.plain(before)} → {words.plain(after)}"
    shade = "quantized" if is_right else "bad"
    return page.el("td", text, cls="num", style=f"--share:{after / total:.3f};--shade:var(--{shade})")


def _counts(value: Any, labels: Any) -> list[list[float]] | None:
    """A square table of finite counts of the labels' size, or None."""
    size = len(labels) if isinstance(labels, list) else 0
    if not size or not isinstance(value, list) or len(value) != size:
        return None

    rows = []
    for row in value:
        numbers = [words.finite(cell) for cell in row] if isinstance(row, list) else []
        if len(numbers) != size or None in numbers:
            return None
        rows.append([number for number in numbers if number is not None])

    return rows
