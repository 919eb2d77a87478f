"""How often as fast one bundle is as another on a device: pairs of fresh processes, the artifacts in turns."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..bundle import reader as bundles
from ..config import target as targets
from ..config.target import Target
from ..core.errors import UsageError
from ..core.verdict import INCONCLUSIVE
from ..measure import pairs
from ..measure.choose import Speed
from .arms import Side
from .compare import Watch
from .device import Device
from .worker import HOST_PROVIDERS


def speed(
    bundle: Path, yardstick: Path, *, device: Device, seconds: float, confidence: float, seed: int | None = None
) -> Speed:
    """The speed of `bundle` in those of `yardstick`, both folders of bundles, within about `seconds`.

    Measuring ends as soon as one is faster beyond the noise. Raises what a worker or a connection raises.
    """
    manifest = bundles.open(bundle, check_files=False).manifest
    runtime, watch = manifest["runtime"], Watch(device)
    regression = pairs.regression(
        lambda: watch.opener(Side(yardstick), Side(bundle), pin=int(runtime["threads"])),
        tolerance=0.0,
        max_seconds=seconds,
        confidence=confidence,
        wall_only=runtime["options"].get("provider", HOST_PROVIDERS[0]) not in HOST_PROVIDERS,
        rng=np.random.default_rng(seed),
        again=watch.again,
    )
    low, high = _inverse(regression.high), _inverse(regression.low)
    beside = low > 1 or high < 1

    return Speed(_inverse(regression.estimate), low, high, not beside or regression.verdict != INCONCLUSIVE)


def _inverse(ratio: float) -> float:
    return 1 / ratio if ratio > 0 else math.inf


def unmeasured(profile: Target, device: Device) -> str:
    """Why speeds on `device` do not hold for the target; "" where they do.

    Raises `UsageError` for an emulator, and for a device whose instruction set is not the target's.
    """
    if not device.timed:
        raise UsageError(
            "an emulator gives no figure of speed", where=device.name, remedy="measure on the board itself"
        )
    if profile.compiler:
        return f"what runs on {profile.title} is made by {profile.compiler}, whose speed this machine cannot tell"

    if device.where == "host":
        if targets.host_is(profile):
            return ""
        return (
            f"this machine is not a {profile.title}, whose fastest format may be another: "
            "measure there with --device ssh://user@board"
        )

    isa = Watch(device).machine().get("isa")
    if profile.isa not in ("", isa):
        raise UsageError(
            f"{device.name} has the instruction set {isa}, {profile.title} has {profile.isa}",
            where="--device",
            remedy="name a device of the target's kind",
        )

    return ""
