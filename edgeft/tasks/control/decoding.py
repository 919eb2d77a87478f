"""Robot control by behaviour cloning: continuous outputs in physical units (steering, throttle, force).

Outputs are float (N, K), one column a control, named by the labels. The metric is the mean absolute error over all
controls; a smaller one is better. Inputs are a camera's picture, a stack of its last few or a row of numbers (a state).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...core.errors import BundleError, DataError
from ...core.metric import Metric
from ...inputs import frames, image, vector
from ..show import show

NAME = "control"
METRIC = Metric("mean absolute error", higher_is_better=False, max_drop_relative=0.05)
EXTRA_METRICS = (Metric("rmse", higher_is_better=False), Metric("r2"))
#: two controls are alike when they differ by at most this share of the range that the outputs span
TOLERANCE = 0.05
_KINDS = {"image": image, "frames": frames, "vector": vector}


def configure(
    data: Any, defaults: Mapping[str, Any], facts: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """The `preprocess` table of pictures (`facts["kind"]` "image"), of stacks of them ("frames") or of rows of numbers
    ("vector")."""
    table: dict[str, Any] = _KINDS[str(facts.get("kind", "image"))].configure(data, defaults, facts, say)
    return table


def suits(keys: Mapping[str, Any]) -> bool:
    """Whether recorded actions are quantities."""
    return keys.get("actions") != "discrete"


def read(path: str, spec: Mapping[str, Any]) -> np.ndarray:
    sample: np.ndarray = _KINDS[_kind(spec)].read(path)
    return sample


def parse(words: str, spec: Mapping[str, Any]) -> np.ndarray:
    """A row of numbers; raises `DataError` where the model takes pictures, which are files."""
    if _kind(spec) != "vector":
        raise DataError("the model takes a picture, not words", where=words[:80], remedy="send the picture's file")
    return vector.parse(words, spec)


def preprocess(raw: Any, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    feeds: dict[str, np.ndarray] = _KINDS[_kind(spec)].preprocess(raw, spec)
    return feeds


def _kind(spec: Mapping[str, Any]) -> str:
    if spec.get("kind") not in _KINDS:
        raise BundleError(f"is {spec.get('kind')!r}, expected {' or '.join(_KINDS)}", where="preprocess.kind")
    return str(spec["kind"])


def _values(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    if len(outputs) != 1:
        raise BundleError(f"several outputs ({', '.join(outputs)}), expected one of shape (samples, controls)")
    values = np.asarray(next(iter(outputs.values())), np.float64)
    if values.ndim != 2:
        raise BundleError(f"the output has shape {values.shape}, expected (samples, controls)", where="graphs.outputs")
    return values


def _errors(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> np.ndarray:
    """Absolute errors float64 (N, K); raises `DataError` where targets do not fit or there are none."""
    values, targets = _values(outputs), np.asarray(targets, np.float64)
    if targets.shape != values.shape:
        raise DataError(f"{values.shape} outputs for {targets.shape} targets", where="targets")
    if not len(targets):
        raise DataError("no samples to measure", where="targets")
    errors: np.ndarray = np.abs(values - targets)
    return errors


def decode(outputs: Mapping[str, np.ndarray], labels: Sequence[str], *, top: int = 5) -> list[dict[str, Any]]:
    """Per sample `controls` {name: value in its unit} and the same as words in `label`; not finite = None."""
    values = _values(outputs)
    if len(labels) != values.shape[1]:
        raise BundleError(f"{len(labels)} labels for {values.shape[1]} controls", where="labels")

    rows = []
    for row in values:
        named = {str(k): float(v) if np.isfinite(v) else None for k, v in zip(labels, row)}
        words = [f"{k} {_amount(v)}" if v is not None else f"{k} undecided" for k, v in named.items()]
        rows.append({"label": ", ".join(words), "controls": named})

    return rows


def describe(target: Any, labels: Sequence[str]) -> str:
    """The recorded controls as words."""
    return ", ".join(f"{k} {_amount(float(v))}" for k, v in zip(labels, np.atleast_1d(target)))


def _amount(value: float) -> str:
    """Four digits; a large number is whole, not a power of ten."""
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def draw(raw: Any, decoded: Mapping[str, Any]) -> dict[str, Any]:
    return show(newest(raw))


def newest(raw: Any) -> Any:
    """What a page shows of a stack of frames, uint8 (H, W, C): the last one; anything else as it is."""
    stack = isinstance(raw, np.ndarray) and raw.dtype == np.uint8 and raw.ndim == 3 and raw.shape[2] not in (1, 3)
    return np.ascontiguousarray(raw[:, :, -1]) if stack else raw


def join(targets: np.ndarray, ours: Sequence[str], theirs: Sequence[str], where: str) -> np.ndarray:
    """The columns of `targets` in the order of the bundle's controls; `DataError` where one is absent."""
    missing = [name for name in theirs if name not in ours]
    if missing:
        raise DataError(f"the data has no control {missing[0]!r}, only {', '.join(ours)}", where=where)
    return np.asarray(targets)[:, [list(ours).index(name) for name in theirs]]


def metric(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> float:
    """Mean absolute error over samples and controls, in the controls' own units."""
    return float(_errors(outputs, targets).mean())


def per_sample(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> np.ndarray:
    """The mean absolute error of each sample, (N,) float64."""
    errors: np.ndarray = _errors(outputs, targets).mean(axis=1)
    return errors


def action(outputs: Mapping[str, np.ndarray], space: Any) -> Any:
    """What a gymnasium environment takes for the controls of one sample: clipped to the range of a continuous space; of
    a discrete one the nearest number, or the highest of as many controls as there are choices.

    Raises `DataError` where the space takes another number of controls.
    """
    values = _values(outputs)[0]
    if hasattr(space, "n"):
        if len(values) == space.n > 1:
            return int(space.start) + int(values.argmax())
        if len(values) == 1:
            return int(np.clip(np.rint(values[0]), space.start, space.start + space.n - 1))
    elif getattr(space, "shape", None) is not None and values.size == int(np.prod(space.shape)):
        return np.clip(values.reshape(space.shape), space.low, space.high).astype(space.dtype)

    raise DataError(
        f"the model has {len(values)} controls, and the environment takes {space}", where="gates.environment"
    )


def decisions(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The controls themselves, (N, K)."""
    return _values(outputs)


def alike(left_outputs: Mapping[str, np.ndarray], right_outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) bool: every control within `TOLERANCE` of the range that it spans over `left_outputs`."""
    first, second = _values(left_outputs), _values(right_outputs)
    return np.asarray((np.abs(first - second) <= TOLERANCE * np.ptp(first, axis=0)).all(axis=1))


def margins(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """How far a control may move and still count as the same, (N,): the tolerance of the narrowest control."""
    values = _values(outputs)
    return np.full(len(values), float(TOLERANCE * np.ptp(values, axis=0).min()) if len(values) else 0.0)


def per_class(
    outputs: Mapping[str, np.ndarray], targets: np.ndarray, labels: Sequence[str]
) -> dict[str, dict[str, float]]:
    """{control: {"metric": its mean absolute error, "n": samples}}."""
    errors = _errors(outputs, targets)
    return {str(k): {"metric": float(errors[:, i].mean()), "n": len(errors)} for i, k in enumerate(labels)}


def chance(targets: np.ndarray) -> float:
    """The error of the best constant answer: the median of each control."""
    targets = np.asarray(targets, np.float64)
    if not len(targets):
        raise DataError("no samples to measure", where="targets")
    return float(np.abs(targets - np.median(targets, axis=0)).mean())


def extra_metrics(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> dict[str, float]:
    """`rmse`, and `r2`: the share of the targets' variance that is explained, averaged over the controls."""
    values, targets = _values(outputs), np.asarray(targets, np.float64)
    squared = (values - targets) ** 2
    spread = targets.var(axis=0)
    r2 = 1 - squared.mean(axis=0)[spread > 0] / spread[spread > 0]
    return {"rmse": float(np.sqrt(squared.mean())), **({"r2": float(r2.mean())} if len(r2) else {})}
