"""What the recordings of a data set have in common: their rate and their usual length, from some of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..inputs import sound_file
from .samples import Split

#: recordings, spread evenly over the split, that are looked at: headers of files, and those that have to be decoded
PROBED, DECODED = 500, 50


def of_files(splits: dict[str, Split]) -> dict[str, Any]:
    """`of` the training split (else the first one) whose recordings are files, from the headers of up to 500."""
    split = splits.get("train") or next(iter(splits.values()))

    def header(i: int) -> tuple[int, int]:
        return sound_file.probe(split.source(i))

    return of(split, header, PROBED)


def of_decoded(splits: dict[str, Split]) -> dict[str, Any]:
    """`of` the training split (else the first one), from up to 50 recordings that are decoded for it."""
    split = splits.get("train") or next(iter(splits.values()))

    def decoded(i: int) -> tuple[int, int]:
        raw = split.raw(i)
        return int(raw["rate"]), len(raw["samples"])

    return of(split, decoded, DECODED)


def of(split: Split, measure: Callable[[int], tuple[int, int]], most: int) -> dict[str, Any]:
    """`kind` "sound", `rate` (hertz, the commonest) and `seconds` (19 of 20 recordings are no longer).

    `measure` gives the rate in hertz and the samples a channel of a recording of the split, and raises `DataError`
    where it cannot be read: such files are reported when the split is used, and say nothing here. At most `most`
    recordings are measured; rate and seconds are left out where none can be.
    """
    rates, seconds = [], []
    for i in np.unique(np.linspace(0, len(split) - 1, min(len(split), most)).astype(int)):
        try:
            rate, count = measure(int(i))
        except DataError:
            continue
        rates.append(rate)
        seconds.append(count / rate)

    if not rates:
        return {"kind": "sound"}

    known, counts = np.unique(rates, return_counts=True)
    longest = float(np.quantile(seconds, 0.95, method="higher"))
    return {"kind": "sound", "rate": int(known[counts.argmax()]), "seconds": longest}
