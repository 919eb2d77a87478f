"""A data format: a .csv of finite numbers whose first line names the columns; `data.label` is the target column."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeft.config import recipe
from edgeft.core.errors import DataError, nearest
from edgeft.data import Dataset, Format, Split
from edgeft.data.samples import complete


@dataclass(frozen=True)
class Rows:
    """The input columns, float32 (N, K), and the line of each row."""

    path: str
    values: np.ndarray
    lines: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.values)

    def raw(self, i: int) -> np.ndarray:
        return np.asarray(self.values[i])

    def source(self, i: int) -> str:
        return f"{self.path}:{self.lines[i]}"


def open(spec: recipe.Data) -> Dataset:
    """The table at `spec.path`; raises `DataError` with file and line of a value that is no finite number."""
    path = Path(spec.path)
    if not spec.path or not path.is_file():
        raise DataError("no such file", where=spec.path or "data.path", remedy="set data.path to a .csv")
    names, table, lines = _read(path)
    if spec.label not in names:
        raise DataError(f"has no column {spec.label!r}", where=f"{path}:1", remedy=nearest(spec.label, names))

    at = names.index(spec.label)
    inputs, targets = np.delete(table, at, axis=1), table[:, [at]]
    pool = Rows(str(path), inputs.astype(np.float32), lines)
    everything = {"train": Split("train", pool, np.arange(len(pool)), targets.astype(np.float32))}
    splits, notes = complete(everything, spec.split, spec.split_seed, str(path))

    train = inputs[splits["train"].indices]
    facts = {"inputs": inputs.shape[1], "mean": train.mean(axis=0).tolist(), "std": train.std(axis=0).tolist()}
    return Dataset(str(path), (spec.label,), splits, notes, facts)


def _read(path: Path) -> tuple[list[str], np.ndarray, tuple[int, ...]]:
    """Names of the columns, values float64 (N, columns), and the line of each row."""
    rows: list[list[float]] = []
    lines: list[int] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            names = [name.strip() for name in next(reader, [])]
            for fields in reader:
                if fields:
                    rows.append(_numbers(fields, len(names), f"{path}:{reader.line_num}"))
                    lines.append(reader.line_num)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot be read as CSV ({error})", where=str(path)) from error
    if len(names) < 2 or len(set(names)) < len(names) or not rows:
        raise DataError("expected two or more columns, each with a name of its own, and rows", where=f"{path}:1")
    return names, np.array(rows, np.float64), tuple(lines)


def _numbers(fields: list[str], width: int, where: str) -> list[float]:
    if len(fields) != width:
        raise DataError(f"has {len(fields)} fields where the header has {width}", where=where)
    try:
        numbers = [float(field) for field in fields]
    except ValueError as error:
        raise DataError(f"holds a value that is no number ({error})", where=where) from error
    if not np.isfinite(np.asarray(numbers, np.float32)).all():
        raise DataError("holds a value that is no finite number", where=where, remedy="remove or fill the row")
    return numbers


FORMAT = Format(
    name="number-table",
    description="Numbers in columns with names, one of them the target.",
    open=open,
    tasks=("tabular-regress",),
    keys=("path", "split", "split_seed", "label"),
)
