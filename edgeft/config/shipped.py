"""Data that comes with edgeft (`targets/`, `calibration/`) and the user's own beside it."""

from __future__ import annotations

import os
from pathlib import Path

from ..core import installation
from ..core.errors import InternalError


def folder(name: str) -> Path:
    """The shipped folder `name`: inside the package in an installed wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / "_shipped" / name, package.parent / name):
        if candidate.is_dir():
            return candidate

    raise InternalError(
        f"the folder {name!r} that comes with edgeft does not exist",
        where=str(package),
        remedy=f"reinstall edgeft: {installation.command('', '--force-reinstall', '--no-deps')}",
    )


def user_folder(name: str) -> Path:
    """`~/.config/edgeft/<name>` (below `XDG_CONFIG_HOME` where that is set); it need not exist."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    # The XDG specification has relative paths ignored.
    return (Path(base) if os.path.isabs(base) else Path("~/.config").expanduser()) / "edgeft" / name


def files(name: str) -> dict[str, Path]:
    """Every TOML file of the shipped and the user's folder by stem, sorted; the user's own win."""
    path_of = {path.stem: path for path in folder(name).glob("*.toml")}
    user_files = user_folder(name)
    if user_files.is_dir():
        path_of.update((path.stem, path) for path in user_files.glob("*.toml"))

    return dict(sorted(path_of.items()))
