"""Environments of compilers: a virtual environment each, below the user's cache, since their pins clash with edgeft's.

    cache/compile/NAME-DIGEST/bin/python      DIGEST is of the requirements and of the interpreter's version

An environment is made beside its place and renamed when everything is installed and the compiler answers, so that none
is ever half installed. pip's own configuration decides where packages come from.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import backends
from ..config import target as targets
from ..core import environment as environments
from ..core import interpreter, once
from ..core.errors import EdgeftError, InvalidInput, Missing, SystemFailure, UsageError, nearest
from ..core.progress import phase
from ..devices import known
from . import PREFIX, get, names
from .call import call
from .compiler import Compiler

#: seconds until a compiler must have said its version: one that loads gigabytes takes minutes on a busy machine
ANSWER_SECONDS = 900.0
_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


@dataclass(frozen=True)
class Environment:
    """The interpreter that has a compiler, and the compiler's version."""

    compiler: Compiler
    python: str
    version: str


def cache() -> Path:
    """`~/.cache/edgeft/compile`, below `XDG_CACHE_HOME` where that is set."""
    return environments.cache("compile")


def device_name(compiler: Compiler) -> str:
    """The name under which `edgeft device` lists the compiler."""
    return f"{PREFIX}{compiler.name}"


def named(device: str) -> Compiler:
    """The compiler of "compile:vela", or of "compile:imx93", which is that of a target.

    Raises `UsageError` for another name, and for a target whose compiler edgeft cannot run or that has none.
    """
    name = device.removeprefix(PREFIX)
    if name in names():
        return get(name)

    try:
        profile = targets.load(name)
    except UsageError as error:
        known_names = {*names(), *targets.names()}
        raise UsageError(
            f"{name!r} is no compiler and no target", where=device, remedy=nearest(name, known_names)
        ) from error

    if profile.compiler not in names():
        what = (
            f"the compiler of {profile.name}, {profile.compiler}, cannot be run by edgeft"
            if profile.compiler
            else (f"{profile.name} has no compiler: its runtime reads the model as it is")
        )
        raise UsageError(what, where=device, remedy=f"known compilers: {', '.join(names())}")

    return get(profile.compiler)


def installed(compiler: Compiler) -> Environment | None:
    """The environment of a compiler, None where it was never set up.

    Raises `Missing` where it was and is gone, or is of other requirements than this edgeft pins.
    """
    record = known.read(device_name(compiler))
    if record is None:
        return None
    if not Path(record["python"]).exists():
        raise Missing(f"{record['python']} does not exist", where=device_name(compiler), remedy=compiler.setup)

    if record.get("requirements") != list(compiler.requirements):
        raise Missing(
            f"{compiler.title} {record.get('version')} is installed, this edgeft knows {', '.join(compiler.versions)}",
            where=device_name(compiler),
            remedy=compiler.setup,
        )

    return Environment(compiler, record["python"], str(record.get("version")))


def setup(
    compiler: Compiler, *, python: str | None = None, say: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Install a compiler into an environment of its own; returns its record.

    `python` is the interpreter to make the environment with (None: this one). Raises `Missing` for an instruction set
    or a Python that the compiler has no wheels for, and without a package; `SystemFailure` where the environment
    cannot be made. Nothing is left of one that fails.
    """
    version = _python_version(python, compiler)
    _suits(compiler, version)

    digest = hashlib.sha256("\n".join([*compiler.requirements, version]).encode()).hexdigest()[:12]
    place = cache() / f"{compiler.name}-{digest}"

    answer: dict[str, Any] = {}

    def answers(folder: Path) -> bool:
        interpreter_path = folder / "bin" / "python"
        with contextlib.suppress(EdgeftError):
            answer.update(_answer(compiler, str(interpreter_path)) if interpreter_path.exists() else {})
        return bool(answer)

    def fill(folder: Path) -> None:
        size = f", about {compiler.gigabytes:g} GB" if compiler.gigabytes else ""
        say(f"{compiler.title}: making an environment{size}, with {', '.join(compiler.requirements)}")
        environments.make(folder, compiler.requirements, where=device_name(compiler), base=python)
        say(f"{compiler.title}: starting it for the first time")
        with phase(f"{device_name(compiler)}: starting"):
            answer.update(_answer(compiler, str(folder / "bin" / "python")))

    once.folder(place, fill, answers)
    return _recorded(compiler, str(place / "bin" / "python"), answer)


def state_of(profile: targets.Target) -> str:
    """Whether a target's compiler can be asked here: "set up", "not set up", "on the board" where `verify` has that run
    it, "not run" where edgeft cannot, "" where the target has none."""
    if not profile.compiler:
        return ""
    if profile.compiler not in names():
        return "not run" if backends.get(profile.backend).engine(profile) is None else "on the board"

    try:
        return "set up" if installed(get(profile.compiler)) else "not set up"
    except (Missing, InvalidInput):
        return "not set up"


def check(compiler: Compiler) -> dict[str, Any]:
    """The record of a compiler that is set up and answers; raises `Missing` otherwise."""
    environment = installed(compiler)
    if environment is None:
        raise Missing(f"{compiler.title} is not set up", where=device_name(compiler), remedy=compiler.setup)
    return _recorded(compiler, environment.python, _answer(compiler, environment.python))


def _python_version(python: str | None, compiler: Compiler) -> str:
    command = interpreter.script(_VERSION, python=python) if python else interpreter.script(_VERSION)
    done = environments.run(command, 60.0)
    if done.returncode:
        raise Missing(f"{python} is no Python that starts", where=device_name(compiler), remedy="--python PATH")
    return done.stdout.strip()


def _suits(compiler: Compiler, version: str) -> None:
    """Raise `Missing` where the compiler has no wheels for this machine or this Python."""
    machine = platform.machine()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    if machine not in compiler.machines or not sys.platform.startswith("linux"):
        message = f"{compiler.title} runs on Linux, {' or '.join(compiler.machines)}, not on {machine}"
        raise Missing(message, where=device_name(compiler))

    oldest, newest = compiler.pythons
    if not oldest <= tuple(int(part) for part in version.split(".")) <= newest:
        text = " to ".join(".".join(map(str, bound)) for bound in compiler.pythons)
        raise Missing(
            f"{compiler.title} has wheels for Python {text}, this is {version}",
            where=device_name(compiler),
            remedy=f"{compiler.setup} --python PATH, with the interpreter of such a version",
        )


def _answer(compiler: Compiler, python: str) -> dict[str, Any]:
    """What the compiler says of itself; raises `Missing` where it does not start or is of an unknown version."""
    try:
        answer = call(python, compiler, "version", {}, seconds=ANSWER_SECONDS)
    except (InvalidInput, SystemFailure) as error:
        raise Missing(
            f"{compiler.title} does not start: {error.message}", where=device_name(compiler), remedy=compiler.setup
        ) from error

    if answer["version"] not in compiler.versions:
        raise Missing(
            f"{compiler.title} {answer['version']} is installed, this edgeft knows {', '.join(compiler.versions)}",
            where=device_name(compiler),
            remedy=compiler.setup,
        )

    return answer


def _recorded(compiler: Compiler, python: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    record = {
        "python": python,
        "machine": platform.machine(),
        "version": answer["version"],
        "requirements": list(compiler.requirements),
        "packages": answer.get("packages", {}),
        "runtimes": {compiler.title: answer["version"]},
    }
    known.write(device_name(compiler), record)

    return {**json.loads(json.dumps(record)), "name": device_name(compiler)}
