"""Folders of images: `train/ val/ test/` with one folder a class inside, or class folders alone (divided here)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...config import recipe
from ...core.errors import DataError
from ...inputs import image
from ..folders import Scanned, classes_by_split
from ..record import Format
from ..samples import Dataset, Split, complete, require_classes

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".npy")


class Files:
    """A pool of image files under `root`; holds their paths, and decodes on demand."""

    def __init__(self, root: Path, paths: list[str]) -> None:
        self.root, self.paths = root, paths

    def __len__(self) -> int:
        return len(self.paths)

    def source(self, i: int) -> str:
        return str(self.root / self.paths[i])

    def raw(self, i: int) -> np.ndarray:
        return image.read(self.root / self.paths[i])


def open(spec: recipe.Data) -> Dataset:
    """The image folder at `spec.path`; labels are the sorted names of the class folders.

    A missing val or test split is taken out of train by class with `spec.split_seed`; with only test/ there is only a
    test split. Raises `DataError` (exit 3) naming the folder for what is absent, empty, of one class only, or has
    different classes in its splits; when a split is first used, for more than 5 % unreadable files.
    """
    root = Path(spec.path)
    if not spec.path or not root.is_dir():
        problem = "no such folder" if not root.exists() else "is a file, not a folder"
        problem = problem if spec.path else "no data folder is given"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a folder of images")
    notes: list[str] = []
    classes = classes_by_split(root, notes)
    labels = tuple(sorted({label for names in classes.values() for label in names}))
    paths: list[str] = []
    ranges: dict[str, tuple[int, list[int]]] = {}
    for name, names in classes.items():
        start, targets = len(paths), []
        for number, label in enumerate(labels):
            files = _images(root, names[label]) if label in names else []
            paths += files
            targets += [number] * len(files)
        ranges[name] = start, targets
    if not paths:
        raise DataError(
            "holds no images",
            where=str(root),
            remedy=f"expected train/CLASS/*.jpg or CLASS/*.jpg; readable: {', '.join(SUFFIXES)}",
        )
    pool = Files(root, paths)
    splits = {
        name: Split(name, pool, np.arange(start, start + len(targets)), np.asarray(targets, np.int64))
        for name, (start, targets) in ranges.items()
    }
    notes += require_classes(splits, labels, str(root), spec.split)
    splits, divided = complete(splits, spec.split, spec.split_seed, str(root), labels)
    notes += divided
    return Dataset(str(root), labels, Scanned(splits, notes, labels, str(root), shares=spec.split), notes)


def _images(root: Path, folder: Path) -> list[str]:
    """Image files of a class folder, at any depth, as sorted paths relative to `root`."""
    return sorted(
        path.relative_to(root).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


FORMAT = Format(
    name="image-folder",
    description="Pictures of classes in folders: train/CLASS/, val/ and test/, or class folders that are divided.",
    open=open,
    keys=("path", "split", "split_seed"),
    family="pictures",
)
