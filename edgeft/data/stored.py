"""Arrays that stay in a file and are read a part at a time, so that memory does not grow with their length.

They are read with `os.pread` and not through a mapping: pages of a mapping that were touched once count as memory of
the process, and an epoch touches all of them.
"""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..core.errors import SystemFailure

#: rows that are read, parsed or encoded together
BLOCK = 1 << 14
#: a range of a file is read whole where it holds at most so many times what is asked of it
_DENSE = 4


class Numbers(Protocol):
    """A sequence of values of one dtype, in memory or in a file."""

    def __len__(self) -> int: ...

    def block(self, start: int, stop: int) -> np.ndarray:
        """Values `start:stop`."""
        ...

    def take(self, indices: np.ndarray) -> np.ndarray:
        """The values at `indices`, int (N,)."""
        ...


class InMemory:
    """Values in an array."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def block(self, start: int, stop: int) -> np.ndarray:
        return self.values[start:stop]

    def take(self, indices: np.ndarray) -> np.ndarray:
        values: np.ndarray = self.values[indices]
        return values


class InFile:
    """Values in a file of nothing else; `SystemFailure` where they cannot be read any more."""

    def __init__(self, path: Path, dtype: np.dtype[Any] | type) -> None:
        self.path, self.dtype = path, np.dtype(dtype)
        self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
        weakref.finalize(self, os.close, self._handle)
        self._length = os.fstat(self._handle).st_size // self.dtype.itemsize
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return InFile, (self.path, self.dtype)

    def __len__(self) -> int:
        return self._length

    def block(self, start: int, stop: int) -> np.ndarray:
        size = self.dtype.itemsize
        count = max(0, min(stop, self._length) - start)
        return np.frombuffer(self._read(start * size, count * size), self.dtype)

    def take(self, indices: np.ndarray) -> np.ndarray:
        if not len(indices):
            return np.zeros(0, self.dtype)
        first, last = int(indices.min()), int(indices.max())
        if last - first < _DENSE * len(indices):
            values: np.ndarray = self.block(first, last + 1)[indices - first]
            return values

        size = self.dtype.itemsize
        return np.frombuffer(b"".join([self._read(at, size) for at in (indices * size).tolist()]), self.dtype)

    def _read(self, start: int, count: int) -> bytes:
        try:
            content = self._some(start, count)
            while 0 < len(content) < count and (more := self._some(start + len(content), count - len(content))):
                content += more  # one call returns at most 2 GB
        except OSError as error:
            raise SystemFailure(f"cannot be read ({error.strerror})", where=str(self.path)) from error
        if len(content) < count:
            raise SystemFailure("became shorter while it was in use", where=str(self.path))
        return content

    def _some(self, start: int, count: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._handle, count, start)
        with self._lock:  # Windows: a position that all readers share
            os.lseek(self._handle, start, os.SEEK_SET)
            return os.read(self._handle, count)
