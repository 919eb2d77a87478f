"""`edgeft doctor`: what is installed, which runtimes really load, and the pip command for what is missing.

A runtime that imports may still not run (tflite_runtime beside numpy 2; a build with instructions that this CPU lacks),
so each one runs a tiny model, in a process of its own: a crash there is an answer, and nothing heavy stays here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from . import backends
from ._version import __version__
from .core import installation, interpreter
from .core.errors import EdgeftError, Missing
from .measure.fingerprint import fingerprint
from .report import text
from .trust import environment

SCHEMA = "1.0"
#: the extra of the package that signs
SIGNING = "sign"


def examine(*, seconds: float = 90.0) -> dict[str, Any]:
    """Everything `edgeft doctor` tells, as JSON values.

    `edgeft`, `python`, `platform`; `cpu` {name, isa, cores, usable, flags, vnni, note}; `runtimes` [{name, installed,
    loads, version, why, install}]; `extras` [{name, complete, missing, install}]; `packages` [{name, version,
    extras}]; `ready` as `ready` has it. `vnni` is None off x86. A runtime that takes longer than `seconds` counts as
    one that does not load.
    """
    required = requirements()
    runtimes = [probe_apart(name, seconds) for name in backends.names()]
    extras = [_extra(name, lines) for name, lines in required.items()]
    return {
        "schema": SCHEMA,
        "edgeft": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu(fingerprint()),
        "runtimes": runtimes,
        "extras": extras,
        "packages": _packages(required),
        "ready": ready(runtimes, extras),
    }


def render(examination: Mapping[str, Any]) -> str:
    """`examine`'s result as lines for people."""
    return text.doctor(examination)


def cpu(machine: Mapping[str, Any]) -> dict[str, Any]:
    """What a fingerprint's `isa` and `flags` mean for int8; `usable` counts the cores this process may run on."""
    flags, isa = list(machine["flags"]), machine["isa"]
    vnni = bool({"avx512_vnni", "avx_vnni"} & set(flags)) if isa == "x86_64" else None
    if vnni is None:
        dot = [flag for flag in ("i8mm", "asimddp") if flag in flags]
        note = f"int8 dot products: {', '.join(dot)}" if dot else "no int8 dot product instructions are reported"
    elif vnni:
        note = "VNNI: int8 runs at full speed with 8-bit weights"
    elif flags:
        note = "no VNNI: int8 sums can saturate, export for a target with 7-bit weights (generic-x86-no-vnni)"
    else:
        note = "the processor's features could not be read, so whether it has VNNI is unknown"
        vnni = None

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "name": machine["cpu"],
        "isa": isa,
        "cores": machine["cores"],
        "usable": usable,
        "flags": flags,
        "vnni": vnni,
        "note": note,
    }


def requirements(lines: Sequence[str] | None = None) -> dict[str, list[str]]:
    """{extra: its requirements without the marker} of the installed edgeft, or of `lines` (core metadata).

    `all` is left out, being the sum of others. Without the metadata (a bare source tree) there are none.
    """
    if lines is None:
        try:
            lines = metadata.requires("edgeft") or []
        except metadata.PackageNotFoundError:
            lines = []

    by_extra: dict[str, list[str]] = {}
    for line in lines:
        requirement, _, marker = line.partition(";")
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
        if extra and extra[1] != "all":
            by_extra.setdefault(extra[1], []).append(requirement.strip())

    return dict(sorted(by_extra.items()))


def unmet(requirement: str) -> str:
    """What is wrong with an installed requirement ("torch<2.15,>=2.13"), or "": absent, or a version it excludes.

    Versions are only compared where the `packaging` library is there; a bare board has only presence to go by.
    """
    name = _name(requirement)
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return name

    if importlib.util.find_spec("packaging") is None:
        return ""

    from packaging.requirements import InvalidRequirement, Requirement

    try:
        fits = Requirement(requirement).specifier.contains(version, prereleases=True)
    except InvalidRequirement:
        return ""

    return "" if fits else f"{requirement} ({version} is here)"


def ready(runtimes: Sequence[Mapping[str, Any]], extras: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What works here, of `examine`'s runtimes and extras: {"run": [...], "train": bool, "export": [...]}."""
    complete = {extra["name"] for extra in extras if extra["complete"]}
    run = [runtime["name"] for runtime in runtimes if runtime["loads"]]
    train = "tune" in complete
    export = [name for name in run if train and backends.get(name).extra in {"", *complete}]
    return {"run": run, "train": train, "export": export}


def probe_apart(name: str, seconds: float = 90.0) -> dict[str, Any]:
    """`probe` in a process of its own: {name, installed, loads, version, why, install}; `why` says what went wrong."""
    answer = {"name": name, "installed": False, "loads": False, "version": "", "why": "", "install": ""}
    try:
        backend = backends.get(name)
    except EdgeftError as error:  # a plug-in that cannot be loaded
        return {**answer, "why": error.message, "install": error.remedy}

    answer["installed"] = backend.installed()
    if not answer["installed"]:
        return {**answer, "why": "not installed", "install": backend.install}

    code = f"import json; from edgeft import doctor; print(json.dumps(doctor.probe({name!r})))"
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                interpreter.here(code),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            return {**answer, "why": f"did not answer within {seconds:g} s"}

    if done.returncode < 0:
        number = -done.returncode
        known = number in {s.value for s in signal.Signals}
        why = f"killed by {signal.Signals(number).name if known else f'signal {number}'}"
        if number == signal.SIGILL:
            why += ": this build uses instructions that this processor lacks"
        return {**answer, "why": why, "install": backend.install}

    try:
        said = json.loads(done.stdout.strip().splitlines()[-1])
        return {**answer, **{key: said[key] for key in ("loads", "version", "why", "install")}}
    except (IndexError, ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        return {**answer, "why": f"exit {done.returncode}: {last}"}


def probe(name: str) -> dict[str, Any]:
    """Load y = relu(x) in the runtime `name` and run it, in this process: {loads, version, why, install}."""
    answer = {"loads": False, "version": "", "why": "", "install": ""}
    try:
        backend = backends.get(name)
        answer["version"] = backend.version()
        with tempfile.TemporaryDirectory() as folder:
            files = backend.probe_files()
            for file, content in files.items():
                Path(folder, file).write_bytes(content)
            session = backend.load(Path(folder, next(iter(files))), threads=1)
            feed = {session.inputs[0].name: np.array([[-1.0, 2.0]], np.float32)}
            (output,) = session.run(feed).values()
    except Missing as error:
        return {**answer, "why": error.message, "install": error.remedy}
    except EdgeftError as error:
        return {**answer, "why": error.message}
    except Exception as error:  # a runtime's own errors share no base class, and any of them is the diagnosis
        return {**answer, "why": f"{type(error).__name__}: {error}"}

    if not np.array_equal(output, [[0.0, 2.0]]):
        return {**answer, "why": f"computes wrongly: relu of -1 and 2 is {output.tolist()}"}

    return {**answer, "loads": True}


def _extra(name: str, lines: Sequence[str]) -> dict[str, Any]:
    missing = [problem for line in lines if (problem := unmet(line))]
    if name == SIGNING:  # in an environment of its own where it lies apart from the rest
        missing = missing if environment.python() is None else []
        return {"name": name, "complete": not missing, "missing": missing, "install": environment.SETUP * bool(missing)}
    install = _pip(name) if missing else ""
    return {"name": name, "complete": not missing, "missing": missing, "install": install}


def _packages(required: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Every package that edgeft itself or an extra names, with its version here (None = absent)."""
    users: dict[str, list[str]] = {"numpy": [], "click": []}
    for extra, lines in required.items():
        for line in lines:
            users.setdefault(_name(line), []).append(extra)

    packages = []
    for name in sorted(users):
        try:
            version: str | None = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = None
        packages.append({"name": name, "version": version, "extras": users[name]})

    return packages


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement.strip())
    return match[0] if match else requirement


def _pip(extra: str) -> str:
    return installation.command(extra)
