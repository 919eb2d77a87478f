"""What the compiler of the board's vendor made of the model, as a card."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

from ..core.metric import Metric
from . import page, words

NOTE = (
    "What the vendor's compiler puts on the accelerator, counted in multiply-accumulates (MACs) and in operations. Its "
    "estimates are the vendor's: nothing of them was measured."
)


def card(report: Mapping[str, Any], metric: Metric) -> ET.Element | None:
    """The card of the report's `compiler`; None where none has run."""
    compiler = words.table(report.get("compiler"))
    rows = words.compiler_rows(compiler)
    if not rows:
        return None

    simulated = words.table(compiler.get("simulated"))
    value = words.finite(simulated.get("metric"))
    if value is not None:
        drop, count = words.finite(simulated.get("drop")), words.finite(simulated.get("n"))
        remarks = [
            "" if drop is None else f"{metric.format(drop)} lost to float",
            "" if count is None else f"{count:.0f} samples of the test split",
        ]
        rows.append((f"{metric.name} in the simulator", metric.format(value), ", ".join(filter(None, remarks))))

    return page.card("Compiler of the board", page.table(["what", "figure", "remark"], rows, why=2), note=NOTE)
