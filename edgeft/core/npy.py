"""Arrays in `.npy` files that somebody else wrote: mapped, never unpickled, and every fault of a file is one error."""

from __future__ import annotations

import struct
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np

#: what numpy, zipfile and zlib raise for a file that is no array: numpy reads the header as Python words, and reads it
#: a second time with `tokenize` where it may be of Python 2
BROKEN = (
    OSError, ValueError, TypeError, KeyError, EOFError, OverflowError, SyntaxError, RecursionError, MemoryError,
    NotImplementedError, RuntimeError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def mapped(path: Path | str) -> np.ndarray:
    """The array of a `.npy` file as a read-only map, which cannot be larger than the file whatever its header claims.

    Raises `ValueError` with a reason for a file that cannot be read, is no array, or holds pickled objects.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "created on Python 2": it is read all the same
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    except BROKEN as error:
        raise ValueError(str(error) or type(error).__name__) from error

    if not isinstance(array, np.ndarray):
        raise ValueError("it is an archive of several arrays")
    return array
