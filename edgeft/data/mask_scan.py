"""Splits of pictures with masks, which are looked at once when a split is first used."""

from __future__ import annotations

import numpy as np

from ..core.errors import DataError
from ..inputs import mask
from .folders import Scanned, readable
from .samples import Split, listed


class Looked(Scanned):
    """Splits whose pictures and masks are looked at once, at first use; how many pixels each class has is counted."""

    def __getitem__(self, name: str) -> Split:
        if name not in self._done:
            counts: list[np.ndarray] = []

            def look(split: Split, i: int) -> None:
                classes = np.asarray(split.targets[i])
                shape = split.raw(i).shape[:2]
                if classes.shape != shape:
                    raise DataError(
                        f"the mask has {classes.shape[0]}x{classes.shape[1]} pixels, its picture "
                        f"{split.source(i)} {shape[0]}x{shape[1]} (height x width)",
                        where=split.targets[i].path,
                        remedy="store both in the same size",
                    )

                counts.append(np.bincount(classes.ravel(), minlength=256))

            split = readable(self._splits[name], self._notes, "pictures with masks", look)
            if not len(split):
                raise DataError(f"the {name} split is empty", where=self._where)
            self._judge(name, np.sum(counts, axis=0) if counts else np.zeros(256, np.int64))
            self._done[name] = split
        return self._done[name]

    def _judge(self, name: str, counts: np.ndarray) -> None:
        if not counts.any():  # too many to have been looked at
            return
        if not counts[: mask.VOID].any():
            raise DataError(f"every pixel of the {name} split is void", where=self._where)

        absent = [label for label, count in zip(self._labels, counts) if not count]
        if absent and name == "train":
            raise DataError(
                f"no pixel of the train split is {listed(absent)}: such a class cannot be learned",
                where=self._where,
                remedy="take it out of the class file, name it in data.masks.void, or check the ids of the masks",
            )

        if absent:
            self._notes.append(f"{name}: no pixel is {', '.join(absent)}")
