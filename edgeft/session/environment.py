"""Seeds and versions: the same machine, versions and seed give the same weights."""

from __future__ import annotations

import platform
import random
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch

from .. import backends
from ..backends import Backend


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def versions(plugins: Iterable[Backend] = ()) -> dict[str, str]:
    """Versions by package of torch, of edgeft's own runtimes and of `plugins`; absent packages are left out."""
    of_runtimes = [package for backend in (*backends.builtin(), *plugins) for package in backend.versions]
    table = {"python": platform.python_version()}
    for package in ("edgeft", "torch", "accelerate", *of_runtimes, "numpy"):
        try:
            table[package] = version(package)
        except PackageNotFoundError:
            continue
    return table
