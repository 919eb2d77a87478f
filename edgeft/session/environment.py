"""Seeds and versions: the same machine, versions and seed give the same weights."""

from __future__ import annotations

import platform
import random
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch

_PACKAGES = (
    "edgeft", "torch", "accelerate", "onnx", "onnxruntime", "openvino", "litert-torch", "ai-edge-litert", "numpy",
)  # fmt: skip


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def versions() -> dict[str, str]:
    """Versions of what took part, by package; absent packages are left out."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
