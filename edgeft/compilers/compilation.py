"""An artifact compiled by its target's compiler, its coverage counted, and its outputs in the vendor's simulator."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import backends
from ..config.target import Target
from ..core import files, npz
from ..core.errors import BundleError, InvalidInput
from . import of_target
from .call import CompilerStopped, call
from .compiler import Compilation, Compiler, Operation, Refusal
from .environment import Environment, installed

#: where a bundle carries what a compiler made
FOLDER = "compiled"


def environment_of(profile: Target) -> Environment | None:
    """The environment of a target's compiler; None where it is not set up or edgeft cannot run it.

    Raises `Missing` where it was set up and is gone or of a version that this edgeft does not know.
    """
    compiler = of_target(profile.compiler)
    return None if compiler is None else installed(compiler)


def compiled(environment: Environment, profile: Target, artifact: Path, folder: Path) -> Compilation:
    """Compile `artifact`; what the compiler made goes into `folder`, which is not made where it refuses.

    A refusal, a crash, a compiler that hangs are a `Compilation` that is not accepted. Raises `Missing` where the
    environment is damaged, `InvalidInput` for a wrong [compile] table.
    """
    made, on_cpu = asked(environment, profile, artifact, folder)
    return covered(made, backends.get(profile.backend).operations(artifact), on_cpu) if made.accepted else made


def asked(
    environment: Environment, profile: Target, artifact: Path, folder: Path
) -> tuple[Compilation, list[Operation]]:
    """What the compiler answers, before coverage is counted, and the operations that it leaves to the CPU."""
    compiler = environment.compiler
    settings = compiler.settings_of(profile.compile, f"{profile.name}: [compile]")
    base = Compilation(compiler.name, environment.version)

    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edgeft-compiled-") as place:
        job = {"model": str(artifact.resolve()), "folder": place, "settings": settings}
        try:
            answer = call(environment.python, compiler, "compile", job, seconds=compiler.compile_seconds)
            written = {} if answer.get("refusal") else _written(compiler, Path(place), answer)
        except CompilerStopped as error:
            answer, written = {"refusal": {"why": error.message}}, {}

        base = dataclasses.replace(base, seconds=round(time.monotonic() - start, 2))
        if answer.get("refusal"):
            return dataclasses.replace(base, refusal=Refusal(**answer["refusal"])), []

        for name, content in written.items():
            files.write_bytes(folder / name, content)

    base = dataclasses.replace(base, files=tuple(written), estimate=dict(answer.get("estimate") or {}))
    return base, [Operation(**entry) for entry in answer.get("on_cpu", ())]


def _written(compiler: Compiler, place: Path, answer: Mapping[str, Any]) -> dict[str, bytes]:
    """{name: content} of the files that a compiler says it wrote; raises `CompilerStopped` where one is not there."""
    contents: dict[str, bytes] = {}
    for name in answer.get("files") or ():
        said = f"{compiler.title} says that it wrote {name!r}, which"
        try:
            contents[name] = files.inside(place, name).read_bytes()
        except BundleError as error:
            raise CompilerStopped(f"{said} points outside the folder") from error
        except FileNotFoundError as error:
            raise CompilerStopped(f"{said} is not there") from error
        if not contents[name]:
            raise CompilerStopped(f"{said} is empty")

    if not contents:
        raise CompilerStopped(f"{compiler.title} says that it compiled the model and names no file")
    return contents


def covered(
    compilation: Compilation, operations: Sequence[backends.Operation], on_cpu: Sequence[Operation]
) -> Compilation:
    """`compilation` with the shares of the artifact's `operations` that are not `on_cpu`.

    An operation that the compiler left is found by the name of its node or of what it writes, to which a compiler may
    add an ending. Where it goes by another name, the heaviest operation of its kind that is not found by name counts:
    coverage is rather too low than too high. One that the compiler made itself counts as one more.
    """
    origins = [_origin(entry.node, operations) for entry in on_cpu]
    free = set(range(len(operations))) - {origin for origin in origins if origin is not None}
    counted: set[int] = set()
    left = []

    for entry, origin in zip(on_cpu, origins):
        if origin is None:
            origin = _heaviest(entry.op, operations, free)
        if origin is None or origin in counted:  # the compiler's own, or a further part of an operation
            left.append(dataclasses.replace(entry, macs=0))
            continue

        counted.add(origin)
        free.discard(origin)
        left.append(dataclasses.replace(entry, op=operations[origin].op, macs=operations[origin].macs))

    macs, count = sum(operation.macs for operation in operations), len(operations) + len(left) - len(counted)
    missed = sum(operation.macs for operation in left)

    return dataclasses.replace(
        compilation,
        fallback=tuple(left),
        operations=count,
        macs=macs,
        coverage_ops=1 - len(left) / count if count else None,
        coverage_macs=1 - missed / macs if macs else None,
    )


def _origin(node: str, operations: Sequence[backends.Operation]) -> int | None:
    """The operation that a compiler calls `node`: of that name, else of the longest that `node` begins with."""
    names = [
        (name, k) for k, operation in enumerate(operations) for name in (operation.node, *operation.outputs) if name
    ]
    exact = next((k for name, k in names if name == node), None)
    if exact is not None:
        return exact

    starts = [(len(name), k) for name, k in names if _extends(node, name)]
    return max(starts, key=lambda pair: pair[0])[1] if starts else None


def _heaviest(op: str, operations: Sequence[backends.Operation], free: Collection[int]) -> int | None:
    """Of the operations at `free`, the one with the most multiply-accumulates of the kind that a compiler calls `op`.

    A compiler may call a Conv "QLinearConv" or "ConvRelu": the longest op that is a part of its word is the kind.
    """
    kinds = [k for k in free if operations[k].op.lower() in op.lower()]
    return max(kinds, key=lambda k: (len(operations[k].op), operations[k].macs, -k), default=None)


def _extends(node: str, name: str) -> bool:
    """Whether `node` is `name` with a mark behind it ("linear#2"); "linear_2" may be any other node."""
    ending = node[len(name) :]
    return node.startswith(name) and not ending[:1].isalnum() and not ending.startswith("_")


def simulated(
    environment: Environment,
    profile: Target,
    artifact: Path,
    file: Path,
    feeds: Mapping[str, np.ndarray],
    seconds: float,
) -> dict[str, np.ndarray]:
    """Outputs (N, ...) of a compiled file, made of `artifact`, in the vendor's simulator, one row a sample.

    The simulator is slow: after `seconds` there are outputs of the first samples alone. Raises `CompilerStopped` where
    it ends without an answer, `InvalidInput` where it refuses.
    """
    compiler = environment.compiler
    with tempfile.TemporaryDirectory(prefix="edgeft-simulated-") as folder:
        source, result = Path(folder) / "feeds.npz", Path(folder) / "outputs.npz"
        arrays: dict[str, Any] = dict(feeds)
        np.savez(source, **arrays)
        job: dict[str, Any] = {
            "model": str(file.resolve()),
            "artifact": str(artifact.resolve()),
            "folder": folder,
            "settings": compiler.settings_of(profile.compile, f"{profile.name}: [compile]"),
            "feeds": str(source),
            "outputs": str(result),
            "seconds": seconds,
        }
        call(environment.python, compiler, "simulate", job, seconds=seconds + compiler.compile_seconds)
        if not result.is_file():
            raise InvalidInput(f"the simulator of {compiler.title} wrote no outputs", where=str(file))

        return npz.read(result)
