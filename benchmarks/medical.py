"""ResNet-18 and AlexNet of torchvision on medical images: float, PTQ and QAT, each artifact in its own runtime.

    python benchmarks/medical.py --out DIR [--only NAME...]

`EDGEFT_DATA` names the folder with the data; torchvision must be installed (constraints-vision.txt). Both networks learn
PneumoniaMNIST from nothing at 64 pixels. What they have learned there is saved, and is the local weights file from
which they learn the blood cells, once wholly and once the head alone. Validation chooses the epoch; the test images
choose nothing. The floor is logistic regression on the pixels.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import common
import numpy as np
from accuracy import RUNTIMES, frozen

from edgeft.measure import stats

SIDE = 64
MOST_DROP = 0.01
TITLES = {"pneumonia": "PneumoniaMNIST", "cells": "blood cells"}
#: network -> learning rate from nothing, and from weights. AlexNet has no BatchNorm and diverges at ResNet's rate.
RATES = {"resnet18": (1e-3, 5e-4), "alexnet": (1e-4, 1e-4)}
#: epochs on PneumoniaMNIST and the size of a batch, then epochs on the blood cells: without BatchNorm it takes longer
STEPS = {"resnet18": (3, 64, 6), "alexnet": (2, 32, 24)}
#: learning rate where the head alone learns; AlexNet's sees 4096 features
HEAD_RATES = {"resnet18": 5e-3, "alexnet": 1e-3}


def experiments(root: Path, out: Path) -> list[dict[str, Any]]:
    """Recipes; those of the cells start from the run of the same network on PneumoniaMNIST."""
    image = root / "01_image_medical"
    lungs = {"format": "npz", "path": str(image / "pneumoniamnist_28.npz"), "size": SIDE}
    cells = {"format": "image-folder", "path": str(image / "bccd_cells"), "size": SIDE}
    made = []

    for net, (fresh, tuned) in RATES.items():
        shared = {"export": {"targets": list(RUNTIMES)}, "gates": {"max_drop": MOST_DROP, "min_speedup": 0.0}}
        model: dict[str, Any] = {"source": "torchvision", "name": net}
        epochs, batch, later = STEPS[net]
        train = {"batch_size": batch, "augment": "light", "seed": 0}
        made.append(
            {
                "name": f"{net}-pneumonia",
                "model": model,
                "data": lungs,
                "train": {**train, "epochs": epochs, "lr": fresh},
                "quantize": {"epochs": 1, "lr": 2e-5},
                **shared,
            }
        )
        learned = {**model, "weights": str(out / f"{net}-pneumonia" / "float.safetensors")}
        for policy in ("full", "head"):
            made.append(
                {
                    "name": f"{net}-cells-{policy}",
                    "model": learned,
                    "data": cells,
                    "train": {
                        **train,
                        "batch_size": 32,
                        "epochs": later,
                        "lr": tuned if policy == "full" else HEAD_RATES[net],
                    },
                    "update": {"policy": policy},
                    "quantize": {"epochs": 1, "lr": 2e-5},
                    **shared,
                }
            )

    return made


def one(made: dict[str, Any], out: Path) -> dict[str, Any]:
    """Tune and export one recipe (taken up where it stands); returns its figures, which are kept beside the run."""
    import edgeft

    run, done = out / made["name"], out / f"{made['name']}.json"
    if done.is_file():
        return json.loads(done.read_text())

    say = lambda text: print(f"  {made['name']}: {text}", flush=True)  # noqa: E731
    summary = edgeft.tune(made, run, resume=(run / "recipe.toml").exists(), say=say)
    reports = edgeft.export(run, RUNTIMES, out / "bundles" / made["name"], overwrite=True, say=say)
    keys = ("float", "ptq", "quantized", "n", "chance", "steps", "seconds", "total_parameters", "updated_parameters")
    row: dict[str, Any] = {
        "name": made["name"],
        "policy": made.get("update", {}).get("policy", "full"),
        "summary": {key: summary[key] for key in (*keys, "peak_training_bytes")},
        "runtimes": {report["backend"]: figures(report) for report in reports},
    }
    row["frozen"] = frozen(run, summary) if row["policy"] == "head" else None
    found = right_answers(out / "bundles" / made["name"] / RUNTIMES[0], made["data"])
    row["right"] = "".join("01"[int(value)] for value in found)
    done.write_text(json.dumps(row, indent=2))

    return row


def figures(report: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a report."""
    gates = {gate["name"]: gate for gate in reversed(report["gates"])}
    classes = report["per_class"]
    return {
        **{key: gates["accuracy"][key] for key in ("float", "quantized", "drop", "ci95")},
        "agreement": gates["agreement"]["quantized"],
        "extra": report["extra_metrics"],
        "worst_recall": {kind: min(row[kind] for row in classes.values()) for kind in ("float", "quantized")},
        "speedup": report["latency"]["speedup"],
        "ci99": report["latency"]["ci99"],
        "float_ms": report["latency"]["float_ms"],
        "size": report["size"],
        "int8_share": report["int8_share"],
        "verdict": report["verdict"],
    }


def right_answers(folder: Path, data: dict[str, Any]) -> np.ndarray:
    """Bool (N,): where the float artifact of a bundle is right on the test images, in the data's own order."""
    from edgeft import data as datasets
    from edgeft.bundle import reader as bundle
    from edgeft.config import recipe
    from edgeft.inputs.batches import outputs_of, preprocessed

    opened = bundle.open(folder)
    split = datasets.open(recipe.Data(**data)).split("test")
    (outputs,) = outputs_of([opened.session(baseline=True)], preprocessed(opened.task, opened.preprocess, split))
    return np.asarray(opened.task.decisions(outputs) == split.targets)


def floor(data: dict[str, Any]) -> np.ndarray:
    """Bool (N,): where logistic regression on the pixels of the training images is right on the test images.

    Validation chooses how strongly it is regularized.
    """
    from sklearn.linear_model import LogisticRegression

    from edgeft import data as datasets
    from edgeft.config import recipe

    dataset = datasets.open(recipe.Data(**data))
    pixels, truth = {}, {}
    for split in ("train", "val", "test"):
        part = dataset.split(split)
        pixels[split] = np.stack([raw.reshape(-1) for raw, _ in part]).astype(np.float32) / 255
        truth[split] = part.targets

    models = [LogisticRegression(max_iter=300, C=c).fit(pixels["train"], truth["train"]) for c in (0.01, 0.1, 1.0)]
    best = max(models, key=lambda model: model.score(pixels["val"], truth["val"]))
    return np.asarray(best.predict(pixels["test"]) == truth["test"])


def percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def tables(rows: list[dict[str, Any]], floors: dict[str, np.ndarray]) -> str:
    """Accuracy of every run, then what the runtimes say, then what else is measured."""
    main, more = [], []
    for row in rows:
        s, name = row["summary"], "cells" if "cells" in row["name"] else "pneumonia"
        first = next(iter(row["runtimes"].values()))
        below, net = floors[name], np.array([c == "1" for c in row["right"]])
        lost, won = int((below & ~net).sum()), int((net & ~below).sum())
        low, high = stats.paired_proportions(won, lost, len(net))
        cells = [row["name"], s["n"], *(percent(s[key]) for key in ("float", "ptq", "quantized"))]
        for backend in common.RUNTIMES:
            r = row["runtimes"][backend]
            a, b = (100 * v for v in r["ci95"])
            cells.append(f"{percent(r['quantized'])} (drop {100 * r['drop']:+.2f} [{a:+.2f}, {b:+.2f}])")
        held = all(r["drop"] <= MOST_DROP + 1e-9 for r in row["runtimes"].values())
        gained = f"{100 * (won - lost) / len(net):+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
        main.append([*cells, "yes" if held else "**no**", gained])
        pair = [(first["extra"][key]["float"], first["extra"][key]["quantized"]) for key in ("auc", "macro_f1")]
        pair.append((first["worst_recall"]["float"], first["worst_recall"]["quantized"]))
        speeds = [
            f"{r['speedup']:.2f} [{r['ci99'][0]:.2f}, {r['ci99'][1]:.2f}]"
            for r in (row["runtimes"][backend] for backend in common.RUNTIMES)
        ]
        share = min(r["int8_share"] for r in row["runtimes"].values())
        size = first["size"]
        more.append(
            [
                row["name"],
                *(f"{a:.3f} → {b:.3f}" for a, b in pair),
                *speeds,
                f"{share:.3f}",
                f"{size['float_bytes'] / 1e6:.1f} → {size['quantized_bytes'] / 1e6:.1f}",
                f"{s['peak_training_bytes'] / 1e6:.0f}",
                f"{s['updated_parameters'] / 1e6:.3g} of {s['total_parameters'] / 1e6:.3g}",
            ]
        )

    names = list(common.RUNTIMES.values())
    head = ["run", "n", "float", "PTQ (torch)", "QAT (torch)", *names, "int8 within 1 point", "float above pixels"]
    first = common.table(head, main)
    head = ["run", "AUC", "macro F1", "worst recall", *(f"speed, {name}" for name in names), "int8 share", "MB"]

    return f"{first}\n\n{common.table([*head, 'training MB', 'M weights that learn'], more)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and bundles (resumable)")
    parser.add_argument("--only", nargs="*", help="names of runs; those that are done are listed too")
    arguments = parser.parse_args()
    root, host = Path(os.environ["EDGEFT_DATA"]), common.machine()
    made = experiments(root, arguments.out)

    for each in made:
        if not arguments.only or each["name"] in arguments.only:
            print(json.dumps(one(each, arguments.out)), flush=True)

    rows = [one(each, arguments.out) for each in made if (arguments.out / f"{each['name']}.json").is_file()]
    floors = {name: floor(experiment["data"]) for name, experiment in zip(TITLES, made)}
    used = common.versions("torch", "torchvision", "onnxruntime", "openvino", "ai-edge-litert", "litert-torch")
    said = "; ".join(f"{TITLES[name]} {percent(found.mean())} %" for name, found in floors.items())
    moved = {row["name"]: row["frozen"]["moved"] for row in rows if row["frozen"]}
    heads = "; ".join(f"{name}: {', '.join(tensors)}" for name, tensors in moved.items())
    section = (
        f"## Medical images\n\nResNet-18 and AlexNet of torchvision at {SIDE} pixels. Accuracy in per cent; drop in points "
        "against the float artifact of the same runtime, with its paired 95 % interval. The cells start from the weights "
        f"learned on PneumoniaMNIST. Logistic regression on the pixels has {said}; the last column is what the float "
        "network has above it, in points with a paired 95 % interval. AUC, F1 and worst recall: float → int8 in ONNX "
        "Runtime; speed is int8 over float with its 99 % interval; the int8 share is the least of the three runtimes, "
        f"megabytes are those of ONNX Runtime's files.\n\n{tables(rows, floors)}\n\nTensors that moved where only the head learns: "
        f"{heads}.\n\n{common.footing(host, used)}"
    )
    record = {"machine": host, "versions": used, "rows": rows, "floor": {k: float(v.mean()) for k, v in floors.items()}}
    common.publish("medical", section, record)


if __name__ == "__main__":
    main()
