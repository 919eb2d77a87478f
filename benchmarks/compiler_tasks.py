"""A small example of each task through the compilers of vendors, by `edgeft tune` and `edgeft export`.

    python benchmarks/compiler_tasks.py [--tasks classify speech]

The recipes are those of tiny_recipes.py, trained for a few epochs and quantized after training; the verdicts on their
metrics are not the question here. Needs the compilers' environments (`edgeft device setup compile:vela`); one that is
not set up is an unverified row. Rows are kept in results/compiler_tasks.json, and one that is there is not made again:
where all are there, the page alone is written anew.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
from compilers import BOARDS
from tiny_recipes import RECIPES

#: a recipe that another covers for a compiler
LEFT_OUT = ("personalize",)
INTRODUCTION = (
    "A small network of each task, trained for a few epochs on generated data and quantized after training, exported "
    "with `edgeft export` for the board of each compiler: the share of multiply-accumulates and of operations on the "
    "accelerator, and the task's metric of float and of the compiled model in the vendor's simulator, on the same "
    "samples. Graphs of a model of several are counted together and not simulated. *Gate*: the verdict of "
    "`compatibility`, which also fails a model that the compiler takes and that computes in float where the board's "
    "profile says that nothing does."
)
#: characters of a reason that a note repeats
REASON = 160


def main(argv: Sequence[str] | None = None) -> int:
    names = [name for name in RECIPES if name not in LEFT_OUT]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=names, choices=names, metavar="TASK")
    options = parser.parse_args(argv)

    stored = common.RESULTS / "compiler_tasks.json"
    record = json.loads(stored.read_text()) if stored.is_file() else {"rows": {}}
    host = common.machine()

    for name in options.tasks:
        if name in record["rows"]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            record["rows"][name] = measured(name, Path(folder))
        record["machine"] = host
        print(name, json.dumps(record["rows"][name]), flush=True)
        stored.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")

    common.publish("compiler_tasks", page(record), record)
    return 0


def measured(name: str, folder: Path) -> dict[str, dict[str, Any]]:
    """By compiler: its table of the report, and the verdict on the graph; an `error` where there is no bundle."""
    recipe, start = RECIPES[name], time.monotonic()
    (folder / "recipe.toml").write_text(recipe.toml(), encoding="utf-8")
    boards = [board for board, _ in BOARDS.values()]
    settings = [f"data.path={json.dumps(str(recipe.data(folder / 'data')))}", 'quantize.method="ptq"']
    if recipe.weights is not None:
        settings.append(f"model.weights={json.dumps(str(recipe.weights(folder / 'weights')))}")

    settings.append(f"export.targets={json.dumps(boards)}")
    _edgeft(folder, "tune", "recipe.toml", "--out", "run", *(f"--set={setting}" for setting in settings))

    rows = {}
    for compiler, board in zip(BOARDS, boards):
        error = _edgeft(folder, "export", "run", "--target", board, "--out", board)
        report = next((folder / board).rglob("report.json"), None)
        rows[compiler] = {"error": error} if report is None else _row(json.loads(report.read_text()))
        rows[compiler]["seconds"] = round(time.monotonic() - start, 1)

    return rows


def _row(report: dict[str, Any]) -> dict[str, Any]:
    gates = {gate["name"]: gate for gate in report["gates"] if gate["name"] == "compatibility"}
    metric = next((gate for gate in report["gates"] if gate["name"] == "accuracy"), {})
    return {
        "compiler": report.get("compiler"),
        "compatibility": {key: gates["compatibility"][key] for key in ("verdict", "why")},
        "float": metric.get("float"),
    }


def _edgeft(folder: Path, *words: str) -> str:
    """Run a command of edgeft; the last line of what it says where it ends with an error."""
    command = [sys.executable, "-m", "edgeft", "--quiet", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return " | ".join(lines[:2])[:300] if done.returncode else ""


def page(record: dict[str, Any]) -> str:
    """The section: one line a task and compiler, the count of verdicts, and what was refused or stays on the CPU."""
    lines, notes, versions = [], [], {}
    for name, rows in record["rows"].items():
        for compiler, row in rows.items():
            made = row.get("compiler")
            gate = row.get("compatibility", {"verdict": "", "why": ""})
            if not made:
                reason = row.get("error") or gate["why"]
                state = "no artifact" if "error" in row else "unverified"
                lines.append((name, compiler, gate["verdict"], state, "", "", ""))
                notes.append(f"- {name}, {compiler}: `{reason}`")
                continue

            versions[compiler] = made["version"]
            lines.append(_line(name, compiler, row, made))
            if not made["accepted"]:
                notes.append(f"- {name}, {compiler}: `{made['refusal']}`")
            elif made["fallback"]:
                notes.append(f"- {name}, {compiler}, on the CPU: {', '.join(made['fallback'])}")
            if gate["verdict"] == "fail" and made["accepted"]:
                notes.append(f"- {name}, {compiler}, the gate: `{_short(gate['why'])}`")

    parts = [
        "## Compilers of vendors: the tasks",
        INTRODUCTION,
        counts(record["rows"]),
        common.table(("task", "compiler", "gate", "MACs", "ops", "float", "simulated"), lines),
        "What was refused, stays on the CPU or fails the gate:\n\n" + ("\n".join(notes) or "nothing"),
        common.footing(record["machine"], versions),
    ]

    return "\n\n".join(parts)


def counts(rows: dict[str, dict[str, Any]]) -> str:
    """How many of the tasks that were tried pass the gate `compatibility`, a sentence for all compilers."""
    parts = []
    for compiler in BOARDS:
        verdicts = [
            made[compiler].get("compatibility", {}).get("verdict") for made in rows.values() if compiler in made
        ]
        if verdicts:
            parts.append(f"{compiler} {verdicts.count('pass')} of {len(verdicts)}")

    return f"Tasks whose gate `compatibility` passes, of those that were tried: {', '.join(parts)}."


def _line(name: str, compiler: str, row: dict[str, Any], made: dict[str, Any]) -> tuple[str, ...]:
    gate = row["compatibility"]["verdict"]
    if not made["accepted"]:
        return (name, compiler, gate, "refused", "", "", "")

    shares = ["-" if made[key] is None else f"{made[key]:.1%}" for key in ("coverage_macs", "coverage_ops")]
    simulated, reference = made.get("simulated") or {}, row.get("float")
    figure = simulated.get("metric")
    metrics = ("-" if reference is None else f"{reference:.3f}", "-" if figure is None else f"{figure:.3f}")
    return (name, compiler, gate, *shares, *metrics)


def _short(reason: str) -> str:
    return reason if len(reason) <= REASON else f"{reason[:REASON].rsplit(' ', 1)[0]} ..."


if __name__ == "__main__":
    raise SystemExit(main())
