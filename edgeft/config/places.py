"""Where runs and bundles lie when nobody says so: `runs/<name>-<time>`, `bundles/<target>`, `baselines/`."""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path

from ..core.errors import RunError, UsageError

RUNS, BUNDLES, BASELINES = Path("runs"), Path("bundles"), Path("baselines")


def new_run(name: str, now: float | None = None) -> Path:
    """A folder that does not exist yet, named after the recipe and the local time; it is not created here."""
    stem = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    path = RUNS / f"{stem}-{stamp}"
    count = 1

    while path.exists():
        count += 1
        path = RUNS / f"{stem}-{stamp}-{count}"

    return path


def latest_run() -> Path:
    """The run below `runs/` that finished last (it has a summary.json); raises `RunError` where there is none."""
    finished = sorted(RUNS.glob("*/summary.json"), key=lambda path: (path.stat().st_mtime_ns, path.parent.name))
    if finished:
        return finished[-1].parent

    begun = sorted(RUNS.glob("*/recipe.toml"), key=lambda path: (path.stat().st_mtime_ns, path.parent.name))
    if begun:
        raise RunError(
            "no finished run here: the latest was interrupted",
            where=str(begun[-1].parent),
            remedy=f"edgeft tune --resume {shlex.quote(str(begun[-1].parent))}",
        )

    raise RunError("no run here", where=str(RUNS), remedy="edgeft tune, or name a run directory")


def claim_file(path: Path, *, overwrite: bool) -> Path:
    """A file a command will write: refused (`UsageError`) where something is there, unless `overwrite`."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a file", remedy="choose another --out")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists", remedy="choose another --out, or pass --overwrite")

    return path
