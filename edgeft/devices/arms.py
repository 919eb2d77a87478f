"""Two workers as the two sides of a comparison, started side by side on the cores that are least busy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .device import WORKER, Device, Here
from .link import PATIENCE, Link

#: seconds of warm-up of each side, at most
WARM_UP = 1.5


@dataclass(frozen=True)
class Side:
    """One artifact and how to run it. `options` replace those of the manifest; `baseline` is the float model."""

    bundle: Path
    threads: int | None = None
    baseline: bool = False
    options: Mapping[str, Any] | None = None


@dataclass
class WorkerArm:
    """A worker as `measure.pairs` wants it."""

    link: Link
    run_ns: float = 0.0
    steady: bool = True
    fingerprint: dict[str, Any] = field(default_factory=dict)

    def block(self, repeats: int, lead: int) -> tuple[int, int]:
        expected = self.run_ns * (repeats + lead) / 1e9
        answer = self.link.ask("block", repeats=repeats, lead=lead, patience=PATIENCE + 20 * expected)
        return answer["wall"], answer["cpu"]

    def single(self, seconds: float, fewest: int, most: int) -> dict[str, Any]:
        expected = seconds + fewest * self.run_ns / 1e9
        return self.link.ask("single", seconds=seconds, fewest=fewest, most=most, patience=PATIENCE + 20 * expected)


@contextlib.contextmanager
def opened(
    *sides: Side, device: Device | None = None, pin: int | None = None, warm_up: float = WARM_UP
) -> Iterator[tuple[WorkerArm, ...]]:
    """A warmed-up worker for each side on `device` (None: here), ended when the context is left.

    `pin` is how many cores to keep all of them on, the least busy ones (None: wherever the system puts them). They load
    side by side and warm up one after the other.
    """
    device = device or Here()
    with contextlib.ExitStack() as stack:
        places = [device.place(side.bundle) for side in sides]
        links = [
            stack.enter_context(
                Link(device.argv(WORKER), name=str(side.bundle), explain=getattr(device, "complaint", None))
            )
            for side in sides
        ]
        cores = links[0].ask("cores", count=pin)["cores"] if pin else None
        for link, side, place in zip(links, sides, places):
            options = None if side.options is None else dict(side.options)
            words = {"bundle": place, "threads": side.threads, "baseline": side.baseline, "options": options}
            link.send("open", cores=cores, **words)

        arms = [WorkerArm(link, fingerprint=link.receive()["fingerprint"]) for link in links]
        for arm in arms:
            warm_up_result = arm.link.ask("warm", seconds=warm_up)
            arm.run_ns, arm.steady = warm_up_result["run_ns"], warm_up_result["steady"]

        yield tuple(arms)
