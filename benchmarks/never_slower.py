"""`edgeft export --auto` on networks whose int8 is slower than float: what is shipped is at least as fast as float.

    python benchmarks/never_slower.py [--tasks control recommend translate] [--targets host] [--seconds 60] [--keep DIR]

The recipes are those of tiny_recipes.py: a small perceptron, a recommender and an encoder-decoder. For each runtime every
number format is exported, verified and timed in pairs of fresh processes against the float model of that runtime. A row
is kept in results/never_slower.json as soon as it is there, and one that is there is not made again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import common
from tiny_recipes import RECIPES

TASKS = ("control", "recommend", "translate")
#: how much slower a shipped artifact of float kernels may be, at the slow end of its interval (`measure.choose.LEVEL`)
LEVEL = 0.02
INTRODUCTION = (
    "`edgeft export --auto` for this machine with each runtime: small networks of tiny_recipes.py, one thread. Speeds are "
    "float time over the candidate's time, in pairs of fresh processes, with the interval in which all comparisons of a "
    "row hold together in 99 of 100 exports. *Held*: what is shipped is the float model itself, faster than it beyond the "
    "noise, or in the same float kernels and at most 2 % slower at the slow end of the interval."
)


def main(argv: Sequence[str] | None = None) -> int:
    targets = tuple(common.TARGETS.values())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--targets", nargs="+", default=targets, choices=targets)
    parser.add_argument("--seconds", type=float, default=60.0, help="of timing, for one target")
    parser.add_argument("--keep", type=Path, help="folder for runs, which are taken up")
    asked = parser.parse_args(argv)

    stored = common.RESULTS / "never_slower.json"
    record = json.loads(stored.read_text()) if stored.is_file() else {"rows": {}}
    record["machine"] = common.machine()
    record["versions"] = common.versions("torch", "onnxruntime", "openvino", "ai-edge-litert", "litert-torch")

    with TemporaryDirectory() as temporary:
        for task in asked.tasks:
            for target in asked.targets:
                key = f"{task} | {target}"
                if key in record["rows"]:
                    continue
                folder = (asked.keep or Path(temporary)) / task
                record["rows"][key] = measured(task, target, folder, asked.seconds)
                print(key, json.dumps(record["rows"][key]), flush=True)
                stored.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")

    common.publish("never_slower", page(record), record)
    return 0


def measured(task: str, target: str, folder: Path, seconds: float) -> dict[str, Any]:
    """What `--auto` chose for a target, and the candidates with their speeds."""
    import edgeft

    recipe, run = RECIPES[task], folder / "run"
    if not (run / "summary.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.toml").write_text(recipe.toml(), encoding="utf-8")
        settings = [f"data.path={json.dumps(str(recipe.data(folder / 'data')))}", 'quantize.method="ptq"']
        edgeft.tune(folder / "recipe.toml", run, overwrite=True, overrides=settings)

    out = folder / "bundles"
    (report,) = edgeft.export(run, [target], out, auto=True, ptq=True, seconds=seconds, overwrite=True)
    choice = report["choice"]
    rows = {row["format"]: row for row in choice["candidates"]}
    (shipped,) = [row for row in choice["candidates"] if row["chosen"]]

    return {
        "chosen": shipped["format"],
        "verdict": report["verdict"],
        "why": shipped["why"],
        "held": held(shipped),
        "candidates": {
            name: {key: row[key] for key in ("verdict", "speedup", "interval", "bytes", "drop", "why")}
            for name, row in rows.items()
        },
    }


def held(shipped: dict[str, Any]) -> bool:
    """Whether the shipped artifact is at least as fast as float."""
    if shipped["yardstick"]:
        return True
    return bool(shipped["interval"]) and shipped["interval"][0] >= 1 - LEVEL


def page(record: dict[str, Any]) -> str:
    lines = []
    for key, row in record["rows"].items():
        task, target = key.split(" | ")
        formats = row["candidates"]
        refused = ", ".join(name for name, found in formats.items() if found["verdict"] != "pass")
        lines.append(
            (
                task,
                target,
                row["chosen"],
                _speed(formats[row["chosen"]], row["chosen"] == "fp32"),
                _speed(formats["int8"]),
                "; ".join(f"{name} {_speed(formats[name])}" for name in formats if name not in ("int8", "fp32")),
                refused or "-",
                "yes" if row["held"] else "**no**",
            )
        )

    head = ("network", "target", "shipped", "its speed", "int8", "others", "did not pass", "held")
    parts = ["## Never slower than float", INTRODUCTION, common.table(head, lines)]
    return "\n\n".join([*parts, common.footing(record["machine"], record["versions"])])


def _speed(row: dict[str, Any], float_model: bool = False) -> str:
    if float_model:
        return "1 (float)"
    if row["speedup"] is None:
        return "-"
    low_high = f" [{row['interval'][0]:.2f}, {row['interval'][1]:.2f}]" if row["interval"] else ""
    return f"{row['speedup']:.2f}{low_high}"


if __name__ == "__main__":
    raise SystemExit(main())
