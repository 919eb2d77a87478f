"""Keywords in a stream: an answer for every window, smoothed, and the rule by which a label counts as detected.

Probabilities are averaged over the windows of the last `smoothing` seconds (Chen, Parada and Heigold, "Small-footprint
keyword spotting using deep neural networks", 2014). A label is detected where its average is the largest of all and
reaches `threshold`; then nothing is for `refractory` seconds, and the same label only once its average has been below
the threshold. Labels of what is no keyword (`BACKGROUND`, and names that begin with "_") are never detected.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...core.errors import BundleError, UsageError
from ...inputs import sound, sound_stream
from ..classify.decoding import class_logits, probabilities

#: labels that name what is no keyword
BACKGROUND = ("background", "noise", "other", "silence", "unknown")


@dataclass(frozen=True)
class Rule:
    """When a label counts as detected; seconds and a probability. Raises `UsageError` for a value that cannot be."""

    step: float = 0.1  # from answer to answer
    smoothing: float = 0.5  # over which probabilities are averaged
    threshold: float = 0.7
    refractory: float = 0.75  # without a detection after one
    ignore: tuple[str, ...] = ()  # further labels that are no keywords

    def __post_init__(self) -> None:
        for name, least, most in (("step", 0, 60), ("smoothing", 0, 60), ("threshold", 0, 1), ("refractory", 0, 3600)):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and math.isfinite(value) and least <= value <= most):
                raise UsageError(f"{value!r} is not a number from {least} to {most}", where=f"--{name}")
        if not self.step:
            raise UsageError("answers need time between them", where="--step", remedy="for example 0.1")


def detectable(labels: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """The labels that can be detected; `options` are fields of `Rule`. Raises `UsageError` for a label to ignore that
    there is not, and for a rule that cannot be."""
    rule = Rule(**options)
    for name in rule.ignore:
        if name not in labels:
            raise UsageError(
                f"the model has no label {name!r}", where="--ignore", remedy=f"it has {', '.join(map(str, labels))}"
            )
    background = [label for label in labels if label.lower() in BACKGROUND or label in rule.ignore or label[:1] == "_"]
    return [label for label in labels if label not in background]


def detections(
    answers: Iterable[tuple[float, np.ndarray]], labels: Sequence[str], rule: Rule
) -> Iterator[dict[str, Any]]:
    """{"seconds", "label", "confidence"} of each detection, as soon as it is certain.

    `answers` are (seconds, probabilities float64 (labels,)), `rule.step` apart. `seconds` is the middle of the windows
    that were averaged. Probabilities that are not finite count as 0.
    """
    names = detectable(labels, {"ignore": rule.ignore})
    count = max(1, round(rule.smoothing / rule.step))
    recent: deque[np.ndarray] = deque([np.zeros(len(labels))] * count, maxlen=count)
    quiet_until, armed = -math.inf, np.ones(len(labels), bool)

    for seconds, shares in answers:
        recent.append(np.where(np.isfinite(shares), shares, 0.0))
        average = np.mean(recent, axis=0)
        armed |= average < rule.threshold
        best = int(average.argmax())
        if labels[best] in names and armed[best] and average[best] >= rule.threshold and seconds >= quiet_until:
            armed[best], quiet_until = False, seconds + rule.refractory
            middle = max(0.0, seconds - (count - 1) / 2 * rule.step)
            yield {"seconds": round(middle, 3), "label": labels[best], "confidence": float(average[best])}


def listen(
    run: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]],
    chunks: Iterable[np.ndarray],
    rate: int,
    spec: Mapping[str, Any],
    labels: Sequence[str],
    options: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    """`detections` of a sound that comes in chunks, int16 or float32 (T,) at `rate` hertz.

    `run` maps the feeds of one window to its outputs, `options` are fields of `Rule`. Raises `UsageError` for a rule
    that cannot be and for a model that reads no features of sounds; else as `sound_stream.windows`.
    """
    rule = Rule(**options)
    detectable(labels, options)
    if spec.get("kind") != "sound":
        raise UsageError(
            f"a stream is answered from features of sounds, and this model reads {spec.get('kind')!r}",
            remedy="cut the sound into clips, and name them without --stream",
        )

    step = sound_stream.hops(rule.step, settings := sound.check(spec)) * settings.hop / settings.rate
    rule = replace(rule, step=step)
    windows = sound_stream.windows(chunks, rate, spec, step)
    return detections(((seconds, _shares(run(feeds), labels)) for seconds, feeds in windows), labels, rule)


def _shares(outputs: Mapping[str, np.ndarray], labels: Sequence[str]) -> np.ndarray:
    """The probabilities float64 (labels,) of one window; raises `BundleError` where outputs and labels do not fit."""
    logits = class_logits(outputs)
    if logits.shape != (1, len(labels)):
        raise BundleError(f"logits have shape {logits.shape}, expected (1, {len(labels)}), one a label", where="labels")
    shares: np.ndarray = probabilities(logits)[0]
    return shares
