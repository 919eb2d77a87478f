"""Two bundles side by side on one device, to a bench result; and how far one bundle differs from itself."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..bundle.reader import Bundle
from ..config import target as targets
from ..core.errors import BundleError, EdgeftError, UsageError
from ..core.verdict import ADVISORY
from ..measure import pairs
from ..measure.latency import FEWEST, SCHEMA
from ..measure.stats import clopper_pearson
from . import energy, heat
from .arms import Side, WorkerArm, opened
from .device import WORKER, Device, Here
from .link import Link, LinkLost
from .worker import HOST_PROVIDERS

TOLERANCE = 0.02
#: seconds of single calls of each side, for the percentiles
SINGLE_SECONDS, MOST_SINGLES = 1.0, 2000
#: connections that may break during a comparison, and seconds to wait before connecting again
LOSSES, RECONNECT_SECONDS = 3, 2.0
Say = Callable[[str], None]


class Watch:
    """Readings of the device's heat, what the workers say of their machine, connections that broke."""

    def __init__(self, device: Device, say: Say | None = None) -> None:
        self.device, self.say, self.lost = device, say, 0
        self.readings: list[dict[str, Any]] = []
        self.fingerprint: dict[str, Any] = {}
        self.unsteady = 0

    @contextlib.contextmanager
    def opener(self, *sides: Side, pin: int | None) -> Iterator[tuple[WorkerArm, ...]]:
        with opened(*sides, device=self.device, pin=pin) as arms:
            self.fingerprint = arms[-1].fingerprint
            self.unsteady += sum(not arm.steady for arm in arms)
            self.readings.append(arms[0].link.ask("heat"))
            yield arms
            self.readings.append(arms[0].link.ask("heat"))

    def again(self, error: EdgeftError) -> bool:
        """Whether to begin a round anew: after a connection that broke, `LOSSES` times in all."""
        if not isinstance(error, LinkLost) or self.lost >= LOSSES:
            return False

        self.lost += 1
        if self.say:
            self.say(f"{error.message}; connecting again ({self.lost} of {LOSSES})")
        time.sleep(RECONNECT_SECONDS)
        return True

    def kept_up(self, work: Callable[[], Any]) -> Any:
        """What `work` returns, begun anew where the connection broke."""
        while True:
            try:
                return work()
            except LinkLost as error:
                if not self.again(error):
                    raise

    def machine(self) -> dict[str, Any]:
        """The fingerprint of the device's machine, asked of a process there."""

        def asked() -> dict[str, Any]:
            explain = getattr(self.device, "complaint", None)
            with Link(self.device.argv(WORKER), name=self.device.name, explain=explain) as link:
                return dict(link.ask("who")["fingerprint"])

        return dict(self.kept_up(asked))

    @property
    def throttled(self) -> bool | None:
        return heat.throttled(self.readings[0], self.readings[-1]) if self.readings else None


def compare(
    new: Bundle,
    old: Bundle,
    *,
    tolerance: float = TOLERANCE,
    spread: float | None = None,
    threads: int | None = None,
    max_seconds: float = 60.0,
    singles: bool = True,
    advisory: str = "",
    device: Device | None = None,
    seed: int | None = None,
    say: Say | None = None,
) -> dict[str, Any]:
    """A bench result of `new` against `old`, both run here and now, in fresh processes.

    `tolerance` is what was asked for (0.02 = 2 %); where `spread`, the A/A spread of the host, is larger it counts
    instead, and the result says so. `threads` None takes each bundle's own number; they have to agree. `singles` also
    measures percentiles of single calls of both sides and of the new one's float baseline. With `advisory`, a sentence
    that says why, the verdict is advisory. Raises `BundleError`, `Missing`, `SystemFailure`.
    """
    if not 0 < tolerance < 10:
        raise UsageError(f"the tolerance {tolerance:.3g} is not valid", remedy="give a percentage above 0, such as 2")

    counts = [threads or bundle.manifest["runtime"]["threads"] for bundle in (new, old)]
    if counts[0] != counts[1]:
        raise UsageError(
            f"the bundles run with {counts[0]} and {counts[1]} threads", remedy="name one number for both: --threads"
        )

    effective = max(tolerance, spread or 0.0)
    sides = (Side(old.path, threads), Side(new.path, threads))
    device = device or Here()
    watch = Watch(device, say)
    provider = new.manifest["runtime"]["options"].get("provider", HOST_PROVIDERS[0])
    regression = pairs.regression(
        lambda: watch.opener(*sides, pin=counts[0]),
        tolerance=effective,
        max_seconds=max_seconds,
        wall_only=provider not in HOST_PROVIDERS,
        rng=np.random.default_rng(seed),
        again=watch.again,
    )
    if say:
        say(f"{regression.quads} quads in {len(regression.rounds)} pairs of processes, {regression.seconds:.0f} s")
    both = (sides[1], sides[0], device, counts[0])
    measured = watch.kept_up(lambda: _singles(*both, has_float=_has_float(new))) if singles else {}
    return {
        "schema": SCHEMA,
        **_figures(regression, advisory),
        "tolerance_pct": 100 * effective,
        "asked_pct": 100 * tolerance,
        "spread_pct": None if spread is None else 100 * spread,
        **measured.get("new", {}),
        **{f"old_{key}": value for key, value in measured.get("old", {}).items()},
        **{f"float_{key}": value for key, value in measured.get("float", {}).items()},
        **({"energy": measured["energy"]} if measured else {}),
        "notes": _notes(new, old, effective, tolerance, spread, watch),
        **_circumstances(watch),
    }


def _figures(regression: pairs.Regression, advisory: str) -> dict[str, Any]:
    """The verdict and how it was reached: estimate, interval, clock and the pairs of processes behind them."""
    return {
        "verdict": ADVISORY if advisory else regression.verdict,
        "why": f"{regression.why}; {advisory}" if advisory else regression.why,
        "estimate_pct": _percent(regression.estimate),
        "ci99_pct": _interval(regression),
        "clock": regression.clock,
        "why_clock": regression.why_clock,
        "samples": 4 * regression.quads,
        "looks": regression.looks,
        "pairs_pct": [_percent(ratio) for ratio in regression.rounds],
        "quads": regression.quads,
        "seconds": regression.seconds,
    }


def _circumstances(watch: Watch) -> dict[str, Any]:
    """The device, its machine, its heat, and whether warm-up settled."""
    return {
        "steady": not watch.unsteady,
        "throttled": watch.throttled,
        "heat": watch.readings[-1] if watch.readings else None,
        "device": watch.device.name,
        "where": watch.device.where,
        "fingerprint": watch.fingerprint,
    }


def itself(
    bundle: Bundle,
    *,
    threads: int | None = None,
    max_seconds: float = 60.0,
    rounds: int = 12,
    device: Device | None = None,
) -> dict[str, Any]:
    """How far a bundle differs from itself here: {"spread", "pairs_pct", "quads", "clock", "seconds", "fingerprint"}.

    `spread` is the largest deviation of a pair's median from 1 among `rounds` pairs of fresh processes; the chance that
    the next pair lies outside is at most `beyond` with 95 % confidence. A `fail` asks that much of all pairs of a look.
    """
    watch = Watch(device or Here())
    side = Side(bundle.path, threads)
    count = threads or bundle.manifest["runtime"]["threads"]
    regression = pairs.regression(
        lambda: watch.opener(side, side, pin=count),
        tolerance=TOLERANCE,
        max_seconds=max_seconds,
        looks=(3, rounds),
        settle=False,
        again=watch.again,
    )
    deviations = [abs(math.log(ratio)) for ratio in regression.rounds]

    return {
        "spread": math.expm1(max(deviations)),
        "beyond": clopper_pearson(0, len(deviations), 0.9)[1],
        "pairs_pct": [_percent(ratio) for ratio in regression.rounds],
        "quads": regression.quads,
        "clock": regression.clock,
        "throttled": watch.throttled,
        "seconds": regression.seconds,
        "fingerprint": watch.fingerprint,
    }


def alone(
    bundle: Bundle, *, threads: int | None, seconds: float, fewest: int, device: Device
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what `measure.latency.measure` found, the fingerprint) of single calls in a process of its own on `device`."""
    count = threads or bundle.manifest["runtime"]["threads"]

    def measured() -> tuple[dict[str, Any], dict[str, Any]]:
        with opened(Side(bundle.path, threads), device=device, pin=count) as (arm,):
            before = arm.link.ask("heat")
            result = arm.single(seconds, fewest, MOST_SINGLES)
            result["throttled"] = heat.throttled(before, arm.link.ask("heat"))
            result["energy"] = energy.of_arms((arm,), "")
            return result, arm.fingerprint

    measurement: tuple[dict[str, Any], dict[str, Any]] = Watch(device).kept_up(measured)
    return measurement


def _singles(new: Side, old: Side, device: Device, pin: int, *, has_float: bool) -> dict[str, dict[str, Any]]:
    """Percentiles of single calls of each side, in processes of their own: only one of them computes at a time."""
    bundles = {"new": new, "old": old}
    if has_float:
        bundles["float"] = Side(new.bundle, new.threads, baseline=True)

    results = {}
    with opened(*bundles.values(), device=device, pin=pin) as arms:
        for name, arm in zip(bundles, arms):
            result = arm.single(SINGLE_SECONDS, FEWEST if arm.run_ns < 2e7 else 8, MOST_SINGLES)
            results[name] = {key: result[key] for key in result if key.endswith("_ms")}
        results["energy"] = energy.of_arms((arms[1], arms[0]), "old")

    return results


def _has_float(bundle: Bundle) -> bool:
    try:
        return bool(bundle.baseline_path(next(iter(bundle.manifest["graphs"]))["name"]))
    except BundleError:
        return False


def _notes(
    new: Bundle, old: Bundle, effective: float, tolerance: float, spread: float | None, watch: Watch
) -> list[str]:
    notes = []
    if effective > tolerance:
        notes.append(f"this machine differs from itself by {effective:.2%}, so {tolerance:.2%} cannot be asked of it")

    if spread is None:
        notes.append("this machine was never calibrated (edgeft bench BUNDLE --calibrate)")
    if old.backend != new.backend:
        notes.append(f"the runtimes differ: {old.backend} before, {new.backend} now")

    with contextlib.suppress(UsageError):
        profile = targets.load(new.target)
        elsewhere = profile.isa and watch.fingerprint.get("isa") not in (None, profile.isa)
        if elsewhere or (watch.device.where == "host" and not targets.host_is(profile)):
            notes.append(f"measured on a machine that is not the target {new.target}")

    if watch.throttled:
        causes = watch.readings[-1]["now"] or ["throttle events were counted"]
        notes.append(f"the board throttled while it was measured ({', '.join(causes)}): both sides were slowed down")

    if watch.lost:
        notes.append(f"the connection broke {watch.lost} time(s); those rounds were measured anew")
    if watch.unsteady:
        notes.append("not every process settled while warming up")

    return [note.replace("%", " %") for note in notes]


def _percent(ratio: float) -> float | None:
    return 100 * (ratio - 1) if math.isfinite(ratio) else None


def _interval(regression: pairs.Regression) -> list[float] | None:
    low, high = _percent(regression.low), _percent(regression.high)
    return None if low is None or high is None else [low, high]
