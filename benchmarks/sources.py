"""Architectures of the package transformers from a folder to verified bundles: tuned, exported to three runtimes, judged.

    python benchmarks/sources.py [--nets bert vit] [--fresh]

Each architecture has a small configuration with random weights (source_nets.py), which is fine-tuned on tiny data, trained
with quantization for an epoch, and exported; the bundles are judged by the usual gates (a drop of 0.05 at most; these nets
are too small to gain speed, so that gate is left out). Each runs in a process of its own; its row is kept in
results/sources.json and not made again, unless `--fresh` is given. The table goes into docs/models.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
import source_nets

TARGETS = tuple(common.TARGETS.values())
PAGE = common.HERE.parent / "docs" / "models.md"
BEGIN, END = "<!-- sources: begin -->", "<!-- sources: end -->"
#: seconds that an architecture may take
LONGEST = 1200


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="*", default=list(source_nets.NETS), choices=list(source_nets.NETS))
    parser.add_argument("--fresh", action="store_true", help="run again what has a row")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)

    if options.one:
        print(json.dumps(measure(options.one)))
        return 0

    path = common.RESULTS / "sources.json"
    record = json.loads(path.read_text()) if path.is_file() else {"rows": {}}
    for kind in options.nets:
        if options.fresh or kind not in record["rows"]:
            record["rows"][kind] = _in_a_process(kind)
            record["machine"] = common.machine()
            record["versions"] = common.versions("transformers", "torch", "onnxruntime", "openvino", "ai-edge-litert")
        print(kind, json.dumps(record["rows"][kind]), flush=True)
        common.RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")

    _write_page(record)
    return 0 if all(_passed(record["rows"].get(kind, {})) for kind in options.nets) else 1


def _in_a_process(kind: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", kind]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than {LONGEST} s"}

    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return {"error": (lines or [f"exit {done.returncode}"])[-1][:300]}

    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def measure(kind: str) -> dict[str, Any]:
    """One architecture: metric of float and int8, and a verdict, share and reasons for each runtime."""
    import torch

    import edgeft
    from edgeft.core.errors import EdgeftError

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            run = edgeft.tune(source_nets.recipe(kind, folder, TARGETS), folder / "run")
        except EdgeftError as error:
            return {"error": f"not captured or not trained: {error.message}"}

        row: dict[str, Any] = {"float": run["float"], "quantized": run["quantized"], "runtimes": {}}
        for runtime, profile in common.TARGETS.items():
            try:
                (report,) = edgeft.export(folder / "run", [profile], folder / profile)
            except EdgeftError as error:
                row["runtimes"][runtime] = {"verdict": "refused", "why": [error.message]}
                continue
            row["runtimes"][runtime] = {
                "verdict": report["verdict"],
                "int8_share": report["int8_share"],
                "why": [
                    f"{g['name']}: {g['why']}" for g in report["gates"] if g["verdict"] == "fail" and g["required"]
                ],
            }

    return row


def _passed(row: dict[str, Any]) -> bool:
    return bool(row.get("runtimes")) and all(cell["verdict"] == "pass" for cell in row["runtimes"].values())


def _write_page(record: dict[str, Any]) -> None:
    """Put the table between the marks of docs/models.md."""
    head = ("architecture", "`model_type`", "task", "float", "int8", *common.RUNTIMES.values())
    rows, notes = [], []
    for kind, net in source_nets.NETS.items():
        row = record["rows"].get(kind)
        if row is None:
            continue
        if "error" in row:
            rows.append((net.title, f"`{net.kind or kind}`", net.task, "-", "-", "-", "-", "-"))
            notes.append(f"- {net.title}: {_sentence(row['error'])}")
            continue
        cells = [row["runtimes"].get(runtime, {"verdict": "not run"}) for runtime in common.RUNTIMES]
        metric = (f"{row['float']:.3f}", f"{row['quantized']:.3f}")
        rows.append((net.title, f"`{net.kind or kind}`", net.task, *metric, *map(_cell, cells)))
        for runtime, cell in zip(common.RUNTIMES.values(), cells):
            notes += [f"- {net.title}, {runtime}: {_sentence(why)}" for why in cell.get("why", ())[:1]]

    text = common.table(head, rows) + "\n\nThe rows were made one by one; the latest of them with:\n\n"
    text += common.footing(record["machine"], record["versions"])
    if notes:
        text += "\n\nWhat did not pass, and why:\n\n" + "\n".join(notes)

    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")


def _cell(cell: dict[str, Any]) -> str:
    share = cell.get("int8_share")
    return cell["verdict"] if share is None else f"{cell['verdict']}, {share:.0%}"


def _sentence(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")[:300]


if __name__ == "__main__":
    sys.exit(main())
