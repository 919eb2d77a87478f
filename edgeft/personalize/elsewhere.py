"""`personalize` on another device: the samples are copied there, the state stays there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..devices.call import call
from ..devices.device import Device

_CODE = """
from edgeft import api
answer(api.personalize(words[0], words[1], **options))
"""
_BACK = """
from pathlib import Path
from edgeft import api
from edgeft.personalize.run import rollback
answer(rollback(api.load(words[0]), Path(options["state"]) if options["state"] else None))
"""


def run(device: Device, bundle: Path, data: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """As `edgeft.personalize`; `state` among the options is a path of the device."""
    result = call(device, _CODE, device.place(bundle), device.carry(data), options=options, where=bundle)
    return {**result, "device": device.name}


def rollback(device: Device, bundle: Path, state: Path | None) -> dict[str, Any]:
    """As `personalize.run.rollback`, on a device."""
    options = {"state": None if state is None else str(state)}
    return {**call(device, _BACK, device.place(bundle), options=options, where=bundle), "device": device.name}
