"""Folders of images: `train/ val/ test/` with one folder a class inside, or class folders alone (divided here)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from .. import recipe
from ..errors import DataError
from ..tasks import image
from .samples import Dataset, Split, complete, require_classes

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".npy")
FOLDERS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
#: a larger share of files that cannot be read stops the run; below it they are left out with a warning.
MAX_UNREADABLE = 0.05
#: every file of a split up to this many is decoded once when the split is first used; a broken file of a larger split
#: raises when its turn comes.
SCAN_LIMIT = 20_000


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


class _Scanned(Mapping[str, Split]):
    """Splits whose files are decoded once, at first use, so that broken ones are known before anything is computed."""

    def __init__(self, splits: dict[str, Split], notes: list[str], labels: tuple[str, ...], where: str) -> None:
        self._splits, self._notes, self._labels, self._where = splits, notes, labels, where
        self._done: dict[str, Split] = {}

    def __len__(self) -> int:
        return len(self._splits)

    def __iter__(self) -> Iterator[str]:
        return iter(self._splits)

    def __contains__(self, name: object) -> bool:
        return name in self._splits

    def __getitem__(self, name: str) -> Split:
        if name not in self._done:
            split = _readable(self._splits[name], self._notes)
            require_classes({name: split}, self._labels, self._where)
            self._done[name] = split
        return self._done[name]


def open(spec: recipe.Data) -> Dataset:
    """The image folder at `spec.path`; labels are the sorted names of the class folders.

    A missing val or test split is taken out of train by class with `spec.split_seed`; with only test/ there is only a
    test split. Raises `DataError` (exit 3) naming the folder for what is absent, empty, of one class only, or has
    different classes in its splits; when a split is first used, for more than 5 % unreadable files.
    """
    root = Path(spec.path)
    if not spec.path or not root.is_dir():
        problem = "no data folder is given" if not spec.path else "no such folder"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a folder of images")
    folders = {name: _only(root, names) for name, names in FOLDERS.items()}
    given = {name: folder for name, folder in folders.items() if folder is not None} or {"train": root}
    classes = {name: _class_folders(folder) for name, folder in given.items()}
    labels = tuple(sorted({label for found in classes.values() for label in found}))
    paths: list[str] = []
    ranges: dict[str, tuple[int, list[int]]] = {}
    for name, found in classes.items():
        start, targets = len(paths), []
        for number, label in enumerate(labels):
            files = _images(root, found[label]) if label in found else []
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
    require_classes(splits, labels, str(root))
    splits, notes = complete(splits, spec.split, spec.split_seed, str(root))
    return Dataset(str(root), labels, _Scanned(splits, notes, labels, str(root)), notes)


def _only(root: Path, names: tuple[str, ...]) -> Path | None:
    found = [root / name for name in names if (root / name).is_dir()]
    if len(found) > 1:
        raise DataError(
            f"both {found[0].name}/ and {found[1].name}/ are there: which one is meant?",
            where=str(root),
            remedy=f"keep one, called {names[0]}/",
        )
    return found[0] if found else None


def _class_folders(folder: Path) -> dict[str, Path]:
    try:
        return {path.name: path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))}
    except OSError as error:
        raise DataError(f"cannot be listed ({error.strerror or error})", where=str(folder)) from error


def _images(root: Path, folder: Path) -> list[str]:
    """Image files of a class folder, at any depth, as sorted paths relative to `root`."""
    return sorted(
        path.relative_to(root).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def _readable(split: Split, notes: list[str]) -> Split:
    """`split` without the files that cannot be decoded; raises `DataError` when they are too many."""
    if len(split) > SCAN_LIMIT:
        notes.append(f"{split.name}: {len(split)} images, not all decoded in advance; a broken one will stop the run")
        return split

    def attempt(i: int) -> DataError | None:
        try:
            split.digest(i)
        except DataError as error:
            return error
        return None

    with ThreadPoolExecutor(4) as threads:  # pillow decodes outside the interpreter's lock
        results = list(threads.map(attempt, range(len(split)), chunksize=64))
    broken = [error for error in results if error is not None]
    if not broken:
        return split
    share = len(broken) / len(split)
    named = "; ".join(f"{error.where}: {error.message}" for error in broken[:5])
    more = f"; and {len(broken) - 5} more" if len(broken) > 5 else ""
    if share > MAX_UNREADABLE:
        raise DataError(
            f"{split.name}: {len(broken)} of {len(split)} images ({share:.0%}) cannot be read: {named}{more}",
            where=broken[0].where,
            remedy=f"repair or remove them; up to {MAX_UNREADABLE:.0%} are skipped with a warning",
        )
    notes.append(f"{split.name}: skipped {len(broken)} of {len(split)} images that cannot be read: {named}{more}")
    return split.subset(np.flatnonzero([error is None for error in results]))
