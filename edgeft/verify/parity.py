"""Parity: does the artifact, in its runtime, compute what the quantized graph computed?

Runtimes round differently (half away from zero or to even, in fixed or floating point), so an element may be one
quantization step off after a single op, and such steps wander through a deep net without growing much on average. The
maximum over many outputs is therefore no measure of a fault; the typical difference, its tail, and the decisions that
were not close calls are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..config.formats import int8
from ..config.numeric import Numeric
from ..core.errors import BundleError, Missing
from ..core.verdict import FAIL, INCONCLUSIVE, PASS, UNVERIFIED, Verdict
from ..tasks import Task, compared, in_order_of
from .accuracy import Outputs

#: half of all output elements are at most one step off: more is not rounding but another scale or zero point.
MEDIAN_STEPS = 1.0
#: the same of each output of several, and twice as many of each channel: a fault of one of them must not vanish among
#: the others. Groups of fewer elements have no median worth the name.
CHANNEL_FACTOR, GROUP_NEEDS = 2.0, 100
#: 99 % of the elements are at most this many steps off (3 % of a range of 8 bits): the reach of rounding in deep nets.
TAIL, TAIL_STEPS = 0.99, 8.0
#: a decision is clear when flipping it takes more than the one step that either side may be off.
CLEAR_STEPS = 2.0
#: of the clear decisions this share must be equal; one flip is no evidence against it in fewer than a hundred.
CLEAR_AGREEMENT = 0.99
#: the same runtime, version and CPU give the same bits, or one step where threads share out a sum differently.
SAME_RELATIVE, SAME_STEPS = 1e-5, 1.0
#: preprocessing again: floats to this, and at most this share of the elements off by up to 1.5 pixel levels, which is
#: what two versions of an image library do to each other when they resize.
PREPROCESS_ABSOLUTE, PREPROCESS_SHARE, PREPROCESS_LEVELS = 1e-4, 0.05, 1.5
#: where rounding alone moves the outputs further (measured on the graph at export), so many times as far is allowed,
#: and never more steps than these: a net beyond them is too restless to be compared
REACH_MARGIN, MOST_MEDIAN, MOST_TAIL = 1.5, 8.0, 32.0
Steps = Mapping[str, float | Sequence[float]]
_SLACK = 1e-3  # of a step: a float32 output is not an exact multiple of it


def parity(
    task: Task,
    graph_outputs: Outputs,
    artifact_outputs: Outputs,
    step: Steps,
    reach: Mapping[str, Sequence[float]] | None = None,
    *,
    metric: str = "quantized graph",
    against: str = "the quantized graph",
) -> Verdict:
    """Artifact against quantized graph, on the same inputs; `step` is one quantization step of each output, or one of
    each channel (the last axis) where they differ.

    `reach` is how far rounding alone moves each output, (median, 99 %) in steps, where that was measured. `metric`
    names the comparison in the report, `against` what the outputs are held against.

    Sets of the task (`Task.sets`) are compared without their order: a row that only one of both has differs from
    whatever is left for it.

    Fails on other names or shapes, on values that are not finite, on differences beyond rounding (of all outputs, of
    one of them or of one channel), and on clear decisions that flipped. Channels with steps of their own are held to
    the limits one by one. Inconclusive when not one decision was clear and some close ones flipped.
    """
    return _compare(task, graph_outputs, artifact_outputs, step, against, _limits(reach), metric=metric, same=False)


def _limits(reach: Mapping[str, Sequence[float]] | None) -> tuple[float, float, float]:
    """Steps allowed in the median and in the tail, and the margin of a clear decision."""
    widest = [max([0.0, *(float(r[k]) for r in (reach or {}).values())]) * REACH_MARGIN for k in (0, 1)]
    median = min(max(MEDIAN_STEPS, widest[0]), MOST_MEDIAN)
    tail = min(max(TAIL_STEPS, widest[1]), MOST_TAIL)
    return median, tail, CLEAR_STEPS * (1 + tail - TAIL_STEPS)


def samples_parity(
    task: Task,
    stored: Outputs,
    outputs: Outputs,
    step: Steps,
    *,
    same: bool,
    reach: Mapping[str, Sequence[float]] | None = None,
) -> Verdict:
    """Outputs found now against those that the bundle stored at export.

    `same` = the same runtime, version and kind of CPU: then they are equal within 1e-5 of the largest, or one step.
    Elsewhere the limits of `parity` hold.
    """
    against = "the outputs stored at export"
    return _compare(task, stored, outputs, step, against, _limits(reach), metric="recorded outputs", same=same)


def output_steps(
    tensors: Sequence[Mapping[str, Any]], outputs: Outputs, activations: Numeric = int8.AFFINE
) -> dict[str, float | list[float]]:
    """One step of each output: its `step` or `scale` in the manifest, else the step of `activations`, the scheme's
    format, on the range that `outputs` span.

    Several numbers are one step of each channel; `BundleError` where they do not fit it.
    """
    steps: dict[str, float | list[float]] = {}
    for tensor in tensors:
        scale = tensor.get("step") or tensor.get("scale")
        values = np.asarray(outputs[tensor["name"]], dtype=np.float64)
        spread = float(np.ptp(values)) if values.size else 0.0
        if isinstance(scale, (list, tuple)):
            each = [float(value) for value in scale]
            if len(each) != values.shape[-1] or not all(0 < value < math.inf for value in each):
                raise BundleError(
                    f"has {len(each)} steps for an output of shape {values.shape}, or one that is none",
                    where=f"output {tensor['name']!r} of the manifest",
                    remedy="export the bundle again",
                )

            steps[tensor["name"]] = each
        else:
            steps[tensor["name"]] = float(scale) if scale else max(spread / activations.steps, 1e-30)

    return steps


def preprocessing(task: Task, raws: Sequence[Any], stored: Outputs, spec: Mapping[str, Any]) -> Verdict:
    """Preprocess the raw samples again by the manifest and compare with the stored tensors (n, ...).

    Unverified where the package that would resize them is not installed: the stored tensors serve the other gates.
    """
    verdict = Verdict("parity", FAIL, "no raw samples; nothing was measured", metric="preprocessing", n=len(raws))
    if not raws:
        return verdict

    try:
        feeds = [task.preprocess(raw, spec) for raw in raws]
    except Missing as error:
        why = f"preprocessing not repeated: {error.message}; {error.remedy}"
        return Verdict("parity", UNVERIFIED, why, metric="preprocessing", n=0, required=False)

    level = PREPROCESS_ABSOLUTE
    if spec.get("kind") in ("image", "letterbox", "frames"):
        level = PREPROCESS_LEVELS / (
            float(spec.get("scale", 1)) * min([float(s) for s in spec.get("std", ())] or [1.0])
        )

    worst = 0.0
    for name, tensor in stored.items():
        again = np.concatenate([feed[name] for feed in feeds]) if name in feeds[0] else np.empty(0)
        if again.shape != tensor.shape:
            why = f"preprocessing gives {name!r} the shape {again.shape}, the stored samples have {tensor.shape}"
            return _with(verdict, FAIL, why)

        gap = np.abs(again.astype(np.float64) - tensor)
        off = float((~(gap <= PREPROCESS_ABSOLUTE)).mean())
        worst = max(worst, float(gap.max(initial=0.0)))
        if off > PREPROCESS_SHARE or not worst <= level:
            why = f"preprocessing differs from that at export: {off:.1%} of {name!r} differ, by up to {worst:.3g}"
            return _with(verdict, FAIL, why)

    why = f"{len(raws)} raw samples preprocess to the stored tensors (largest difference {worst:.2g})"
    return _with(verdict, PASS, why)


def _with(verdict: Verdict, decided: str, why: str) -> Verdict:
    return replace(verdict, verdict=decided, why=why)


def _compare(
    task: Task,
    expected: Outputs,
    outputs: Outputs,
    step: Steps,
    against: str,
    limits: tuple[float, float, float],
    *,
    metric: str,
    same: bool,
) -> Verdict:
    n = len(next(iter(expected.values()), ()))
    most_median, most_tail, clear_steps = limits
    blank = Verdict("parity", FAIL, "no samples; nothing was measured", metric=metric, limit=most_median, n=n)
    if n == 0:
        return blank

    fault = _fault(expected, outputs)
    if fault:
        return _with(blank, FAIL, fault)

    outputs = in_order_of(task, expected, outputs, step)
    apart = any(np.ndim(step[name]) for name in expected)
    steps = {name: _in_steps(expected[name], outputs[name], step[name]) for name in expected}
    pooled = [np.concatenate([distances.ravel() for distances in steps.values()])]
    groups = (
        [column for distances in steps.values() for column in distances.reshape(-1, distances.shape[-1]).T]
        if apart
        else pooled
    )
    median, tail, most = (max(float(np.quantile(g, q)) for g in groups) for q in (0.5, TAIL, 1.0))
    text = f"median {median:.2g}, 99 % {tail:.2g}, maximum {most:.2g} LSB"
    shifted = "" if apart else _shifted(steps, most_median)
    equal, decided, flips = np.ones(0, bool), 0, 0

    if apart:  # every value is held to its own range already, 99 % of them to 3 % of it: there is nothing to decide
        text += " for the output with the largest difference, each in its own LSB"
    else:
        decisions = compared(task, expected, outputs, step)
        if task.compare is not None:  # a box hangs on many values: flipping it takes more than 99 % of them are off
            clear_steps = max(clear_steps, min(tail, most_tail))
        equal, clear = decisions.equal, decisions.margin > clear_steps
        decided, flips = int(clear.sum()), int((clear & ~equal).sum())
        text += f"; {decided - flips} of {decided} clear {task.decision_unit} equal"
    if most_median > MEDIAN_STEPS or most_tail > TAIL_STEPS:
        text += f" (rounding reach of this model: median {most_median:.2g}, 99 % {most_tail:.2g} LSB allowed)"

    if same and most > SAME_STEPS + _SLACK and not all(_close(expected[name], outputs[name]) for name in expected):
        verdict, why = FAIL, f"differs from {against} by more than 1 LSB on the same runtime and CPU: {text}"
    elif median > most_median + _SLACK or tail > most_tail + _SLACK:
        verdict, why = FAIL, f"differs from {against} by more than rounding: {text}"
    elif shifted:
        verdict, why = FAIL, f"differs from {against} by more than rounding: {shifted}; {text}"
    elif flips > math.ceil((1 - CLEAR_AGREEMENT) * decided):
        verdict, why = FAIL, f"makes other decisions than {against}: {text}"
    elif decided == 0 and not equal.all() and task.discrete:
        verdict, why = INCONCLUSIVE, f"no decision is clear enough to compare with {against}: {text}"
    else:
        verdict, why = PASS, f"equals {against} within rounding: {text}"
    return Verdict("parity", verdict, why, metric=metric, quantized=median, limit=most_median, n=n)


def _close(expected: np.ndarray, outputs: np.ndarray) -> bool:
    largest = float(np.abs(expected).max(initial=0.0))
    return float(np.abs(outputs - expected).max(initial=0.0)) <= SAME_RELATIVE * largest


def _shifted(distances: Mapping[str, np.ndarray], most_median: float) -> str:
    """The output, or the channel of one, whose median distance in LSB is beyond rounding, as words; "" without one.

    Channels are the second axis of maps (N, C, h, w), else the last axis.
    """
    for name, values in distances.items():
        if len(distances) > 1 and values.size >= GROUP_NEEDS and np.median(values) > most_median + _SLACK:
            return f"half of {name!r} differs by {np.median(values):.2g} LSB or more"

    for name, values in distances.items():
        axis = 1 if values.ndim == 4 else values.ndim - 1
        channels = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
        if channels.shape[1] < GROUP_NEEDS or len(channels) < 2:
            continue

        medians = np.median(channels, axis=1)
        worst = int(medians.argmax())
        if medians[worst] > CHANNEL_FACTOR * most_median + _SLACK:
            return f"half of channel {worst} of {name!r} differs by {medians[worst]:.2g} LSB or more"

    return ""


def _fault(expected: Outputs, outputs: Outputs) -> str:
    """What makes a comparison in steps impossible, or ""."""
    for name, values in expected.items():
        if name not in outputs:
            return f"the output {name!r} is missing; there are {', '.join(outputs) or 'none'}"
        if outputs[name].shape != values.shape:
            return f"the output {name!r} has shape {outputs[name].shape}, expected {values.shape}"
        if not np.isfinite(outputs[name]).all():
            return f"the output {name!r} holds values that are not finite"
        if not np.isfinite(values).all():
            return f"the expected output {name!r} holds values that are not finite"

    return ""


def _in_steps(expected: np.ndarray, outputs: np.ndarray, step: float | Sequence[float]) -> np.ndarray:
    steps: np.ndarray = np.abs(outputs.astype(np.float64) - expected.astype(np.float64)) / np.asarray(step)
    return steps
