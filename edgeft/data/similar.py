"""Near duplicates: the same picture again, re-encoded or resized; the same text in other letters and signs.

A small hash finds candidates among pictures, pixels confirm them.

The hash is the difference hash (dHash, Krawetz 2013): each bit says whether a cell of a coarse gray thumbnail is
brighter than its left neighbour. Simple pictures (digits) collide in it, so a candidate counts only when finer
thumbnails of both also correlate.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Any

import numpy as np

from .samples import Split

_ROWS, _COLUMNS = 8, 8
_BITS = 5  # hashes that differ in more bits of 64 are no candidates
_STEP = 2.0  # gray levels: less is noise, so that flat pictures keep their hash
_FINE = 24
_CLOSE = 0.99  # correlation of the fine thumbnails
_CANDIDATES = 5  # of one sample, the nearest first
MOST_CONFIRMED = 20_000
_POPCOUNT = np.array([bin(i).count("1") for i in range(256)], np.uint8)


def thumbnail(raw: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Gray means float32 (rows, columns) over the cells of uint8 (H, W[, C]); small images repeat pixels."""
    gray = raw.astype(np.float32)
    if gray.ndim == 3:  # the mean over channels, as a product: many times faster than a sum along so short an axis
        gray = gray @ np.full(gray.shape[2], 1 / gray.shape[2], np.float32)

    for axis, cells in ((0, rows), (1, columns)):
        size = gray.shape[axis]
        if size < cells:
            gray = np.take(gray, np.arange(cells) * size // cells, axis=axis)
            continue
        edges = np.arange(cells + 1) * size // cells
        gray = np.add.reduceat(gray, edges[:-1], axis=axis)
        gray /= np.diff(edges).reshape((-1, 1) if axis == 0 else (1, -1))

    return gray


def dhash(raw: np.ndarray) -> np.ndarray:
    """The 64-bit difference hash of a picture, as uint8 (8,)."""
    small = thumbnail(raw, _ROWS, _COLUMNS + 1)
    return np.packbits(small[:, 1:] > small[:, :-1] + _STEP, axis=1)[:, 0]


def alike(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two pictures show the same, apart from encoding, size, brightness and contrast."""
    a, b = (thumbnail(raw, _FINE, _FINE) for raw in (first, second))
    a, b = a - a.mean(), b - b.mean()
    spread = float(a.std() * b.std())
    if spread < 1:  # a blank picture is like every other one: says nothing
        return False

    return float((a * b).mean()) >= _CLOSE * spread


def is_picture(raw: Any) -> bool:
    return isinstance(raw, np.ndarray) and raw.dtype == np.uint8 and raw.ndim in (2, 3)


def hashes(split: Split) -> np.ndarray:
    """The hash of every sample, uint8 (N, 8)."""
    return np.stack([dhash(split.raw(i)) for i in range(len(split))]) if len(split) else np.zeros((0, 8), np.uint8)


def near_duplicates(
    first: Split,
    second: Split,
    known: tuple[np.ndarray, np.ndarray],
    skip: set[int] | None = None,
    limit: int = MOST_CONFIRMED,
) -> tuple[list[tuple[int, int]], int]:
    """Pairs (position in `first`, position in `second`), one for each sample of `second` that has a near duplicate.

    And how many samples of `second` were looked at: not all of them where `limit` candidates had to be compared
    before. `known` are the `hashes` of both; `skip` holds positions of `second` that need no look (exact duplicates).
    """
    pairs: list[tuple[int, int]] = []
    looked = 0
    for j in range(len(second)):
        if skip and j in skip:
            continue

        distance = _POPCOUNT[known[0] ^ known[1][j]].sum(axis=1, dtype=np.int64)
        nearest = np.argsort(distance, kind="stable")[:_CANDIDATES]
        for i in nearest[distance[nearest] <= _BITS]:
            looked += 1
            if looked > limit:
                return pairs, j
            if alike(first.raw(int(i)), second.raw(j)):
                pairs.append((int(i), j))
                break

    return pairs, len(second)


_NO_WORD = re.compile(r"[\W_]+")


def plain_words(text: str) -> str:
    """A text as its words alone: compatibility forms unified (NFKC), case folded, signs and blanks between words one
    space. "" where it has no letter or digit."""
    return _NO_WORD.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def same_words(first: Split, second: Split, skip: set[int] | None = None) -> list[tuple[int, int]]:
    """Pairs (position in `first`, position in `second`) of texts with the same words in the same order, one for each
    sample of `second`; `skip` as in `near_duplicates`. A text without words is like no other."""
    known: dict[bytes, int] = {}
    for i in range(len(first)):
        known.setdefault(_digest(plain_words(first.raw(i))), i)

    known.pop(_digest(""), None)
    places = (j for j in range(len(second)) if not skip or j not in skip)
    return [(known[words], j) for j in places if (words := _digest(plain_words(second.raw(j)))) in known]


def _digest(words: str) -> bytes:
    """16 bytes for a text of any length: the texts themselves would be as large as the data set."""
    return hashlib.blake2b(words.encode("utf-8", "surrogatepass"), digest_size=16).digest()
