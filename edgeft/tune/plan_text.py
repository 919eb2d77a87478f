"""A plan of a sparse update in lines of text: trainable layers, their memory, and the curve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.metric import Metric

_WIDTH = 24


def lines(record: Mapping[str, Any], metric: Metric) -> list[str]:
    """Lines for the terminal: a row a trainable layer, with a bar of its bytes, then the curve."""
    rows = [row for row in record["layers"] if row["values"]]
    of = f" of {_mib(record['budget'])}" if "budget" in record else ""
    text_rows = [
        f"plan: {_mib(record['bytes'])}{of} for a training step (everything: {_mib(record['full_bytes'])}, the head "
        f"alone: {_mib(record['head_bytes'])}); {len(rows)} of {len(record['layers'])} layers are trainable besides "
        "the head"
    ]

    most = max((row["bytes"] for row in rows), default=0) or 1
    wide = max((len(row["layer"]) for row in rows), default=0)
    for row in rows:
        parts = [f"{row['share']:.0%} of the weights"] if row["share"] else []
        parts += ["biases"] if row["bias"] else []
        bar = "█" * max(1, round(_WIDTH * row["bytes"] / most))
        text_rows.append(f"  {row['layer']:{wide}}  {bar:{_WIDTH}}  {_mib(row['bytes'])}  {', '.join(parts)}")

    for point in record["curve"]:
        mark = "  <- chosen" if point["taken"] else ""
        scores = f"validation {metric.format(point['validation'])}, loss {point['loss']:.4f}"
        text_rows.append(f"  tried: {point['name']:10} {_mib(point['bytes']):>11}  {scores}{mark}")

    return text_rows


def _mib(count: int) -> str:
    return f"{count / 2**20:.2f} MiB" if count >= 2**20 / 10 else f"{count / 2**10:.1f} KiB"
