"""Models of other packages from their files to verified bundles: tuned, exported to three runtimes, judged.

    python benchmarks/sources.py [--nets bert vit] [--fresh]

Each architecture has a small configuration with random weights (of transformers: source_nets.py, of Keras and policies:
source_others.py), which is fine-tuned on tiny data, trained with quantization for an epoch, and exported; policies are
calibrated alone. The bundles are judged by the usual gates (a drop of 0.05 at most; these nets are too small to gain speed,
so that gate is left out). Each runs in a process of its own; its row is kept in results/sources.json and not made again,
unless `--fresh` is given. The table goes into docs/models.md and RESULTS.md.
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
import source_others

#: what runs, by the name of its row
NETS = {**source_nets.NETS, **source_others.NETS}
TARGETS = tuple(common.TARGETS.values())
PAGE = common.HERE.parent / "docs" / "models.md"
BEGIN, END = "<!-- sources: begin -->", "<!-- sources: end -->"
HEAD = (
    "`sources.py`: small configurations with random weights, fine-tuned on tiny data. *float* and *int8* are the task's "
    "metric on the test split (accuracy, F1, mean IoU, average precision, recall@1;\n`speech`: word error rate, "
    "`translate`: BLEU; `control`: mean return of ten episodes); each runtime has the verdict of its bundle and the share "
    "of multiply-accumulates in integer kernels."
)
#: seconds that an architecture may take, of which a busy machine needs many
LONGEST = 3600


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="*", default=list(NETS), choices=list(NETS))
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

    text = _section(record)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")
    common.publish("sources", f"## Models of other packages\n\n{HEAD}\n\n{text}", record)
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
            module = source_nets if kind in source_nets.NETS else source_others
            run = edgeft.tune(module.recipe(kind, folder, TARGETS), folder / "run")
        except EdgeftError as error:
            return {"error": f"not captured or not trained: {error.message}"}

        row: dict[str, Any] = {"float": run.get("float"), "quantized": run.get("quantized"), "runtimes": {}}
        for runtime, profile in common.TARGETS.items():
            try:
                (report,) = edgeft.export(folder / "run", [profile], folder / profile)
            except EdgeftError as error:
                row["runtimes"][runtime] = {"verdict": "refused", "why": [error.message]}
                continue
            if returns := source_others.returns(report):
                row["float"], row["quantized"] = returns
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


def _section(record: dict[str, Any]) -> str:
    """The table, where it was made, and what did not pass and why."""
    head = ("architecture", "`model_type` or name", "task", "float", "int8", *common.RUNTIMES.values())
    rows, notes = [], []
    for kind, net in NETS.items():
        row = record["rows"].get(kind)
        if row is None:
            continue
        if "error" in row:
            rows.append((net.title, f"`{net.kind or kind}`", net.task, "-", "-", "-", "-", "-"))
            notes.append(f"- {net.title}: {_sentence(row['error'])}")
            continue
        cells = [row["runtimes"].get(runtime, {"verdict": "not run"}) for runtime in common.RUNTIMES]
        metric = tuple(f"{row[key]:.3f}" for key in ("float", "quantized"))
        rows.append((net.title, f"`{net.kind or kind}`", net.task, *metric, *map(_cell, cells)))
        for runtime, cell in zip(common.RUNTIMES.values(), cells):
            notes += [f"- {net.title}, {runtime}: {_sentence(why)}" for why in cell.get("why", ())[:1]]

    text = common.table(head, rows) + "\n\nThe rows were made one by one; the latest of them with:\n\n"
    text += common.footing(record["machine"], record["versions"])
    if notes:
        text += "\n\nWhat did not pass, and why:\n\n" + "\n".join(notes)

    return text


def _cell(cell: dict[str, Any]) -> str:
    share = cell.get("int8_share")
    return cell["verdict"] if share is None else f"{cell['verdict']}, {share:.0%}"


def _sentence(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")[:300]


if __name__ == "__main__":
    sys.exit(main())
