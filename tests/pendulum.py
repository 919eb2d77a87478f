"""Swinging up a pendulum: an expert that shapes energy, and what it did, without a simulator's package."""

from __future__ import annotations

from pathlib import Path

import numpy as np

STEPS = 200


def expert(angle: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """Torques (N,): towards the energy of standing upright (Åström and Furuta, "Swinging up a pendulum by energy
    control", 2000), and a linear law near the top."""
    upright = (angle + np.pi) % (2 * np.pi) - np.pi
    energy = 0.5 * speed**2 + 15 * np.cos(angle) - 15
    swing = -np.sign(speed + 1e-9) * np.sign(energy) * 2 * np.minimum(np.abs(energy), 1)
    swing = np.where(np.abs(speed) < 0.01, 2.0, swing)
    near = (np.abs(upright) < 0.6) & (np.abs(speed) < 3)
    return np.clip(np.where(near, -(8 * upright + 2.2 * speed), swing), -2, 2)


def write_rollouts(path: Path, episodes: int, seed: int = 0) -> Path:
    """`obs` (cos, sin, speed), `acts` and `indices` of so many episodes of gymnasium's Pendulum-v1, with noise on what
    was done, so that the expert's answers to its own mistakes are recorded too."""
    rng = np.random.default_rng(seed)
    angle, speed = rng.uniform(-np.pi, np.pi, episodes), rng.uniform(-1, 1, episodes)
    seen, done = [], []
    for _ in range(STEPS):
        seen.append(np.stack([np.cos(angle), np.sin(angle), speed], axis=1))
        done.append(expert(angle, speed))
        torque = np.clip(done[-1] + 0.3 * rng.normal(size=episodes), -2, 2)
        speed = np.clip(speed + (15 * np.sin(angle) + 3 * torque) * 0.05, -8, 8)
        angle = angle + speed * 0.05
    obs = np.stack(seen, axis=1).reshape(-1, 3).astype(np.float32)
    acts = np.stack(done, axis=1).reshape(-1, 1).astype(np.float32)
    np.savez(path, obs=obs, acts=acts, indices=np.arange(STEPS, episodes * STEPS, STEPS))
    return path
