"""Accuracy: the task's metric of the quantized artifact against the float baseline, on the same samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..config.recipe import Gates
from ..core.errors import DataError, ModelError, RecipeError
from ..core.metric import Metric
from ..core.verdict import FAIL, INCONCLUSIVE, PASS, UNVERIFIED, Verdict
from ..measure import stats
from ..tasks import Task
from . import sample_size
from .sample_size import BOOTSTRAP_NEEDS, IntervalAt

Outputs = Mapping[str, np.ndarray]
#: of a metric without bounds: the share of what the baseline has above chance that may be lost where the recipe sets no
#: limit. Of a model that is nearly right 5 % of the error are less than the steps of the integers.
_SHARE_OF_ROOM = 0.01
#: answers that agree with the truth better than by luck: the share of shuffled truths that would do as well
_LUCK = 0.05
#: a class with fewer samples than this is no evidence that labels are swapped.
LABEL_NEEDS = 5
_EPSILON = 1e-9  # 0.92 - 0.91 is a little more than 0.01 in floating point


def no_labels(task: Task) -> Verdict:
    """The gate where the samples have no labels: nothing was judged, and it says so."""
    why = (
        "the data have no labels: accuracy was not judged, only the agreement with the float model "
        "(`edgeft verify BUNDLE --data DIR` judges it on labelled data)"
    )
    name, unit = task.metric.name, task.metric.unit
    return Verdict("accuracy", UNVERIFIED, why, metric=name, unit=unit, needs="accuracy (no labels)")


def accuracy(
    task: Task,
    float_outputs: Outputs,
    quantized_outputs: Outputs,
    targets: np.ndarray,
    labels: Sequence[str],
    gates: Gates,
) -> Verdict:
    """The drop of the metric (positive = worse) against its limit.

    The interval is paired: Tango's score interval where every sample is right or wrong, else a seeded bootstrap over
    samples. `gates.decide` "point" judges the drop itself, "bound" its 95 % interval. No samples = fail. Where the
    interval holds the limit, or there are too few samples for one, `why` says so and `n_to_decide` is about how many
    would settle it.

    Raises `DataError` when the float baseline is no better than chance (nothing could be lost then), `ModelError` when
    it is not a number, `RecipeError` when the limit is as wide as what the metric has above chance.
    """
    n, measure = len(targets), task.metric
    name, unit = measure.name, measure.unit
    if n == 0:
        return Verdict("accuracy", FAIL, "no samples; nothing was measured", metric=name, unit=unit)

    before, after = task.score(float_outputs, targets), task.score(quantized_outputs, targets)
    if not math.isfinite(before):
        raise ModelError(f"the float baseline's {name} is {before}", remedy="check the float model first")

    swapped = swapped_labels(task, float_outputs, targets, labels)
    if swapped is not None:
        return Verdict("accuracy", FAIL, swapped, metric=name, unit=unit, float=before, n=n)

    check_baseline(task, float_outputs, targets, before)
    limit = drop_limit(task, gates, before, task.chance(targets))
    if not math.isfinite(after):
        why = f"{name} of the artifact is {after}"
        return Verdict("accuracy", FAIL, why, metric=name, unit=unit, float=before, limit=limit, n=n)

    drop = measure.drop(before, after)
    interval = drop_interval(task, float_outputs, quantized_outputs, targets)
    expected = _expected_interval(task, float_outputs, quantized_outputs, targets, interval)
    verdict, why, n_to_decide = decide(measure, drop, interval, limit, n, gates.decide, expected)

    return Verdict(
        "accuracy",
        verdict,
        f"{name} {measure.format(before)} float, {measure.format(after)} quantized: {why}",
        metric=name,
        unit=unit,
        float=before,
        quantized=after,
        drop=drop,
        ci95=interval,
        limit=limit,
        n=n,
        n_to_decide=n_to_decide,
    )


def allowed_drop(metric: Metric, gates: Gates, before: float) -> float:
    """The largest drop from `before` that the gates allow: `max_drop` (the metric's default where unset) and
    `max_drop_relative`, the stricter of both."""
    limits = [] if gates.max_drop is None else [gates.max_drop]
    if gates.max_drop_relative:
        limits.append(gates.max_drop_relative * abs(before))
    return min(limits, default=metric.max_drop or metric.max_drop_relative * abs(before))


def drop_limit(task: Task, gates: Gates, before: float, chance: float) -> float:
    """`allowed_drop` of the task's metric; of a share of the error that the recipe does not state, at least a hundredth
    of the baseline's distance from chance.

    Raises `RecipeError` when it is as wide as the baseline's distance from chance: such a gate could not fail.
    """
    measure = task.metric
    limit = allowed_drop(measure, gates, before)
    room = measure.drop(before, chance)
    stated = gates.max_drop is not None or gates.max_drop_relative or measure.max_drop
    if not stated and math.isfinite(room):
        limit = max(limit, _SHARE_OF_ROOM * room)

    if limit >= abs(room) and limit > 0:
        raise RecipeError(
            f"a drop of {measure.format_limit(limit)} is allowed, but the baseline's {measure.name} of "
            f"{measure.format(before)} is only {measure.format_limit(abs(room))} away from {measure.chance} "
            f"({measure.format(chance)}): this gate could never fail",
            where="gates.max_drop",
            remedy=f"choose a limit well below {abs(room):.4g}",
        )

    return limit


def check_baseline(task: Task, outputs: Outputs, targets: np.ndarray, value: float) -> None:
    """Raise `DataError` unless the float baseline beats `task.chance` beyond its one-sided 95 % noise.

    Where most samples are of one class, the answer that is always that class is hard to beat on few samples. There a
    baseline that beats it by less stands too, if its answers depend on the samples: if hardly any shuffled truth agrees
    with them as well (a permutation test).
    """
    chance, n, measure = task.chance(targets), len(targets), task.metric
    scores = task.per_sample(outputs, targets)
    if scores is not None and _is_binary(scores):
        ones = round(float(np.sum(scores)))
        luck = (
            1 - stats.binomial_cdf(ones - 1, n, chance)
            if measure.higher_is_better
            else stats.binomial_cdf(ones, n, chance)
        )
        above = luck < 0.05 or (measure.better(value, chance) and _depends_on_samples(task, outputs, targets))
    else:
        low, high = _bootstrap(task, outputs, targets, confidence=0.90)
        above = measure.better(low if measure.higher_is_better else high, chance)

    if not above:
        few = scores is not None and _is_binary(scores) and measure.higher_is_better and chance**n >= _LUCK
        why = "there is nothing that quantization could lose"
        if few and measure.better(value, chance):
            why = "so few samples do not tell that from luck"

        raise DataError(
            f"the float baseline's {measure.name} is {measure.format(value)} on {n} samples, and {measure.chance} is "
            f"{measure.format(chance)}: {why}",
            where="float baseline",
            remedy="train the float model longer, give more samples (of the test split too), or check that labels and "
            "preprocessing fit it",
        )


def _depends_on_samples(task: Task, outputs: Outputs, targets: np.ndarray, rounds: int = 2000) -> bool:
    """Whether classes that a model answers agree with the truth better than with the truth in another order."""
    decided, truth = np.asarray(task.decisions(outputs)), np.asarray(targets)
    if decided.shape != truth.shape or decided.ndim != 1 or decided.dtype.kind not in "iu":
        return False
    right = int((decided == truth).sum())
    rng = np.random.default_rng(0)
    as_good = sum(int((decided == rng.permutation(truth)).sum()) >= right for _ in range(rounds))
    return (as_good + 1) / (rounds + 1) < _LUCK


def drop_interval(
    task: Task, float_outputs: Outputs, quantized_outputs: Outputs, targets: np.ndarray
) -> tuple[float, float] | None:
    """The paired 95 % interval of the drop (positive = worse); None where there are too few samples for one."""
    n = len(targets)
    sign = 1.0 if task.metric.higher_is_better else -1.0

    before, after = task.per_sample(float_outputs, targets), task.per_sample(quantized_outputs, targets)
    if before is not None and after is not None and _is_binary(before) and _is_binary(after):
        fell, rose = int(np.sum(before > after)), int(np.sum(after > before))
        low, high = stats.paired_proportions(fell, rose, n)
        return (low, high) if sign > 0 else (-high, -low)

    if n < BOOTSTRAP_NEEDS:
        return None

    if before is not None and after is not None:
        losses = sign * (before - after)
        low, high = stats.paired_bootstrap(lambda i: float(losses[i].mean()), n)
        if low == high:  # no pair differs: at most the share that n samples could have missed, each by the whole range
            missed = stats.clopper_pearson(0, n)[1] * float(np.ptp(np.concatenate([before, after])))
            low, high = low - missed, high + missed
    else:
        first, second = (resampled(task, outputs, targets) for outputs in (float_outputs, quantized_outputs))
        low, high = stats.paired_bootstrap(lambda i: sign * (first(i) - second(i)), n, rounds=400)

    return (low + 0.0, high + 0.0) if math.isfinite(low) and math.isfinite(high) else None


def swapped_labels(task: Task, outputs: Outputs, targets: np.ndarray, labels: Sequence[str]) -> str | None:
    """A sentence when the float baseline answers some classes with each other's names, else None.

    A trained model does not mistake most of class A for B and most of B for A (or around a longer
    ring): then the label map is wrong, and both artifacts suffer alike, so that no drop would show it.
    """
    decided, truth = task.decisions(outputs), np.asarray(targets).reshape(-1)
    classes = all(numbers.dtype.kind in "iu" for numbers in (decided, truth))
    if decided.ndim != 1 or not classes or len(decided) != len(truth):
        return None

    partner_of: dict[int, int] = {}
    for label in np.unique(truth):
        answers, counts = np.unique(decided[truth == label], return_counts=True)
        if counts.sum() >= LABEL_NEEDS and counts.max() > 0.5 * counts.sum():
            partner_of[int(label)] = int(answers[counts.argmax()])

    for start in partner_of:
        ring, at = [start], partner_of[start]
        while at in partner_of and at not in ring:
            ring.append(at)
            at = partner_of[at]
        if at == start and len(ring) > 1 and max(ring) < len(labels):
            pairs = ", ".join(f"{labels[i]!r} are seen as {labels[partner_of[i]]!r}" for i in ring[:3])
            return f"the label map is wrong: most samples of {pairs}"

    return None


def decide(
    measure: Metric,
    drop: float,
    interval: tuple[float, float] | None,
    limit: float,
    n: int,
    decide: str,
    expected: IntervalAt | None = None,
) -> tuple[str, str, int]:
    """A verdict on a drop of `n` samples, its reason, and about how many would settle it (0: these do, or none would).

    `decide` "point" judges the drop itself, "bound" its interval. `expected` is the interval that more samples would
    give; without it, `interval` narrowed by the root of their number.
    """
    spread = f" (95 % {measure.format_interval(interval, drop=True)})" if interval else ""
    drop_text, allowed = f"drop {measure.format_drop(drop)}{spread}", measure.format_limit(limit)
    within = drop <= limit + _EPSILON
    by_itself = PASS if within else FAIL, f"{drop_text} {'is within' if within else 'exceeds'} {allowed}"
    below = interval is not None and interval[1] <= limit + _EPSILON
    above = interval is not None and interval[0] > limit

    if below or above:
        if decide == "point":
            return *by_itself, 0
        return PASS if below else FAIL, f"{drop_text} {'is below' if below else 'exceeds'} {allowed} as a whole", 0

    if expected is None and interval is not None:
        expected = sample_size.of_interval(drop, interval, n)

    needed = sample_size.deciding(expected, limit, n)
    if interval is None and needed:
        needed = max(needed, BOOTSTRAP_NEEDS)

    would = f"about {needed} samples would decide"
    if not needed:
        would = "no number of samples decides, since the drop is close to the limit"

    samples = "1 sample gives" if n == 1 else f"{n} samples give"
    if decide == "bound":
        open_text = f"{drop_text} straddles {allowed}" if interval else f"{drop_text}: {samples} no interval"
        return INCONCLUSIVE, f"{open_text}; {would}", needed

    verdict, why = by_itself
    unsettled = f"{samples} an interval that reaches across the limit" if interval else f"{samples} no interval"
    return verdict, f'{why}, but {unsettled}: {would}, and gates.decide = "bound" asks for them', needed


def _expected_interval(
    task: Task,
    float_outputs: Outputs,
    quantized_outputs: Outputs,
    targets: np.ndarray,
    interval: tuple[float, float] | None,
) -> IntervalAt | None:
    """What the interval of the drop would be on more samples; None where the default of `decide` holds."""
    n, sign = len(targets), 1.0 if task.metric.higher_is_better else -1.0
    before, after = task.per_sample(float_outputs, targets), task.per_sample(quantized_outputs, targets)
    if before is not None and after is not None and _is_binary(before) and _is_binary(after):
        lost, gained = int(np.sum(sign * (before - after) > 0)), int(np.sum(sign * (before - after) < 0))
        return sample_size.of_pairs(lost, gained, n)
    if interval is not None:
        return None

    if before is not None and after is not None:
        losses = sign * (before - after)
        reach = float(np.ptp(np.concatenate([before, after])))
        return sample_size.of_leaving_out(lambda i: float(losses[i].mean()), n, reach)

    first, second = (resampled(task, outputs, targets) for outputs in (float_outputs, quantized_outputs))
    reach = {"fraction": 1.0, "score": 100.0}.get(task.metric.unit, 0.0)
    return sample_size.of_leaving_out(lambda i: sign * (first(i) - second(i)), n, reach)


def _is_binary(scores: np.ndarray) -> bool:
    return bool(np.isin(scores, (0.0, 1.0)).all())


def _at(outputs: Outputs, indices: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[indices] for name, values in outputs.items()}


def _bootstrap(task: Task, outputs: Outputs, targets: np.ndarray, confidence: float) -> tuple[float, float]:
    scores = task.per_sample(outputs, targets)
    if scores is not None:
        return stats.paired_bootstrap(lambda i: float(scores[i].mean()), len(targets), confidence=confidence)
    return stats.paired_bootstrap(resampled(task, outputs, targets), len(targets), confidence=confidence, rounds=400)


def resampled(task: Task, outputs: Outputs, targets: np.ndarray) -> Callable[[np.ndarray], float]:
    """The metric as a function of positions (with repeats): from the task's `statistics` where it has them."""
    metric_of = task.metric_of
    if task.statistics is None or metric_of is None:
        return lambda at: task.score(_at(outputs, at), targets[at])
    rows = task.statistics(outputs, targets)
    return lambda at: metric_of([rows[int(i)] for i in at])
