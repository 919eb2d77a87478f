"""`verify.run` in a process of its own: one runtime a process, and nothing of torch in it.

Two runtimes' thread pools in one process disturb each other's timing, and a check that runs beside the converter does
not show that the artifact stands alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..bundle.reader import Bundle
from ..core.errors import BundleError
from ..core.verdict import FAIL, Verdict
from ..devices.call import call
from ..devices.device import Device, Here
from . import not_repeated
from .document import report

_CODE = """
from edgeft.verify.run import run
answer(run(words[0], **options))
"""


def run(bundle: Path, *, device: Device | None = None, **options: Any) -> dict[str, Any]:
    """The report of `verify.run(bundle, **options)` from a fresh interpreter, here or on a device.

    Options are plain JSON values, paths among them those of the device. Raises as `devices.call.call`.
    """
    device = device or Here()
    return call(device, _CODE, device.place(bundle), options=options, where=bundle)


def on_device(opened: Bundle, device: Device, **options: Any) -> dict[str, Any]:
    """`run` on a device; a runtime that dies or refuses the artifact on an emulated CPU is a `fail`, not an error.

    That is what the emulation is for: the report names the wheel and the CPU.
    """
    try:
        return run(opened.path, device=device, earlier=not_repeated.read(opened.path), **options)
    except BundleError as error:
        if not hasattr(device, "suspect"):
            raise

        why = f"{device.suspect()}: {error.message}"
        gate = Verdict("compatibility", FAIL, why, metric="it runs", n=1)
        return report(
            target=opened.target,
            backend=opened.backend,
            gates=[gate],
            where=device.where,
            name=opened.name,
            task=opened.manifest["task"],
            warnings=[],
        )
