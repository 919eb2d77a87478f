"""What label masks hold, and how a class file states it: for messages about classes that are not stated, or wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from ..inputs import mask
from .mask_classes import FILES, Classes

#: masks that are looked at, and the most values that are taken for classes
_LOOKED_AT, _MOST = 12, 64
#: the largest label id up to which a class file may have a line for each id; above it ids are stated like gray colours
_MOST_LINES = 40
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Values:
    """The label ids of masks, or, where one of them has colours, the colours of all. Both are empty where not known."""

    ids: tuple[int, ...] = ()
    colours: tuple[Colour, ...] = ()

    @property
    def words(self) -> str:
        """Such as "the label ids 0, 1, 2"; "" without any."""
        listed = [str(value) for value in self.colours or self.ids]
        more = f" and {len(listed) - 8} more" if listed[8:] else ""
        return f"the {'colours' if self.colours else 'label ids'} {', '.join(listed[:8])}{more}" if listed else ""

    @property
    def remedy(self) -> str:
        """How to state classes that fit."""
        if not self.ids and not self.colours:
            return "one class a line in the order of the label ids (name, or name r g b), or data.masks.classes"

        plain = [value for value in self.ids if value != mask.VOID]
        if self.ids and max(plain, default=0) <= _MOST_LINES:
            count = max(2, max(plain, default=0) + 1)
            ids = "0 and 255" if self.ids == (0, mask.VOID) else f"0 to {count - 1}"
            names = ["background", "object"] if count == 2 else [f"class{number}" for number in range(count)]
            quoted = ", ".join(f'"{name}"' for name in names[:4]) + (", ..." if names[4:] else "")
            return (
                f"write {count} lines into {FILES[0]} in the data's folder, the names of the ids {ids}, or set "
                f"masks = {{ classes = [{quoted}] }} in [data]"
            )

        colours = self.colours or [(value, value, value) for value in self.ids]
        lines = [f"`NAME {' '.join(map(str, colour))}`" for colour in colours]
        more = f" and {len(lines) - 6} more" if lines[6:] else ""
        return (
            f"write a line for each class and its colour into {FILES[0]} in the data's folder: "
            f"{', '.join(lines[:6])}{more}"
        )


def look(paths: Sequence[Path], coloured: bool = False) -> Values:
    """The values of some of the masks; none where there are too many of them to be classes, as after JPEG.

    `coloured`: palettes and grays count as colours.
    """
    ids: set[int] = set()
    colours: set[Colour] = set()
    for path in _some(paths):
        try:
            stored = mask.stored(path)
        except DataError:
            continue
        labels = stored.ids()
        if stored.palette is not None and (coloured or stored.pixels.max(initial=0) > _MOST_LINES):
            stored, labels = mask.Stored(stored.palette[stored.pixels]), None
        if labels is None:
            colours |= {(int(r), int(g), int(b)) for r, g, b in np.unique(stored.pixels.reshape(-1, 3), axis=0)}
        else:
            ids |= {int(value) for value in np.unique(labels)}
        if len(ids) + len(colours) > _MOST:
            return Values()

    if colours or (coloured and ids):
        return Values(colours=tuple(sorted(colours | {(value, value, value) for value in ids})))
    return Values(tuple(sorted(ids)))


def check(classes: Classes, meaning: mask.Meaning, paths: Sequence[Path]) -> None:
    """Raise `DataError` where no mask of those that are looked at has the ids or any colour of the classes."""
    some = _some(paths)
    for path in some:
        try:
            mask.read(path, meaning)
        except DataError:
            continue
        return

    values = look(some, coloured=bool(classes.colours))
    if values.words and not set(values.colours) & set(classes.colours.values()):
        raise DataError(f"does not fit the masks, which hold {values.words}", where=classes.where, remedy=values.remedy)


def _some(paths: Sequence[Path]) -> list[Path]:
    step = max(1, len(paths) // _LOOKED_AT)
    return list(paths[::step][:_LOOKED_AT])
