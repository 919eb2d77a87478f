"""The section "Against other tools" of RESULTS.md, from results/peers.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import common
import figures

HEAD = ["runtime", "tool", "top-1, %", "edgeft more, points", "agreement, %", "SQNR, dB", "speed of edgeft over it"]
HEAD += ["ms", "size, kB", "CPU s to make"]


def section(record: Mapping[str, Any]) -> str:
    """The whole section in markdown."""
    parts = [INTRODUCTION, "![accuracy against latency](../docs/pictures/peers.svg)", _summary(record)]
    for result in record["nets"].values():
        parts.append(f"### {result['title']}\n\n{_about(result)}\n\n{common.table(HEAD, map(_cells, result['rows']))}")
        parts += [f"Not made: {text}" for text in result["failures"]]
        parts.append(common.footing(result["machine"], result["versions"]))
    return "\n\n".join(parts)


INTRODUCTION = """## Against other tools

Quantization after training: one float model, the same calibration and test samples, the same runtimes with one thread and
batch 1. edgeft quantizes the ONNX file (`edgeft export model.onnx --data DIR`) in its default settings; its time is that of
the command for all three runtimes together, verification, float baselines and reports included, so that it does not
compare with the others' time to one artifact. "edgeft more" is edgeft's accuracy less the tool's with the paired 95 %
interval; below 0 the tool is better. Speed is the median ratio of paired quads with its 99 % interval; above 1 edgeft is faster.
An empty cell was not measured."""


def _summary(record: Mapping[str, Any]) -> str:
    body = []
    for result in record["nets"].values():
        for runtime in common.RUNTIMES:
            rows = [row for row in result["rows"] if row["runtime"] == runtime]
            if rows:
                behind = figures.losses(rows)
                body.append([result["title"], common.RUNTIMES[runtime], "; ".join(behind) or "nowhere"])

    return (
        "Where edgeft is behind, in accuracy beyond the interval or below 0.98 of the fastest tool's speed, by the median and\nby the shortest blocks, which a busy machine disturbs least:\n\n"
        + common.table(["network", "runtime", "behind"], body)
    )


def _about(result: Mapping[str, Any]) -> str:
    return (
        f"{result['n']} test samples, {result['calibration']} to calibrate on, {result['date']}; float "
        f"{result['float']:.2f} %."
    )


def _cells(row: Mapping[str, Any]) -> list[str]:
    own = row["tool"] == "edgeft" and row["setting"] == "default"
    more, speed = row["gain_of_edgeft"], row.get("speed")
    return [
        common.RUNTIMES[row["runtime"]],
        f"**{row['title']}**" if own else row["title"],
        f"{row['metric']:.2f}",
        "" if own else f"{more[0]:+.2f} [{more[1]:+.2f}, {more[2]:+.2f}]",
        f"{row['agreement']:.1f}",
        "" if row["sqnr_db"] > 100 else f"{row['sqnr_db']:.1f}",
        f"{speed['ratio']:.3f} [{speed['ci99'][0]:.3f}, {speed['ci99'][1]:.3f}]" if speed else "",
        f"{row['ms']:.3f}" if row.get("ms") else "",
        f"{row['bytes'] / 1000:.0f}",
        f"{row['cpu']:.0f}" if row.get("cpu") else "",
    ]
