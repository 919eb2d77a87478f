"""Closed loops: the return of float and of each number format in gymnasium environments, on the same episodes.

    python benchmarks/closed_loop.py --out DIR [--only cartpole pendulum] [--episodes 100] [--formats int8 int16x8 w8]

CartPole is cloned from the episodes of an expert in `EDGEFT_DATA`, Pendulum from a controller that shapes energy
(`tests/pendulum.py`). Each is exported to three runtimes and to the profile intel-nuc with gates.environment, and the
figures are those of the gates: mean returns, the drop, and its paired 95 % interval over episodes; the mean absolute
error on recorded states. The run trains int8; other formats are calibrated alone. A target without a format has no row
of it. Runs are kept in `--out`. Needs gymnasium.
"""

from __future__ import annotations

import argparse
import contextlib
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


def trained(name: str, out: Path, episodes: int) -> Path:
    """The finished run of an environment, trained unless it is there."""
    import edgeft

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

    return run


def measured(name: str, number_format: str, out: Path, episodes: int) -> list[dict[str, Any]]:
    """The gates of each target's bundle in one format; runs and figures are kept."""
    import edgeft
    from edgeft.config import target
    from edgeft.core.errors import TargetError

    done = out / f"{name}-{number_format}-{episodes}.json"
    if done.is_file():
        return list(json.loads(done.read_text()))

    run, targets = trained(name, out, episodes), []
    for title in TARGETS:
        with contextlib.suppress(TargetError):
            target.with_format(target.load(title), number_format)
            targets.append(title)

    asked: dict[str, Any] = {"overrides": [f"gates.episodes={episodes}"]}
    if number_format != "int8":
        asked = {"ptq": True, "overrides": [*asked["overrides"], f"quantize.format={number_format}"]}

    rows = []
    for report in edgeft.export(run, targets, out / "bundles" / f"{name}-{number_format}", overwrite=True, **asked):
        gates = {gate["name"]: gate for gate in reversed(report["gates"])}
        shared = {"target": report["target"], "format": number_format, "verdict": report["verdict"]}
        figures = {"int8_share": report["int8_share"], "size": report["size"]}
        rows.append({**shared, **figures, "return": gates["return"], "error": gates["accuracy"]})

    done.write_text(json.dumps(rows, indent=2))
    return rows


def section(tables: dict[str, list[dict[str, Any]]], host: dict[str, Any], used: dict[str, str]) -> str:
    head = ["environment", "target", "format", "return float", "return", "drop [95 %]", "allowed"]
    head += ["error float", "error", "more error [95 %]", "integer share", "verdict"]
    body = [
        [ENVIRONMENTS[name], row["target"], row["format"]]
        + [f"{row['return'][key]:.1f}" for key in ("float", "quantized")]
        + [f"{row['return']['drop']:+.2f} {interval(row['return'], '+.2f')}", f"{row['return']['limit']:.1f}"]
        + [f"{row['error'][key]:.4f}" for key in ("float", "quantized")]
        + [f"{row['error']['drop']:+.4f} {interval(row['error'], '+.4f')}"]
        + ["-" if row["int8_share"] is None else f"{row['int8_share']:.0%}", row["verdict"]]
        for name, rows in tables.items()
        for row in rows
    ]
    first = next(iter(tables.values()))[0]

    return f"""## Closed loops

Mean return over {first["return"]["n"]} episodes, the same ones for float and each format, and the mean absolute error on recorded
states; a positive drop is worse. Policies are perceptrons of two hidden layers of 64, cloned from recorded episodes.

{common.table(head, body)}

{common.footing(host, used)}"""


def interval(gate: dict[str, Any], form: str) -> str:
    return f"[{', '.join(f'{end:{form}}' for end in gate['ci95'])}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=list(ENVIRONMENTS), default=list(ENVIRONMENTS))
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--formats", nargs="*", default=["int8", "int16x8", "w8"])
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    host = common.machine()
    tables = {
        name: [row for form in arguments.formats for row in measured(name, form, arguments.out, arguments.episodes)]
        for name in arguments.only
    }
    used = common.versions("torch", "onnxruntime", "openvino", "ai-edge-litert", "gymnasium")
    common.publish("closed_loop", section(tables, host, used), {"machine": host, "versions": used, "tables": tables})


if __name__ == "__main__":
    main()
