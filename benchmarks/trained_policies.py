"""Policies that stable-baselines3 trained: the return of their int8 artifacts beside float, on the same episodes.

    python benchmarks/trained_policies.py --out DIR [--only cartpole_ppo acrobot_ppo pendulum_sac] [--episodes 100]

Each policy is trained here until it is good (no data is needed), saved as its package saves it, calibrated on observations
of ten of its own episodes and exported; nothing is trained afterwards. The figures are those of the gate `return`. Runs are
kept in `--out`. Needs stable-baselines3 and gymnasium.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common

TARGETS = ["host", "host-openvino", "host-litert"]


@dataclass(frozen=True)
class Policy:
    """How a policy is trained: `learn(world)` returns stable-baselines3's model; `worlds` act side by side."""

    environment: str
    algorithm: str
    steps: int
    learn: Callable[[Any], Any]
    worlds: int = 8


def _ppo(**settings: Any) -> Callable[[Any], Any]:
    def learn(world: Any) -> Any:
        from stable_baselines3 import PPO

        return PPO("MlpPolicy", world, seed=0, device="cpu", **settings)

    return learn


def _sac(world: Any) -> Any:
    from stable_baselines3 import SAC

    return SAC("MlpPolicy", world, seed=0, device="cpu", learning_rate=1e-3)


POLICIES = {
    "cartpole_ppo": Policy(
        "CartPole-v1",
        "PPO",
        100_000,
        _ppo(
            n_steps=32, batch_size=256, n_epochs=20, gae_lambda=0.8, gamma=0.98,
            learning_rate=lambda left: 1e-3 * left, clip_range=lambda left: 0.2 * left,
        ),
    ),
    "acrobot_ppo": Policy("Acrobot-v1", "PPO", 200_000, _ppo(n_steps=256, batch_size=256, n_epochs=4, gae_lambda=0.94)),
    "pendulum_sac": Policy("Pendulum-v1", "SAC", 12_000, _sac, worlds=1),
}  # fmt: skip


def saved(policy: Policy, path: Path) -> Path:
    """The policy's .zip, trained unless it is there."""
    if not path.is_file():
        from stable_baselines3.common.env_util import make_vec_env

        policy.learn(make_vec_env(policy.environment, policy.worlds, seed=0)).learn(policy.steps).save(path)

    return path


def measured(name: str, out: Path, episodes: int) -> list[dict[str, Any]]:
    """The gates of each target's bundle; the run and the figures are kept."""
    import edgeft

    done = out / f"{name}-{episodes}.json"
    if done.is_file():
        return list(json.loads(done.read_text()))

    policy = POLICIES[name]
    recipe: dict[str, Any] = {
        "task": "control",
        "name": name.replace("_", "-"),
        "model": {"source": "sb3", "name": str(saved(policy, out / f"{name}.zip"))},
        "data": {"format": "environment", "environment": policy.environment, "episodes": 10},
        "train": {"epochs": 0},
        "quantize": {"method": "ptq"},
        "export": {"targets": TARGETS},
        "gates": {"min_speedup": 0, "environment": policy.environment, "episodes": episodes},
    }
    edgeft.tune(recipe, out / name, overwrite=True)

    rows = []
    for report in edgeft.export(out / name, TARGETS, out / "bundles" / name, overwrite=True):
        gates = {gate["name"]: gate for gate in reversed(report["gates"])}
        figures = {"int8_share": report["int8_share"], "verdict": report["verdict"], "target": report["target"]}
        rows.append({**figures, "return": gates["return"], "agreement": gates["agreement"]})

    done.write_text(json.dumps(rows, indent=2))
    return rows


def section(tables: dict[str, list[dict[str, Any]]], host: dict[str, Any], used: dict[str, str]) -> str:
    head = ["environment", "policy", "target", "return float", "int8", "drop [95 %]", "drop, % of float", "allowed"]
    head += ["same actions", "integer share", "verdict"]
    body = []
    for name, rows in tables.items():
        for row in rows:
            gate, policy = row["return"], POLICIES[name]
            low, high = gate["ci95"]
            body.append(
                [policy.environment, f"{policy.algorithm}, {policy.steps} steps", row["target"]]
                + [f"{gate[key]:.1f}" for key in ("float", "quantized")]
                + [f"{gate['drop']:+.2f} [{low:+.2f}, {high:+.2f}]", f"{100 * gate['drop'] / abs(gate['float']):+.2f}"]
                + [f"{gate['limit']:.1f}", f"{row['agreement']['quantized']:.1%}"]
                + ["-" if row["int8_share"] is None else f"{row['int8_share']:.0%}", row["verdict"]]
            )

    count = next(iter(tables.values()))[0]["return"]["n"]

    return f"""## Policies of stable-baselines3

Mean return over {count} episodes, the same ones for float and int8; a positive drop is worse. The policies were trained by
stable-baselines3 and are calibrated alone. Actions of a continuous policy are the same within a twentieth of their range.

{common.table(head, body)}

{common.footing(host, used)}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=list(POLICIES), default=list(POLICIES))
    parser.add_argument("--episodes", type=int, default=100)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    host = common.machine()
    tables = {name: measured(name, arguments.out, arguments.episodes) for name in arguments.only}
    used = common.versions("torch", "onnxruntime", "openvino", "ai-edge-litert", "gymnasium", "stable-baselines3")
    published = {"machine": host, "versions": used, "tables": tables}
    common.publish("trained_policies", section(tables, host, used), published)


if __name__ == "__main__":
    main()
