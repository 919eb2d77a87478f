"""Zips as stable-baselines3 writes them, with policies of known behaviour: its layout, names and JSON, not its code."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pendulum
import torch
from torch import nn

#: what stands in place of the pickles: opening it would fail
SERIALIZED = "gASVbm90IGEgcGlja2xlIGF0IGFsbA=="
PENDULUM = {
    ":type:": "<class 'gymnasium.spaces.box.Box'>",
    ":serialized:": SERIALIZED,
    "dtype": "float32",
    "_shape": [1],
    "low": "[-2.]",
    "high": "[2.]",
}
CARTPOLE = {
    ":type:": "<class 'gymnasium.spaces.discrete.Discrete'>",
    ":serialized:": SERIALIZED,
    "dtype": "int64",
    "n": "2",
    "start": "0",
    "_shape": [],
}


def write(path: Path, state: Mapping[str, torch.Tensor], action_space: Any = None, **settings: Any) -> Path:
    """A zip with `data`, `policy.pth` and what else such zips hold."""
    table = {
        "policy_class": {":type:": "<class 'abc.ABCMeta'>", ":serialized:": SERIALIZED},
        "policy_kwargs": {},
        "action_space": action_space,
        **settings,
    }
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps(table))
        archive.writestr("policy.pth", buffer.getvalue())
        archive.writestr("_stable_baselines3_version", "2.9.2")
    return path


def of_names(net: nn.Sequential, hidden: str, head: str = "") -> dict[str, torch.Tensor]:
    """The weights of linear layers with an activation between them, by the names of an algorithm."""
    linears = [layer for layer in net if isinstance(layer, nn.Linear)]
    names = [f"{hidden}{2 * number}" for number in range(len(linears))]
    if head:
        names[-1] = head
    state: dict[str, torch.Tensor] = {}
    for name, layer in zip(names, linears):
        state |= {f"{name}.weight": layer.weight.detach(), f"{name}.bias": layer.bias.detach()}
    return state


def net(sizes: tuple[int, ...], activation: type[nn.Module], seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for first, second in itertools.pairwise(sizes):
        layers += [nn.Linear(first, second), activation()]
    return nn.Sequential(*layers[:-1])


def balancing(path: Path) -> Path:
    """A policy of PPO that holds CartPole's stick: its first layer weighs the state, its last one decides."""
    policy = net((4, 8, 8, 2), nn.Tanh)
    with torch.no_grad():
        for layer in (policy[0], policy[2], policy[4]):
            layer.weight.mul_(0.02)
            layer.bias.zero_()
        push = torch.tensor([0.05, 0.2, 1.5, 0.8])  # towards the side that the stick falls to
        policy[0].weight[0] = 0.3 * push
        policy[2].weight[0, 0] = 1.0
        policy[4].weight[0, 0], policy[4].weight[1, 0] = -3.0, 3.0
    state = of_names(policy, "mlp_extractor.policy_net.", "action_net")
    state |= {f"mlp_extractor.value_net.{n}": torch.zeros(8, 4) for n in ("0.weight", "2.weight")}
    state |= {"value_net.weight": torch.zeros(1, 8), "value_net.bias": torch.zeros(1)}
    return write(path, state, CARTPOLE)


def swinging(path: Path, steps: int = 700) -> Path:
    """A policy of SAC that was cloned from the expert of Pendulum on random states."""
    policy = net((3, 64, 64, 1), nn.ReLU)
    rng = np.random.default_rng(0)
    angle, speed = rng.uniform(-np.pi, np.pi, 20000), rng.uniform(-8, 8, 20000)
    seen = torch.from_numpy(np.stack([np.cos(angle), np.sin(angle), speed], axis=1).astype(np.float32))
    torques = torch.from_numpy(pendulum.expert(angle, speed).astype(np.float32))[:, None]
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3)
    for _ in range(steps):
        at = torch.from_numpy(rng.integers(0, len(seen), 512))
        loss = (2 * torch.tanh(policy(seen[at])) - torques[at]).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    state = of_names(policy, "actor.latent_pi.", "actor.mu")
    state |= {"actor.log_std.weight": torch.zeros(1, 64), "actor.log_std.bias": torch.zeros(1)}
    state |= {f"critic.qf0.{n}": value for n, value in of_names(net((4, 8, 1), nn.ReLU), "").items()}
    return write(path, state, PENDULUM)
