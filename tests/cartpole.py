"""Balancing a pole on a cart: a linear law, and what it did, without a simulator's package."""

from __future__ import annotations

from pathlib import Path

import numpy as np

STEPS = 120


def expert(state: np.ndarray) -> np.ndarray:
    """Choices (N,) of states (N, 4): 1 pushes to the right, where the pole and the cart drift to."""
    return (state @ np.array([0.05, 0.15, 1.0, 0.4]) > 0).astype(np.int64)


def moved(state: np.ndarray, choice: np.ndarray) -> np.ndarray:
    """The next states (N, 4) (Barto, Sutton and Anderson 1983, as gymnasium's CartPole-v1 has them)."""
    x, speed, angle, turning = state.T
    force = np.where(choice == 1, 10.0, -10.0)
    shared = (force + 0.05 * turning**2 * np.sin(angle)) / 1.1
    bent = (9.8 * np.sin(angle) - np.cos(angle) * shared) / (0.5 * (4 / 3 - 0.1 * np.cos(angle) ** 2 / 1.1))
    pushed = shared - 0.05 * bent * np.cos(angle) / 1.1
    return np.stack([x + 0.02 * speed, speed + 0.02 * pushed, angle + 0.02 * turning, turning + 0.02 * bent], axis=1)


def write_rollouts(path: Path, episodes: int, seed: int = 0) -> Path:
    """`obs` (4 numbers), `acts` int64 and `indices` of so many episodes; one step in ten is another choice than the
    recorded one, so that the expert's answers to mistakes are recorded too."""
    rng = np.random.default_rng(seed)
    state = rng.uniform(-0.2, 0.2, (episodes, 4))
    seen, done = [], []
    for _ in range(STEPS):
        seen.append(state)
        done.append(expert(state))
        state = moved(state, np.where(rng.random(episodes) < 0.1, 1 - done[-1], done[-1]))
    obs = np.stack(seen, axis=1).reshape(-1, 4).astype(np.float32)
    np.savez(path, obs=obs, acts=np.stack(done, axis=1).reshape(-1), indices=np.arange(STEPS, episodes * STEPS, STEPS))
    return path
