"""Behaviour cloning: the loss by hand, batches that depend on seed and epoch only, and a straight line learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeft import tasks
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError
from edgeft.data.samples import Dataset, Split
from edgeft.tasks.control import learning as control

SPEC = {"kind": "vector", "size": [2], "input": "x", "mean": [0.0, 0.0], "std": [1.0, 1.0]}


class Rows:
    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def raw(self, i: int) -> np.ndarray:
        return self.values[i]

    def source(self, i: int) -> str:
        return f"row {i}"


def split(n: int = 64) -> Split:
    x = np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32)
    y = np.stack([x[:, 0] - x[:, 1], 100 * x[:, 1]], axis=1)
    return Split("train", Rows(x), np.arange(n), y)


def test_each_control_is_weighed_in_its_own_spread() -> None:
    assert tasks.get("control").learning() is control.LEARNING
    batch = next(iter(control.loader(split(), SPEC, 64)))
    inputs, targets = batch
    assert len(inputs) == 1 and inputs[0].shape == (64, 2) and targets.shape == (64, 2, 2)
    spread = torch.tensor(split().targets.std(axis=0))
    assert torch.allclose(targets[:, 1], spread.expand(64, 2))
    off = targets[:, 0] + spread
    assert float(control.loss(off, targets)) == pytest.approx(1.0, rel=1e-5), "one standard deviation in each"
    assert float(control.distill(off, targets[:, 0], targets)) == pytest.approx(1.0, rel=1e-5)
    assert float(control.distill(off, off, targets, weight=0.25)) == pytest.approx(0.75, rel=1e-5)


def test_order_depends_on_seed_and_epoch_only() -> None:
    loader = control.loader(split(), SPEC, 16, seed=3, shuffle=True)
    loader.set_epoch(1)
    first = [targets.clone() for _, targets in loader]
    again = control.loader(split(), SPEC, 16, seed=3, shuffle=True, workers=1)
    again.set_epoch(1)
    assert all(torch.equal(a, b) for a, (_, b) in zip(first, again))
    loader.set_epoch(2)
    assert not torch.equal(first[0], next(iter(loader))[1])


def test_a_linear_policy_is_found() -> None:
    torch.manual_seed(0)
    net = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(net.parameters(), 0.5)
    for _ in range(600):
        for inputs, targets in control.loader(split(), SPEC, 64):
            optimizer.zero_grad()
            control.loss(net(*inputs), targets).backward()
            optimizer.step()
    said = control.predict(net, split(), SPEC, batch_size=10)
    assert (np.abs(np.asarray(said) - split().targets) / split().targets.std(axis=0)).max() < 0.1


def test_what_gives_nothing_to_learn_is_refused() -> None:
    still = Split("train", Rows(np.zeros((4, 2), np.float32)), np.arange(4), np.ones((4, 1), np.float32))
    made = Dataset("still", ("action",), {"train": still}, facts={"kind": "vector", "inputs": 2})
    with pytest.raises(DataError, match="never change"):
        control.outputs(made)
    assert control.model_args(Data(), made) == {"size": [2], "channels": 1}
    assert control.model_args(Data(channels=1), Dataset("x", (), {}, facts={"kind": "image"})) == {"channels": 1}
