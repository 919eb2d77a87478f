"""What formats of picture files share: which files of a folder are read, how they are read, a pool of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..config import recipe
from ..core.errors import DataError
from ..inputs import picture_file
from ..inputs.picture_file import SUFFIXES
from .picture_size import typical

#: keys of [data] that every format of picture files reads
KEYS = ("path", "split", "split_seed", "value_range", "max_pixels")
#: files that systems leave in folders; nobody misses them
CLUTTER = ("thumbs.db", "desktop.ini")
#: pictures of a data set whose headers, and of wide ones whose values, are looked at for the range of values
LOOKED_AT = 200
#: fewer bits than this are scaled up; pictures of 15 and 16 bits keep their upper byte
_WIDEST = 15


class Files:
    """A pool of picture files, decoded on demand as `reading` says (`picture_file.read`)."""

    def __init__(self, paths: Sequence[Path], reading: Mapping[str, Any] | None = None) -> None:
        self.paths, self.reading = paths, dict(reading or {})

    def __len__(self) -> int:
        return len(self.paths)

    def source(self, i: int) -> str:
        return str(self.paths[i])

    def raw(self, i: int) -> np.ndarray:
        return picture_file.read(self.paths[i], self.reading)


@dataclass
class Unread:
    """Files of a data set that are not read: how many of each ending with an example, and links that lead nowhere."""

    endings: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Path] = field(default_factory=dict)
    dangling: list[Path] = field(default_factory=list)

    def add(self, path: Path) -> None:
        ending = path.suffix.lower() or "without an ending"
        self.endings[ending] += 1
        self.examples.setdefault(ending, path)

    def notes(self) -> list[str]:
        lines = []
        if self.endings:
            total = sum(self.endings.values())
            named = ", ".join(f"{n} {ending} ({self.examples[ending]})" for ending, n in self.endings.most_common(5))
            lines.append(f"{total} files are not read, since they are no pictures by their endings: {named}")

        if self.dangling:
            named = ", ".join(map(str, self.dangling[:5])) + (" ..." if self.dangling[5:] else "")
            lines.append(f"{len(self.dangling)} links lead to files that do not exist, and are left out: {named}")

        return lines


def walk(folder: Path, unread: Unread | None = None, beside: Sequence[str] = ()) -> list[Path]:
    """The picture files below `folder` at any depth, sorted; linked folders are followed.

    Hidden files and folders and those of tools (`.ipynb_checkpoints`, `__MACOSX`) are no data. `unread` counts the
    other files, but for those whose endings are in `beside`, which the format knows.
    """
    return sorted(path for path in _walked(folder, unread, beside) if path.suffix.lower() in SUFFIXES)


def _walked(folder: Path, unread: Unread | None, beside: Sequence[str]) -> Iterator[Path]:
    known: set[str] = set()
    for top, names, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(top)
        names[:] = [] if real in known else [name for name in names if not name.startswith((".", "__"))]
        if real in known:  # a link that leads back
            continue
        known.add(real)
        for name in files:
            path = Path(top, name)
            if name.startswith(".") or name.lower() in CLUTTER:
                continue
            if path.suffix.lower() in SUFFIXES and path.is_file():
                yield path
            elif unread is not None and path.is_symlink() and not path.exists():
                unread.dangling.append(path)
            elif unread is not None and path.suffix.lower() not in (*beside, *SUFFIXES):
                unread.add(path)


def reading(spec: recipe.Data, paths: Sequence[Path], notes: list[str]) -> dict[str, Any]:
    """How the files of a data set are read: the recipe's `max_pixels` and `value_range`, as `picture_file.read` has it.

    Without a range in the recipe, pictures of more than 8 and up to 14 bits are scaled by the fewest bits that hold all
    values of those that are looked at; `notes` tells so.
    """
    settings: dict[str, Any] = {"max_pixels": spec.max_pixels}
    value_range = list(spec.value_range) or _bits_of(paths, settings, notes)
    return {**settings, "value_range": value_range} if value_range else settings


def facts(settings: Mapping[str, Any], paths: Sequence[Path] = ()) -> dict[str, Any]:
    """What a data set says of its files for the `preprocess` table: their range of values, and their typical size."""
    size = typical(paths)
    stated = {"value_range": settings["value_range"]} if "value_range" in settings else {}
    return {**stated, **({"picture_size": size} if size else {})}


def _bits_of(paths: Sequence[Path], settings: Mapping[str, Any], notes: list[str]) -> list[float]:
    positions = np.unique(np.linspace(0, len(paths) - 1, min(len(paths), LOOKED_AT)).astype(int))
    highest, count = 0, 0
    for i in positions:
        try:
            values = picture_file.wide(paths[int(i)], settings)
        except DataError:
            continue
        if values is None or values.dtype.kind not in "ui" or not values.size or values.min() < 0:
            continue
        count += 1
        highest = max(highest, int(values.max()))

    if not count:
        return []

    bits = max(8, highest.bit_length())
    if bits >= _WIDEST:
        return []

    notes.append(
        f"pictures of 16 bits hold values up to {highest} and are read as {bits}-bit ones, 0 to {2**bits - 1}; "
        "data.value_range = [low, high] sets another range"
    )

    return [0.0, float(2**bits - 1)]
