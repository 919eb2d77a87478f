"""Any outputs: depth maps, restored pictures, key points, features, the heads of somebody's detector.

Outputs are {name: (N, ...)}; targets are float32 (N, K), all outputs of a sample flattened behind each other, NaN where
a value is not known. The metric is the mean absolute error over the known values, in the outputs' own units. Two sets
of outputs come to the same where they differ, in the root mean square over each output, by at most a fifth of what that
output changes by from sample to sample (4 % of its variance about the mean of each value). A sample on which the mean
answer would do as well says nothing and does not count: a detector of text that sees no text agrees with anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...core.errors import BundleError, DataError
from ...core.metric import Metric
from ...inputs import image, tensors
from ..record import Decisions
from ..show import show
from .maps import as_picture

METRIC = Metric("mean absolute error", higher_is_better=False, max_drop_relative=0.05)
EXTRA_METRICS = (Metric("rmse", higher_is_better=False), Metric("r2"))
#: a sample is the same when the difference of each output is at most this share of that output's spread over samples
TOLERANCE = 0.2
_KINDS: dict[str, Any] = {"image": image, tensors.KIND: tensors}


def configure(
    data: Any, defaults: Mapping[str, Any], facts: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """The `preprocess` table of arrays (`facts["kind"]` "tensors") or of pictures, with the names of the outputs where
    the model's file (`defaults`) or the targets have them."""
    table: dict[str, Any] = _KINDS[str(facts.get("kind", "image"))].configure(data, defaults, facts, say)
    names = defaults.get("outputs") or [item["name"] for item in facts.get("targets", ())]
    return {**table, "outputs": [str(name) for name in names]} if names else table


def read(path: str, spec: Mapping[str, Any]) -> Any:
    return _KINDS[_kind(spec)].read(path, _of_inputs(spec))


def preprocess(raw: Any, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    feeds: dict[str, np.ndarray] = _KINDS[_kind(spec)].preprocess(raw, _of_inputs(spec))
    return feeds


def _of_inputs(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The table without the names of the outputs, which preprocessing does not read."""
    return {key: value for key, value in spec.items() if key != "outputs"}


def _kind(spec: Mapping[str, Any]) -> str:
    if spec.get("kind") not in _KINDS:
        raise BundleError(f"is {spec.get('kind')!r}, expected {' or '.join(_KINDS)}", where="preprocess.kind")
    return str(spec["kind"])


def decisions(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """All outputs flattened behind each other, float32 (N, K)."""
    if not outputs:
        raise BundleError("the model has no outputs", where="graphs.outputs")

    flat = [
        np.asarray(values, np.float32).reshape(len(values), math.prod(np.shape(values)[1:]))
        for values in outputs.values()
    ]

    if len({len(values) for values in flat}) > 1:
        shapes = {name: np.shape(values) for name, values in outputs.items()}
        raise BundleError(f"outputs of different numbers of samples: {shapes}", where="graphs.outputs")

    return np.concatenate(flat, axis=1)


def _errors(outputs: Mapping[str, np.ndarray], targets: Any) -> np.ndarray:
    """Absolute errors float32 (N, K), NaN where the target is not known; raises `DataError` where they do not fit."""
    values, known = decisions(outputs), np.asarray(targets, np.float32)
    if known.ndim == 1 and not np.isfinite(known).any():
        raise DataError(
            "the data have no targets to measure with",
            where="targets",
            remedy="store what is right for each sample in targets/, an array of the same name",
        )

    if known.shape != values.shape:
        raise DataError(
            f"the model gives {values.shape[1]} values a sample, and a target has {known.shape[1:] or 'none'}",
            where="targets",
            remedy="a target holds what the model gives, all outputs in their order",
        )

    if not len(known):
        raise DataError("no samples to measure", where="targets")

    errors: np.ndarray = np.abs(values - known)
    return errors


def per_sample(outputs: Mapping[str, np.ndarray], targets: Any) -> np.ndarray:
    """The mean absolute error of each sample over its known values, (N,) float64."""
    return np.asarray(np.nanmean(_errors(outputs, targets), axis=1, dtype=np.float64))


def metric(outputs: Mapping[str, np.ndarray], targets: Any) -> float:
    """The mean of `per_sample`."""
    return float(per_sample(outputs, targets).mean())


def extra_metrics(outputs: Mapping[str, np.ndarray], targets: Any) -> dict[str, float]:
    """`rmse`, and `r2`: the share of the known values' variance, each about its own mean, that is explained."""
    squared = np.square(_errors(outputs, targets), dtype=np.float64)
    known = np.asarray(targets, np.float64)
    known = known[:, np.isfinite(known).any(axis=0)]
    total = float(np.nansum(np.square(known - np.nanmean(known, axis=0))))
    r2 = {"r2": 1 - float(np.nansum(squared)) / total} if total > 0 else {}
    return {"rmse": float(np.sqrt(np.nanmean(squared))), **r2}


def alike(left_outputs: Mapping[str, np.ndarray], right_outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) bool: each output differs by at most `TOLERANCE` of its spread over the samples of `left_outputs`."""
    pairs = [(_rows(left), _rows(right)) for left, right in zip(left_outputs.values(), right_outputs.values())]
    same = [_distance(first, second) <= TOLERANCE * _spread(first) for first, second in pairs]
    return np.logical_and.reduce(same) if same else np.zeros(0, bool)


def _rows(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float64).reshape(len(values), math.prod(np.shape(values)[1:]))


def _distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The root mean square difference of each row, (N,)."""
    return np.asarray(np.sqrt(np.square(first - second).mean(axis=1)))


def _spread(values: np.ndarray) -> float:
    """What an output changes by from sample to sample: the root mean square about the mean of each value."""
    return float(np.sqrt(np.square(values - values.mean(axis=0)).mean())) if values.size else 0.0


def margins(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """How far all values of a sample may move and it still counts as the same, (N,): that of the narrowest output."""
    spreads = [_spread(_rows(values)) for values in outputs.values()]
    count = len(next(iter(outputs.values()))) if outputs else 0
    return np.full(count, TOLERANCE * min(spreads, default=0.0))


def compare(
    outputs: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray], steps: Mapping[str, Any] | None = None
) -> Decisions:
    """`alike` and `margins` (in LSB where `steps` are given) of each sample; those count on which the mean of
    `outputs` would not be the same answer."""
    unit = 1.0 if steps is None else max(float(np.max(steps[name])) for name in outputs)
    rows = [_rows(values) for values in outputs.values()]
    telling = [_distance(values, values.mean(axis=0)[None]) > TOLERANCE * _spread(values) for values in rows]
    equal = alike(outputs, others)
    counted = np.logical_or.reduce(telling) if len(equal) else np.zeros(0, bool)
    return Decisions(np.arange(len(equal)), equal, margins(outputs) / (unit or 1.0), counted)


def per_class(outputs: Mapping[str, np.ndarray], targets: Any, labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """{output: {"metric": its mean absolute error, "n": samples}}."""
    errors, start, table = _errors(outputs, targets), 0, {}
    for name, values in outputs.items():
        width = math.prod(np.shape(values)[1:])
        part = errors[:, start : start + width]
        known = np.isfinite(part).any()
        table[str(name)] = {"metric": float(np.nanmean(part)) if known else 0.0, "n": len(errors)}
        start += width
    return table


def chance(targets: Any) -> float:
    """The error of the best constant answer: the median of each value."""
    known = np.asarray(targets, np.float64)
    if not len(known):
        raise DataError("no samples to measure", where="targets")
    ever = np.isfinite(known).any(axis=0)
    known = known[:, ever]
    return float(np.nanmean(np.abs(known - np.nanmedian(known, axis=0))))


def join(targets: np.ndarray, ours: Sequence[str], theirs: Sequence[str], where: str) -> np.ndarray:
    """The targets as they are: outputs have no names in data."""
    return np.asarray(targets)


def describe(target: Any, labels: Sequence[str]) -> str:
    """The known values in short."""
    values = np.asarray(target, np.float64).reshape(-1)
    known = values[np.isfinite(values)]
    if not known.size:
        return "not known"
    if values.size <= 4:
        return ", ".join(f"{value:.4g}" for value in values)
    return f"{values.size} values, {known.min():.4g} to {known.max():.4g}, mean {known.mean():.4g}"


def decode(outputs: Mapping[str, np.ndarray], labels: Sequence[str], *, top: int = 5) -> list[dict[str, Any]]:
    """Per sample `outputs` [{name, shape, min, max, mean}], the same as words in `label`, and the arrays, by name."""
    count = len(next(iter(outputs.values()))) if outputs else 0
    return [_decoded({name: np.asarray(values[i]) for name, values in outputs.items()}) for i in range(count)]


def _decoded(sample: Mapping[str, np.ndarray]) -> dict[str, Any]:
    rows, words, several = [], [], len(sample) > 1
    for name, values in sample.items():
        numbers = np.asarray(values, np.float64)
        finite = bool(numbers.size and np.isfinite(numbers).all())
        figures = {key: float(getattr(numbers, key)()) if finite else None for key in ("min", "max", "mean")}
        rows.append({"name": str(name), "shape": list(numbers.shape), **figures})
        text = describe(numbers, ()) if finite else "values that are not finite"
        words.append(f"{name}: {text}" if several else text)

    return {
        "label": "; ".join(words),
        "outputs": rows,
        **{f"array:{name}": np.asarray(v) for name, v in sample.items()},
    }


def tell(
    outputs: Mapping[str, np.ndarray], raw: Any, spec: Mapping[str, Any], labels: Sequence[str], *, top: int = 5
) -> dict[str, Any]:
    """`decode` of one sample, its outputs under the names that `spec["outputs"]` has for them."""
    names = spec.get("outputs", ())
    fits = isinstance(names, list) and len(names) == len(outputs) == len(set(map(str, names)))
    (decoded,) = decode(dict(zip(map(str, names), outputs.values())) if fits else outputs, labels, top=top)
    return decoded


def arrays(decoded: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{output: float32 (...)} of a decoded sample."""
    prefix = "array:"
    named = {key[len(prefix) :]: value for key, value in decoded.items() if key.startswith(prefix)}
    return {name: np.asarray(value, np.float32) for name, value in named.items()}


def pictures(raw: Any, decoded: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{output: uint8 pixels} of the outputs that have the form of a picture, from their smallest to largest value."""
    drawn = {name: as_picture(values) for name, values in arrays(decoded).items()}
    return {name: pixels for name, pixels in drawn.items() if pixels is not None}


def draw(raw: Any, decoded: Mapping[str, Any]) -> dict[str, Any]:
    """The first output that has the form of a picture, else the sample."""
    drawn = pictures(raw, decoded)
    if drawn:
        return {"image": next(iter(drawn.values()))}
    return show(raw)
