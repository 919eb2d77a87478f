"""A policy that stable-baselines3 trains here, from the zip that it saves to three verified bundles."""

from __future__ import annotations

from pathlib import Path

import end_to_end
import pytest

pytestmark = pytest.mark.peer("stable_baselines3", "gymnasium")
end_to_end.need()

import edgeft  # noqa: E402

TARGETS = ("host", "host-openvino", "host-litert")


def train(path: Path) -> Path:
    """PPO until it holds CartPole's stick for 500 steps, with the settings of rl-baselines3-zoo; saves a .zip."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import EvalCallback, StopTrainingOnRewardThreshold
    from stable_baselines3.common.env_util import make_vec_env

    world = make_vec_env("CartPole-v1", 8, seed=0)
    model = PPO(
        "MlpPolicy", world, seed=0, n_steps=32, batch_size=256, n_epochs=20, gae_lambda=0.8, gamma=0.98,
        learning_rate=lambda left: 1e-3 * left, clip_range=lambda left: 0.2 * left, device="cpu",
    )  # fmt: skip
    judge = EvalCallback(
        make_vec_env("CartPole-v1", 1, seed=9),
        callback_on_new_best=StopTrainingOnRewardThreshold(499.0, verbose=0),
        eval_freq=1250,
        n_eval_episodes=15,
        verbose=0,
    )
    model.learn(100_000, callback=judge)
    assert judge.best_mean_reward > 450, "it did not learn, so that there is nothing to compare"
    model.save(path)
    return path


def test_a_trained_policy_keeps_its_return_in_every_runtime(tmp_path: Path) -> None:
    import torch

    torch.set_num_threads(1)
    recipe = {
        "task": "control",
        "name": "cartpole",
        "model": {"source": "sb3", "name": str(train(tmp_path / "ppo.zip"))},
        "data": {"format": "environment", "environment": "CartPole-v1", "episodes": 10},
        "train": {"epochs": 0},
        "quantize": {"method": "ptq"},
        "export": {"targets": list(TARGETS)},
        "gates": {"min_speedup": 0, "environment": "CartPole-v1", "episodes": 10},
    }
    edgeft.tune(recipe, tmp_path / "run")
    for report in edgeft.export(tmp_path / "run", out=tmp_path / "bundles"):
        gates = {gate["name"]: gate for gate in report["gates"]}
        assert gates["agreement"]["quantized"] > 0.95, gates["agreement"]["why"]
        assert gates["return"]["verdict"] == "pass" and gates["return"]["float"] > 450, gates["return"]["why"]
        assert report["verdict"] == "pass" and report["int8_share"] == 1.0
