"""`verify.run` in a process of its own: one runtime a process, and nothing of torch in it.

Two runtimes' thread pools in one process disturb each other's timing, and a check that runs beside the converter does
not show that the artifact stands alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..errors import BundleError, EdgeftError, InternalError, Missing, SystemFailure

#: what a child's exit code becomes again; everything else is the bundle's fault
_KINDS: dict[int, type[EdgeftError]] = {kind.exit_code: kind for kind in (Missing, SystemFailure)}

_CHILD = """
import json, sys
from edgeft.errors import EdgeftError
from edgeft.verify.run import run
try:
    result = run(sys.argv[1], **json.loads(sys.argv[2]))
except EdgeftError as error:
    result = error.as_dict()
sys.__stdout__.write("\\n@edgeft " + json.dumps(result, allow_nan=False) + "\\n")
"""


def run(bundle: Path, **options: Any) -> dict[str, Any]:
    """The report of `verify.run(bundle, **options)` from a fresh interpreter; options are plain JSON values.

    Raises `BundleError`, `Missing` or `SystemFailure` as the child did, and `BundleError` when the runtime took the
    process down (an illegal instruction, a crash): then the artifact cannot be trusted on this machine.
    """
    command = [sys.executable, "-c", _CHILD, str(bundle), json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("@edgeft ")]
    if not lines:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        if done.returncode < 0:
            raise BundleError(
                f"the runtime ended the process with signal {-done.returncode}",
                where=str(bundle),
                remedy="the installed build of the runtime does not suit this CPU or this model: try another version",
            )
        raise InternalError(f"verification did not finish: {last}", where=str(bundle))
    result = json.loads(lines[-1].removeprefix("@edgeft "))
    if "error" in result:
        raise _KINDS.get(result["exit_code"], BundleError)(
            result["message"], where=result["where"], remedy=result["remedy"]
        )
    return result
