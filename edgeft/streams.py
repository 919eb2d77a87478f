"""A bundle that listens: what its model detects in a sound that comes in chunks, and how well."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .bundle import reader as bundles
from .core import interrupt
from .core.errors import UsageError
from .inputs import sound_chunks
from .measure import stats
from .metrics import events
from .predict import Predictor, predictor


@dataclass
class Clock:
    """The seconds of a sound that came so far."""

    seconds: float = 0.0


def listen(
    opened: bundles.Bundle,
    sound: str | Path | Iterable[np.ndarray],
    *,
    rate: int | None = None,
    threads: int | None = None,
    state: Path | str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Detections as they come; see `edgeft.listen`. The bundle, `options` and the model are checked at the call."""
    model = _model(opened, threads=threads, state=state)
    if isinstance(sound, (str, Path)):
        return _of_file(model, str(sound), rate, options or {}, Clock())
    if rate is None:
        raise UsageError("chunks of samples have no rate", where="rate", remedy="state it, in hertz")
    return _detections(model, sound, rate, options or {})


def judged(
    opened: bundles.Bundle,
    name: str,
    *,
    rate: int | None = None,
    truth: Path | None = None,
    threads: int | None = None,
    state: Path | str | None = None,
    options: Mapping[str, Any] | None = None,
    tell: Callable[[Mapping[str, Any]], None] = lambda detection: None,
) -> dict[str, Any]:
    """{"input", "seconds", "detections"} of the sound in the file `name` ("-": standard input), which `tell` gets one
    by one as they come; with `truth`, a label track, `judged` as well.

    Of a task that writes texts, `text` is what was heard in all. `judged` has "detected", "events", "detection_rate"
    and its interval, "false_alarms", "hours", "false_alarms_per_hour" and its interval, and "per_label". Intervals are
    exact, of 95 %.
    """
    expected = None if truth is None else events.read(truth)
    model = _model(opened, threads=threads, state=state)
    clock = Clock()
    detections = []

    for detection in _of_file(model, name, rate, options or {}, clock):
        tell(detection)
        detections.append(detection)

    result = {"input": name, "seconds": round(clock.seconds, 3), "detections": detections}
    if opened.task.answer == "text":
        result["text"] = " ".join(str(event["label"]) for event in detections)
    if expected is not None:
        result["judged"] = _figures(detections, expected, model, options or {}, clock.seconds / 3600)

    return result


def _model(opened: bundles.Bundle, **settings: Any) -> Predictor:
    if opened.task.listen is None:
        raise UsageError(f"the task {opened.task.name} answers single inputs, no stream", remedy="leave out --stream")

    model = predictor(opened, **settings)
    return _in_steps(opened, model, settings.get("threads")) if opened.task.listens_in_steps else model


def _in_steps(opened: bundles.Bundle, model: Predictor, threads: int | None) -> Predictor:
    """The model's streaming graph in its place."""
    table = opened.manifest.get("stream")
    if table is None:
        raise UsageError(
            "the bundle has no streaming graph",
            where=str(opened.path),
            remedy="export its run again with --set export.stream=0.08, seconds of sound a step",
        )
    if model.version is not None:
        raise UsageError(
            "the streaming graph is the model as exported, and this one has learned since",
            where=str(opened.path),
            remedy="predict whole recordings, or set the state back by `edgeft personalize --rollback`",
        )

    session = opened.session(threads=threads, name=table["graph"])
    return replace(model, session=session, spec={**model.spec, "stream": table})


def _of_file(
    model: Predictor, name: str, rate: int | None, options: Mapping[str, Any], clock: Clock
) -> Iterator[dict[str, Any]]:
    with sound_chunks.opened(name, int(model.spec.get("rate", 0)), rate) as chunks:
        yield from _detections(model, _counted(chunks, clock), chunks.rate, options)


def _counted(chunks: sound_chunks.Chunks, clock: Clock) -> Iterator[np.ndarray]:
    count = 0
    for samples in chunks.samples:
        interrupt.check()
        count += len(samples)
        clock.seconds = count / chunks.rate
        yield samples


def _detections(
    model: Predictor, chunks: Iterable[np.ndarray], rate: int, options: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    detections: Iterator[dict[str, Any]] = model.task.listen(
        model.session.run, chunks, rate, model.spec, model.labels, options
    )
    return detections


def _figures(
    detections: list[dict[str, Any]],
    expected: Iterable[events.Event],
    model: Predictor,
    options: Mapping[str, Any],
    hours: float,
) -> dict[str, Any]:
    per_label = events.judge(detections, expected, model.task.detectable(model.labels, options))
    count, detected, alarms = (
        sum(row[key] for row in per_label.values()) for key in ("events", "detected", "false_alarms")
    )

    return {
        "detected": detected,
        "events": count,
        "detection_rate": detected / count if count else None,
        "detection_rate_interval": list(stats.clopper_pearson(detected, count)),
        "false_alarms": alarms,
        "hours": hours,
        "false_alarms_per_hour": alarms / hours,
        "false_alarms_per_hour_interval": [bound / hours for bound in stats.poisson_bounds(alarms)],
        "per_label": per_label,
    }
