"""Which cores are least busy: where two sides can be compared with the least disturbance."""

from __future__ import annotations

import os
import time
from pathlib import Path

#: seconds over which the load of the cores is looked at
GLANCE = 0.1
_STAT = Path("/proc/stat")


def quiet(count: int) -> list[int] | None:
    """The `count` cores that were least busy in the last moment; None where all are needed or nobody can be asked."""
    if not hasattr(os, "sched_getaffinity"):
        return None

    usable = sorted(os.sched_getaffinity(0))
    before = _busy()
    if count >= len(usable) or not before:
        return None

    time.sleep(GLANCE)
    after = _busy()
    load = {core: after.get(core, 0) - before.get(core, 0) for core in usable}
    return sorted(sorted(usable, key=lambda core: (load[core], -core))[:count])


def _busy() -> dict[int, int]:
    """Ticks that each core spent on anything but idling and waiting for disks, from /proc/stat; {} without it."""
    try:
        lines = _STAT.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return {}

    busy = {}
    for line in lines:
        name, *ticks = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and len(ticks) >= 5:
            numbers = [int(tick) for tick in ticks[:8]]
            busy[int(name[3:])] = sum(numbers) - numbers[3] - numbers[4]

    return busy
