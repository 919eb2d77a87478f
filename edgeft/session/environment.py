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
from ..config.recipe import REGISTRIES, Recipe, value_of


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def plugin_packages(recipe: Recipe) -> dict[str, str]:
    """{recipe key: "package version"} of the task, data format and model source that plug-ins bring to a recipe."""
    offered = {key: registry.package(value_of(recipe, key)) for key, registry in REGISTRIES.items()}
    return {key: package for key, package in offered.items() if package != "edgeft"}


def versions(recipe: Recipe, plugins: Iterable[Backend] = ()) -> dict[str, str]:
    """Versions by package of torch, edgeft's own runtimes, `plugins` and the plug-ins that `recipe` names.

    Absent packages are left out.
    """
    of_runtimes = [package for backend in (*backends.builtin(), *plugins) for package in backend.versions]
    of_recipe = [package.partition(" ")[0] for package in plugin_packages(recipe).values()]
    table = {"python": platform.python_version()}

    for package in ("edgeft", "torch", "accelerate", *of_runtimes, *of_recipe, "numpy"):
        try:
            table[package] = version(package)
        except PackageNotFoundError:
            continue

    return table
