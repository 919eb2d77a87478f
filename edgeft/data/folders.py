"""What formats of files in folders share: split and class folders, and a first look at every file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from .samples import Split, require_classes

#: split -> the names its folder may have
FOLDERS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
#: a larger share of files that cannot be read stops the run; below it they are left out with a warning.
MAX_UNREADABLE = 0.05
#: every file of a split up to this many is decoded once when the split is first used; a broken file of a larger split
#: raises when its turn comes.
SCAN_LIMIT = 20_000


class Scanned(Mapping[str, Split]):
    """Splits whose files are decoded once, at first use, so that broken ones are known before anything is computed.

    `what` names the files in messages ("images").
    """

    def __init__(
        self,
        splits: dict[str, Split],
        notes: list[str],
        labels: tuple[str, ...],
        where: str,
        what: str = "images",
        shares: Sequence[float] = (),
    ) -> None:
        self._splits, self._notes, self._labels, self._where, self._what = splits, notes, labels, where, what
        self._shares, self._done = shares, dict[str, Split]()

    def __len__(self) -> int:
        return len(self._splits)

    def __iter__(self) -> Iterator[str]:
        return iter(self._splits)

    def __contains__(self, name: object) -> bool:
        return name in self._splits

    def __getitem__(self, name: str) -> Split:
        if name not in self._done:
            split = readable(self._splits[name], self._notes, self._what)
            if split.classes is not None:
                require_classes({name: split}, self._labels, self._where, self._shares)
            self._done[name] = split
        return self._done[name]


def split_folders(root: Path) -> dict[str, Path]:
    """The folders of the splits that `root` has; all of `root` as "train" where it has none."""
    folders = {name: _only(root, names) for name, names in FOLDERS.items()}
    return {name: folder for name, folder in folders.items() if folder is not None} or {"train": root}


def _only(root: Path, names: tuple[str, ...]) -> Path | None:
    found = [root / name for name in names if (root / name).is_dir()]
    if len(found) > 1:
        raise DataError(
            f"both {found[0].name}/ and {found[1].name}/ are there: which one is meant?",
            where=str(root),
            remedy=f"keep one, called {names[0]}/",
        )
    return found[0] if found else None


def class_folders(folder: Path) -> dict[str, Path]:
    """{label: folder}; hidden ones are left out."""
    try:
        return {path.name: path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))}
    except OSError as error:
        raise DataError(f"cannot be listed ({error.strerror or error})", where=str(folder)) from error


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
        results = list(threads.map(attempt, range(len(split)), chunksize=64))
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
