"""Folders of images: `train/ val/ test/` with one folder a class inside, or class folders alone (divided here)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...config import recipe
from ...core.errors import DataError
from ...inputs.picture_file import SUFFIXES
from .. import pictures, recognize
from ..folders import Scanned, classes_by_split, visible
from ..record import Format
from ..samples import Dataset, Split, complete, require_classes


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
    unread = pictures.Unread()
    paths: list[Path] = []
    ranges: dict[str, tuple[int, list[int]]] = {}
    for name, names in classes.items():
        start, targets = len(paths), []
        for number, label in enumerate(labels):
            files = pictures.walk(names[label], unread) if label in names else []
            paths += files
            targets += [number] * len(files)
        ranges[name] = start, targets
    if not paths:
        raise DataError(
            "holds no images",
            where=str(root),
            remedy=f"expected train/CLASS/*.jpg or CLASS/*.jpg; readable: {', '.join(SUFFIXES)}",
        )
    notes += [*unread.notes(), *_outside(root, classes)]
    settings = pictures.reading(spec, paths, notes)
    pool = pictures.Files(paths, settings)
    splits = {
        name: Split(name, pool, np.arange(start, start + len(targets)), np.asarray(targets, np.int64))
        for name, (start, targets) in ranges.items()
    }
    notes += require_classes(splits, labels, str(root), spec.split)
    splits, divided = complete(splits, spec.split, spec.split_seed, str(root), labels)
    notes += divided
    scanned = Scanned(splits, notes, labels, str(root), shares=spec.split)
    return Dataset(str(root), labels, scanned, notes, pictures.facts(settings, paths))


def _outside(root: Path, classes: dict[str, dict[str, Path]]) -> list[str]:
    """A note of pictures that lie beside class folders, and so have no class."""
    tops = {root, *(folder.parent for names in classes.values() for folder in names.values())}
    astray = [
        path
        for top in sorted(tops)
        for path in visible(top)
        if path.is_file()
        and path.suffix.lower() in SUFFIXES
        and top not in {f for n in classes.values() for f in n.values()}
    ]
    if not astray:
        return []
    return [f"{len(astray)} pictures lie outside of class folders and are not read, for example {min(astray)}"]


FORMAT = Format(
    name="image-folder",
    description="Pictures of classes in folders: train/CLASS/, val/ and test/, or class folders that are divided.",
    open=open,
    keys=pictures.KEYS,
    family="pictures",
    recognize=recognize.image_folder,
)
