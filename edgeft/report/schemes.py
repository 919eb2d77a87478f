"""The rows of schemes in summary.json: how each was quantized, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from . import words


def origin(row: Mapping[str, Any]) -> str:
    """How the quantized weights of a scheme of summary.json came to be: "qat", "ptq", or "" where there are none.

    Of edgeft 0.1.0, which did not write `method`, the epoch that was taken tells it: 0 is as calibrated.
    """
    if words.finite(row.get("quantized")) is None:
        return ""
    if row.get("method") in ("qat", "ptq"):
        return str(row["method"])

    return "ptq" if row.get("best_epoch") == 0 else "qat"


def quantized_rows(row: Mapping[str, Any]) -> list[tuple[str, float]]:
    """What a scheme of summary.json measured, (label, metric): as calibrated, and as trained or with layers in float,
    where that was taken."""
    count = len(returned(row))
    last = in_float(count) if count else "trained (QAT)" if origin(row) == "qat" else ""
    rows = [
        ("calibrated (PTQ)", words.finite(row.get("ptq"))),
        *([(last, words.finite(row.get("quantized")))] if last else []),
    ]
    return [(label, value) for label, value in rows if value is not None]


def in_float(count: int) -> str:
    """ "1 layer in float", "2 layers in float"."""
    return f"{count} layer{'s' * (count > 1)} in float"


def why_ptq(row: Mapping[str, Any]) -> str:
    """Why the calibrated weights stand although QAT was run; "" where they do not, or it was not run."""
    if origin(row) != "ptq" or "updated_parameters" not in row:
        return ""

    return words.line(
        row.get("why")
        or "QAT did not improve on PTQ, so the PTQ model is used: no epoch was better on the validation split"
    )


def retried(row: Mapping[str, Any]) -> str:
    """The attempts of QAT that diverged, and the rate of the one that stands; "" where none diverged or none stands."""
    attempts = row.get("retries")
    if not isinstance(attempts, list) or words.finite(row.get("lr")) is None:
        return ""

    whys = "; ".join(words.line(words.table(attempt).get("why")) for attempt in attempts)
    return f"QAT diverged and began again at lr = {words.plain(row['lr'])}: {whys}"


def sentence(row: Mapping[str, Any]) -> str:
    """What `quantize.method = "auto"` came to for a scheme of summary.json; "" where it was not asked for."""
    auto = words.table(row.get("auto"))
    names = returned(row)
    held = f"; keep_float = {json.dumps(names, ensure_ascii=False)}" if names else ""
    return f"auto, {words.line(auto.get('why'))}{held}" if auto else ""


def returned(row: Mapping[str, Any]) -> list[str]:
    """The layers of a scheme of summary.json that were returned to float."""
    names = words.table(row.get("auto")).get("keep_float")
    return [words.line(name) for name in names] if isinstance(names, (list, tuple)) else []
