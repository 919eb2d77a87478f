"""`verify.run` in a process of its own: one runtime a process, nothing of torch in it, limits of memory and time.

Two runtimes' thread pools in one process disturb each other's timing, and a check that runs beside the converter does
not show that the artifact stands alone. A runtime is native code: a damaged or malicious model may end its process by a
signal, ask for all memory, or never end. That is a gate that fails here, and the process that asked goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..bundle import reader
from ..bundle.reader import Bundle
from ..core import limits
from ..core.errors import BundleError, RuntimeStopped
from ..core.verdict import FAIL, Verdict
from ..devices.call import call
from ..devices.device import Device, Here
from . import not_repeated
from .document import report
from .run import run as verify

_CODE = """
from edgeft.verify.isolated import limited
answer(limited(words[0], **options))
"""
#: seconds that the steps of `verify.run` may take (`say`); the others take as long as compilers and data need
_SECONDS = {"samples": limits.SECONDS, "latency": limits.SECONDS}


def run(bundle: Path, *, device: Device | None = None, **options: Any) -> dict[str, Any]:
    """The report of `verify.run(bundle, **options)` from a fresh interpreter, here or on a device.

    Options are plain JSON values, paths among them those of the device. Raises as `devices.call.call`.
    """
    device = device or Here()
    bounds = {"bounded": device.where != "emulated"}  # the emulator's own memory is no limit of the bundle
    return call(device, _CODE, device.place(bundle), options={**options, **bounds}, where=bundle)


def limited(bundle: str, *, bounded: bool, digest: str = "", **options: Any) -> dict[str, Any]:
    """What the process does: `verify.run` within limits of memory and time. For a process of its own.

    `digest` is that of the manifest which was checked before; another one is a `BundleError`. Raises `RuntimeStopped`
    where memory is short.
    """
    opened = reader.open(bundle)
    if digest and opened.digest != digest:
        raise BundleError("the bundle was altered while it was verified", where=bundle, remedy="verify it again")

    most = limits.memory(model_bytes(opened), data=options.get("data") is not None)
    if bounded:
        limits.apply(most, limits.SECONDS)

    try:
        return verify(opened, **options, say=lambda step: limits.alarm(_SECONDS.get(step, 0) if bounded else 0))
    except MemoryError as error:
        raise out_of_memory(most, bundle) from error


def model_bytes(opened: Bundle) -> int:
    """The bytes of all files that the manifest lists."""
    return sum(int(entry["bytes"]) for entry in opened.manifest["files"].values())


def out_of_memory(most: int, where: str) -> RuntimeStopped:
    return RuntimeStopped(
        f"it asked for more than {most >> 20} MiB of memory, the limit for this bundle",
        where=where,
        remedy="do not use this model; if you trust it, run it with its runtime directly",
    )


def checked(opened: Bundle, device: Device | None = None, **options: Any) -> dict[str, Any]:
    """`run` of an opened bundle; a runtime that was stopped by a signal or a limit is a gate that fails, no error.

    On an emulated CPU a runtime that refuses the artifact is one too: that is what the emulation is for, and the report
    names the wheel and the CPU.
    """
    device = device or Here()
    earlier = not_repeated.read(opened.path)
    try:
        return run(opened.path, device=device, digest=opened.digest, earlier=earlier, exported=True, **options)
    except BundleError as error:
        if hasattr(device, "suspect"):
            return _stopped(opened, device, f"{device.suspect()}: {error.message}", earlier)
        if isinstance(error, RuntimeStopped):
            return _stopped(opened, device, error.message, earlier)
        raise


def _stopped(opened: Bundle, device: Device, why: str, earlier: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    gate = Verdict("compatibility", FAIL, why, metric="it runs", n=1)
    return report(
        target=opened.target,
        backend=opened.backend,
        gates=[gate, *not_repeated.carried(earlier, [gate])],
        where=device.where,
        name=opened.name,
        task=opened.manifest["task"],
        warnings=[],
    )
