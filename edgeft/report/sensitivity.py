"""The layers by what their quantization costs, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import words
from .text import table

#: layers of a table that is not asked for in full
MOST = 16


def text(result: Mapping[str, Any], most: int = MOST) -> str:
    """The table that `edgeft sensitivity` prints: the `most` sensitive layers (0: all of them)."""
    rows = [words.table(row) for row in result.get("layers") or ()]
    metric = words.metric_of(result)
    before = words.finite(words.table(result.get("float")).get("metric"))
    total = sum(words.finite(row.get("macs")) or 0.0 for row in rows) or 1.0
    heads = ["layer, alone in " + words.line(result.get("scheme")), "SQNR of weights", "of activations", "of both"]
    heads += [f"{metric.name} lost by weights", "by activations", "share of multiply-accumulates"]
    cells = [
        [
            words.line(row.get("name")),
            *(_decibels(words.table(row.get(part)).get("sqnr_db")) for part in ("weights", "activations")),
            _decibels(row.get("sqnr_db")),
            *(
                metric.format_drop(_drop(metric, before, words.table(row.get(part)).get("metric")))
                for part in ("weights", "activations")
            ),
            words.figure((words.finite(row.get("macs")) or 0.0) / total, "fraction"),
        ]
        for row in (rows[:most] if most else rows)
    ]
    left = f"; {len(rows) - most} less sensitive layers are in --json and with -v" if most and len(rows) > most else ""
    lines = table(heads, cells, right=tuple(range(1, len(heads))))
    lines.append(
        f"measured on {words.plain(result.get('n'))} validation samples, each layer alone. SQNR: the outputs' "
        f"ratio of signal to quantization noise (20 dB: the noise is a tenth); a smaller figure is more noise{left}"
    )
    if rows:
        lines.append(f'to leave the first in float: --set quantize.keep_float=["{words.line(rows[0].get("name"))}"]')

    return "\n".join(lines)


def _decibels(value: Any) -> str:
    number = words.finite(value)
    return words.DASH if number is None else f"{number:.1f} dB"


def _drop(metric: Any, before: float | None, value: Any) -> float | None:
    after = words.finite(value)
    return None if before is None or after is None else metric.drop(before, after)
