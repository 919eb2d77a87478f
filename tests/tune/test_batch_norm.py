"""BatchNorm's running statistics after short epochs: hastened, and measured anew with the weights as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import tune_data  # noqa: F401  one thread
from accelerate import Accelerator
from torch import nn

from edgeft.tune import batch_norm, updates
from edgeft.tune.fit import Stage, fit


def test_slow_statistics_are_hastened_to_the_length_of_an_epoch() -> None:
    slow, frozen, quick = nn.BatchNorm2d(2, momentum=0.01), nn.BatchNorm2d(2, momentum=0.01), nn.BatchNorm2d(2)
    average = nn.BatchNorm2d(2, momentum=None)
    net = nn.Sequential(slow, frozen, quick, average)
    updates.train_mode(net)
    frozen.eval()
    assert batch_norm.pace_statistics(net, 100_000) is None, "an epoch this long needs no help"
    paced = batch_norm.pace_statistics(net, 100)
    assert paced is not None and (1 - paced) ** 100 == pytest.approx(0.01)
    assert slow.momentum == paced and frozen.momentum == 0.01 and quick.momentum == 0.1 and average.momentum is None
    assert batch_norm.pace_statistics(net, 5) == 0.1, "never faster than torch's default"
    assert batch_norm.pace_statistics(net, 5) is None


def test_statistics_are_the_mean_over_the_batches() -> None:
    torch.manual_seed(0)
    norm, frozen = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    net = nn.Sequential(norm, nn.Dropout(0.5), frozen).train()
    frozen.eval()
    batches = [torch.randn(8, 3) * 4 + 2 for _ in range(5)]
    norm(batches[0])
    assert batch_norm.measure(net, batches, 5, net)
    torch.testing.assert_close(norm.running_mean, torch.stack([b.mean(0) for b in batches]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([b.var(0) for b in batches]).mean(0))
    assert norm.momentum == 0.1 and norm.num_batches_tracked == 1 and not net.training
    assert torch.equal(frozen.running_mean, torch.zeros(3)), "a frozen layer keeps its statistics"


def test_statistics_of_long_epochs_are_left_alone() -> None:
    norm = nn.BatchNorm1d(3).train()
    before = norm.running_mean.clone()
    assert not batch_norm.measure(norm, [torch.ones(4, 3)], 100, norm)
    assert torch.equal(norm.running_mean, before)
    assert not batch_norm.measure(nn.Linear(3, 3).train(), [torch.ones(4, 3)], 4, norm), "without BatchNorm"


@pytest.mark.parametrize("epochs", [4])
def test_a_net_that_fits_its_few_batches_says_so_in_eval_mode(epochs: int, tmp_path: Path) -> None:
    """Four steps an epoch: without statistics of its own weights this net answers like chance (one half)."""
    torch.manual_seed(0)
    y = torch.arange(64) % 2
    x = torch.randn(64, 6) + 50 + 4 * y[:, None]
    net = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), 16)
    groups = [{"params": list(net.parameters()), "lr": 3e-2}]

    def accuracy() -> float:
        with torch.no_grad():
            return float((net(x).argmax(1) == y).float().mean())

    fitted = fit(
        net,
        Stage("float", epochs, groups),
        batches=lambda epoch: loader,
        loss_of=lambda module, batch: nn.functional.cross_entropy(module(batch[0]), batch[1]),
        validate=accuracy,
        accelerator=Accelerator(cpu=True),
        state_file=tmp_path / "state",
    )
    assert fitted.rows[-1]["loss"] < 0.1
    assert fitted.rows[-1]["validation"] > 0.95 and accuracy() > 0.95
