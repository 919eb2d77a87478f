"""Tables that are no lines of text: Parquet (pyarrow, extra "parquet") and files of one JSON array."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core import strict_json
from ..core.errors import DataError, need
from .delimited import READ_ERRORS, opened

PARQUET = (".parquet", ".pq")
#: rows of a Parquet file that are read together
_BATCH = 4096
#: bytes of a JSON array, which is parsed at once
_MOST = 1 << 28


def parquet_columns(path: Path) -> list[str]:
    """The names of the columns of a Parquet file; raises `DataError` for another file, `Missing` without pyarrow."""
    return [str(name) for name in _opened(path).schema_arrow.names]


def parquet_rows(path: Path, columns: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number of the row from 1, values by column) of a Parquet file, a batch of rows in memory at a time.

    Class numbers of Hugging Face's `datasets` become the names of their classes. `columns` restricts what is read.
    """
    file = _opened(path)
    names = class_names(file.schema_arrow.metadata)
    number = 0

    try:
        for batch in file.iter_batches(_BATCH, columns=list(columns) or None):
            for row in batch.to_pylist():
                number += 1
                yield number, named_classes(row, names)
    except DataError:
        raise
    except Exception as error:  # pyarrow's errors have no common base but Exception
        raise DataError(f"cannot be read ({error})", where=f"{path}:{number + 1}", remedy="write it again") from error


def _opened(path: Path) -> Any:
    library = need("pyarrow.parquet", "parquet")
    try:
        return library.ParquetFile(path)
    except Exception as error:  # as above
        raise DataError(f"is not a readable Parquet file ({error})", where=str(path)) from error


def class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """{column: names of its classes} as `datasets` notes them in the schema of an Arrow or Parquet file."""
    try:
        info = strict_json.loads((metadata or {}).get(b"huggingface", b"{}"))
        features = info.get("info", {}).get("features", {})
        return {
            name: [str(label) for label in feature["names"]]
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, AttributeError, KeyError, TypeError):
        return {}


def named_classes(row: dict[str, Any], names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """`row` with names in place of class numbers, and None for what is missing: NaN, a number without a name (-1)."""
    row = {name: None if isinstance(value, float) and value != value else value for name, value in row.items()}
    for column, labels in names.items():
        number = row.get(column)
        if isinstance(number, int):
            row[column] = labels[number] if 0 <= number < len(labels) else None

    return row


def starts_with_array(path: Path) -> bool:
    """Whether a JSON file is one array instead of an object a line."""
    try:
        with opened(path) as file:
            return file.read(1 << 12).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
    except READ_ERRORS:
        return False


def array_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """(number from 1, value) of the entries of a file that is one JSON array; raises `DataError` for another file."""
    try:
        with opened(path) as file:
            content = file.read(_MOST + 1)
        if len(content) > _MOST:
            raise DataError(f"is larger than {_MOST} bytes", where=str(path), remedy="write one object a line (.jsonl)")
        values = strict_json.loads(content.decode("utf-8-sig"))
    except (*READ_ERRORS, ValueError, RecursionError) as error:
        raise DataError(f"is not a readable JSON array ({error})", where=str(path)) from error

    if not isinstance(values, list):
        raise DataError("is not a JSON array", where=str(path), remedy="write one object a line (.jsonl)")

    yield from enumerate(values, 1)
