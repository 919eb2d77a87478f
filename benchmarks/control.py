"""Robot control: CartPole from an expert's episodes, judged in closed loop, and a Donkeycar's camera.

    python benchmarks/control.py --out DIR [--only cartpole donkey] [--episodes 50] [--seeds 0 1 2]

CartPole: an MLP is cloned, exported to three runtimes, and both artifacts of each (float and int8) drive the same
gymnasium episodes. Donkeycar: a pretrained EfficientNet-Lite0 learns steering and throttle from one drive, once a seed:
150 frames to validate and 150 to test on decide little by themselves. Runs are kept in `--out`. Needs gymnasium and `EDGEFT_DATA`.
"""

from __future__ import annotations

import argparse
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
import numpy as np

RUNTIMES = ["host", "host-openvino", "host-litert"]
SEED = 10_000


def recipes(root: Path, out: Path, seeds: Sequence[int]) -> dict[str, dict[str, Any]]:
    shared: dict[str, Any] = {"task": "control", "export": {"targets": RUNTIMES}}
    return {
        "cartpole": {
            **shared,
            "name": "cartpole",
            "model": {"source": "builtin", "name": "mlp", "args": {"hidden": [64, 64]}},
            "data": {
                "format": "trajectories",
                "path": str(root / "08_robotics/cartpole_expert/rollouts.npz"),
                "actions": "continuous",
            },
            "train": {"epochs": 10, "lr": 2e-3, "batch_size": 256},
            "quantize": {"epochs": 2, "lr": 1e-4},
            # a network of 4,545 weights is over before int8 can pay; float or int8 makes no difference to the robot
            "gates": {"min_speedup": 0, "min_int8_share": 0},
        },
        **{f"donkey-{seed}": donkey(root, out, seed) for seed in seeds},
    }


def donkey(root: Path, out: Path, seed: int) -> dict[str, Any]:
    return {
        "task": "control",
        "export": {"targets": RUNTIMES},
        "name": f"donkey-{seed}",
        "model": {"source": "builtin", "name": "efficientnet_lite0", "weights": "pip:efficientnet-lite0"},
        "data": {"format": "trajectories", "path": str(_tub(root, out)), "size": 96},
        "train": {"epochs": 12, "lr": 5e-4, "head_lr": 2e-3, "batch_size": 16, "norm_stats": "freeze", "seed": seed},
        "quantize": {"epochs": 2, "lr": 5e-5},
    }


def _tub(root: Path, out: Path) -> Path:
    folder = out / "tub"
    if not folder.is_dir():
        with tarfile.open(root / "08_robotics/donkeycar_tub/tub.tar.gz") as archive:
            members = [m for m in archive.getmembers() if not Path(m.name).name.startswith("._")]
            archive.extractall(out, members=members, filter="data")
    return folder


def drive(session: Any, task: Any, spec: dict[str, Any], episodes: int) -> list[float]:
    """The return of each episode when `session` holds the stick: an output above 0.5 pushes to the right."""
    import gymnasium

    world = gymnasium.make("CartPole-v1")
    returns = []
    for episode in range(episodes):
        seen, _ = world.reset(seed=SEED + episode)
        total, over = 0.0, False
        while not over:
            (push,) = session.run(task.preprocess(seen, spec)).values()
            seen, reward, ended, cut, _ = world.step(int(push[0, 0] > 0.5))
            total, over = total + float(reward), ended or cut
        returns.append(total)

    return returns


def one(made: dict[str, Any], out: Path, episodes: int) -> dict[str, Any]:
    import edgeft

    run, done = out / made["name"], out / f"{made['name']}.json"
    if done.is_file():
        return json.loads(done.read_text())

    say = lambda text: print(f"  {made['name']}: {text}", flush=True)  # noqa: E731
    summary = edgeft.tune(made, run, resume=(run / "recipe.toml").exists(), say=say)
    reports = edgeft.export(run, RUNTIMES, out / "bundles" / made["name"], overwrite=True, say=say)
    row: dict[str, Any] = {
        "name": made["name"],
        **{k: summary[k] for k in ("float", "ptq", "quantized", "n", "chance")},
    }
    row["runtimes"] = {}

    for report in reports:
        gates = {g["name"]: g for g in reversed(report["gates"])}
        found = {
            **{k: gates["accuracy"][k] for k in ("float", "quantized", "drop", "ci95")},
            "verdict": report["verdict"],
            "int8_share": report["int8_share"],
            "speedup": report["latency"]["speedup"],
        }
        bundle = edgeft.load(report["path"])
        speed = edgeft.bench(bundle)
        found |= {"p50_ms": speed["p50_ms"], "p99_ms": speed.get("p99_ms")}
        if made["name"] == "cartpole":
            for kind, baseline in (("float_return", True), ("int8_return", False)):
                returns = drive(bundle.session(baseline=baseline), bundle.task, bundle.preprocess, episodes)
                found[kind] = float(np.mean(returns))
        row["runtimes"][report["backend"]] = found

    done.write_text(json.dumps(row, indent=2))
    return row


def section(rows: list[dict[str, Any]], episodes: int, host: dict[str, Any], used: dict[str, str]) -> str:
    head = ["run", "runtime", "n", "float MAE", "int8 MAE", "constant answer", "float return", "int8 return"]
    head += ["int8 over float", "int8 share", "p99 ms", "rate Hz", "verdict"]
    body = []

    for row in rows:
        for kind, r in row["runtimes"].items():
            p99 = r["p99_ms"]
            body.append(
                [row["name"], common.RUNTIMES[kind], row["n"]]
                + [f"{r[k]:.4f}" for k in ("float", "quantized")]
                + [f"{row['chance']:.4f}"]
                + [f"{r[k]:.1f}" if k in r else "" for k in ("float_return", "int8_return")]
                + [f"{r['speedup']:.2f}x" if r["speedup"] else "", f"{r['int8_share']:.1%}"]
                + [f"{p99:.3f}" if p99 else "", f"{1000 / p99:.0f}" if p99 else "", r["verdict"]]
            )

    return f"""## Robot control

MAE: mean absolute error on the test split, in the controls' own units; "constant answer" is that of the best constant.
Return: mean over {episodes} episodes of CartPole-v1 (at most 500), the same ones for every artifact. The control rate is
what the 99th percentile of one call at batch 1 and one thread allows.

{common.table(head, body)}

{over_seeds(rows)}

{common.footing(host, used)}"""


def over_seeds(rows: list[dict[str, Any]]) -> str:
    """The Donkeycar's error over all seeds against the best constant answer; at least 20 % less was asked for."""
    found = [row for row in rows if row["name"].startswith("donkey")]
    if not found:
        return ""

    told = []
    for kind in ("float", "quantized"):
        errors = [float(np.mean([r[kind] for r in row["runtimes"].values()])) for row in found]
        less = 1 - np.mean(errors) / found[0]["chance"]
        told.append(
            f"{np.mean(errors):.4f} ({min(errors):.4f} to {max(errors):.4f}), {100 * less:.0f} % below the constant answer"
        )

    return f"Donkeycar over {len(found)} seeds, mean (lowest to highest): float {told[0]}; int8 {told[1]}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=["cartpole", "donkey"])
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the Donkeycar's runs")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    host = common.machine()
    made = recipes(Path(os.environ["EDGEFT_DATA"]), asked.out, asked.seeds)
    wanted = [name for name in made if name.split("-")[0] in (asked.only or ("cartpole", "donkey"))]
    rows = [one(made[name], asked.out, asked.episodes) for name in wanted]
    used = common.versions("torch", "onnxruntime", "openvino", "ai-edge-litert", "gymnasium")
    record = {"machine": host, "versions": used, "rows": rows}
    common.publish("control", section(rows, asked.episodes, host, used), record)


if __name__ == "__main__":
    main()
