"""Strings of spoken digits through the public commands: float, PTQ and QAT of QuartzNet, each artifact in its runtime.

    python benchmarks/speech.py --out DIR [--seeds 0]

`EDGEFT_DATA` names the folder with the data (FSDD, as the data set divides it: the test recordings are others of the
same four speakers). The strings are made by `examples/speech/prepare.py`, the recipe is that of the example; test
strings choose nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
from pathlib import Path
from typing import Any

import common
from accuracy import RUNTIMES, one

from edgeft.config import recipe as recipes

GOAL = 0.10
MOST_DROP = 0.01
EXAMPLE = common.HERE.parent / "examples" / "speech"
COUNTS = {"train": 1500, "val": 200, "test": 300}


def strings(root: Path, out: Path) -> Path:
    """The folder of strings below `out`, made once."""
    folder = out / "strings"
    if not (folder / "test" / "metadata.csv").is_file():
        spec = importlib.util.spec_from_file_location("prepare", EXAMPLE / "prepare.py")
        assert spec and spec.loader
        prepare = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(prepare)
        prepare.make(root / "05_speech" / "fsdd", folder, COUNTS)
    return folder


def recipe(folder: Path, seed: int) -> dict[str, Any]:
    """examples/speech/recipe.toml with a seed, this machine's runtimes and the place of the data."""
    made = recipes.as_table(recipes.load(EXAMPLE / "recipe.toml"))
    made["name"] = f"strings-{seed}"
    made["data"]["path"] = str(folder)
    made["train"]["seed"] = seed
    made["export"] = {"targets": list(RUNTIMES)}
    return made


def table(rows: list[dict[str, Any]]) -> str:
    head = ("run", "n", "constant", "float", "PTQ (torch)", "QAT (torch)", *common.RUNTIMES.values(), "goal met")
    lines = []
    for row in rows:
        s = row["summary"]
        cells: list[Any] = [row["name"], s["n"]]
        cells += [f"{100 * s[key]:.2f}" for key in ("chance", "float", "ptq", "quantized")]
        found = [row["runtimes"][name] for name in common.RUNTIMES]
        for r in found:
            low, high = (100 * value for value in r["ci95"])
            cells.append(f"{100 * r['quantized']:.2f} (rise {100 * r['drop']:+.2f} [{low:+.2f}, {high:+.2f}])")
        met = s["float"] <= GOAL and all(r["drop"] <= MOST_DROP for r in found)
        lines.append((*cells, "yes" if met else "**no**"))

    return common.table(head, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for strings, runs and bundles (resumable)")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    arguments = parser.parse_args()

    host = common.machine()
    folder = strings(Path(os.environ["EDGEFT_DATA"]), arguments.out)
    rows = [one(recipe(folder, seed), arguments.out) for seed in arguments.seeds]
    used = common.versions("torch", "onnxruntime", "openvino", "ai-edge-litert", "litert-torch")
    shares = sorted({round(r["int8_share"], 3) for row in rows for r in row["runtimes"].values()})
    same = min(r["agreement"] for row in rows for r in row["runtimes"].values())
    seconds = ", ".join(f"{row['summary']['seconds']:.0f} s" for row in rows)

    section = (
        "## Speech\n\nStrings of three to seven spoken digits, QuartzNet, word error rate in per cent (lower is better); "
        "rise in points against the float artifact of the same runtime, with its 95 % interval over strings. The goal is "
        f"at most {100 * GOAL:.0f} % in float and a rise of at most {100 * MOST_DROP:.0f} point. `constant` is the best "
        f"answer that hears nothing. Integer share of the multiply-accumulates: {', '.join(map(str, shares))}; the same "
        f"transcript as float in at least {100 * same:.1f} % of the strings. Tuning took {seconds}.\n\n{table(rows)}\n\n"
        f"{common.footing(host, used)}"
    )
    common.publish("speech", section, {"machine": host, "versions": used, "rows": rows})


if __name__ == "__main__":
    main()
