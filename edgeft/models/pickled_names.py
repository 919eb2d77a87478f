"""Texts in the pickles of a file that torch wrote, looked at before torch reads it.

`torch.load(weights_only=True)` puts the name of a class that it does not know, or a text that a pickle calls, into its
message, and searches that by expressions whose time grows with the square of a word's length: a word of a million
characters holds it for hours.
"""

from __future__ import annotations

import pickletools
import zipfile
from typing import IO

from ..core.errors import ModelError

#: most characters without a blank; torch searches so many in less than a second
LONGEST = 10_000
#: pickles in front of the tensors in the form of torch before 1.6: magic number, version, system, value, keys
_OLD_PICKLES = 5


def check(file: IO[bytes], where: str) -> None:
    """Raise `ModelError` for a longer word. Raises ValueError, EOFError, OSError or KeyError where a pickle is none."""
    try:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            for _ in range(_OLD_PICKLES):
                if not file.read(1):
                    return
                file.seek(-1, 1)
                _check(file, where)
            return

        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                if name.rpartition("/")[2] == "data.pkl":
                    with archive.open(name) as member:
                        _check(member, where)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"not a whole zip archive: {error}") from error


def _check(pickled: IO[bytes], where: str) -> None:
    for _, argument, _ in pickletools.genops(pickled):
        if not isinstance(argument, str) or len(argument) <= LONGEST:
            continue
        longest = max(map(len, argument.split()), default=0)
        if longest > LONGEST:
            raise ModelError(
                f"its pickle holds a text of {longest} characters without a blank, on which torch's reader may hang",
                where=where,
                remedy="save the tensors alone: torch.save(model.state_dict(), 'weights.pth'); or the file is damaged",
            )
