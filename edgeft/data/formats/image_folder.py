"""Folders of images: `train/ val/ test/` with one folder a class inside, or class folders alone (divided here)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...config import recipe
from ...core.errors import DataError
from ...inputs.picture_file import SUFFIXES
from .. import pictures, recognize, split_lists
from ..folders import Scanned, classes_by_split, folders, innermost, visible
from ..record import Format
from ..samples import Dataset, Split, complete, listed, require_classes, split_named


def open(spec: recipe.Data) -> Dataset:
    """The image folder at `spec.path`; labels are the sorted names of the class folders.

    A missing val or test split is taken out of train by class with `spec.split_seed`; with only test/ there is only a
    test split. Raises `DataError` (exit 3) naming the folder for what is absent, empty, of one class only, or has
    different classes in its splits; when a split is first used, for more than 5 % unreadable files.
    """
    notes: list[str] = []
    top = _folder(spec)
    root = _wrapped(top, notes)
    classes = classes_by_split(root, notes)
    unread = pictures.Unread()
    files_of = {
        (name, label): pictures.walk(folder, unread)
        for name, names in classes.items()
        for label, folder in names.items()
    }
    labels = _labels(files_of, notes)
    paths: list[Path] = []
    ranges: dict[str, tuple[int, list[int]]] = {}

    for name in classes:
        start, targets = len(paths), []
        for number, label in enumerate(labels):
            files = files_of.get((name, label), [])
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

    if list(splits) == ["train"]:
        splits = _by_lists(splits["train"], root, top, paths, notes)

    if len(labels) == 1 and innermost(root) != root:
        raise DataError(
            f"only one folder ({labels[0]}), and the folders of classes lie inside of it",
            where=str(root),
            remedy=f'set data.path = "{innermost(root)}"',
        )

    notes += require_classes(splits, labels, str(root), spec.split)
    splits, divided = complete(splits, spec.split, spec.split_seed, str(root), labels)
    notes += divided
    scanned = Scanned(splits, notes, labels, str(root), shares=spec.split)
    return Dataset(str(root), labels, scanned, notes, pictures.facts(settings, paths))


def _folder(spec: recipe.Data) -> Path:
    """`spec.path`; raises `DataError` where it is no folder."""
    root = Path(spec.path)
    if not spec.path or not root.is_dir():
        problem = "no such folder" if not root.exists() else "is a file, not a folder"
        problem = problem if spec.path else "no data folder is given"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a folder of images")

    return root


def _by_lists(train: Split, root: Path, top: Path, paths: Sequence[Path], notes: list[str]) -> dict[str, Split]:
    """The splits that lists of names say, or all as "train"."""
    listing, lines = split_lists.read(root, top, paths)
    notes += lines
    splits = {n: Split(n, train.pool, train.indices[at], train.targets[at]) for n, at in listing.items()}
    return splits or {"train": train}


def _wrapped(root: Path, notes: list[str]) -> Path:
    """The folder in `root` whose folders are classes, where it is the only one with pictures and has none itself.

    So are `images/` beside lists and tables, and `Final_Training/Images/`.
    """
    place = root
    while True:
        inner = list(itertools.islice(filter(_has_pictures, folders(place)), 2))
        if len(inner) != 1 or split_named(inner[0].name) or any(map(_is_picture, visible(place))):
            break
        if any(not visible(folder) for folder in folders(place)):  # a class of which the pictures are missing
            break
        if any(map(_is_picture, visible(inner[0]))) or any(split_named(folder.name) for folder in folders(inner[0])):
            return root
        place = inner[0]

    if place == root or len(inner) < 2:
        return root
    notes.append(f"the folders in {place.relative_to(root)}/ are the classes: no other folder has pictures")
    return place


def _has_pictures(folder: Path) -> bool:
    return any(Path(name).suffix.lower() in SUFFIXES for _, _, names in os.walk(folder) for name in names)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _labels(files_of: Mapping[tuple[str, str], Sequence[Path]], notes: list[str]) -> tuple[str, ...]:
    """The sorted names of the class folders; those that hold no picture in any split are left out, with a note."""
    filled = {label for (_, label), files in files_of.items() if files}
    empty = sorted({label for _, label in files_of} - filled)
    if empty and filled:
        notes.append(f"folders without a picture are no classes and are left out: {listed(empty)}")
    return tuple(sorted(filled or set(empty)))


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
