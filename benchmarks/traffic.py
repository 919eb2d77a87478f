"""Detection on a road: AP50 and AP50-95 of float, PTQ and int8 in each runtime, with speed, int8 share and size.

    python benchmarks/traffic.py --out DIR [--seeds 0] [--method ptq]

`EDGEFT_DATA` names the folder with the data. The recipe is that of examples/traffic; its 89 test pictures are the later
part of the drive and choose nothing: validation is cut from the training pictures in stretches.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import common

from edgeft.config import recipe as recipes

GOAL, MOST_DROP = 0.80, 0.02


def data(root: Path, out: Path) -> Path:
    """A folder with images/train, images/test and labels/ that links to the data: its "val" is our test."""
    source, folder = root / "03_detection_traffic" / "car", out / "car"
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for ours, theirs in (("train", "train"), ("test", "val")):
            if not (folder / kind / ours).exists():
                (folder / kind / ours).symlink_to((source / kind / theirs).resolve())
    (folder / "classes.txt").write_text("car\n")
    return folder


def recipe(folder: Path, seed: int, method: str = "qat") -> dict[str, Any]:
    """examples/traffic/recipe.toml with a seed, this machine's runtimes and the place of the data."""
    made = recipes.as_table(recipes.load(common.HERE.parent / "examples" / "traffic" / "recipe.toml"))
    made["name"] = f"traffic-{seed}"
    made["data"]["path"] = str(folder)
    made["train"]["seed"] = seed
    made["quantize"]["method"] = method
    made["export"] = {"targets": list(common.TARGETS.values())}
    made["gates"] = {"min_speedup": 0.0}
    return made


def one(made: dict[str, Any], out: Path) -> dict[str, Any]:
    """Tune and export one recipe (taken up where it stands, when it was begun before); returns its figures."""
    import edgeft

    run, done = out / made["name"], out / f"{made['name']}.json"
    if done.is_file():
        return json.loads(done.read_text())

    say = lambda text: print(f"  {made['name']}: {text}", flush=True)  # noqa: E731
    summary = edgeft.tune(made, run, resume=(run / "recipe.toml").exists(), say=say)
    bundles = out / "bundles" / made["name"]
    reports = edgeft.export(run, made["export"]["targets"], bundles, overwrite=True, say=say)
    row: dict[str, Any] = {
        "name": made["name"],
        "method": made["quantize"]["method"],
        "summary": {k: summary[k] for k in ("float", "ptq", "quantized", "n", "steps", "total_parameters")},
        "schemes": summary["schemes"],
        "runtimes": {},
    }

    for report in reports:
        gates = {g["name"]: g for g in reversed(report["gates"])}
        row["runtimes"][report["backend"]] = {
            **{k: gates["accuracy"][k] for k in ("float", "quantized", "drop", "ci95")},
            "strict": report["extra_metrics"]["ap50_95"],
            "agreement": gates["agreement"]["quantized"],
            "speedup": report["latency"]["speedup"],
            "float_ms": report["latency"]["float_ms"],
            "quantized_ms": report["latency"]["quantized_ms"],
            "int8_share": report["int8_share"],
            "size": report["size"],
            "worst_class": report["worst_class"],
            "verdict": report["verdict"],
            "missed": [f"{g['name']}: {g['why']}" for g in report["gates"] if g["verdict"] in ("fail", "inconclusive")],
        }

    done.write_text(json.dumps(row, indent=2))
    return row


def table(row: dict[str, Any]) -> str:
    head = ("runtime", "AP50 float", "AP50 int8", "drop (95 %)", "AP50-95 float", "AP50-95 int8", "int8 over float")
    lines = []
    for name, title in common.RUNTIMES.items():
        r = row["runtimes"][name]
        low, high = r["ci95"]
        lines.append(
            [
                title,
                f"{r['float']:.3f}",
                f"{r['quantized']:.3f}",
                f"{r['drop']:+.3f} ({low:+.3f} to {high:+.3f})",
                f"{r['strict']['float']:.3f}",
                f"{r['strict']['quantized']:.3f}",
                f"{r['speedup']:.2f}x",
                f"{100 * r['int8_share']:.0f} %",
                f"{r['size']['float_bytes'] / 1e6:.1f} / {r['size']['quantized_bytes'] / 1e6:.1f}",
                f"{100 * r['agreement']:.0f} %",
                common.mark(min(r["float"] - GOAL, MOST_DROP - r["drop"]), least=0),
            ]
        )

    return common.table((*head, "int8 share", "MB float / int8", "same boxes", "goal met"), lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and bundles (resumable)")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--method", choices=["qat", "ptq"], default="qat", help="ptq: calibrated only, which is quick")
    arguments = parser.parse_args()
    root = Path(os.environ["EDGEFT_DATA"])
    host = common.machine()
    folder = data(root, arguments.out)
    rows = [one(recipe(folder, seed, arguments.method), arguments.out) for seed in arguments.seeds]
    used = common.versions("torch", "onnxruntime", "openvino", "ai-edge-litert", "litert-torch", "pycocotools")
    section = (
        "## Traffic\n\nCars on a road: the detector on EfficientNet-Lite0 with ImageNet weights, 192 x 320 pixels, 89 test "
        "pictures from the later part of one drive, pycocotools' AP. Drops are against the float artifact of the same "
        f"runtime, with the paired bootstrap over pictures. The goal is an AP50 of {GOAL:.2f} in float and a drop of at "
        f"most {MOST_DROP:.2f} in each runtime."
    )

    for row in rows:
        s, r = row["summary"], row["runtimes"]
        section += (
            f"\n\n{row['name']}, {row['method'].upper()}, {s['steps']} steps in all: in torch AP50 {s['float']:.3f} float, "
            f"{s['ptq']:.3f} calibrated, {s['quantized']:.3f} in the end. Milliseconds a picture, batch 1, one thread, "
            "int8 of float: "
            + ", ".join(f"{common.RUNTIMES[k]} {v['quantized_ms']:.1f} of {v['float_ms']:.1f}" for k, v in r.items())
            + f".\n\n{table(row)}"
        )
        missed = [f"{common.RUNTIMES[k]}: {line}" for k, v in r.items() for line in v["missed"]]
        section += "".join(f"\n\n- {line}" for line in missed)

    common.publish(
        "traffic", f"{section}\n\n{common.footing(host, used)}", {"machine": host, "versions": used, "rows": rows}
    )


if __name__ == "__main__":
    main()
