"""Rows of numbers (a robot's state, a line of a table): read one, and make the graph's input tensor from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core import npy
from ..core.errors import BundleError, DataError

#: a constant input has no spread to divide by
_SMALLEST_STD = 1e-6


def configure(
    data: Any, defaults: Mapping[str, Any], facts: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """The `preprocess` table: mean and std of each column over the training samples, or what [data] states.

    A model whose weights go with figures of its own has them in `defaults`, `fixed`. Raises `DataError` for figures
    that do not fit.
    """
    size = int(facts["inputs"])
    stated = {key: list(getattr(data, key)) for key in ("mean", "std")}
    if defaults.get("fixed") and (stated["mean"] or stated["std"]):
        raise DataError(
            "data.mean and data.std cannot be set: the model has figures of its own",
            where="recipe",
            remedy="leave them out",
        )

    facts = {**facts, **{key: defaults[key] for key in stated if defaults.get("fixed")}}
    table: dict[str, Any] = {"kind": "vector", "size": [size], "input": "x"}
    for key, fallback in (("mean", [0.0] * size), ("std", [1.0] * size)):
        values = stated[key] or list(facts.get(key, fallback))
        table[key] = [float(v) for v in (values * size if len(values) == 1 else values)]
        if len(table[key]) != size:
            raise DataError(f"data.{key} has {len(table[key])} values for {size} columns", where="recipe")

    table["std"] = [v if v > _SMALLEST_STD else 1.0 for v in table["std"]]
    return table


def read(path: str | Path, spec: Mapping[str, Any] | None = None) -> np.ndarray:
    """float32 (K,) of a `.npy` file, of a text file with one row of numbers, or of such a row itself ("0.1, -0.2").

    Raises `DataError` where there is anything else.
    """
    text = str(path)
    where = Path(text)
    try:
        is_file = where.is_file()
    except OSError:  # a row may be longer than a name can be
        is_file = False

    if is_file and where.suffix.lower() == ".npy":
        try:
            return _finite(np.array(npy.mapped(where), np.float32).reshape(-1), text)
        except (ValueError, TypeError) as error:
            raise DataError(f"not readable as an array ({error})", where=text) from error

    if is_file:
        try:
            text = where.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"not readable as a row of numbers ({error})", where=str(path)) from error

    return _row(text, str(path)[:80])


def parse(words: str, spec: Mapping[str, Any] | None = None) -> np.ndarray:
    """float32 (K,) of one row of numbers ("0.1, -0.2"); no file is opened. Raises `DataError` for anything else."""
    return _row(words, words[:80])


def _row(text: str, where: str) -> np.ndarray:
    rows = [line for line in text.replace(";", ",").splitlines() if line.strip()]
    if len(rows) != 1:
        raise DataError(f"has {len(rows)} rows, expected one row of numbers", where=where)

    try:
        return _finite(np.array([float(v) for v in rows[0].replace(",", " ").split()], np.float32), where)
    except ValueError as error:
        raise DataError(
            f"is neither a file nor a row of numbers ({error})", where=where, remedy='for example "0.1, -0.2"'
        ) from error


def _finite(row: np.ndarray, where: str) -> np.ndarray:
    if not row.size or not np.isfinite(row).all():
        raise DataError("holds values that are not finite numbers" if row.size else "is empty", where=where)
    return row


def preprocess(raw: Any, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{input name: float32 (1, K)} of a raw row (K,): (x - mean) / std by column.

    Raises `DataError` for a row of another length or with values that are not finite, `BundleError` for a spec that
    cannot be followed.
    """
    try:
        size, name = int(spec["size"][0]), str(spec["input"])
        mean, std = np.asarray(spec["mean"], np.float32), np.asarray(spec["std"], np.float32)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise BundleError(f"cannot be followed ({error!r})", where="preprocess") from error

    fine = mean.shape == std.shape == (size,) and bool(np.isfinite(mean).all()) and bool((std > 0).all())
    if not fine or not all(math.isfinite(float(s)) for s in std):
        raise BundleError(f"mean and std must be {size} finite numbers, std above 0", where="preprocess")

    row = np.asarray(raw, np.float32).reshape(-1)
    if row.shape != (size,):
        raise DataError(f"has {row.size} values, the model takes {size}", where="row")

    return {name: ((_finite(row, "row") - mean) / std)[None]}
