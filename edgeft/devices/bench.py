"""What `edgeft bench` does with a bundle: measure it, compare it, accept it, calibrate the machine with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..bundle.reader import Bundle
from ..core.errors import UsageError
from ..core.progress import phase
from ..core.verdict import ADVISORY
from ..measure import energy, store
from ..measure.fingerprint import fingerprint
from ..measure.latency import FEWEST, P99_NEEDS, measure, rate
from . import compare as sides
from .device import Device

#: seconds of a single measurement, of a comparison and of a calibration where nobody says so
ALONE, COMPARED = 3.0, 60.0
#: what of a result goes into the history
REMEMBERED = (
    *(
        "verdict",
        "estimate_pct",
        "ci99_pct",
        "tolerance_pct",
        "clock",
        "p50_ms",
        "old_p50_ms",
        "float_p50_ms",
        "throttled",
    ),
)


def bench(
    bundle: Bundle,
    against: Bundle | None,
    *,
    accept: bool,
    calibrate: bool,
    tolerance: float | None,
    threads: int | None,
    seconds: float | None,
    baselines: Path,
    cross_host: bool,
    device: Device,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """As `edgeft.bench`, whose docstring it is."""
    _check_request(against, accept=accept, calibrate=calibrate, device=device)
    here = _fingerprint(device, threads, say)
    about = {"path": str(bundle.path), "target": bundle.target, "backend": bundle.backend}

    if calibrate:
        with phase("measuring how far the bundle differs from itself"):
            return {**_calibrated(bundle, here, threads, seconds, baselines, device), **about}

    regression = None
    if against is None and not accept:
        regression = store.find(baselines, bundle, here, cross_host=cross_host)
        if regression is not None:
            from ..bundle import reader as bundles

            against = bundles.open(regression.path)
    if against is None:
        if tolerance is not None and not accept:
            raise UsageError(
                "a tolerance needs something to compare with", remedy="--against BUNDLE, or --accept a baseline first"
            )
        say(f"measuring {bundle.path.name} on {device.name}: about {seconds or ALONE:g} s")
        result = {**_alone(bundle, threads, seconds or ALONE, device), **about}
    else:
        count = threads or bundle.manifest["runtime"]["threads"]
        foreign = "the baseline was accepted on another kind of machine" if regression and regression.cross_host else ""
        with phase(f"comparing {bundle.path.name} with {against.path.name}"):
            result = sides.compare(
                bundle,
                against,
                tolerance=sides.TOLERANCE if tolerance is None else tolerance / 100,
                spread=store.spread(baselines, here, bundle.backend, count),
                threads=threads,
                max_seconds=seconds or COMPARED,
                advisory=foreign,
                device=device,
                say=say,
            )
        result |= {**about, **_digests(bundle, against)}
        if regression is not None or store.history(baselines):
            _remember(baselines, bundle, result, here)
    if accept:
        name = store.accept(baselines, bundle, here, {key: result.get(key) for key in ("p50_ms", "verdict")})
        say(f"accepted: {store.key_of(bundle)} is now {name[:12]} in {baselines}")
        result["accepted"] = name
    return result


def _check_request(against: Bundle | None, *, accept: bool, calibrate: bool, device: Device) -> None:
    if not device.timed:
        raise UsageError(
            "an emulator gives no figure of speed", where=device.name, remedy=f"edgeft verify --device {device.name}"
        )
    if calibrate and (against is not None or accept):
        raise UsageError("--calibrate measures the machine, not a bundle", remedy="run it by itself")


def _digests(bundle: Bundle, against: Bundle) -> dict[str, Any]:
    return {"against": str(against.path), "baseline": store.digest(against), "artifact": store.digest(bundle)}


def _remember(baselines: Path, bundle: Bundle, result: dict[str, Any], here: dict[str, Any]) -> None:
    line = {key: result.get(key) for key in REMEMBERED}
    names = {"key": store.key_of(bundle), "name": bundle.name, "target": bundle.target, "backend": bundle.backend}
    hashes = {"artifact": result["artifact"], "baseline": result["baseline"], "host": store.host_id(here)}
    store.remember(baselines, {**names, **hashes, **line})


def _fingerprint(device: Device, threads: int | None, say: Callable[[str], None]) -> dict[str, Any]:
    if device.where == "host":
        return fingerprint(threads=threads)
    return {**sides.Watch(device, say).machine(), "threads": threads}


def _alone(bundle: Bundle, threads: int | None, seconds: float, device: Device) -> dict[str, Any]:
    """Single calls: in this process, or in one on the device."""
    timely = bundle.task.real_time
    fewest = P99_NEEDS if timely else FEWEST
    if device.where != "host":
        measured, where = sides.alone(bundle, threads=threads, seconds=seconds, fewest=fewest, device=device)
        context = {"fingerprint": where, "device": device.name, "where": device.where, "verdict": ADVISORY}
        return {**measured, **({"rate_hz": rate(measured)["rate_hz"]} if timely else {}), **context}

    session = bundle.session(threads=threads, exact=False)
    samples = bundle.samples()
    session.run({tensor.name: samples[f"input/{tensor.name}"][:1] for tensor in session.inputs})
    recorded = bundle.manifest["runtime"]
    where = fingerprint(
        threads=threads or recorded["threads"], runtime={"name": bundle.backend, "version": bundle.runtime.version()}
    )
    result = measure(session.invoke, max_seconds=seconds, min_samples=fewest, fingerprint=where)
    result["energy"] = energy.as_result(energy.here([session.invoke]), "")
    if timely:
        result["rate_hz"] = rate(result)["rate_hz"]

    return {**result, "verdict": ADVISORY}  # nothing to compare with: nothing was judged


def _calibrated(
    bundle: Bundle,
    here: dict[str, Any],
    threads: int | None,
    seconds: float | None,
    baselines: Path,
    device: Device,
) -> dict[str, Any]:
    spread = sides.itself(bundle, threads=threads, max_seconds=seconds or COMPARED, device=device)
    count = threads or bundle.manifest["runtime"]["threads"]
    stored = store.keep_spread(baselines, here, bundle.backend, count, spread)
    return {**spread, "spread_pct": 100 * spread["spread"], "kept": str(stored), "verdict": ADVISORY}
