"""Arrays in, arrays out: samples as `.npy` and `.npz` files, or all of them in one `.npz`, with targets or without.

    data/inputs/0001.npy  data/targets/0001.npy      a file a sample, also below train/, val/, test/
    data/0001.npy                                    without targets: the float model's own answers stand for them
    data.npz: inputs (N, ...), targets (N, ...)      also train_inputs, test_targets, ...; inputs/NAME of several

An `.npz` file of a sample has several arrays: the model's inputs (or outputs, as targets) by name. NaN in a target is
a value that is not known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ...config import recipe
from ...core import npy, npz
from ...core.errors import DataError
from ...inputs import tensors
from ..folders import split_folders
from ..glimpse import Glimpse
from ..record import Format, Recognized
from ..samples import NAMES, Dataset, Split, complete
from .npz import archive_of, member

#: folders and keys of inputs and of targets, in any case
INPUTS, TARGETS = ("inputs", "input", "x"), ("targets", "target", "outputs", "y")
#: bytes that all targets may take: they are held in memory
MOST_BYTES = 4 << 30
_KEY = re.compile(
    rf"(?:(?P<split>train|val|valid|validation|test)_)?(?P<part>{'|'.join(INPUTS + TARGETS)})(?:/(?P<name>.+))?", re.I
)


class Files:
    """A file a sample."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def raw(self, i: int) -> dict[str, np.ndarray]:
        return tensors.read(self.paths[i])

    def source(self, i: int) -> str:
        return str(self.paths[i])


class Stacked:
    """Rows of arrays (N, ...) by name, one dict of them a split, which follow each other."""

    def __init__(self, name: str, parts: Sequence[tuple[str, Mapping[str, np.ndarray]]]) -> None:
        self.name = name
        self.places = [(split, arrays, row) for split, arrays in parts for row in range(_count(arrays))]

    def __len__(self) -> int:
        return len(self.places)

    def raw(self, i: int) -> dict[str, np.ndarray]:
        _, arrays, row = self.places[i]
        return {key: tensors.narrowed(np.asarray(values[row]), self.source(i)) for key, values in arrays.items()}

    def source(self, i: int) -> str:
        split, _, row = self.places[i]
        return f"{self.name}[{split}][{row}]"


def open(spec: recipe.Data) -> Dataset:
    """The arrays of a folder or an `.npz` file.

    Targets become float32 (N, K), those of several outputs behind each other; `facts["tensors"]` are name, shape and
    type of the arrays of a sample, `facts["targets"]` name and shape of the targets. Raises `DataError` where there is
    nothing, and for a sample without its target or of another shape than the first.
    """
    root = Path(spec.path)
    if not spec.path or not root.exists():
        raise DataError("no such file or folder", where=str(root), remedy="set data.path to a folder of .npy files")

    notes: list[str] = []
    pool, counts, rows, outputs = _of_folder(root, notes) if root.is_dir() else _of_archive(root)

    values = np.full(len(pool), np.nan) if rows is None else rows
    splits, start = {}, 0
    for name, count in counts.items():
        at = np.arange(start, start + count)
        splits[name], start = Split(name, pool, at, values[at]), start + count

    splits, divided = complete(splits, spec.split, spec.split_seed, str(root))
    first = pool.raw(0)
    facts: dict[str, Any] = {
        "kind": tensors.KIND,
        "tensors": [
            {"name": key, "shape": list(v.shape), "dtype": tensors.dtype_of(v, str(root))} for key, v in first.items()
        ],
    }

    if rows is None:
        notes.append(f"the {len(pool)} samples have no targets: the float model's answers stand in their place")
        facts["unlabelled"] = True
    else:
        facts["targets"] = outputs

    return Dataset(str(root), tuple(item["name"] for item in outputs) or ("output",), splits, [*notes, *divided], facts)


Opened = tuple[Files | Stacked, dict[str, int], np.ndarray | None, list[dict[str, Any]]]


def _of_folder(root: Path, notes: list[str]) -> Opened:
    """The pool, the samples of each split, the targets (None: there are none) and what they are."""
    paths: list[Path] = []
    targets: list[Path | None] = []
    counts = {}

    for name, folder in split_folders(root, notes).items():
        inner = {child.name.lower(): child for child in sorted(folder.iterdir()) if child.is_dir()}
        inputs = next((inner[word] for word in INPUTS if word in inner), folder)
        beside = next((inner[word] for word in TARGETS if word in inner), None)
        found = _arrays_in(inputs)
        by_stem = {} if beside is None else {path.stem: path for path in _arrays_in(beside)}
        if by_stem or beside is not None:
            missing = [path for path in found if path.stem not in by_stem]
            if missing:
                raise DataError(
                    f"{len(missing)} of {len(found)} samples have no target, {missing[0].name} the first",
                    where=str(beside),
                    remedy="name the target as the sample, or leave the sample out",
                )
            unused = sorted(set(by_stem) - {path.stem for path in found})
            if unused:
                notes.append(f"{beside}: {len(unused)} targets without a sample are left out ({unused[0]} the first)")
        paths += found
        targets += [by_stem.get(path.stem) for path in found]
        counts[name] = len(found)

    if not paths:
        raise DataError("holds no .npy or .npz files", where=str(root), remedy="store a sample a file, in inputs/")

    known = [path for path in targets if path is not None]
    if not known:
        return Files(paths), counts, None, []
    if len(known) < len(paths):
        raise DataError("only some of the splits have targets", where=str(root), remedy="add targets/ to each of them")

    rows, outputs = _rows([(path, _target(path)) for path in known])
    return Files(paths), counts, rows, outputs


def _arrays_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in tensors.SUFFIXES and path.is_file())


def _target(path: Path) -> dict[str, np.ndarray]:
    """A target's arrays, float32, NaN where a value is not known."""
    if path.suffix.lower() == ".npz":
        return npz.read(path)
    try:
        return {"output": np.array(npy.mapped(path))}
    except ValueError as error:
        raise DataError(f"not readable as an array ({error})", where=str(path)) from error


def _rows(targets: Sequence[tuple[object, Mapping[str, np.ndarray]]]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """The targets float32 (N, K), and [{name, shape}] of a sample's."""
    first = targets[0][1]
    outputs = [{"name": name, "shape": list(np.shape(values))} for name, values in first.items()]
    width = sum(math.prod(item["shape"]) for item in outputs)

    if 4 * width * len(targets) > MOST_BYTES:
        raise DataError(
            f"{len(targets)} targets of {width} numbers take more than {MOST_BYTES >> 30} GiB",
            where=str(targets[0][0]),
            remedy="use fewer samples, or targets of a smaller size",
        )

    rows = np.empty((len(targets), width), np.float32)
    for row, (where, arrays) in zip(rows, targets):
        shapes = [{"name": name, "shape": list(np.shape(values))} for name, values in arrays.items()]
        if shapes != outputs:
            raise DataError(f"is {shapes}, and the first target is {outputs}", where=str(where))
        flat = [_numbers(values, where) for values in arrays.values()]
        row[:] = np.concatenate(flat) if flat else 0
        if not np.isfinite(row).any():
            raise DataError("has no value that is known", where=str(where), remedy="leave this sample out")

    return rows, outputs


def _numbers(values: np.ndarray, where: object) -> np.ndarray:
    if values.dtype.kind not in "fiub":
        raise DataError(f"is an array of {values.dtype}, expected numbers", where=str(where))
    flat = np.asarray(values, np.float32).reshape(-1)
    if np.isinf(flat).any():
        raise DataError("holds infinite values", where=str(where), remedy="NaN stands for a value that is not known")
    return flat


def _of_archive(path: Path) -> Opened:
    with archive_of(path) as archive:
        keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        parts: dict[str, tuple[dict[str, np.ndarray], dict[str, np.ndarray]]] = {}
        for key in keys:
            match = _KEY.fullmatch(key)
            if match is None:
                continue
            split = (match["split"] or "train").lower()
            split = "val" if split in ("valid", "validation") else split
            is_input = match["part"].lower() in INPUTS
            name = match["name"] or (tensors.ONLY if is_input else "output")
            parts.setdefault(split, ({}, {}))[0 if is_input else 1][name] = member(path, archive, key)

    if not any(inputs for inputs, _ in parts.values()):
        raise DataError(
            f"has no array called inputs, only {', '.join(keys[:8]) or 'none'}",
            where=str(path),
            remedy="store inputs (N, ...) and, where they are known, targets (N, ...); several inputs of a model are "
            f"called inputs/NAME, for example inputs/{keys[0] if keys else 'image'}",
        )

    stacked, counts = [], {}
    known: list[tuple[object, dict[str, np.ndarray]]] = []
    for split in (name for name in NAMES if name in parts):
        inputs, targets = parts[split]
        counts[split] = _count(inputs, str(path))
        if targets and _count(targets, str(path)) != counts[split]:
            raise DataError(f"{counts[split]} inputs and {_count(targets)} targets in {split}", where=str(path))
        stacked.append((split, inputs))
        if targets:
            known += [(f"{path}[{split}][{i}]", {k: v[i] for k, v in targets.items()}) for i in range(counts[split])]

    pool = Stacked(str(path), stacked)
    if not known:
        return pool, counts, None, []
    if len(known) < len(pool):
        raise DataError("only some of the splits have targets", where=str(path), remedy="add targets to each of them")

    rows, outputs = _rows(known)
    return pool, counts, rows, outputs


def _count(arrays: Mapping[str, np.ndarray], where: str = "") -> int:
    """Rows of arrays (N, ...); raises `DataError` where they differ."""
    sizes = {key: len(values) if np.ndim(values) else 0 for key, values in arrays.items()}
    if len(set(sizes.values())) != 1 or not min(sizes.values()):
        raise DataError(f"has arrays of different numbers of rows, or of none: {sizes}", where=where)
    return next(iter(sizes.values()))


def _recognize(view: Glimpse) -> Recognized | None:
    if not view.folder:
        names = view.members() if view.path.suffix.lower() == ".npz" else frozenset()
        if any((match := _KEY.fullmatch(name)) and match["part"].lower() in INPUTS[:2] for name in names):
            return Recognized("it has an array called inputs", 3)
        return None

    endings = {ending for found in view.folders.values() for ending in found}
    if endings and endings <= set(tensors.SUFFIXES):
        parts = {PurePosixPath(folder).name.lower() for folder in view.folders}
        if parts & set(INPUTS) and parts <= {*INPUTS, *TARGETS}:
            return Recognized(f"its arrays lie in {' and '.join(sorted(f'{part}/' for part in parts))}", 3)
        return Recognized(f"it holds {' and '.join(sorted(endings))} files alone", 2)

    return None


FORMAT = Format(
    name="tensors",
    description="Arrays as .npy and .npz files, with targets or without: for models of any inputs and outputs.",
    open=open,
    family="tensors",
    recognize=_recognize,
)
