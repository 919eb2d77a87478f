"""The tree of errors. Each knows its exit code, where it happened and how to mend it.

    EdgeftError
    ├── UsageError            2    a wrong option, name or combination of them
    ├── InvalidInput          3    something we were given cannot be trusted or used
    │   ├── RecipeError            recipe.toml
    │   ├── TargetError            a target profile
    │   ├── DataError              samples, labels, splits
    │   ├── ModelError             a checkpoint, a module that cannot be captured or lowered
    │   ├── RunError               a run directory
    │   └── BundleError            a bundle that is incomplete, altered or unsafe
    │       └── RuntimeStopped     its runtime ended by a signal, or by a limit of memory or time
    ├── Missing               4    a runtime, an extra or a device is not there
    ├── SystemFailure         6    operating-system error: disk full, permission denied
    └── InternalError         70   an internal error

A gate that fails is not an error: it is a `Verdict` (exit 1, or 5 when inconclusive).
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Iterable
from types import ModuleType

from . import installation


class EdgeftError(Exception):
    """Base of every error that edgeft raises on purpose.

    `message` says what was wrong, `where` the place (file:line, tensor or sample name), `remedy` what to do next.
    `option` is that of the command with which it would do what it refused: the command line shows the whole command.
    """

    exit_code = 70

    def __init__(self, message: str, *, where: str = "", remedy: str = "", option: str = "") -> None:
        super().__init__(message)
        self.message, self.where, self.remedy, self.option = message, where, remedy, option

    def __str__(self) -> str:
        text = f"{self.where}: {_without_folder(self.message, self.where)}" if self.where else self.message
        return f"{text}\n  → {self.remedy}" if self.remedy else text

    def as_dict(self) -> dict[str, object]:
        """The error as `--json` prints it, and as it passes from one process to another (`from_dict`)."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "where": self.where,
            "remedy": self.remedy,
            "exit_code": self.exit_code,
        }


def _without_folder(message: str, where: str) -> str:
    """The message with files named from the folders of `where`, whose full path stands before it."""
    path = re.split(r":\d|: |\[", where)[0]
    while path.count("/") > 1:
        message = re.sub(rf"(?<![\w./~-]){re.escape(path)}/(?=\w)", "", message)
        path = path.rpartition("/")[0]
    return message


class UsageError(EdgeftError):
    exit_code = 2


class InvalidInput(EdgeftError):
    exit_code = 3


class RecipeError(InvalidInput):
    pass


class TargetError(InvalidInput):
    pass


class DataError(InvalidInput):
    pass


class ModelError(InvalidInput):
    pass


class RunError(InvalidInput):
    pass


class BundleError(InvalidInput):
    pass


class RuntimeStopped(BundleError):
    pass


class Missing(EdgeftError):
    exit_code = 4


class SystemFailure(EdgeftError):
    exit_code = 6


class InternalError(EdgeftError):
    exit_code = 70


#: every class of the tree by its name
KINDS: dict[str, type[EdgeftError]] = {
    kind.__name__: kind
    for kind in (
        *(EdgeftError, UsageError, InvalidInput, RecipeError, TargetError, DataError, ModelError, RunError),
        *(BundleError, RuntimeStopped, Missing, SystemFailure, InternalError),
    )
}
_BY_EXIT_CODE = {kind.exit_code: kind for kind in (UsageError, InvalidInput, Missing, SystemFailure, InternalError)}


def from_dict(table: object) -> EdgeftError:
    """The error that `as_dict` of another process or device told of: the same class, place and remedy.

    Of a class that this version does not know, or that only a package defines, it is the class of its exit code.
    What is no such table is an `InternalError`.
    """
    values = table if isinstance(table, dict) else {}
    name, message, code = (values.get(key) for key in ("error", "message", "exit_code"))
    if not isinstance(name, str) or not isinstance(message, str):
        return InternalError(f"another process reported an error that cannot be read: {str(table)[:200]!r}")
    kind = KINDS.get(name) or _BY_EXIT_CODE.get(code if isinstance(code, int) else 70, InternalError)
    return kind(message, where=str(values.get("where") or ""), remedy=str(values.get("remedy") or ""))


def write_refused(error: BaseException) -> str:
    """The words of a native library for a file that the system did not let it write (they carry no errno); else ""."""
    text = str(error)
    if "No space left on device" in text:
        return "No space left on device"
    return "a file could not be written, the disk may be full" if "iostream error" in text else ""


#: words that an error lists
_MOST_LISTED = 60


def nearest(word: str, known: Iterable[str]) -> str:
    """A sentence that offers the known word nearest to a misspelt one, or lists them all: of hundreds the nearest."""
    names = sorted(known)
    lowered = {name.lower(): name for name in names}
    close = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.5)
    if close:
        return f"did you mean {lowered[close[0]]!r}?"
    if len(names) > _MOST_LISTED:
        some = difflib.get_close_matches(word.lower(), lowered, n=8, cutoff=0.0)
        return f"known: {len(names)} names, of which the nearest are {', '.join(lowered[name] for name in some)}"
    return f"known: {', '.join(names)}"


def need(module: str, extra: str = "", *, package: str = "") -> ModuleType:
    """Import `module`, or raise `Missing` with the pip command of the extra that holds it, or of the `package`."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Missing(
            f"the package {module.split('.')[0]!r} is needed here and does not import ({error})",
            remedy=f"pip install {package}" if package else installation.command(extra),
        ) from error
