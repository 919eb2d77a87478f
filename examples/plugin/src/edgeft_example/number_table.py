"""A data format: a text file of finite numbers whose first line names the columns; `data.label` is the target column.

It has three keys of its own in [data]: `Options`.
"""

from __future__ import annotations

import csv
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeft.config import recipe
from edgeft.config.data_keys import option
from edgeft.core.errors import DataError, nearest
from edgeft.data import Dataset, Format, Split
from edgeft.data.samples import complete


@dataclass(frozen=True)
class Options:
    """Keys of [data] for this format."""

    separator: str = option(",", "what separates the fields of a line", choices=(",", ";", "tab"))
    skip: int = option(0, "lines before the one that names the columns", low=0, high=1000)
    ignore: tuple[str, ...] = option((), "columns that are not read")


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

    options: Options = spec.options
    names, table, lines = _read(path, options)
    header = f"{path}:{options.skip + 1}"

    for name in (spec.label, *options.ignore):
        if name not in names:
            raise DataError(f"has no column {name!r}", where=header, remedy=nearest(name, names))

    columns = [name for name in names if name not in options.ignore]
    if spec.label not in columns or len(columns) < 2:
        raise DataError("data.ignore leaves no target or no inputs", where=header)

    names, table = columns, table[:, [names.index(name) for name in columns]]

    at = names.index(spec.label)
    inputs, targets = np.delete(table, at, axis=1), table[:, [at]]
    pool = Rows(str(path), inputs.astype(np.float32), lines)
    everything = {"train": Split("train", pool, np.arange(len(pool)), targets.astype(np.float32))}
    splits, notes = complete(everything, spec.split, spec.split_seed, str(path))

    train = inputs[splits["train"].indices]
    facts = {"inputs": inputs.shape[1], "mean": train.mean(axis=0).tolist(), "std": train.std(axis=0).tolist()}
    return Dataset(str(path), (spec.label,), splits, notes, facts)


def _read(path: Path, options: Options) -> tuple[list[str], np.ndarray, tuple[int, ...]]:
    """Names of the columns, values float64 (N, columns), and the line of each row."""
    rows: list[list[float]] = []
    lines: list[int] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            skipped = sum(1 for _ in itertools.islice(file, options.skip))
            separator = "\t" if options.separator == "tab" else options.separator
            reader = csv.reader(file, strict=True, delimiter=separator)
            names = [name.strip() for name in next(reader, [])]
            for fields in reader:
                if fields:
                    line = skipped + reader.line_num
                    rows.append(_numbers(fields, len(names), f"{path}:{line}"))
                    lines.append(line)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot be read as CSV ({error})", where=str(path)) from error

    if len(names) < 2 or len(set(names)) < len(names) or not rows:
        raise DataError(
            "expected two or more columns, each with a name of its own, and rows", where=f"{path}:{options.skip + 1}"
        )

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
    options=Options,
)
