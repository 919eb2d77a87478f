"""A small example of each task in ExecuTorch, by `edgeft tune`, `export`, `verify`, `bench` and the bundle's run.py.

    python benchmarks/executorch_tasks.py [--tasks classify speech] [--keep DIR]

The recipes are those of tiny_recipes.py, and tables of tiny_data.py; trained for a few epochs and quantized after
training. Rows are kept in results/executorch_tasks.json, and one that is there is not made again. `--keep` keeps runs
and bundles, and takes up runs that are there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
from tiny_recipes import RECIPES

TARGET = "host-executorch"
#: seconds that one command may take
LIMIT = 1800
INTRODUCTION = (
    "A small network of each task, trained for a few epochs on generated data, quantized after training and exported for "
    "this machine with ExecuTorch (`host-executorch`). *int8 share*: of the multiply-accumulates that the runtime's trace "
    "lists. *verify*, *bench*, *run.py*: what these answer of the bundle. Speed is float over int8 of the same runtime."
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(RECIPES), choices=list(RECIPES), metavar="TASK")
    parser.add_argument("--keep", type=Path, help="folder for runs and bundles")
    options = parser.parse_args(argv)

    stored = common.RESULTS / "executorch_tasks.json"
    record = json.loads(stored.read_text()) if stored.is_file() else {"rows": {}}
    record["machine"] = common.machine()
    record["versions"] = common.versions("executorch", "torch", "torchao")

    for name in options.tasks:
        if name in record["rows"]:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = (options.keep or Path(temporary)) / name
            folder.mkdir(parents=True, exist_ok=True)
            record["rows"][name] = measured(name, folder)
        print(name, json.dumps(record["rows"][name]), flush=True)
        stored.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")

    common.publish("executorch_tasks", page(record), record)
    return 0


def measured(name: str, folder: Path) -> dict[str, Any]:
    """The figures of one task's bundle; an `error` where there is none."""
    recipe = RECIPES[name]
    if not (folder / "run" / "summary.json").is_file():
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / "recipe.toml").write_text(recipe.toml(), encoding="utf-8")
        settings = [f"data.path={json.dumps(str(recipe.data(folder / 'data')))}", 'quantize.method="ptq"']
        if recipe.weights is not None:
            settings.append(f"model.weights={json.dumps(str(recipe.weights(folder / 'weights')))}")
        settings.append(f"export.targets={json.dumps([TARGET])}")
        words = ("tune", "recipe.toml", "--out", "run", "--overwrite", *(f"--set={setting}" for setting in settings))
        code, said = _edgeft(folder, *words)
        if code:
            return {"error": said, "where": "tune"}

    _, error = _edgeft(folder, "export", "run", "--target", TARGET, "--out", "bundles", "--overwrite")
    bundle = folder / "bundles" / TARGET
    if not (bundle / "report.json").is_file():
        return {"error": error, "where": "export"}

    report = json.loads((bundle / "report.json").read_text())
    row = _figures(report)
    row["verify"] = _edgeft(folder, "verify", str(bundle))[0]
    row["bench"] = _edgeft(folder, "bench", str(bundle))[0]
    row["run_py"] = _ended([sys.executable, "-I", str(bundle / "run.py")], folder)[0]

    return row


def _figures(report: dict[str, Any]) -> dict[str, Any]:
    gates = {gate["name"]: gate for gate in reversed(report["gates"])}
    accuracy = gates.get("accuracy", {})
    return {
        "verdict": report["verdict"],
        "failed": [f"{g['name']}: {g['why']}" for g in report["gates"] if g["required"] and g["verdict"] == "fail"],
        "int8_share": report["int8_share"],
        **{key: accuracy.get(key) for key in ("metric", "float", "quantized", "n")},
        "agreement": gates.get("agreement", {}).get("quantized"),
        "speedup": report["latency"]["speedup"],
        "ci99": report["latency"].get("ci99"),
    }


def _edgeft(folder: Path, *words: str) -> tuple[int, str]:
    return _ended([sys.executable, "-m", "edgeft", "--quiet", *words], folder)


def _ended(command: list[str], folder: Path) -> tuple[int, str]:
    """How a command ended, and the first lines of what it says where that is an error."""
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=LIMIT,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]

    return done.returncode, " | ".join(lines[:3])[:500] if done.returncode else ""


def page(record: dict[str, Any]) -> str:
    """The section: one line a task, and what failed or was refused."""
    lines, notes = [], []
    for name, row in record["rows"].items():
        if "error" in row:
            lines.append((name, f"refused by {row['where']}", *[""] * 7))
            notes.append(f"- {name}: `{row['error']}`")
            continue
        lines.append(_line(name, row))
        notes += [f"- {name}: `{failed}`" for failed in row["failed"]]

    head = ("task", "verdict", "metric", "float", "int8", "int8 share", "speed [99 %]", "verify / bench", "run.py")
    parts = [
        "## ExecuTorch: the tasks",
        INTRODUCTION,
        common.table(head, lines),
        "What was refused or failed:\n\n" + ("\n".join(notes) or "nothing"),
        common.footing(record["machine"], record["versions"]),
    ]

    return "\n\n".join(parts)


def _line(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    def figure(key: str) -> str:
        return "-" if row[key] is None else f"{row[key]:.3f}"

    low_high = "" if not row["ci99"] else f" [{row['ci99'][0]:.2f}, {row['ci99'][1]:.2f}]"
    speed = "-" if row["speedup"] is None else f"{row['speedup']:.2f}{low_high}"
    share = "-" if row["int8_share"] is None else f"{row['int8_share']:.0%}"
    words = {0: "pass", 1: "fail", 5: "inconclusive"}
    both = " / ".join(words.get(row[key], f"exit {row[key]}") for key in ("verify", "bench"))
    run_py = {0: "as expected", 1: "differs"}.get(row["run_py"], f"exit {row['run_py']}")

    return (
        name,
        row["verdict"],
        row["metric"] or "-",
        figure("float"),
        figure("quantized"),
        share,
        speed,
        both,
        run_py,
    )


if __name__ == "__main__":
    raise SystemExit(main())
