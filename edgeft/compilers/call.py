"""One function of a compiler's file, run by the interpreter of the compiler's environment: JSON in, JSON out.

What the compiler prints goes to a file, its answer to another: vendors print to stdout as they like. The process leads
a group of its own, so that a compiler which hangs is ended with everything that it started.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import environment, interpreter, strict_json
from ..core.children import end_group
from ..core.errors import InvalidInput, Missing, SystemFailure, from_dict
from . import PREFIX

if TYPE_CHECKING:
    from .compiler import Compiler

_CODE = """
import importlib, json, sys
from edgeft.core import limits
from edgeft.core.errors import EdgeftError
limits.lift()  # those of the process that verifies an artifact are none of its compiler
module, function, job, place = sys.argv[1:]
try:
    answer = getattr(importlib.import_module(module), function)(json.loads(open(job, encoding="utf-8").read()))
except EdgeftError as error:
    answer = error.as_dict()
except ImportError as error:
    answer = {"error": "Missing", "message": "a package does not import: " + str(error), "exit_code": 4}
with open(place, "w", encoding="utf-8") as handle:
    handle.write(json.dumps(answer, allow_nan=False))
"""
#: lines of what a compiler printed that a message repeats
_LAST = 3


class CompilerStopped(InvalidInput):
    """The compiler ended without an answer: a signal, an exception of its own, or the limit of time."""


def call(
    python: str, compiler: Compiler, function: str, job: Mapping[str, Any], *, seconds: float, log: Path | None = None
) -> dict[str, Any]:
    """What `function` of the compiler's module answers for `job`; `log` gets what the compiler printed.

    The current folder of the process is a temporary one, which is gone afterwards. Raises what the function raised,
    `CompilerStopped` where the process ended without an answer or after `seconds`, `Missing` without a package.
    """
    package = str(Path(__file__).resolve().parents[1])
    with tempfile.TemporaryDirectory(prefix="edgeft-compile-") as folder:
        request, place = Path(folder) / "job.json", Path(folder) / "answer.json"
        request.write_text(json.dumps(dict(job)), encoding="utf-8")
        words = (compiler.module, function, str(request), str(place))
        command = interpreter.there(python, package, _CODE, *words)
        printed = log or Path(folder) / "printed.txt"
        code = _run([command[0], "-B", *command[1:]], Path(folder), printed, seconds)

        answer = _answer(place)
        if answer is not None:
            if "error" in answer:
                error = from_dict(answer)
                if isinstance(error, Missing):
                    error.where, error.remedy = (
                        error.where or f"{PREFIX}{compiler.name}",
                        error.remedy or compiler.setup,
                    )
                raise error
            return dict(answer)

        last = _printed(printed)
        environment.refused(last, Path(folder))
        raise CompilerStopped(_end(compiler, code, seconds, last))


def _answer(place: Path) -> dict[str, Any] | None:
    """What the process answered; None where it ended before it had written all of it."""
    try:
        answer = strict_json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None


def _run(command: list[str], folder: Path, printed: Path, seconds: float) -> int | None:
    """The exit code of the command, None where it was ended after `seconds`."""
    variables = {**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    with printed.open("w", encoding="utf-8") as handle:
        try:
            child = subprocess.Popen(
                command,
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise Missing(f"{command[0]} does not start: {error.strerror}", where=command[0]) from error

        try:
            return child.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            end_group(child)
            child.wait()


def _printed(path: Path) -> str:
    """The last lines of what a compiler printed, without empty ones."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise SystemFailure(f"could not read: {error.strerror}", where=str(path)) from error

    return " | ".join([line.strip() for line in lines if line.strip()][-_LAST:])


def _end(compiler: Compiler, code: int | None, seconds: float, last: str) -> str:
    """How a process ended that gave no answer and printed `last`."""
    said = f", after printing {last[-300:]!r}" if last else ""

    if code is None:
        return f"{compiler.title} did not end within {seconds:.0f} s and was stopped{said}"

    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return f"{compiler.title} was ended by signal {name}{said}"

    return f"{compiler.title} ended with exit code {code} and no answer{said}"
