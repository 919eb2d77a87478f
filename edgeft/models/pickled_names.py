"""Names of classes in the pickles of a file that torch wrote, looked at before torch reads it.

`torch.load(weights_only=True)` refuses a class that it does not know, and searches its own message by expressions whose
time grows with the square of the name's length: a name of a million characters holds it for hours.
"""

from __future__ import annotations

import pickletools
import zipfile
from typing import IO

from ..core.errors import ModelError

#: most characters of a name, its module's with it
LONGEST = 1000
#: pickles in front of the tensors in the form of torch before 1.6: magic number, version, system, value, keys
_OLD_PICKLES = 5


def check(file: IO[bytes], where: str) -> None:
    """Raise `ModelError` for a longer name. Raises ValueError, EOFError, OSError or KeyError where a pickle is none."""
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
    for code, argument, _ in pickletools.genops(pickled):
        if code.name in ("GLOBAL", "INST") and len(str(argument)) > LONGEST:
            raise ModelError(
                f"names a class by {len(str(argument))} characters, which no checkpoint does",
                where=where,
                remedy="the file may be damaged: get it again",
            )
