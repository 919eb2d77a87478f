"""What the default recipe of each task reaches, beside a simple baseline and a goal.

    python benchmarks/defaults.py --out DIR [--budget short] [ROW ...]

Each row (`default_rows/`) is `edgeft init TASK` with only paths edited, tuned and exported to the template's own target;
with `--budget short` a row that is expensive has fewer epochs, as its record states, and says so in the table.
`EDGEFT_DATA` names the folder with the data. Rows that are measured replace theirs of an earlier run in
`results/defaults.json`; the others stay, each with the machine that it was measured on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import common
from default_rows import Figures, Row, rows, shortened

STORE = common.RESULTS / "defaults.json"


def line(row: Row, entry: dict[str, Any]) -> list[str]:
    figures = Figures(**entry["figures"])
    low_high = f" [{figures.ci95[0]:.3f}, {figures.ci95[1]:.3f}]" if figures.ci95 else ""
    bound = {"least": row.goal} if row.higher_is_better else {"most": row.goal}
    return [
        f"{row.name}, short" if entry.get("short") else row.name,
        row.data,
        row.metric,
        str(figures.n),
        f"{figures.baseline:.3f} ({row.baseline})",
        f"{figures.float:.3f}",
        f"{figures.quantized:.3f}{low_high}",
        f"{row.goal:g}: {common.mark(figures.quantized, **bound)}",
        f"{figures.minutes:.0f}",
    ]


def section(known: dict[str, Row], entries: dict[str, Any]) -> str:
    """The section of RESULTS.md: a table, and below it the parts and notes of each row."""
    shown = [name for name in known if name in entries]
    head = ["row", "data", "metric", "n", "baseline", "float", "int8 [95 %]", "goal", "minutes of tuning"]
    text = [
        "## Defaults\n\nThe recipe that `edgeft init TASK` writes, with only paths edited, in the runtime of the "
        "template's target, on test splits that chose nothing. A row that is called short had fewer epochs than the template.\n",
        common.table(head, [line(known[name], entries[name]) for name in shown]),
    ]

    for name in shown:
        figures = entries[name]["figures"]
        parts = ", ".join(f"{part} {value:.3f}" for part, value in figures["parts"].items())
        sentences = [f"int8 by part: {parts}."] if parts else []
        if short := entries[name].get("short"):
            sentences.append(
                f"Not the template's budget: {', '.join(f'{key} = {value}' for key, value in short.items())}."
            )
        sentences += [*figures["notes"], common.footing(entries[name]["machine"], entries[name]["versions"])]
        text.append(f"\n{name}: " + " ".join(sentences))

    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = rows()
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"all by default: {', '.join(known)}")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and bundles (resumable)")
    parser.add_argument("--budget", choices=("full", "short"), default="full")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.rows if name not in known]
    if unknown:
        parser.error(f"unknown row {unknown[0]!r}: the rows are {', '.join(known)}")

    data = Path(os.environ["EDGEFT_DATA"])
    for name in arguments.rows or known:
        host, short = common.machine(), dict(known[name].short) if arguments.budget == "short" else {}
        with shortened(short):
            figures = known[name].measure(data, arguments.out / (f"{name}-short" if short else name))
        entries = json.loads(STORE.read_text())["rows"] if STORE.is_file() else {}
        used = common.versions("torch", "onnxruntime", "openvino", "ai-edge-litert")
        entries[name] = {"figures": dataclasses.asdict(figures), "machine": host, "versions": used, "short": short}
        common.publish("defaults", section(known, entries), {"rows": entries})


if __name__ == "__main__":
    main()
