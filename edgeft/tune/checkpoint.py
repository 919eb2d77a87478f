"""Checkpoints: whole or absent, read without executing anything, enough to continue with the same result."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from ..core import files
from ..core.errors import RunError


def save(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values atomically (temporary name, fsync, rename).

    By way of memory: torch's own writer reports a full disk by an error that looks like an internal one.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    files.write_with(path, lambda temporary: _write(temporary, buffer))


def _write(path: Path, buffer: io.BytesIO) -> None:
    with path.open("wb") as handle:
        handle.write(buffer.getbuffer())


def load(path: Path) -> dict[str, Any] | None:
    """The state, or None when there is no checkpoint. `weights_only`: a pickle that needs code is refused."""
    if not path.exists():
        return None

    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state
    except Exception as error:  # torch raises several unrelated types for a damaged or hostile file
        raise RunError(
            f"the checkpoint cannot be read ({type(error).__name__})",
            where=str(path),
            remedy="delete this file: the stage it belongs to starts anew, finished stages are kept",
        ) from error
