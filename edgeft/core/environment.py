"""Virtual environments that edgeft makes below the user's cache, for packages whose pins clash with its own."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from . import interpreter
from .children import end_group
from .errors import Missing, SystemFailure
from .progress import phase

#: seconds that pip may take for packages of several gigabytes
PIP_SECONDS = 3600.0
#: what programs say of a disk that refuses to be written
_DISK = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS))


def cache(name: str) -> Path:
    """`~/.cache/edgeft/<name>`, below `XDG_CACHE_HOME` where that is set."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path("~/.cache").expanduser()) / "edgeft" / name


def make(folder: Path, requirements: Sequence[str], *, where: str, base: str | None = None) -> None:
    """A virtual environment in `folder` with the requirements, made with the interpreter `base` (None: this one).

    `where` is named in errors. Raises `Missing` with pip's own error, `SystemFailure` where the system refuses.
    """
    words = ("venv", str(folder))
    made = run(interpreter.module(*words, python=base) if base else interpreter.module(*words), 300.0)
    if made.returncode:
        refused(made.stderr + made.stdout, folder.parent)
        last = (made.stderr or made.stdout).strip().splitlines()[-1:] or ["venv failed"]
        raise SystemFailure(last[0], where=where, remedy="install the package python3-venv")

    pip = interpreter.module("pip", "install", "--quiet", "--disable-pip-version-check", python=f"{folder}/bin/python")
    with phase(f"{where}: installing packages"):
        done = run([*pip, *requirements], PIP_SECONDS)

    if done.returncode:
        refused(done.stderr, folder.parent)
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line] or ["pip failed"]
        raise Missing(
            lines[0].removeprefix("ERROR: ").strip(),
            where=where,
            remedy="pip's own configuration names the package index (PIP_INDEX_URL, pip.conf)",
        )


def run(
    command: Sequence[str],
    seconds: float,
    variables: Mapping[str, str] | None = None,
    prepare: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command without input; exit code 127 where it does not start. Raises `SystemFailure` after `seconds`.

    It leads a group of its own, which ends with it: pip and venv start processes that would go on writing after them.
    `variables` are added to its environment, `prepare` is called in its process before it starts.
    """
    command = list(command)
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
            env={**os.environ, **(variables or {})},
            preexec_fn=prepare,  # no lock of another thread is needed in `prepare`
        )
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))

    with child:
        try:
            output, complaint = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise SystemFailure(f"{command[0]} did not end within {seconds:.0f} s", remedy="try it again") from error
        finally:
            end_group(child)

    return subprocess.CompletedProcess(command, child.returncode, output, complaint)


def refused(printed: str, folder: Path) -> None:
    """Raise `SystemFailure` where a program that wrote into `folder` printed that the disk refused it."""
    for words in _DISK:
        if words in printed:
            raise SystemFailure(words, where=str(folder), remedy="free some space, or see what is wrong with the disk")
