"""Donkeycar tubs: a picture, steering and throttle a record.

Version 2 has catalogs of JSON lines, pictures in `images/`, and a manifest that lists deleted records; version 1 has a
`record_N.json` and a picture each in the folder itself. A folder without records may hold several tubs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core import files, strict_json
from ..core.errors import DataError
from . import left_out
from .folders import folders

#: keys of a record, and what the controls are called
CONTROLS = {"user/angle": "steering", "user/throttle": "throttle"}
#: frames of one stretch of a drive: neighbouring frames look alike and must stay in one split
STRETCH = 50
_PICTURE = "cam/image_array"


@dataclass(frozen=True)
class Drives:
    """Pictures, controls float32 (N, 2), and the stretch of a drive that each record belongs to, int64 (N,)."""

    files: list[Path]
    controls: np.ndarray
    stretch: np.ndarray


def read(path: Path, notes: list[str]) -> Drives:
    """The records of the tub, or tubs, in a folder; raises `DataError` naming the line of what is wrong."""
    tubs = [path] if is_tub(path) else [folder for folder in folders(path) if is_tub(folder)]
    if not tubs:
        raise DataError(
            "is not a Donkeycar tub: it has no .catalog and no record_N.json file",
            where=str(path),
            remedy="name the folder with manifest.json, a folder of tubs, or a recording (.npz, .hdf5)",
        )

    others = [folder.name for folder in folders(path) if folder not in tubs and folder.name != "images"]
    if others and tubs != [path]:
        notes.append(f"{path}: folders that are no tubs are not read: {', '.join(others[:5])}")

    files: list[Path] = []
    controls: list[list[float]] = []
    stretch: list[int] = []
    bad: list[str] = []

    for tub in tubs:
        first, begin = len(files), stretch[-1] + 1 if stretch else 0
        for where, row in _records(tub):
            try:
                picture, values = _record(tub, row)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                bad.append(f"{where}: {type(error).__name__}: {error}")
                continue

            stretch.append(begin + (len(files) - first) // STRETCH)
            files.append(picture)
            controls.append(values)

    remedy = "correct or remove these lines, or copy the tub again with its pictures"
    left_out.judge(bad, len(files), "records", notes, where=str(path), remedy=remedy)
    if len(tubs) > 1:
        notes.append(f"{path}: {len(tubs)} tubs: {', '.join(tub.name for tub in tubs[:5])}")

    return Drives(files, np.asarray(controls, np.float32), np.asarray(stretch, np.int64))


def is_tub(folder: Path) -> bool:
    """Whether a folder has the records of a tub."""
    return bool(_catalogs(folder) or _single_records(folder))


def _catalogs(folder: Path) -> list[Path]:
    files = [path for path in folder.glob("*.catalog") if not path.name.startswith(".")]
    return sorted(files, key=lambda path: (len(path.name), path.name))


def _single_records(folder: Path) -> list[Path]:
    """The records of version 1 in the order of their numbers."""
    files = [path for path in folder.glob("record_*.json") if re.fullmatch(r"record_\d+\.json", path.name)]
    return sorted(files, key=lambda path: int(path.stem.partition("_")[2]))


def _records(tub: Path) -> Iterator[tuple[str, Any]]:
    """(place, content) of each record that is not deleted; a text where it is no JSON."""
    deleted = _deleted(tub / "manifest.json")
    catalogs = _catalogs(tub)
    for catalog in catalogs:
        for number, line in enumerate(catalog.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if line.strip():
                row = _parsed(line)
                if not (isinstance(row, dict) and row.get("_index") in deleted):
                    yield f"{catalog}:{number}", row

    for path in () if catalogs else _single_records(tub):
        yield str(path), _parsed(path.read_text(encoding="utf-8", errors="replace"))


def _parsed(text: str) -> Any:
    try:
        return strict_json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"no JSON ({error})"


def _record(tub: Path, row: Any) -> tuple[Path, list[float]]:
    """A record's picture and controls; raises `ValueError` and others for what it lacks."""
    if not isinstance(row, dict):
        raise ValueError(row if isinstance(row, str) else "is not a JSON object")

    name = Path(str(row[_PICTURE])).name
    picture = next((file for file in (tub / "images" / name, tub / name) if files.is_file(file)), None)
    values = [float(row[key]) for key in CONTROLS]
    if not np.isfinite(values).all():
        raise ValueError("a control is not finite")
    if picture is None:
        raise ValueError("its picture is missing")

    return picture, values


def _deleted(manifest: Path) -> set[Any]:
    """Records that the driver struck out: the last line of manifest.json lists them."""
    try:
        last = strict_json.loads(manifest.read_text(encoding="utf-8").strip().splitlines()[-1])
        return set(last.get("deleted_indexes", ()))
    except (OSError, ValueError, IndexError, AttributeError, TypeError):
        return set()
