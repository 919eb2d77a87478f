"""A trained net of which one value cannot be quantized: its channels differ by three powers of ten."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import shapes_run
import torch
from torch import nn

COUNTS = {"train": 300, "val": 150, "test": 150}
#: the layers on both sides of the value
BAD = ("0", "2")


def net() -> nn.Sequential:
    """Seven layers by number: convolutions 0, 2, 4, 6 and 8, a linear layer 12."""
    widths, layers = (3, 16, 24, 24, 32, 32), []
    for at, (before, after) in enumerate(itertools.pairwise(widths)):
        layers += [nn.Conv2d(before, after, 3, stride=2 if at in (0, 1, 3) else 1, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 3))


def trained(data: Path) -> nn.Sequential:
    """The net trained on the shapes of `data` (written here), and then rescaled."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    shapes_run.write_data(data, counts=COUNTS)
    with np.load(data) as arrays:
        pictures, labels = arrays["train_images"], torch.from_numpy(arrays["train_labels"]).long()
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    x = (nn.functional.interpolate(x, 32, mode="bilinear") - 0.5) / 0.5
    module = net()
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    for epoch in range(14):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch))
        for rows in order.split(30):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x[rows]), labels[rows]).backward()
            optimizer.step()
    spread(module)
    return module.eval()


def spread(module: nn.Sequential) -> None:
    """Multiply the channels between the layers `BAD` by powers of two over three decades; the function stays."""
    first, second = (module.get_submodule(name) for name in BAD)
    exponents = torch.randint(0, 11, (16,), generator=torch.Generator().manual_seed(1)).float()
    with torch.no_grad():
        first.weight.mul_(exponents.exp2().view(-1, 1, 1, 1))
        first.bias.mul_(exponents.exp2())
        second.weight.div_(exponents.exp2().view(1, -1, 1, 1))


def recipe_of(data: Path, **tables: dict[str, Any]) -> dict[str, Any]:
    """The recipe that quantizes the net as it is, without equalization, which would mend it; `tables` add to it."""
    table = {
        "name": "badly scaled",
        "data": {"format": "npz", "path": str(data), "size": 32, "mean": [0.5] * 3, "std": [0.5] * 3},
        "train": {"epochs": 0},
        "quantize": {"method": "auto", "epochs": 0, "equalize": False, "calibration": "minmax"},
        "export": {"targets": ["host"]},
        "gates": {"max_drop": 0.02, "min_speedup": 0.0},
    }
    for name, values in tables.items():
        table[name] = {**table[name], **values}
    return table
