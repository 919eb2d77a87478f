"""The runtime's own options on the device at hand: which of them make an artifact faster, beyond the noise.

One option at a time, each value against the best setting so far, in fresh processes (`measure.pairs`) by the wall
clock, which is what more threads are for. A value is kept only where

- the outputs on all of the bundle's samples are the same bits as with the recorded setting, and
- it is faster by more than the margin, with the error shared out over all values that could be tried.

In the end the winner is measured once more against the recorded setting: the best of several is partly luck.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..bundle.reader import Bundle
from ..config import target as targets
from ..core.errors import EdgeftError, UsageError
from ..core.progress import phase
from ..core.verdict import FAIL, INCONCLUSIVE
from ..measure import pairs
from .arms import Side, opened
from .compare import Watch
from .device import Device
from .link import LinkLost

#: seconds of a whole search where nobody says so, and what one comparison takes at least
SEARCHED, ONE = 120.0, 8.0
#: a value has to be faster by this much; one that takes more threads by that much, since others want the cores too
MARGIN, MORE_THREADS = 0.01, 0.10
ERROR = 0.01
KEPT, NO_FASTER, REFUSED = "kept", "no faster", "refused"

#: what a trial changes: `threads` or options by name, to their new values
Change = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """Threads of the runtime, and the options that replace recorded ones."""

    threads: int
    options: Mapping[str, Any]

    def side(self, bundle: Bundle) -> Side:
        return Side(bundle.path, self.threads, options=self.options)

    def with_(self, change: Change) -> Setting:
        options = {key: value for key, value in change.items() if key != "threads"}
        return Setting(change.get("threads", self.threads), {**self.options, **options})


def search(
    bundle: Bundle,
    *,
    device: Device,
    threads: int | None = None,
    seconds: float | None = None,
    spread: Callable[[Mapping[str, Any], int], float | None] = lambda machine, threads: None,
    seed: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """The fastest setting found for `bundle` on `device`, and the evidence; nothing is written.

    `threads` fixes their number (None: tried too, up to what device and profile have); `seconds` limits the whole
    search. `spread` tells the machine's A/A spread for its fingerprint and a number of threads: the least margin.

    Returns {"changed", "was", "setting" (threads, options), "final", "tried" [{change, verdict, why, ...}],
    "margin_pct", "fingerprint", "seconds"}. Raises `UsageError` on a machine that is not the bundle's target.
    """
    begun = time.monotonic()
    machine = _machine(bundle, device)
    recorded = bundle.manifest["runtime"]
    was = Setting(threads or recorded["threads"], dict(recorded["options"]))
    most = was.threads if threads else _most_threads(bundle, machine)
    counts = [] if threads else _counts(bundle, was, most)
    count = len(counts) + len(_values(bundle, was, most)) + 1
    share = max(ONE, (seconds or SEARCHED) / count)
    judge = _Judge(bundle, device, max(MARGIN, spread(machine, was.threads) or 0.0), 1 - ERROR / count, share, seed)
    outputs = judge.outputs(was)

    trials = _Trials(judge, outputs, was, begun + (seconds or SEARCHED), say)
    for change in counts:
        trials.attempt(change)

    for change in _values(bundle, was, trials.best.threads):  # with the best number of threads: some need several
        trials.attempt(change)

    best, final = trials.best, None
    if best is not was:
        say("the setting found, against the recorded one")
        final = judge.faster(best, was, judge.margin)
        if final["verdict"] != KEPT:
            best = was

    return {
        "changed": best is not was,
        "was": _told(was),
        "setting": _told(best),
        "final": final,
        "tried": trials.tried,
        "margin_pct": 100 * judge.margin,
        "error": ERROR,
        "fingerprint": machine,
        "device": device.name,
        "where": device.where,
        "seconds": time.monotonic() - begun,
    }


@dataclass(frozen=True)
class _Judge:
    bundle: Bundle
    device: Device
    margin: float
    confidence: float
    seconds: float
    seed: int | None

    def trial(self, candidate: Setting, best: Setting, outputs: str) -> dict[str, Any]:
        """A setting against the best one so far."""
        try:
            if self.outputs(candidate) != outputs:
                return {"verdict": REFUSED, "why": "the outputs on the bundle's samples are not the same bits"}
            more = candidate.threads > best.threads
            return self.faster(candidate, best, max(self.margin, MORE_THREADS) if more else self.margin)
        except LinkLost:
            raise
        except EdgeftError as error:  # this build or machine does not have it, or dies of it
            return {"verdict": REFUSED, "why": error.message}

    def outputs(self, setting: Setting) -> str:
        def asked() -> str:
            with opened(setting.side(self.bundle), device=self.device, pin=setting.threads, warm_up=0.0) as (arm,):
                return str(arm.link.ask("outputs")["sha256"])

        return str(Watch(self.device).kept_up(asked))

    def faster(self, candidate: Setting, best: Setting, margin: float) -> dict[str, Any]:
        """Whether `candidate` is faster than `best` by more than `margin`: then `best` fails against it."""
        watch = Watch(self.device)
        pin = max(candidate.threads, best.threads)
        regression = pairs.regression(
            lambda: watch.opener(candidate.side(self.bundle), best.side(self.bundle), pin=pin),
            tolerance=margin,
            max_seconds=self.seconds,
            confidence=self.confidence,
            wall_only=True,
            rng=np.random.default_rng(self.seed),
            again=watch.again,
        )
        is_faster = regression.verdict == FAIL
        interval = f"[{regression.low:.3f}, {regression.high:.3f}]"
        description = f"{regression.estimate:.3f}x as fast {interval}, margin {1 + margin:.2f}x"
        cost = 1 / regression.cpu.estimate if regression.cpu is not None and regression.cpu.estimate > 0 else None
        description += (
            f", at {cost:.2f}x the CPU time" if cost is not None and candidate.threads != best.threads else ""
        )

        return {
            "verdict": KEPT if is_faster else NO_FASTER,
            "why": description
            if regression.verdict != INCONCLUSIVE
            else f"{description}: the difference is within the noise",
            "speedup": regression.estimate,
            "cpu_cost": cost,
            "interval": None if not math.isfinite(regression.high) else [regression.low, regression.high],
            "confidence": self.confidence,
            "margin_pct": 100 * margin,
            "pairs": len(regression.rounds),
            "quads": regression.quads,
        }


@dataclass
class _Trials:
    """The best setting so far, and what was tried until the clock reaches `deadline`."""

    judge: _Judge
    outputs: str
    best: Setting
    deadline: float
    say: Callable[[str], None]
    tried: list[dict[str, Any]] = field(default_factory=list)

    def attempt(self, change: Change) -> None:
        """Try the best setting with this change, and keep it where it is faster."""
        candidate = self.best.with_(change)
        if candidate == self.best:
            return

        if time.monotonic() > self.deadline:
            self.tried.append({"change": change, "verdict": "not tried", "why": "the time is used up"})
            return

        title = ", ".join(f"{key} = {value}" for key, value in change.items())
        self.say(title)
        with phase(f"trying {title}"):
            trial = self.judge.trial(candidate, self.best, self.outputs)

        self.tried.append({"change": change, **trial})
        self.best = candidate if trial["verdict"] == KEPT else self.best


def _told(setting: Setting) -> dict[str, Any]:
    return {"threads": setting.threads, "options": dict(setting.options)}


def _machine(bundle: Bundle, device: Device) -> dict[str, Any]:
    """The device's fingerprint; refused where it is not what the bundle is for: its options are not the board's."""
    if not device.timed:
        raise UsageError("an emulator gives no figure of speed", where=device.name, remedy="search on the board itself")

    machine = Watch(device).machine()
    try:
        profile = targets.load(bundle.target)
    except UsageError:
        return machine  # a profile of the exporting machine does not describe any other

    if profile.compiler:
        raise UsageError(
            f"what runs on {profile.name} is made by {profile.compiler}, whose options these are not",
            where=str(bundle.path),
        )

    foreign = not targets.host_is(profile) if device.where == "host" else profile.isa not in ("", machine.get("isa"))
    if foreign:
        raise UsageError(
            f"this machine is not the target {profile.name}: the fastest options here need not be the fastest there",
            where=str(bundle.path),
            remedy="search on the board: --device ssh://user@host",
        )

    return machine


def _most_threads(bundle: Bundle, machine: Mapping[str, Any]) -> int:
    """Cores of the device, and no more than the profile's own processor has ("4x Cortex-A76")."""
    cores = int(machine.get("cores") or 1)
    try:
        named = [int(n) for n in re.findall(r"(\d+)x ", targets.load(bundle.target).cpu)]
    except UsageError:
        named = []

    return min(cores, sum(named)) if named else cores


def _counts(bundle: Bundle, was: Setting, most: int) -> list[Change]:
    """Other numbers of threads up to `most`, each alone and with what only matters to several (how they wait)."""
    doubled = {2**k for k in range(most.bit_length()) if 2**k <= most}
    return [
        {"threads": count, **more}
        for count in sorted({*doubled, most} - {was.threads})
        for more in ({}, *({key: value} for key, value in _pairs(bundle, was, count) if key not in _knobs(bundle, 1)))
    ]


def _values(bundle: Bundle, was: Setting, threads: int) -> list[Change]:
    """Every option's values but the recorded one."""
    return [{key: value} for key, value in _pairs(bundle, was, threads)]


def _pairs(bundle: Bundle, was: Setting, threads: int) -> list[tuple[str, Any]]:
    knobs = _knobs(bundle, threads)
    return [(key, value) for key in knobs for value in knobs[key] if value != was.options.get(key, knobs[key][0])]


def _knobs(bundle: Bundle, threads: int) -> dict[str, tuple[Any, ...]]:
    return bundle.runtime.knobs(threads)
