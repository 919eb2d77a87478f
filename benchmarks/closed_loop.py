"""Closed loops: the return of float and int8 in gymnasium environments, on the same episodes.

    python benchmarks/closed_loop.py --out DIR [--only cartpole pendulum] [--episodes 100]

CartPole is cloned from the episodes of an expert in `EDGEFT_DATA`, Pendulum from a controller that shapes energy
(`tests/pendulum.py`). Each is exported to three runtimes and to the profile intel-nuc with gates.environment, and the
figures are those of the gate: mean returns, the drop, and its paired 95 % interval over episodes. Runs are kept in
`--out`. Needs gymnasium.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import common

sys.path.insert(0, str(common.HERE.parent / "tests"))
TARGETS = ["host", "host-openvino", "host-litert", "intel-nuc"]
ENVIRONMENTS = {"cartpole": "CartPole-v1", "pendulum": "Pendulum-v1"}


def rollouts(name: str, out: Path) -> str:
    """The file of recorded episodes."""
    if name == "cartpole":
        return str(Path(os.environ["EDGEFT_DATA"]) / "08_robotics/cartpole_expert/rollouts.npz")
    import pendulum

    return str(pendulum.write_rollouts(out / "pendulum.npz", 100))


def measured(name: str, out: Path, episodes: int) -> list[dict[str, Any]]:
    """The gates of each target's bundle; runs and figures are kept."""
    import edgeft

    done = out / f"{name}.json"
    if done.is_file():
        return list(json.loads(done.read_text()))
    recipe: dict[str, Any] = {
        "task": "control",
        "name": name,
        "model": {"source": "builtin", "name": "mlp", "args": {"hidden": [64, 64]}},
        "data": {"format": "trajectories", "path": rollouts(name, out), "actions": "continuous"},
        "train": {"epochs": 10, "lr": 2e-3, "batch_size": 128},
        "export": {"targets": TARGETS},
        "gates": {"min_speedup": 0, "environment": ENVIRONMENTS[name], "episodes": episodes},
    }
    run = out / name
    if not (run / "summary.json").is_file():
        edgeft.tune(recipe, run, overwrite=True)
    rows = []
    for report in edgeft.export(run, TARGETS, out / "bundles" / name, overwrite=True):
        gates = {gate["name"]: gate for gate in reversed(report["gates"])}
        shared = {"target": report["target"], "verdict": report["verdict"], "int8_share": report["int8_share"]}
        rows.append({**shared, "return": gates["return"], "error": gates["accuracy"]})
    done.write_text(json.dumps(rows, indent=2))
    return rows


def section(tables: dict[str, list[dict[str, Any]]], host: dict[str, Any], used: dict[str, str]) -> str:
    head = ["environment", "target", "return float", "return int8", "drop [95 %]", "allowed", "int8 share", "verdict"]
    body = [
        [ENVIRONMENTS[name], row["target"]]
        + [f"{row['return'][key]:.1f}" for key in ("float", "quantized")]
        + [f"{row['return']['drop']:+.2f} [{', '.join(f'{v:+.2f}' for v in row['return']['ci95'])}]"]
        + [f"{row['return']['limit']:.1f}", f"{row['int8_share']:.0%}", row["verdict"]]
        for name, rows in tables.items()
        for row in rows
    ]
    episodes = next(iter(tables.values()))[0]["return"]["n"]
    return f"""## Closed loops

Mean return over {episodes} episodes, the same ones for float and int8; a positive drop is worse. Policies are perceptrons of two
hidden layers of 64, cloned from recorded episodes.

{common.table(head, body)}

{common.footing(host, used)}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=list(ENVIRONMENTS), default=list(ENVIRONMENTS))
    parser.add_argument("--episodes", type=int, default=100)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    host = common.machine()
    tables = {name: measured(name, arguments.out, arguments.episodes) for name in arguments.only}
    used = common.versions("torch", "onnxruntime", "openvino", "ai-edge-litert", "gymnasium")
    common.publish("closed_loop", section(tables, host, used), {"machine": host, "versions": used, "tables": tables})


if __name__ == "__main__":
    main()
