"""Recommendation on MovieLens latest-small through the public commands: against popularity, and int8 against float.

    python benchmarks/recommend.py --out DIR [--seeds 0 1 2]

`EDGEFT_DATA` names the folder with the data. The recipe is examples/recommend/recipe.toml (neumf), and the same with
what `TWO_TOWER` sets (the first seed only); their numbers were chosen on the validation split. HR@10 is among 99
sampled negatives, and beside it over all items that a user never took. Tables of embeddings are int8; what they would
be in float, calibrated only, is exported beside the first seed for its size and speed.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import numpy as np

EXAMPLE = common.HERE.parent / "examples" / "recommend" / "recipe.toml"
RUNTIMES = ("host", "host-openvino", "host-litert")
#: what must hold: a float model this much above popularity, and int8 within this of it on each runtime
ABOVE, DROP = 1.2, 0.005
TWO_TOWER = [
    "model.name=two_tower",
    "model.args={ factors = 32, hidden = [32], dropout = 0.2 }",
    "train.epochs=10",
    "train.lr=2e-2",
    "train.weight_decay=0.02",
    "quantize.keep_float=[]",  # the dot product of the towers is float: no scores tie
]
TITLES = {"neumf": "Neural matrix factorization", "two_tower": "Two towers"}
NETS: dict[str, list[str]] = {"neumf": [], "two_tower": TWO_TOWER}


def one(data: Path, net: str, seed: int, out: Path, *, compare: bool) -> dict[str, Any]:
    """Tune and export one net with one seed (what stands is taken up); returns its figures.

    `compare` exports the run once more, calibrated, with float tables.
    """
    import edgeft
    from edgeft import data as datasets
    from edgeft.api import read_recipe

    done = out / f"{net}-{seed}.json"
    if done.is_file():
        return json.loads(done.read_text())

    say = lambda text: print(f"  {net}, seed {seed}: {text}", flush=True)  # noqa: E731
    recipe = read_recipe(EXAMPLE, [f"data.path={data}", f"train.seed={seed}", *NETS[net]])
    run = out / f"{net}-{seed}"
    summary = edgeft.tune(recipe, run, resume=(run / "recipe.toml").exists(), say=say)
    reports = edgeft.export(run, RUNTIMES, out / f"bundles-{net}-{seed}", overwrite=True, say=say)
    floating = {}

    if compare:
        asked = {"ptq": True, "overrides": ["quantize.embeddings=float"], "overwrite": True, "say": say}
        for report in edgeft.export(run, RUNTIMES, out / f"bundles-{net}-{seed}-float-tables", **asked):
            floating[report["backend"]] = {"size": report["size"], "speedup": report["latency"]["speedup"]}

    dataset = datasets.open(recipe.data)
    row = {
        "net": net,
        "seed": seed,
        "float tables": floating,
        "summary": {k: summary[k] for k in ("float", "ptq", "quantized", "n", "chance", "steps", "seconds")},
        "popularity over all items": over_all(dataset, _popularity(dataset)),
        "runtimes": {report["backend"]: judged(report, data, dataset) for report in reports},
    }
    done.write_text(json.dumps(row, indent=2))

    return row


def judged(report: dict[str, Any], data: Path, dataset: Any) -> dict[str, Any]:
    """Figures of one bundle, float and int8: HR@10 and NDCG@10 among the negatives, HR@10 over all items."""
    import edgeft
    from edgeft.verify.evaluate import evaluate

    bundle = edgeft.load(report["path"])
    found = evaluate(bundle, data)
    gates = {g["name"]: g for g in reversed(report["gates"])}
    figures: dict[str, Any] = {
        "drop": gates["accuracy"]["drop"],
        "ci95": gates["accuracy"]["ci95"],
        "agreement": gates["agreement"]["quantized"],
        "int8_share": report["int8_share"],
        "speedup": report["latency"]["speedup"],
        "float_ms": report["latency"]["float_ms"],
        "size": report["size"],
        "verdict": report["verdict"],
    }

    for name, outputs in (("float", found.float_outputs), ("int8", found.quantized_outputs)):
        session = bundle.session(baseline=name == "float")

        def scores(user: str, items: np.ndarray, session: Any = session) -> np.ndarray:
            feeds = bundle.task.preprocess({"user": user, "items": items}, bundle.preprocess)
            return next(iter(session.run(feeds).values())).reshape(-1)[: len(items)]

        figures[name] = {
            "HR@10": bundle.task.score(outputs, found.targets),
            **bundle.task.extra_metrics(outputs, found.targets),
            "over all items": over_all(dataset, scores),
        }

    return figures


def over_all(dataset: Any, scores: Callable[[str, np.ndarray], np.ndarray]) -> float | None:
    """HR@10 of the test item among all items that the user never took; ties count as half."""
    rows = dataset.split("test").pool
    names, hits = np.array(rows.items), []
    for user in range(len(rows.users)):
        taken = rows.histories.all(user)
        items = np.concatenate([taken[-1:], np.setdiff1d(np.arange(len(names)), taken)])
        found = np.asarray(scores(rows.users[user], names[items]), np.float64)
        hits.append((found[1:] > found[0]).sum() + 0.5 * (found[1:] == found[0]).sum() < 10)
    return float(np.mean(hits))


def _popularity(dataset: Any) -> Callable[[str, np.ndarray], np.ndarray]:
    rows = dataset.split("test").pool
    counts = dict(zip(rows.items, rows.histories.popularity().tolist()))
    return lambda user, items: np.array([counts[str(item)] for item in items])


def _rate(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"


def section(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        s = row["summary"]
        above = s["float"] / s["chance"]
        lines.append(
            f"{TITLES[row['net']]}, seed {row['seed']}: popularity {s['chance']:.4f}, float {s['float']:.4f} ({above:.3f} of it; at least "
            f"{ABOVE}: {common.mark(above, least=ABOVE)}), PTQ {s['ptq']:.4f}, QAT {s['quantized']:.4f} (in torch); "
            f"{s['n']} users, {s['steps']} steps. "
            f"Popularity over all items: {_rate(row['popularity over all items'])}.\n"
        )
        cells = []
        for name, r in row["runtimes"].items():
            low, high = r["ci95"]
            cells.append(
                [
                    common.RUNTIMES[name],
                    f"{r['float']['HR@10']:.4f}",
                    f"{r['int8']['HR@10']:.4f}",
                    f"{r['drop']:+.4f} [{low:+.4f}, {high:+.4f}]",
                    common.mark(r["drop"], most=DROP),
                    f"{r['float']['NDCG@10']:.4f} / {r['int8']['NDCG@10']:.4f}",
                    f"{_rate(r['float']['over all items'])} / {_rate(r['int8']['over all items'])}",
                    f"{r['agreement']:.3f}",
                    f"{100 * r['int8_share']:.0f} %",
                    f"{r['speedup']:.2f}",
                    f"{r['size']['float_bytes'] / 1e6:.2f} / {r['size']['quantized_bytes'] / 1e6:.2f}",
                    r["verdict"],
                ]
            )
        head = [
            "runtime", "HR@10 float", "int8", "drop [95 %]", f"within {DROP}", "NDCG@10 float / int8",
            "HR@10 over all items float / int8", "same first item", "int8 share", "int8 speed over float", "MB float / int8", "verdict",
        ]  # fmt: skip
        lines += [common.table(head, cells), ""]
        if row["float tables"]:
            said = [
                f"{common.RUNTIMES[name]} {r['size']['quantized_bytes'] / 1e6:.2f} MB, {r['speedup']:.2f}"
                for name, r in row["float tables"].items()
            ]
            lines.append(f"With float tables (size of the int8 model, its speed over float): {'; '.join(said)}.\n")

    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and bundles (resumable)")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    arguments = parser.parse_args()

    data = Path(os.environ["EDGEFT_DATA"]) / "06_recommendation" / "ml-latest-small"
    arguments.out.mkdir(parents=True, exist_ok=True)
    host = common.machine()
    wanted = [("neumf", seed) for seed in arguments.seeds] + [("two_tower", arguments.seeds[0])]
    rows = [
        one(data, net, seed, arguments.out, compare=seed == arguments.seeds[0] and net == "neumf")
        for net, seed in wanted
    ]

    used = common.versions("torch", "onnxruntime", "openvino", "ai-edge-litert", "litert-torch")
    text = (
        "## Recommendation\n\nMovieLens latest-small; HR@10 of the last film of each user "
        "among 99 that they never rated, float and int8 artifact of the same runtime. One row of 100 candidates is one "
        f"inference.\n\n{section(rows)}\n{common.footing(host, used)}"
    )
    common.publish("recommend", text, {"machine": host, "versions": used, "rows": rows})


if __name__ == "__main__":
    main()
