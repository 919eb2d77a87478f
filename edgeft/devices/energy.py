"""Energy of workers, here or on a device: the meter is read where the artifact runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from ..core.errors import SystemFailure
from ..measure import energy
from ..measure.meters import Absent
from .arms import WorkerArm
from .link import PATIENCE


def of_arms(arms: Sequence[WorkerArm], first: str, last: str = "") -> dict[str, Any]:
    """What `measure.energy.as_result` makes of one worker, or of two against each other."""
    idle = _ask(arms[0], energy.IDLE, idle=True)
    if isinstance(idle, Absent):
        return energy.as_result(idle, first)

    try:
        sides = [partial(_block, arm) for arm in arms]
        result = energy.compare(idle["meter"], sides, idle["uj"] / idle["seconds"] / 1e6)
    except SystemFailure as error:
        result = Absent(error.message)

    return energy.as_result(result, first, last)


def _block(arm: WorkerArm) -> dict[str, float]:
    answer = _ask(arm, energy.BLOCK)
    if isinstance(answer, Absent):
        raise SystemFailure(answer.why)
    return answer


def _ask(arm: WorkerArm, seconds: float, idle: bool = False) -> dict[str, Any] | Absent:
    answer = arm.link.ask("energy", seconds=seconds, idle=idle, patience=PATIENCE + 20 * arm.run_ns / 1e9)
    return Absent(answer["absent"]) if "absent" in answer else answer
