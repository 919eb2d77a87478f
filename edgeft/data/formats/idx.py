"""Pictures and class numbers in IDX files, as MNIST, Fashion-MNIST, KMNIST and EMNIST are published.

A folder (or its one folder `raw/`) with `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, and the same of
`t10k` or `test`, each plain or as .gz. The layout is that of http://yann.lecun.com/exdb/mnist. EMNIST's pictures lie on
their side and are turned; the codes in its `*-mapping.txt` are the names of its classes.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...config import recipe
from ...core.errors import DataError
from .. import recognize
from ..record import Format
from ..samples import Dataset, Split, complete, require_classes
from .npz import Rows

#: names of such files: a set's name, the split, what it holds
NAME = re.compile(r"(.*?)(train|t10k|test|val)[-_](images|labels)[-.]idx([13])-ubyte(\.gz)?", re.IGNORECASE)
SPLITS = {"train": "train", "t10k": "test", "test": "test", "val": "val"}
#: bytes of one file once unpacked
MOST = 1 << 32
#: the number of axes -> what a file of them holds
_HOLDS = {3: "pictures", 1: "labels"}


def files_in(root: Path) -> dict[str, dict[tuple[str, str], Path]]:
    """{name of a set: {(split, "images" or "labels"): file}} of a folder, or of `raw/` in it."""
    sets: dict[str, dict[tuple[str, str], Path]] = {}
    for folder in (root, root / "raw"):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            match = NAME.fullmatch(path.name)
            if match and path.is_file():
                key = SPLITS[match[2].lower()], match[3].lower()
                sets.setdefault(match[1].strip("-_."), {}).setdefault(key, path)
    return sets


def open(spec: recipe.Data) -> Dataset:
    """The set in the folder `spec.path`; raises `DataError` naming the file that is absent, damaged or does not fit."""
    root = Path(spec.path)
    sets = files_in(root) if spec.path and root.is_dir() else {}
    if not sets:
        raise DataError(
            "holds no IDX files" if root.is_dir() else "no such folder",
            where=spec.path or "data.path",
            remedy="set data.path to a folder with train-images-idx3-ubyte and train-labels-idx1-ubyte (or .gz)",
        )
    if len(sets) > 1:
        raise DataError(
            f"holds several sets: {', '.join(sorted(sets))}",
            where=spec.path,
            remedy="put the files of one set into a folder of its own",
        )

    ((name, files),) = sets.items()
    notes: list[str] = []
    images, truth = {}, {}
    for split in dict.fromkeys(split for split, _ in files):
        images[split], truth[split] = _pair(files, split, root)

    if name.lower().startswith("emnist"):
        images = {split: array.transpose(0, 2, 1) for split, array in images.items()}
        notes.append("EMNIST stores its pictures on their side: they are turned upright")

    values = np.unique(np.concatenate(list(truth.values())))
    labels = tuple(_names(root, values, notes))
    pool, splits, start = Rows(str(root), images), {}, 0
    for split, array in truth.items():
        targets = np.searchsorted(values, array).astype(np.int64)
        splits[split] = Split(split, pool, np.arange(start, start + len(array)), targets)
        start += len(array)

    notes += require_classes(splits, labels, str(root), spec.split)
    splits, divided = complete(splits, spec.split, spec.split_seed, str(root), labels)
    height, width = next(iter(images.values())).shape[1:]
    return Dataset(str(root), labels, splits, [*notes, *divided], {"picture_size": (int(height), int(width))})


def _pair(files: dict[tuple[str, str], Path], split: str, root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 (N, H, W) and labels uint8 (N,) of a split."""
    for kind in ("images", "labels"):
        if (split, kind) not in files:
            other = files[split, "labels" if kind == "images" else "images"]
            raise DataError(f"has no {kind} beside it", where=str(other), remedy=f"put the file of its {kind} there")

    pictures, labels = read(files[split, "images"], 3), read(files[split, "labels"], 1)
    if len(pictures) != len(labels):
        raise DataError(f"has {len(labels)} labels for {len(pictures)} pictures", where=str(files[split, "labels"]))
    if not pictures.size:
        raise DataError(f"has no pixels: {pictures.shape}", where=str(files[split, "images"]))

    return pictures, labels


def read(path: Path, axes: int) -> np.ndarray:
    """The uint8 array of `axes` axes in an IDX file; raises `DataError` for another type, shape or length."""
    what, remedy = _HOLDS[axes], "fetch it again; it may be cut short, or another file"
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
            head = stream.read(4 + 4 * axes)
            if len(head) < 4 + 4 * axes or head[:4] != bytes((0, 0, 8, axes)):
                raise DataError(f"is no IDX file of {what} (bytes of 0 to 255)", where=str(path), remedy=remedy)
            shape = [int.from_bytes(head[at : at + 4], "big") for at in range(4, len(head), 4)]
            count = math.prod(shape)
            if count > MOST:
                raise DataError(f"says that it holds {count} bytes, more than {MOST} are not read", where=str(path))
            values = stream.read(count + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot be read ({error})", where=str(path), remedy=remedy) from error

    if len(values) != count:
        has = "more" if len(values) > count else f"{len(values)} bytes"
        raise DataError(f"says that it holds {count} bytes, and has {has}", where=str(path), remedy=remedy)

    return np.frombuffer(values, np.uint8).reshape(shape)


def _names(root: Path, values: np.ndarray, notes: list[str]) -> Iterator[str]:
    """The class of each value: its character by a mapping of codes beside the files, else the number itself."""
    tables = sorted(path for folder in (root, root / "raw") for path in folder.glob("*mapping.txt"))
    codes: dict[int, str] = {}
    if tables:
        lines = [line.split() for line in tables[0].read_text("utf-8", "replace").splitlines()]
        for line in lines:
            if len(line) > 1 and all(word.isdecimal() and len(word) < 8 for word in line):
                codes[int(line[0])] = chr(int(line[1])) if 32 < int(line[1]) < 127 else line[1]

    named = len({codes.get(int(value)) for value in values} - {None}) == len(values)
    if tables:
        notes.append(f"{tables[0].name} {'names the classes' if named else 'does not name every class: numbers do'}")

    for value in values:
        yield codes[int(value)] if named else str(int(value))


FORMAT = Format(
    name="idx",
    description="Pictures and class numbers in IDX files: MNIST and its kin, as they are published.",
    open=open,
    keys=("path", "split", "split_seed"),
    family="pictures",
    recognize=recognize.idx,
)
