"""Arrays as a model takes them, whatever they mean: files of them, and the graph's input tensors.

A raw sample is {name: array} of one sample, without the batch. Nothing is scaled unless `data.mean` and `data.std` ask
for it: who has arrays has preprocessed already.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core import npy, npz
from ..core.errors import BundleError, DataError, RecipeError

KIND = "tensors"
SUFFIXES = (".npy", ".npz")
#: the name of an array in a .npy file, which has none
ONLY = "x"
DTYPES = ("float32", "int64", "int32", "bool")


def dtype_of(values: np.ndarray, where: str) -> str:
    """The type that a model gets: float32 for all floating point, int64 for all whole numbers; raises `DataError`."""
    kind = values.dtype.kind
    if kind in "fiub":
        return "float32" if kind == "f" else "bool" if kind == "b" else "int64"
    raise DataError(f"is an array of {values.dtype}, expected numbers", where=where)


def configure(
    data: Any, defaults: Mapping[str, Any], facts: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """The `preprocess` table: name, shape and type of each input in the model's order, and the key of its array.

    `defaults["tensors"]` are the inputs as the model's file names them, `facts["tensors"]` the arrays of a sample (both
    [{name, shape, dtype}]). Raises `RecipeError` where they do not fit each other.
    """
    found: list[dict[str, Any]] = [dict(item) for item in facts["tensors"]]
    declared = [dict(item) for item in defaults.get("tensors", found)]
    inputs = []

    for item, key in zip(declared, _keys(declared, found)):
        (array,) = (array for array in found if array["name"] == key)
        if list(array["shape"]) != list(item["shape"]):
            raise RecipeError(
                f"the model's input {item['name']!r} takes {list(item['shape'])}, and a sample's array {key!r} is "
                f"{list(array['shape'])}",
                where="data.path",
                remedy="store one sample an array, in the order of axes that the model takes, without the batch",
            )
        if str(item["dtype"]) not in DTYPES:
            raise RecipeError(
                f"the model's input {item['name']!r} takes {item['dtype']}, and edgeft gives {', '.join(DTYPES)}",
                where="model.name",
                remedy="export the model with a float32 input, without the conversion that its graph begins with",
            )
        name = re.sub(r"\W", "_", str(item["name"])) or ONLY
        inputs.append({"name": name, "key": key, "shape": list(item["shape"]), "dtype": str(item["dtype"])})

    table: dict[str, Any] = {"kind": KIND, "inputs": inputs}
    for key in ("mean", "std"):
        values = [float(value) for value in getattr(data, key)]
        if values:
            table[key] = values

    try:
        _check(table)
    except BundleError as error:
        raise RecipeError(error.message, where=f"data.{error.where.rpartition('.')[2]}") from error

    return table


def _keys(declared: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> list[str]:
    """The array of a sample that each input gets: that of its name, or the only one."""
    names = [str(item["name"]) for item in found]
    if len(declared) == len(names) == 1:
        return names

    missing = [str(item["name"]) for item in declared if item["name"] not in names]
    if missing:
        raise RecipeError(
            f"the model takes {', '.join(str(item['name']) for item in declared)}, and a sample has {', '.join(names)}",
            where="data.path",
            remedy="store a sample as an .npz file whose arrays have the names of the model's inputs",
        )

    return [str(item["name"]) for item in declared]


def _check(spec: Mapping[str, Any]) -> None:
    inputs = spec.get("inputs")
    if not isinstance(inputs, list) or not inputs or not all(isinstance(item, Mapping) for item in inputs):
        raise BundleError(f"is {inputs!r}, expected the inputs' tables", where="preprocess.inputs")

    for item in inputs:
        shape = item.get("shape")
        plain = isinstance(shape, list) and all(type(side) is int and side > 0 for side in shape)
        if (
            not plain
            or item.get("dtype") not in DTYPES
            or not all(isinstance(item.get(k), str) for k in ("name", "key"))
        ):
            raise BundleError(f"has an input {dict(item)!r} that cannot be followed", where="preprocess.inputs")
        for key, fallback in (("mean", 0.0), ("std", 1.0)):
            values = spec.get(key, [fallback])
            if not isinstance(values, list) or not all(isinstance(v, (int, float)) for v in values) or not values:
                raise BundleError(f"is {values!r}, expected numbers", where=f"preprocess.{key}")
            fits = len(values) == 1 or item["dtype"] != "float32" or (shape and len(values) == shape[0])
            if not fits or not np.isfinite(values).all() or (key == "std" and not min(values) > 0):
                raise BundleError(
                    f"is {values!r}, expected a number, or one for each of the first axis of {item['name']!r} {shape}, "
                    "finite, and std above 0",
                    where=f"preprocess.{key}",
                )


def read(path: str | Path, spec: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
    """{name: array} of one sample in a `.npy` file, which has one array, or an `.npz` file; raises `DataError`."""
    where = Path(path)
    if where.suffix.lower() not in SUFFIXES or not where.is_file():
        problem = "no such file" if not where.is_file() else "is no array"
        raise DataError(problem, where=str(path), remedy="name a .npy file, or an .npz file of several arrays")

    if where.suffix.lower() == ".npy":
        try:
            arrays = {ONLY: np.array(npy.mapped(where))}
        except ValueError as error:
            raise DataError(f"not readable as an array ({error})", where=str(path)) from error
    else:
        try:
            arrays = npz.read(where)
        except BundleError as error:
            raise DataError(error.message, where=str(path)) from error

    return {name: narrowed(values, f"{path}[{name}]") for name, values in arrays.items()}


def narrowed(values: np.ndarray, where: str) -> np.ndarray:
    """The same numbers as float32, int64 or bool; raises `DataError` for anything else and for what is not finite."""
    dtype = dtype_of(values, where)
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(values, np.dtype(dtype))
    if dtype == "float32" and not np.isfinite(narrow).all():
        raise DataError("holds values that are not finite, or too large for float32", where=where)
    return narrow


def preprocess(raw: Any, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{input name: (1, ...)} of a raw sample, in the model's order; a batch axis of one is taken as well.

    Floats are (x - mean) / std with the table's figures, along the first axis where there are several. Raises
    `DataError` for an array of another shape, `BundleError` for a spec that cannot be followed.
    """
    _check(spec)
    feeds = {}
    for item in spec["inputs"]:
        shape, dtype = tuple(item["shape"]), str(item["dtype"])
        values = _array(raw, str(item["key"]), len(spec["inputs"]))
        if values.shape not in (shape, (1, *shape)):
            raise DataError(f"has the shape {values.shape}, the model takes {shape}", where=f"array {item['key']!r}")
        values = values.reshape(shape)
        if dtype == "float32":
            values = values.astype(np.float32)
            if "mean" in spec or "std" in spec:
                values = (values - _along(spec.get("mean", [0.0]), shape)) / _along(spec.get("std", [1.0]), shape)
        elif values.dtype.kind == "f" and not (values == np.rint(values)).all():
            raise DataError("has fractions, and the model takes whole numbers", where=f"array {item['key']!r}")
        feeds[str(item["name"])] = values.astype(dtype)[None]

    return feeds


def _array(raw: Any, key: str, count: int) -> np.ndarray:
    if not isinstance(raw, Mapping):
        return np.asarray(raw)
    if key in raw:
        return np.asarray(raw[key])
    if count == len(raw) == 1:
        return np.asarray(next(iter(raw.values())))
    raise DataError(f"has no array {key!r}, only {', '.join(map(str, raw)) or 'none'}", where="sample")


def _along(values: Sequence[float], shape: Sequence[int]) -> np.ndarray:
    """Numbers of the first axis in a form that broadcasts over the others, float32."""
    numbers = np.asarray(values, np.float32)
    return numbers if len(values) == 1 else numbers.reshape(-1, *(1,) * (len(shape) - 1))
