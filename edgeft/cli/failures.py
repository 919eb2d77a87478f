"""Any exception -> exit code and words. Nobody sees a traceback without `--debug`."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field

import click

from ..core import interrupt
from ..core.errors import EdgeftError, InternalError, SystemFailure, UsageError, nearest, write_refused

#: what the operating system refuses us: space, permission, handles, a broken disk
SYSTEM = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EACCES", "EPERM", "EROFS", "EFBIG", "EMFILE", "ENFILE", "ENOMEM", "EIO")
}


@dataclass(frozen=True)
class Interrupted:
    """Ctrl-C or SIGTERM: no error, but the exit code says so and the words say how to go on."""

    remedy: str = ""
    exit_code: int = field(default_factory=interrupt.exit_code)
    message: str = field(default_factory=lambda: "terminated" if interrupt.terminated() else "interrupted")

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.remedy}" if self.remedy else self.message

    def as_dict(self) -> dict[str, object]:
        return {
            "error": "Interrupted",
            "message": self.message,
            "where": "",
            "remedy": self.remedy,
            "exit_code": self.exit_code,
        }


def _chain(error: BaseException) -> Iterator[BaseException]:
    visited: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in visited:
        visited.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _usage(error: click.ClickException) -> UsageError:
    """Click's complaint as ours, with the nearest right option."""
    ctx = getattr(error, "ctx", None)
    where = ctx.command_path if ctx else ""
    message = error.message or error.format_message()
    remedy = f"{where} --help" if where else "edgeft --help"

    if isinstance(error, click.NoSuchOption):
        message = f"no such option {error.option_name!r}"
        if ctx:
            known = [name for p in ctx.command.get_params(ctx) for name in (*p.opts, *p.secondary_opts)]
            remedy = nearest(error.option_name, (name for name in known if name.startswith("-")))
            if any(param.param_type_name == "argument" and param.nargs == -1 for param in ctx.command.params):
                remedy += "; what begins with a dash and is no option stands behind `--`"
    elif isinstance(error, click.BadParameter):
        message = error.format_message().rstrip(".")

    return UsageError(message.rstrip("."), where=where, remedy=remedy)


def explain(error: BaseException, remedy_after_interrupt: str = "") -> EdgeftError | Interrupted:
    """The error as the user meets it. Ours pass unchanged; what nobody expected becomes `InternalError` (70)."""
    if interrupt.asked():  # whatever it became on its way here
        return Interrupted(remedy_after_interrupt)
    if isinstance(error, EdgeftError):
        return error

    # An import that ctrl-C cuts short may turn it into an ImportError on the way.
    if any(isinstance(cause, (KeyboardInterrupt, click.Abort)) for cause in _chain(error)):
        return Interrupted(remedy_after_interrupt)
    if isinstance(error, click.ClickException):
        return _usage(error)

    for cause in _chain(error):
        # Native libraries report a full disk in words only.
        words = write_refused(cause)
        if words or (isinstance(cause, OSError) and cause.errno in SYSTEM):
            words = words or getattr(cause, "strerror", None) or str(cause)
            return SystemFailure(
                f"operating-system error: {words}",
                where=str(getattr(cause, "filename", None) or ""),
                remedy="free some space, or choose a folder that you may read and write",
            )

        if isinstance(cause, OSError) and cause.errno == errno.ENAMETOOLONG:
            name = str(cause.filename or "")
            return UsageError(
                f"a path or file name of {len(name)} characters is longer than the system takes",
                where=f"{name[:60]}..." if len(name) > 60 else name,
                remedy="check the argument: is it a path?",
            )

    if isinstance(error, MemoryError):
        return SystemFailure("out of memory", remedy="lower train.batch_size, or close other programs")

    return InternalError(
        f"unexpected {type(error).__name__}: {error}",
        remedy="this is an internal error of edgeft: repeat the command as `edgeft --debug ...` and report the "
        "traceback with the output of `edgeft doctor --json`",
    )
