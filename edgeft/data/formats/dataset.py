"""Data that a program handed over: `edgeft.tune(dataset=...)`. A recipe names it, and cannot open it."""

from __future__ import annotations

from ...config import recipe
from ...core.errors import DataError
from ..record import Format
from ..samples import Dataset


def open(spec: recipe.Data) -> Dataset:
    """Raises `DataError`: these data are in the memory of the program that made them."""
    raise DataError(
        "these data were handed over by a program and cannot be read again",
        where="data.format",
        remedy="pass them again (edgeft.tune or edgeft.export with dataset=...), or set data.format and data.path",
    )


FORMAT = Format(
    name="dataset",
    description="A Dataset of the caller's own, given to edgeft.tune in Python.",
    open=open,
    keys=(),
    family="pictures",
)
