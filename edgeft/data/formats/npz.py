"""One .npz file of images and labels.

Keys: `{train,val,test}_images` and `_labels` (the MedMNIST form), or `x_{train,val,test}` and `y_{train,val,test}` (the
Keras form), or without splits `images` and `labels`, `data` and `targets`, `X` and `y`, `arr_0` and `arr_1`; optional
label names under `labels`, `classes` or `label_names`. Members that are stored uncompressed are
mapped, not read, so such a file may be larger than memory. Pickled arrays are refused.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ...config import recipe
from ...core.errors import DataError, nearest
from ...core.npy import BROKEN
from .. import recognize
from ..record import Format
from ..samples import NAMES, Dataset, Split, complete, require_classes

FORMS = (("{}_images", "{}_labels"), ("x_{}", "y_{}"), ("X_{}", "y_{}"))
#: the same of files without splits, which become train
ALONE = (("images", "labels"), ("data", "targets"), ("data", "labels"), ("x", "y"), ("X", "y"), ("arr_0", "arr_1"))
LABEL_KEYS = ("labels", "classes", "label_names")


class Rows:
    """A pool of images, uint8 (N, H, W) or (N, H, W, C), one array a split."""

    def __init__(self, path: str, arrays: dict[str, np.ndarray]) -> None:
        self.path, self.arrays = path, arrays
        self._keys = list(arrays)
        self._ends = np.cumsum([len(array) for array in arrays.values()])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def _locate(self, i: int) -> tuple[str, int]:
        at = int(np.searchsorted(self._ends, i, side="right"))
        return self._keys[at], i - (int(self._ends[at - 1]) if at else 0)

    def source(self, i: int) -> str:
        key, row = self._locate(i)
        return f"{self.path}[{key}][{row}]"

    def raw(self, i: int) -> np.ndarray:
        key, row = self._locate(i)
        return np.array(self.arrays[key][row])


def open(spec: recipe.Data) -> Dataset:
    """The .npz file at `spec.path`; raises `DataError` naming the file and the key of what is wrong."""
    path = Path(spec.path)
    if not spec.path or not path.is_file():
        problem = "no data file is given" if not spec.path else "no such file"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to an .npz file")

    with archive_of(path) as archive:
        keys = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
        array_form = _form(keys, path)
        images = {name: _images(path, archive, image_key) for name, (image_key, _) in array_form.items()}
        truth = {name: _labels(path, archive, key, len(images[name])) for name, (_, key) in array_form.items()}
        used = {key for pair in array_form.values() for key in pair}
        names = next((member(path, archive, key) for key in LABEL_KEYS if key in keys and key not in used), None)

    labels, targets = _encode(truth, names, str(path))
    pool = Rows(str(path), {array_form[name][0]: images[name] for name in array_form})
    splits, start = {}, 0

    for name in array_form:
        splits[name] = Split(name, pool, np.arange(start, start + len(images[name])), targets[name])
        start += len(images[name])

    notes = require_classes(splits, labels, str(path), spec.split)
    splits, divided = complete(splits, spec.split, spec.split_seed, str(path), labels)
    first = next(iter(images.values()))
    facts = {"picture_size": (int(first.shape[1]), int(first.shape[2]))} if len(first) else {}

    return Dataset(str(path), labels, splits, [*notes, *divided], facts)


def archive_of(path: Path) -> zipfile.ZipFile:
    """The archive at `path`; raises `DataError` where it is none."""
    try:
        return zipfile.ZipFile(path)
    except BROKEN as error:
        raise DataError(
            f"is not a readable .npz file ({error})",
            where=str(path),
            remedy="copy it again, or write it with numpy.savez; it may be cut short, or a plain .npy",
        ) from error


def _form(keys: list[str], path: Path) -> dict[str, tuple[str, str]]:
    for image_form, label_form in FORMS:
        keys_of_split = {n: (image_form.format(n), label_form.format(n)) for n in NAMES if image_form.format(n) in keys}
        if not keys_of_split:
            continue
        for image_key, label_key in keys_of_split.values():
            if label_key not in keys:
                raise DataError(f"has {image_key} but no {label_key}", where=str(path), remedy=nearest(label_key, keys))
        return keys_of_split

    alone = next(((image, label) for image, label in ALONE if image in keys and label in keys), None)
    if alone is not None:
        return {"train": alone}

    raise DataError(
        f"has no images: its keys are {', '.join(keys[:10]) or 'none'}",
        where=str(path),
        remedy="expected train_images and train_labels (val_, test_), or x_train and y_train (x_test, y_test)",
    )


def member(path: Path, archive: zipfile.ZipFile, key: str) -> np.ndarray:
    """The array `key`: mapped where the member is stored as it is, else read; never unpickled."""
    where = f"{path}[{key}]"
    try:
        info = archive.getinfo(f"{key}.npy")
        with archive.open(info) as stream:
            version = np.lib.format.read_magic(stream)
            reader: Any = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if reader is None:
                raise ValueError(f"unknown array format {version}")
            shape, fortran, dtype = reader(stream)
            if dtype.hasobject:
                raise ValueError("it holds pickled Python objects, which are never loaded")
            offset = stream.tell()
        if info.compress_type == zipfile.ZIP_STORED and 0 not in shape:
            with path.open("rb") as file:
                file.seek(info.header_offset)
                name_size, extra_size = struct.unpack("<26xHH", file.read(30))
            start = info.header_offset + 30 + name_size + extra_size + offset
            return np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")
        with archive.open(info) as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    except BROKEN as error:
        raise DataError(
            f"cannot be read: {error}", where=where, remedy="write the file again with numpy.savez"
        ) from error


def _images(path: Path, archive: zipfile.ZipFile, key: str) -> np.ndarray:
    array, where = member(path, archive, key), f"{path}[{key}]"
    if array.dtype != np.uint8:
        shares = array.dtype.kind == "f" and array.size and 0 <= array.min() <= array.max() <= 1
        code = f"({key} * 255).round().astype(numpy.uint8)" if shares else f"{key}.astype(numpy.uint8) of 0..255"
        raise DataError(f"pixels are {array.dtype}, expected uint8 0..255", where=where, remedy=f"store {code}")
    if array.size == 0 and len(array):
        raise DataError(f"has shape {array.shape}: pictures without pixels", where=where, remedy="give whole pictures")
    if array.ndim == 3 or (array.ndim == 4 and array.shape[3] in (1, 3)):
        return array
    if array.ndim == 4 and array.shape[1] in (1, 3):  # channels first, as torch has them
        return array.transpose(0, 2, 3, 1)

    rows = "of rows of pixels store reshape(N, H, W, C)"
    hint = rows if array.ndim == 2 else "store gray pictures or pictures of three channels (RGB)"
    raise DataError(
        f"has shape {array.shape}, expected (N, H, W) or (N, H, W, C) with C of 1 or 3", where=where, remedy=hint
    )


def _labels(path: Path, archive: zipfile.ZipFile, key: str, n: int) -> np.ndarray:
    array, where = np.asarray(member(path, archive, key)), f"{path}[{key}]"
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]

    if array.ndim == 2 and len(array) and array.dtype.kind in "iufb" and np.isin(array, (0, 1)).all():
        several = np.flatnonzero(array.sum(axis=1) != 1)
        if len(several):
            row, count = int(several[0]), int(array[several[0]].sum())
            raise DataError(
                f"row {row} has {count} classes, and {len(several)} rows have not one",
                where=where,
                remedy="samples of several classes are not read: store one class number a sample",
            )
        array = array.argmax(axis=1)

    if array.ndim != 1:
        hint = "of one-hot rows store argmax(axis=1)" if array.ndim == 2 else "store one class number a sample"
        raise DataError(
            f"has shape {array.shape}, expected one label a sample: (N,) or (N, 1)", where=where, remedy=hint
        )

    if len(array) != n:
        raise DataError(
            f"has {len(array)} labels for {n} images", where=where, remedy="store one label an image, in the same order"
        )
    if array.dtype.kind not in "iuU":
        raise DataError(
            f"labels are {array.dtype}, expected integers or text", where=where, remedy="store class numbers as int64"
        )

    return array


def _encode(
    truth: dict[str, np.ndarray], names: np.ndarray | None, where: str
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """(labels, {split: targets}): integers index `names` where it is given, else the sorted distinct values count."""
    if len({array.dtype.kind == "U" for array in truth.values()}) > 1:
        kinds = ", ".join(f"{split} {array.dtype}" for split, array in truth.items())
        raise DataError(
            f"labels are numbers in one split and text in another ({kinds})", where=where, remedy="use one kind"
        )

    values = np.unique(np.concatenate(list(truth.values()))) if truth else np.zeros(0, np.int64)
    if names is not None and values.dtype.kind in "iu":
        labels = tuple(str(name) for name in np.asarray(names).ravel())
        if len(set(labels)) != len(labels):
            raise DataError("two classes have the same name", where=where)
        if len(values) and not 0 <= int(values[0]) <= int(values[-1]) < len(labels):
            split, at, value = next(
                (split, int(at), int(array[at]))
                for split, array in truth.items()
                for at in np.flatnonzero((array < 0) | (array >= len(labels)))[:1]
            )
            raise DataError(
                f"{split} sample {at} has the label {value}, and there are {len(labels)} names: 0..{len(labels) - 1}",
                where=where,
                remedy=f"name every class (labels run from {values[0]} to {values[-1]}), or correct the label",
            )
        return labels, {split: np.asarray(array, np.int64) for split, array in truth.items()}

    labels = tuple(str(value) for value in values)
    return labels, {split: np.searchsorted(values, array).astype(np.int64) for split, array in truth.items()}


FORMAT = Format(
    name="npz",
    description="Pictures and class numbers as arrays of one .npz file, in the form of MedMNIST or Keras.",
    open=open,
    keys=("path", "split", "split_seed"),
    family="pictures",
    recognize=recognize.npz,
)
