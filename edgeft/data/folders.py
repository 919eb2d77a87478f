"""What formats of files in folders share: split and class folders, and a first look at every file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from ..core.progress import track
from . import left_out
from .samples import NAMES, Split, require_classes, split_named

#: a larger share of files that cannot be read stops the run; below it they are left out with a warning.
MAX_UNREADABLE = left_out.MOST
#: every file of a split up to this many is decoded once when the split is first used; a broken file of a larger split
#: raises when its turn comes.
SCAN_LIMIT = 20_000
#: folders that belong to a layout, and are no wrapping
_OF_DATA = ("images", "labels", "data", "masks", "annotations")


class Scanned(Mapping[str, Split]):
    """Splits whose files are decoded once, at first use, so that broken ones are known before anything is computed.

    `what` names the files in messages ("images"); `every_class` asks for training samples of all classes.
    """

    def __init__(
        self,
        splits: dict[str, Split],
        notes: list[str],
        labels: tuple[str, ...],
        where: str,
        what: str = "images",
        shares: Sequence[float] = (),
        every_class: bool = True,
    ) -> None:
        self._splits, self._notes, self._labels, self._where, self._what = splits, notes, labels, where, what
        self._every_class, self._shares, self._done = every_class, shares, dict[str, Split]()

    def __len__(self) -> int:
        return len(self._splits)

    def __iter__(self) -> Iterator[str]:
        return iter(self._splits)

    def __contains__(self, name: object) -> bool:
        return name in self._splits

    def __getitem__(self, name: str) -> Split:
        if name not in self._done:
            split = readable(self._splits[name], self._notes, self._what)
            if split.classes is not None and self._every_class:
                warnings = require_classes({name: split}, self._labels, self._where, self._shares)
                self._notes.extend(line for line in warnings if line not in self._notes)
            self._done[name] = split
        return self._done[name]


def folders(root: Path) -> list[Path]:
    """The folders in `root`, sorted; hidden ones and those of tools (`__MACOSX`) are left out."""
    try:
        return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))
    except OSError as error:
        raise DataError(f"cannot be listed ({error.strerror or error})", where=str(root)) from error


def folder_named(root: Path, names: Sequence[str]) -> Path | None:
    """The folder of `root` that has one of these names, in any case; the first name counts most."""
    by_name = {path.name.lower(): path for path in folders(root)}
    return next((by_name[name.lower()] for name in names if name.lower() in by_name), None)


def split_folders(root: Path, notes: list[str] | None = None) -> dict[str, Path]:
    """The folders of the splits that `root` has, by their names in any case; all of `root` as "train" without any.

    `train/train/` stands for `train/` where nothing else is in it. Folders beside those of the splits are added to
    `notes`. Raises `DataError` where two folders name one split.
    """
    by_split: dict[str, Path] = {}
    others = []
    for folder in folders(root):
        split = split_named(folder.name)
        if not split:
            others.append(folder.name)
        elif split in by_split:
            raise DataError(
                f"both {by_split[split].name}/ and {folder.name}/ are there: which one is meant?",
                where=str(root),
                remedy=f"keep one, called {split}/",
            )
        else:
            by_split[split] = folder

    if not by_split:
        return {"train": root}

    if others and notes is not None:
        notes.append(f"{root}: folders beside those of the splits are not read: {', '.join(others[:5])}")

    return {name: _innermost(by_split[name], name) for name in NAMES if name in by_split}


def _innermost(folder: Path, split: str) -> Path:
    """`train/train/` of a `train/` that holds nothing else, as archives often unpack."""
    inner = folders(folder)
    alone = len(inner) == 1 and split_named(inner[0].name) == split
    return inner[0] if alone and not any(path.is_file() for path in visible(folder)) else folder


def innermost(root: Path) -> Path:
    """The folder inside of `root` that holds the data, where archives were unpacked into folders of folders.

    A folder is left for its only one where that has several folders itself, in the end, and files beside them are texts
    about the data at most; `images/` and folders of splits are never left behind.
    """
    place = root
    while place.is_dir():
        inner = folders(place)
        files = [p for p in visible(place) if p.is_file() and p.suffix.lower() not in ("", ".md", ".txt", ".pdf")]
        if len(inner) > 1 and not files:
            return place
        if len(inner) != 1 or files or split_named(inner[0].name) or inner[0].name.lower() in _OF_DATA:
            return root
        place = inner[0]

    return root


def visible(folder: Path) -> list[Path]:
    """What lies in a folder, but for hidden files."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def class_folders(folder: Path) -> dict[str, Path]:
    """{label: folder}; hidden ones are left out."""
    return {path.name: path for path in folders(folder)}


def classes_by_split(root: Path, notes: list[str] | None = None) -> dict[str, dict[str, Path]]:
    """{split: {label: folder}} of `train/CLASS/`, of `CLASS/train/`, or of class folders alone (all of them "train").

    A single folder called like a split, without folders in it and beside others, is a class (train, car, bus). Raises
    `DataError` where only some class folders are divided into splits.
    """
    named = [path for path in folders(root) if split_named(path.name)]
    others = [path for path in folders(root) if not split_named(path.name)]
    if named and not (others and len(named) == 1 and not folders(named[0])):
        return {name: class_folders(folder) for name, folder in split_folders(root, notes).items()}

    classes = class_folders(root)
    inner = {label: split_folders(folder) for label, folder in classes.items()}
    divided = [label for label, splits_of_class in inner.items() if splits_of_class != {"train": classes[label]}]
    if not divided:
        return {"train": classes}

    undivided = sorted(set(classes) - set(divided))
    if undivided:
        raise DataError(
            f"{divided[0]}/ holds folders of splits, and {undivided[0]}/ does not",
            where=str(root),
            remedy="divide every class into the same splits, or none",
        )

    return {
        name: {label: parts[name] for label, parts in inner.items() if name in parts}
        for name in NAMES
        if any(name in parts for parts in inner.values())
    }


def readable(
    split: Split, notes: list[str], what: str = "images", look: Callable[[Split, int], None] | None = None
) -> Split:
    """`split` without the files that cannot be decoded; raises `DataError` when they are too many.

    `look(split, i)` may raise `DataError` for what else is wrong with a sample (its mask, its boxes).
    """
    if len(split) > SCAN_LIMIT:
        notes.append(f"{split.name}: {len(split)} {what}, not all decoded in advance; a broken one will stop the run")
        return split

    def attempt(i: int) -> DataError | None:
        try:
            split.digest(i)
            if look is not None:
                look(split, i)
        except DataError as error:
            return error
        return None

    with ThreadPoolExecutor(4) as threads:  # decoders work outside the interpreter's lock
        attempts = threads.map(attempt, range(len(split)), chunksize=64)
        results = list(track(attempts, f"reading {what} of {split.name}", total=len(split), unit="file"))

    broken = [error for error in results if error is not None]
    if not broken:
        return split

    share = len(broken) / len(split)
    named = "; ".join(f"{error.where}: {error.message}" for error in broken[:5])
    more = f"; and {len(broken) - 5} more" if len(broken) > 5 else ""

    if share > MAX_UNREADABLE:
        raise DataError(
            f"{split.name}: {len(broken)} of {len(split)} {what} ({share:.0%}) cannot be read: {named}{more}",
            where=broken[0].where,
            remedy=f"repair or remove them; up to {MAX_UNREADABLE:.0%} are skipped with a warning",
        )

    notes.append(f"{split.name}: skipped {len(broken)} of {len(split)} {what} that cannot be read: {named}{more}")
    return split.subset(np.flatnonzero([error is None for error in results]))
