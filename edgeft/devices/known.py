"""The devices that were set up: one JSON file each below `~/.config/edgeft/devices/`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import shipped
from ..core import files, strict_json
from ..core.errors import InvalidInput

FOLDER = "devices"


def path_of(name: str) -> Path:
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:60].strip("-")
    return shipped.user_folder(FOLDER) / f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.json"


def write(name: str, record: Mapping[str, Any]) -> Path:
    path = path_of(name)
    files.write_json(path, {"name": name, **record})
    return path


def read(name: str) -> dict[str, Any] | None:
    """The record of a device, None where it was never set up; raises `InvalidInput` for a damaged one."""
    path = path_of(name)
    if not path.is_file():
        return None
    return _load(path)


def every() -> list[dict[str, Any]]:
    """All records, by name."""
    folder = shipped.user_folder(FOLDER)
    return sorted((_load(path) for path in folder.glob("*.json")), key=lambda record: record["name"])


def _load(path: Path) -> dict[str, Any]:
    try:
        record = strict_json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(record[key], str) for key in ("name", "python")):
            raise ValueError("name or python is not text")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"is not a record of a device ({error})", where=str(path), remedy="remove it, set it up again"
        ) from error

    return dict(record)
