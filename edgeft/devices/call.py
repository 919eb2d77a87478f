"""One piece of work in a Python of its own, here or on a device: JSON in, JSON out, and its errors as they were."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core import limits
from ..core.errors import EdgeftError, InternalError, RuntimeStopped, from_dict
from .device import LEASH, Device

_SIGN = "@edgeft "
_BEFORE = """
import json, sys
from edgeft.core.errors import EdgeftError, InternalError
def answer(value):
    sys.__stdout__.write("\\n@edgeft " + json.dumps(value, allow_nan=False) + "\\n")
    sys.__stdout__.flush()  # a runtime may end the process by a signal when it is unloaded
words, options = sys.argv[1:-1], json.loads(sys.argv[-1])
try:
"""
_AFTER = """
except EdgeftError as error:
    answer(error.as_dict())
except Exception as error:  # threads of a runtime would end the process by a signal, which is not what happened
    import traceback
    traceback.print_exc()
    answer(InternalError(f"{type(error).__name__}: {error}").as_dict())
"""


def call(device: Device, code: str, *words: str, options: Mapping[str, Any], where: Path) -> dict[str, Any]:
    """What `code` gives to `answer`; it sees `words` and `options` (plain JSON values). `where` is named in errors.

    Raises what the code raised, `RuntimeStopped` where the runtime took the process down (an illegal instruction, a
    crash, the end of its time: then the artifact cannot be trusted there), and what the connection came to.
    """
    indented = "".join(f"    {line}\n" for line in code.strip().splitlines())
    done = held(device.argv(LEASH + _BEFORE + indented + _AFTER, *words, json.dumps(dict(options))))
    lines = [line for line in done.stdout.splitlines() if line.startswith(_SIGN)]
    if not lines:
        raise _silence(device, done, where)

    result = json.loads(lines[-1].removeprefix(_SIGN))
    if "error" in result:
        raise from_dict(result)

    return dict(result)


def _silence(device: Device, done: subprocess.CompletedProcess[str], where: Path) -> EdgeftError:
    """What to say of a process that ended without an answer."""
    if done.returncode == 255 and hasattr(device, "complaint"):
        complaint: EdgeftError = device.complaint(done.stderr)
        return complaint

    if done.returncode < 0 or done.returncode > 128:  # a shell reports a signal as 128 + its number
        number = -done.returncode if done.returncode < 0 else done.returncode - 128
        if number == signal.SIGINT:  # ctrl-C, which a terminal sends to both processes
            raise KeyboardInterrupt
        return stopped(number, str(where))

    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return InternalError(f"the work was not finished: {last}", where=str(where))


def stopped(number: int, where: str) -> RuntimeStopped:
    """The error of a runtime whose process ended by a signal."""
    name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
    if name == "SIGALRM":
        message = f"it did not end within the limit of {limits.SECONDS} s and was stopped"
        return RuntimeStopped(message, where=where, remedy="do not use this model; it may never end")

    name += " (an illegal instruction)" if name == "SIGILL" else ""
    return RuntimeStopped(
        f"the runtime ended the process with signal {name}",
        where=where,
        remedy="the installed build of the runtime does not suit this CPU or this model: try another version",
    )


def held(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command whose stdin stays open as long as this process lives: its end is the child's end (`LEASH`)."""
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    )

    complaints: list[str] = []

    def read() -> None:
        with contextlib.suppress(ValueError):  # an interruption that comes at once closes what is read here
            complaints.append(child.stderr.read() if child.stderr else "")

    reader = threading.Thread(target=read)
    with child:
        assert child.stdin is not None and child.stdout is not None
        try:
            reader.start()
            output = child.stdout.read()
            child.wait()
        except BaseException:
            child.kill()
            raise
        finally:
            if reader.ident is not None:
                reader.join()

    return subprocess.CompletedProcess(command, child.returncode, output, "".join(complaints))
