"""`edgeft device setup` and `check`: what a board has, an environment on it, and what runs there."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import target as targets
from ..core import interpreter
from ..core.errors import InvalidInput, Missing, SystemFailure, UsageError
from . import known, packages
from .call import held
from .device import LEASH, WORKER
from .link import Link
from .ssh import Ssh

_OLDEST = (3, 10)
#: seconds that pip may take on a slow board
PIP_SECONDS = 1800.0
#: exit code of a script for which another process has the lock
_BUSY = 75
#: what this package takes on a board with its compiled files: below it CPython may leave a compiled file cut short,
#: and no later start reads past it
LEAST_FREE_KB = 8 << 10
_PROBE = """echo "machine=$(uname -m)"
echo "system=$(uname -sr)"
echo "python=$(command -v {python} || true)"
echo "version=$({version} 2>/dev/null)"
echo "venv=$({venv} 2>/dev/null)"
echo "free_kb=$(df -Pk . | tail -1 | tr -s ' ' | cut -d' ' -f4)"
"""
_VERSION = 'import sys; print("%d.%d.%d" % sys.version_info[:3])'
_VENV = 'import venv, ensurepip; print("yes")'
#: runs a shell script on a board as the only one that sets it up, and ends it with the end of stdin
_ALONE = f"""
import fcntl, os, signal, subprocess, sys, threading
lock = os.open(".venv.lock", os.O_RDWR | os.O_CREAT, 0o600)
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.exit({_BUSY})
child = subprocess.Popen(sys.argv[1], shell=True, stdin=subprocess.DEVNULL, start_new_session=True)
def leash():
    while os.read(0, 1024):
        pass
    os.killpg(child.pid, signal.SIGKILL)
threading.Thread(target=leash, daemon=True).start()
try:
    code = child.wait({PIP_SECONDS})
except subprocess.TimeoutExpired:
    os.killpg(child.pid, signal.SIGKILL)
    code = 124
os._exit(code if code >= 0 else 128 - code)
"""
_RUNTIMES = """
import json
from edgeft import backends, doctor
print("@edgeft " + json.dumps([doctor.probe_apart(name) for name in backends.names()]))
"""


def setup(
    name: str,
    *,
    runtimes: Sequence[str] = (),
    extras: Sequence[str] = (),
    target: str | None = None,
    python: str | None = None,
    wheels: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Make a board ready: an environment with numpy, click and the runtimes, and this package.

    `runtimes` are names of `packages.installs`, with a version where one is wanted; none means that of `target`.
    `extras` are keys of `packages.extras()`: what reading raw sound or text takes.
    `python` names an interpreter of the board that has all of it (a vendor's build): then nothing is installed.
    `wheels` is a folder of wheels for a board without a network. Raises `Missing` (no connection, no Python),
    `InvalidInput` (another architecture), `SystemFailure`.
    """
    board = Ssh.parse(name)
    for runtime in runtimes:
        packages.split(runtime)

    profile = targets.load(target) if target else None
    packages_of_board = list(runtimes) or ([packages.of_target(profile, profile.isa)] if profile else [])
    if not packages_of_board and not python:
        raise UsageError("which runtime?", where=name, remedy="--runtime litert, or --target rpi5, or --python PATH")

    facts = probe(board, python or "python3")
    _fits(board, facts, profile, python)

    if python:
        interpreter = facts["python"]
    else:
        interpreter = _environment(board, packages_of_board, extras, wheels, say)

    board = board.having({"python": interpreter})
    board = board.having({"python": interpreter, "lib": board.carry_package(say)})
    board_facts = look(board)
    record = {
        "python": interpreter,
        "target": profile.name if profile else None,
        "machine": facts["machine"],
        "system": facts["system"],
        "runtimes": board_facts["runtimes"],
        "set_up": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }

    _check_runtimes(name, packages_of_board, interpreter, board_facts)

    known.write(name, record)
    return {**record, "name": name, **board_facts}


def _check_runtimes(name: str, required: Sequence[str], python: str, facts: Mapping[str, Any]) -> None:
    reasons = "; ".join(f"{entry['name']}: {entry['why']}" for entry in facts["probed"] if entry["why"])
    lacking = [runtime for runtime in required if packages.backend(runtime) not in facts["runtimes"]]
    if lacking:
        raise Missing(
            f"{', '.join(lacking)} does not run there ({reasons})", where=name, remedy="another version, or --python"
        )

    if not facts["runtimes"]:
        raise Missing(
            f"{python} has no runtime that loads ({reasons})", where=name, remedy="install one there, or use --runtime"
        )


def probe(board: Ssh, python: str) -> dict[str, str]:
    """{machine, system, python, version, venv, free_kb} of a board."""
    version, venv = (shlex.join(interpreter.script(code, python=python)) for code in (_VERSION, _VENV))
    answer = board.run(_PROBE.format(python=shlex.quote(python), version=version, venv=venv)).stdout
    return dict(line.split("=", 1) for line in answer.splitlines() if "=" in line)


def _fits(board: Ssh, facts: dict[str, str], profile: targets.Target | None, python: str | None) -> None:
    isa = {"amd64": "x86_64", "arm64": "aarch64", "armv7l": "armv7", "armv8l": "armv7"}
    machine = isa.get(facts.get("machine", ""), facts.get("machine", ""))
    if profile and profile.isa and machine != profile.isa:
        raise InvalidInput(
            f"it is {machine}, and {profile.name} is {profile.isa}", where=board.name, remedy="name another --target"
        )

    version = facts.get("version", "")
    if not version:
        raise Missing(f"no {python or 'python3'} there", where=board.name, remedy="install Python 3.10 or newer on it")
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        raise Missing(f"its Python is {version}", where=board.name, remedy="--python with 3.10 or newer")

    free = facts.get("free_kb", "")
    if free.isdigit() and int(free) < LEAST_FREE_KB:
        raise SystemFailure(
            f"the disk is nearly full: {int(free) >> 10} MB are free, and {LEAST_FREE_KB >> 10} MB are needed",
            where=board.name,
            remedy=f"free some space on it ({board.root})",
        )

    if not python and facts.get("venv") != "yes":
        raise Missing(
            "its Python cannot make environments",
            where=board.name,
            remedy="on the board: sudo apt install python3-venv",
        )


def _environment(
    board: Ssh, names: Sequence[str], extras: Sequence[str], wheels: Path | None, say: Callable[[str], None]
) -> str:
    """A virtual environment below the board's root with what a worker imports; its interpreter."""
    say(f"{board.name}: making an environment with {', '.join(names)}")
    source = [] if wheels is None else ["--no-index", "--find-links", board.carry(wheels)]
    quiet = ("--quiet", "--disable-pip-version-check")
    environment = shlex.join(interpreter.module("venv", "venv", python="python3"))
    answers = shlex.join(interpreter.module("pip", "--version", python="venv/bin/python"))
    install = interpreter.module(
        "pip", "install", *quiet, *source, *packages.for_runtime(names, extras), python="venv/bin/python"
    )
    # Where the making of an environment was cut short, its pip does not answer.
    script = f"{{ {answers} >/dev/null 2>&1 || {{ rm -rf venv && {environment}; }}; }} && {shlex.join(install)}"
    done = held(board.ssh(f"exec {shlex.join(interpreter.script(_ALONE, script, python='python3'))}"))

    if done.returncode == _BUSY:
        raise UsageError("another process is setting it up", where=board.name, remedy="wait until it is done")

    if done.returncode:
        if done.returncode == 255 or "No space left on device" in done.stderr:
            raise board.complaint(done.stderr)
        lines = [line for line in (done.stderr or done.stdout).splitlines() if "ERROR" in line] or ["pip failed"]
        raise SystemFailure(
            lines[-1].strip(), where=board.name, remedy="--wheels DIR for a board without a network, or --python PATH"
        )

    return "venv/bin/python"


def look(board: Ssh) -> dict[str, Any]:
    """What runs on a board now: {"runtimes" {name: version}, "fingerprint", "heat", "probed"}."""
    done = held(board.argv(LEASH + _RUNTIMES))
    lines = [line for line in done.stdout.splitlines() if line.startswith("@edgeft ")]
    if not lines:
        raise board.complaint(done.stderr)

    probed = json.loads(lines[-1].removeprefix("@edgeft "))
    with Link(board.argv(WORKER), name=board.name) as link:
        return {
            "runtimes": {entry["name"]: entry["version"] for entry in probed if entry["loads"]},
            "fingerprint": link.ask("who")["fingerprint"],
            "heat": link.ask("heat"),
            "probed": probed,
        }


def check(name: str, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """A board as it is now; raises what connecting raises, `Missing` where it was not set up."""
    board = Ssh.known(name, say)
    return {"name": name, **dict(board.record), **look(board)}
