"""Data that a user names later: read as the recipe of a bundle says, from another place."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config.recipe import Data
from ..core.errors import DataError, UsageError
from ..plugins import DATA_FORMATS
from .record import SAMPLE_KEYS
from .understand import understand


def in_another_format(path: Path, read: Data, task: str) -> tuple[Data, str] | None:
    """The data at `path` in the format of `task` that it is recognized by, where that is another one than `read` says,
    and a sentence that tells it; None where there is none. What a sample becomes stays as `read` has it."""
    try:
        seen = understand(path, task)
    except (DataError, UsageError):
        return None
    if seen.data.format == read.format:
        return None

    kept = {key: getattr(read, key) for key in (*SAMPLE_KEYS, "split", "split_seed", "value_range", "max_pixels")}
    other = dataclasses.replace(seen.data, **kept)
    return other, f"{path} is read as {other.format} ({seen.why}), where the recipe's data are {read.format}"


def source(path: Path, table: Mapping[str, Any]) -> Data:
    """The data at `path` as a recipe would name it: read and divided as `table`, the recorded [data], says.

    Pictures of classes come in two interchangeable formats; those are distinguished by their pixels.
    """
    if not path.exists():
        raise DataError("no such file or folder", where=str(path), remedy="name an existing one (--data)")

    known = {field.name for field in dataclasses.fields(Data)}
    settings: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in table.items() if key in known}
    form = str(table.get("format", "image-folder"))
    record = DATA_FORMATS.get(form) if form in DATA_FORMATS else None

    if record is not None and "path" not in record.keys:
        why = f"the model was trained on the format {form!r}, which reads no files"
        raise DataError(why, where=str(path), remedy="leave out --data")

    if record is not None and "actions" in record.keys:
        # The model answers with quantities whatever type its actions are stored in: that was decided when it was made.
        # Choices stay choices.
        settings["actions"] = "discrete" if table.get("actions") == "discrete" else "continuous"

    if record is not None and record.family == "pictures":
        form = "npz" if path.suffix.lower() == ".npz" else "image-folder"

    return Data(**{**settings, "format": form, "path": str(path)})
