"""What several test processes need and none changes, made by the first of them.

`scripts/test` names a folder in EDGEFT_TEST_SHARED. In a pytest by itself everything is made in its own temporary
folder.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


def made_once(name: str, make: Callable[[Path], dict[str, Any]], temporary: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder of `name` and what `make`, given that folder, returned for it (as JSON has it). Read only."""
    shared = os.environ.get("EDGEFT_TEST_SHARED")
    if not shared:
        folder = temporary.mktemp(name)
        return folder, make(folder)

    folder = Path(shared) / name
    result = folder / "made.json"
    with _locked(Path(shared) / f"{name}.lock"):
        if not result.exists():
            folder.mkdir(parents=True, exist_ok=True)
            result.write_text(json.dumps(make(folder)))
    return folder, json.loads(result.read_text())


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
