"""How large the pictures of a data set are, from the headers of some of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.errors import InvalidInput
from ..inputs import picture_file

#: pictures that are looked at, spread evenly
PROBED = 64


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
        return picture_file.header(path).size
    except InvalidInput:  # what cannot be read is reported where it is read
        return None
