"""Let a control bundle drive a gymnasium environment: what a metric on recorded data cannot tell.

    pip install gymnasium
    python closed_loop.py bundles/host-litert [--env CartPole-v1] [--episodes 20] [--json]

The float baseline and the int8 artifact of the bundle drive the same episodes (equal seeds) in the bundle's runtime.
An action is the bundle's answer: clipped to the range of a continuous space, the nearest number of a discrete one.
Exit code 1 where int8 earns less than `--keep` (a share, 0.95) of what float earns.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import edgeft
from edgeft.core.errors import EdgeftError
from edgeft.measure.stats import paired_bootstrap


def action(answer: np.ndarray, space: Any) -> Any:
    """What the environment takes for the controls `answer`, float (controls,)."""
    if hasattr(space, "n"):
        start = int(getattr(space, "start", 0))
        return int(np.clip(np.rint(answer[0]), start, start + space.n - 1))
    return np.clip(answer.reshape(space.shape), space.low, space.high).astype(space.dtype)


def drive(bundle: Any, name: str, episodes: int, seed: int, *, baseline: bool) -> tuple[np.ndarray, np.ndarray]:
    """(return of each episode, milliseconds of each step: preprocessing and inference)."""
    import gymnasium

    session, spec = bundle.session(baseline=baseline), bundle.preprocess
    world = gymnasium.make(name)
    returns, took = [], []

    for episode in range(episodes):
        seen, _ = world.reset(seed=seed + episode)
        total, over = 0.0, False
        while not over:
            begun = time.perf_counter()
            (answer,) = session.run(bundle.task.preprocess(np.asarray(seen), spec)).values()
            took.append(1e3 * (time.perf_counter() - begun))
            seen, reward, ended, cut, _ = world.step(action(answer[0], world.action_space))
            total, over = total + float(reward), ended or cut
        returns.append(total)

    world.close()
    return np.array(returns), np.array(took)


def compare(bundle: Any, name: str, episodes: int, seed: int) -> dict[str, Any]:
    """Both artifacts on the same episodes: mean returns, paired 95 % interval of their difference, p99 of a step."""
    found: dict[str, Any] = {"env": name, "episodes": episodes, "seed": seed}
    returns = {}
    for kind, baseline in (("float", True), ("int8", False)):
        returns[kind], took = drive(bundle, name, episodes, seed, baseline=baseline)
        p99 = float(np.quantile(took, 0.99))
        found[kind] = {"return": float(returns[kind].mean()), "worst": float(returns[kind].min()), "step_p99_ms": p99}

    lost = returns["float"] - returns["int8"]
    found["drop_ci95"] = list(paired_bootstrap(lambda rows: float(lost[rows].mean()), episodes, seed=seed))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=10_000)
    parser.add_argument("--keep", type=float, default=0.95, help="share of the float return that int8 must keep")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()

    try:
        import gymnasium  # noqa: F401
    except ImportError:
        print("error: gymnasium is not installed\n  → pip install gymnasium", file=sys.stderr)
        return 4

    try:
        bundle = edgeft.load(asked.bundle)
        if bundle.manifest["task"] != "control":
            print(f"error: {asked.bundle} is a bundle of {bundle.manifest['task']}, not of control", file=sys.stderr)
            return 3
        found = compare(bundle, asked.env, max(1, asked.episodes), asked.seed)
    except EdgeftError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code

    kept = found["int8"]["return"] >= asked.keep * found["float"]["return"]
    if asked.json:
        print(json.dumps({**found, "kept": bool(kept)}))
    else:
        print(f"{asked.env}, {found['episodes']} episodes, the same ones for both")
        for kind in ("float", "int8"):
            row = found[kind]
            rate = f"p99 of a step {row['step_p99_ms']:.3f} ms, {1000 / row['step_p99_ms']:.0f} Hz"
            print(f"  {kind:5}  return {row['return']:.1f} (worst {row['worst']:.1f})  {rate}")
        low, high = found["drop_ci95"]
        drop = found["float"]["return"] - found["int8"]["return"]
        print(f"  int8 earns {drop:.2f} less (95 % {low:.2f} to {high:.2f}): {'kept' if kept else 'LOST'}")

    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
