"""Arrays out of a `.npz` that nobody vouches for: no pickle, and never more memory than the caller allows."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from . import files
from .errors import BundleError
from .npy import BROKEN

#: what all arrays of one file may take together, unpacked.
MAX_BYTES = 512 << 20
_MAX_MEMBERS = 65_536


def read(path: Path | str, *, limit: int = MAX_BYTES, follow: bool = True) -> dict[str, np.ndarray]:
    """Every array of the file by name. Raises `BundleError` for objects, sizes that do not fit, and broken archives,
    for what is no regular file, and with `follow` false for a link.

    numpy's own reader trusts the shape in an array's header; here it must equal the bytes that the archive holds, and
    the sum of those is known before the first is unpacked.
    """
    with files.open_regular(path, follow=follow) as handle:
        return _read(handle, str(path), limit)


def _read(handle: IO[bytes], where: str, limit: int) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(handle) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if total > limit or len(members) > _MAX_MEMBERS:
                raise BundleError(
                    f"unpacks to {total} bytes in {len(members)} arrays, at most {limit} bytes are read",
                    where=where,
                )

            for member in members:
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise BundleError(f"{member.filename!r} is packed in a way numpy never uses", where=where)
                name = member.filename.removesuffix(".npy")
                if name in arrays or name == member.filename:
                    raise BundleError(f"{member.filename!r} is not an array, or occurs twice", where=where)
                with archive.open(member) as stream:
                    arrays[name] = _array(stream, member.file_size, f"{where}: {name}")
    except BROKEN as error:
        raise BundleError(f"is not a readable .npz ({error})", where=where) from error

    return arrays


def _array(stream: IO[bytes], size: int, where: str) -> np.ndarray:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise BundleError(f"has array format {version}, which is not read here", where=where)

    if dtype.hasobject:
        raise BundleError("holds pickled objects, which are never loaded", where=where)

    expected = dtype.itemsize * math.prod(shape)
    if any(side < 0 for side in shape) or expected != size - stream.tell():
        raise BundleError(f"claims {dtype} {shape} and holds {size - stream.tell()} bytes", where=where)

    data = bytearray(stream.read())
    if len(data) != expected:
        raise BundleError("is truncated", where=where)

    flat = np.frombuffer(data, dtype, count=math.prod(shape)) if expected else np.empty(math.prod(shape), dtype)
    return flat.reshape(shape, order="F" if fortran else "C")
