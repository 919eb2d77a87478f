"""The fastest of a board's candidates: each a verified bundle, measured against the float model, one of them shipped.

How the one is chosen is `measure.choose`, a pure function. Here its figures are collected, and written into the report
of what is shipped, as `choice`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..config.target import Target
from ..core.errors import EdgeftError
from ..core.progress import phase
from ..core.verdict import FAIL
from ..devices.device import Device
from ..devices.speeds import speed, unmeasured
from ..measure.choose import Candidate, Choice, Speed, choose
from ..verify.document import clean
from .candidates import name
from .pack import PackedTarget
from .quantized_run import QuantizedRun, Say

#: seconds of a board's measurements where nobody says so; each comparison has a round of processes at least
SECONDS = 120.0
#: the share of all choices that may be wrong by chance, over all comparisons of a board
ERROR = 0.01


@dataclass(frozen=True)
class Measurement:
    """Where and how long candidates are measured; `seconds` are those of a board."""

    device: Device
    seconds: float = SECONDS


@dataclass(frozen=True)
class CandidateResult:
    """One candidate of a board: its bundle, or what prevented it."""

    variant: Target
    result: PackedTarget | EdgeftError

    @property
    def report(self) -> dict[str, Any]:
        return self.result.report if isinstance(self.result, PackedTarget) else {}


def fastest(
    run: QuantizedRun, profile: Target, results: Sequence[CandidateResult], measurement: Measurement, say: Say
) -> PackedTarget:
    """The candidate to ship for a board, with `choice` in its report.

    `results` are those of the board's candidates, what a plain export would make first. Raises the first one's error
    where no candidate has a bundle.
    """
    packed = [candidate.result for candidate in results]
    if all(isinstance(result, EdgeftError) for result in packed):
        raise _none(results)

    why = unmeasured(profile, measurement.device)
    yardstick = _yardstick(profile, results)
    speeds = [None] * len(results) if why else _speeds(results, yardstick, measurement, say)
    rows = [_candidate(candidate, speed_, k == yardstick) for k, (candidate, speed_) in enumerate(zip(results, speeds))]
    choice = choose(rows)
    chosen = packed[choice.chosen]
    assert isinstance(chosen, PackedTarget)
    say(f"{profile.name}: {rows[choice.chosen].name} is chosen: {choice.reasons[choice.chosen]}")

    chosen.report["choice"] = clean(
        {
            "asked": rows[0].name,
            "chosen": rows[choice.chosen].name,
            "yardstick": None if why else rows[yardstick].name,
            "unmeasured": why,
            "device": measurement.device.name,
            "where": measurement.device.where,
            "confidence": 1 - ERROR / max(1, len(results) - 1),
            "candidates": [_row(run, results[k], rows[k], choice, k) for k in range(len(results))],
        }
    )

    return chosen


def _yardstick(profile: Target, results: Sequence[CandidateResult]) -> int:
    """The place of the float model in the profile's own runtime; of the first bundle where there is none."""
    bundles = [k for k, candidate in enumerate(results) if isinstance(candidate.result, PackedTarget)]
    floats = [k for k in bundles if not results[k].variant.scheme.quantized]
    return next((k for k in floats if results[k].variant.backend == profile.backend), bundles[0])


def _speeds(
    results: Sequence[CandidateResult], yardstick: int, measurement: Measurement, say: Say
) -> list[Speed | None]:
    """The speed of each candidate that may be chosen over the yardstick's; None of the others."""
    told: list[Speed | None] = [None] * len(results)
    base = results[yardstick].result
    assert isinstance(base, PackedTarget)
    told[yardstick] = Speed(1.0, 1.0, 1.0)
    others = [k for k, c in enumerate(results) if k != yardstick and c.report.get("verdict", FAIL) != FAIL]
    share = measurement.seconds / max(1, len(others))

    for k in others:
        result, title = results[k].result, name(results[k].variant)
        assert isinstance(result, PackedTarget)
        say(f"{results[k].variant.name}: measuring {title} against {name(results[yardstick].variant)}")
        try:
            with phase(f"{results[k].variant.name}: measuring {title}"):
                told[k] = speed(
                    result.converted.staging,
                    base.converted.staging,
                    device=measurement.device,
                    seconds=share,
                    confidence=1 - ERROR / max(1, len(results) - 1),
                )
        except EdgeftError as error:
            say(f"{results[k].variant.name}: {title} could not be measured: {error.message}")

    return told


def _candidate(result: CandidateResult, measured: Speed | None, yardstick: bool) -> Candidate:
    variant, report = result.variant, result.report
    return Candidate(
        name(variant),
        report.get("verdict"),
        _why(result),
        measured,
        _accuracy(report).get("drop"),
        int((report.get("size") or {}).get("quantized_bytes") or 0),
        "integer" if variant.scheme.is_integer else f"{variant.backend}, float",
        yardstick and not variant.scheme.quantized,
    )


def _why(result: CandidateResult) -> str:
    """What prevented the candidate, or the first required gate that it failed; "" where it passed."""
    if isinstance(result.result, EdgeftError):
        error = result.result
        return f"{error.where}: {error.message}" if error.where else error.message

    bad = [
        gate for gate in result.report["gates"] if gate["required"] and gate["verdict"] not in ("pass", "unverified")
    ]
    deciding = [gate for gate in bad if gate["verdict"] == result.report["verdict"]]

    return f"{deciding[0]['name']}: {deciding[0]['why'].split('; ')[0]}" if deciding else ""  # advice is the gate's own


def _accuracy(report: dict[str, Any]) -> dict[str, Any]:
    return next((dict(gate) for gate in report.get("gates", ()) if gate["name"] == "accuracy"), {})


def _row(
    run: QuantizedRun, result: CandidateResult, candidate: Candidate, choice: Choice, place: int
) -> dict[str, Any]:
    """One candidate as the report has it. A speed that the choice did not ask for is that of the gate `latency`."""
    latency = result.report.get("latency") or {}
    measured = candidate.speed
    scheme = run.schemes.get(result.variant.scheme.name)
    return {
        "name": candidate.name,
        "backend": result.variant.backend,
        "format": result.variant.scheme.format,
        "method": scheme.method if scheme and result.variant.scheme.trainable else None,
        "verdict": candidate.verdict,
        "chosen": place == choice.chosen,
        "pareto": place in choice.pareto,
        "why": choice.reasons[place],
        "speedup": measured.estimate if measured else latency.get("speedup"),
        "interval": _interval(candidate) if measured else latency.get("ci99"),
        "in_choice": measured is not None,
        "metric": _accuracy(result.report).get("quantized"),
        "yardstick": candidate.yardstick,
        "drop": candidate.drop,
        "bytes": candidate.size or None,
    }


def _interval(candidate: Candidate) -> list[float] | None:
    """The interval of a measured speed; None of the yardstick, and where there were too few quads for one."""
    speed_ = candidate.speed
    bounded = speed_ is not None and not candidate.yardstick and math.isfinite(speed_.high)
    return [speed_.low, speed_.high] if speed_ is not None and bounded else None


def _none(results: Sequence[CandidateResult]) -> EdgeftError:
    """The error of what was asked for, with those of the other candidates."""
    errors = {name(c.variant): c.result for c in results if isinstance(c.result, EdgeftError)}
    (first, error), *others = errors.items()
    error.message = f"{first}: {error.message}"
    also = [f"{other} failed too: {found.message}" for other, found in others]
    error.remedy = "; ".join(filter(None, [error.remedy, *also]))
    return error
