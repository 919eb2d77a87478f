"""How large the pictures of a data set are, from the headers of some of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.errors import need

#: pictures that are looked at, spread evenly
PROBED = 64
#: EXIF's orientation, and the values of it that swap rows and columns
_ORIENTATION, _TURNED = 274, (5, 6, 7, 8)


def typical(paths: Sequence[Path]) -> tuple[int, int] | None:
    """The median height and width in pixels, as pictures are seen; None where no header can be read."""
    at = np.unique(np.linspace(0, len(paths) - 1, min(len(paths), PROBED)).astype(int)) if paths else ()
    sizes = [size for i in at if (size := _size(paths[int(i)])) is not None]
    if not sizes:
        return None
    height, width = np.median(np.array(sizes), axis=0)
    return int(height), int(width)


def _size(path: Path) -> tuple[int, int] | None:
    try:
        if path.suffix.lower() == ".npy":
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
            return (int(shape[0]), int(shape[1])) if len(shape) >= 2 else None
        with need("PIL.Image", "image").open(path) as image:
            turned = image.getexif().get(_ORIENTATION) in _TURNED
            return (image.width, image.height) if turned else (image.height, image.width)
    except (OSError, ValueError, SyntaxError, EOFError):  # what cannot be read is reported where it is read
        return None
