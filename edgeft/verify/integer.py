"""Integer: are the artifact's weights the graph's int8 weights, byte for byte, and does int8 really execute?

A converter may silently keep the float weights, round them again, or lose a scale; outputs then still look plausible.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..backends import IntegerShare, WeightTensor
from ..config.recipe import Gates
from ..core.verdict import ADVISORY, FAIL, PASS, Verdict

#: how runtimes lay out weights, as permutations of torch's axes, by rank. A plain reshape (groups split off, unit
#: axes dropped or added) is covered by each, because only the bytes in C order are compared.
LAYOUTS: dict[int, tuple[tuple[int, ...], ...]] = {
    2: ((0, 1), (1, 0)),  # linear: OI, IO
    3: ((0, 1, 2), (0, 2, 1), (1, 2, 0), (2, 1, 0)),  # 1-d convolution: OIW, OWI, IWO, WIO
    4: ((0, 1, 2, 3), (0, 2, 3, 1), (2, 3, 1, 0), (1, 2, 3, 0)),  # OIHW, OHWI, HWIO, IHWO (depthwise, transposed)
    5: ((0, 1, 2, 3, 4), (0, 2, 3, 4, 1), (2, 3, 4, 1, 0), (1, 2, 3, 4, 0)),
}
#: what the gate judged: the weights of the quantized graph, or those whose digests the manifest records
WEIGHTS, RECORDED = "int8_weights_share", "recorded int8_weights_share"
#: scales are float32 everywhere; one rounding of a last place is not a fault.
SCALE_RELATIVE = 1e-6


def integer(expected: Mapping[str, tuple[np.ndarray, np.ndarray]], found: Sequence[WeightTensor]) -> Verdict:
    """Every expected weight is matched by a tensor of the artifact; the first that is not is named.

    `expected`: name -> (int8 in torch layout, scale float32 per channel or of one element). `found` may hold more
    (tables, constants), and one of its tensors may serve several layers whose integers and scales are equal: converters
    store such constants once. Nothing expected = fail: nothing was quantized, so nothing was measured.
    """
    if not expected:
        return _verdict(FAIL, "no integer weights expected: measured nothing", 0, 0)
    if not found:
        return _verdict(
            FAIL, f"the artifact holds no int8 weights at all, {len(expected)} were expected", 0, len(expected)
        )
    held: dict[bytes, list[WeightTensor]] = {}
    for tensor in found:
        held.setdefault(_digest(tensor.data), []).append(tensor)
    wrong_scale = ""
    missing = []
    for name, (weights, scale) in expected.items():
        candidates = [t for key in _keys(weights) for t in held.get(key, [])]
        if any(_same_scale(scale, t.scale) for t in candidates):
            continue
        missing.append(name)
        if candidates and not wrong_scale:
            wrong_scale = f"{name!r} has the right bytes but another scale (in {candidates[0].name!r})"
    if wrong_scale:
        return _verdict(FAIL, wrong_scale, len(expected) - len(missing), len(expected))
    return _judge(missing, list(expected))


def digests(expected: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, dict[str, Any]]:
    """The manifest's `integer_weights`: {name: {sha256 of the int8 bytes in torch layout and C order, shape}}."""
    return {
        name: {"sha256": _digest(weights).hex(), "shape": list(weights.shape)}
        for name, (weights, _) in expected.items()
    }


def integer_digests(expected: Mapping[str, Mapping[str, Any]], found: Sequence[WeightTensor]) -> Verdict:
    """`integer` where only the manifest's digests are at hand (on a board): bytes only, no scales."""
    if not expected:
        return _verdict(FAIL, "the manifest names no integer weights: measured nothing", 0, 0, RECORDED)
    by_size: dict[int, list[WeightTensor]] = {}
    for tensor in found:
        by_size.setdefault(tensor.data.size, []).append(tensor)
    seen: dict[tuple[int, tuple[int, ...], tuple[int, ...]], str] = {}
    missing = []
    for name, entry in expected.items():
        shape = tuple(int(side) for side in entry["shape"])
        match = None
        for tensor in by_size.get(math.prod(shape), []):
            for order in _orders(shape):
                key = (id(tensor), shape, order)
                if key not in seen:
                    seen[key] = _digest(_torch_layout(tensor.data, shape, order)).hex()
                if seen[key] == entry["sha256"]:
                    match = tensor
                    break
            if match is not None:
                break
        if match is None:
            missing.append(name)
    return _judge(missing, list(expected), RECORDED)


def int8_share(measured: IntegerShare | None, gates: Gates, *, on_target: bool, where: str = "host") -> Verdict:
    """The share of multiply-accumulates in integer kernels against `min_int8_share`.

    Advisory off the target's runtime and kind of CPU. An artifact without any multiply-accumulate fails when required.
    """
    limit = gates.min_int8_share
    base = {"metric": "int8_share", "limit": limit, "required": on_target}
    if measured is None or measured.macs == 0:
        why = "no multiply-accumulates were seen: measured nothing"
        return Verdict("integer", FAIL if on_target else ADVISORY, why, **base)  # type: ignore[arg-type]
    stayed = ", ".join(f"{op} x{count}" for op, count in list(measured.float_ops.items())[:5])
    why = f"{measured.share:.1%} of the multiply-accumulates ran in integer kernels, asked {limit:.0%}"
    why += f"; float: {stayed}" if stayed else ""
    verdict = PASS if measured.share >= limit else FAIL
    if not on_target:
        verdict, why = ADVISORY, f"{why}; measured on the {where}, which is not the target"
    return Verdict("integer", verdict, why, quantized=measured.share, n=measured.macs, **base)  # type: ignore[arg-type]


def _judge(missing: list[str], names: list[str], metric: str = WEIGHTS) -> Verdict:
    n = len(names)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        why = f"the int8 weights of {missing[0]!r}{more} are not in the artifact byte for byte"
        return _verdict(FAIL, why, n - len(missing), n, metric)
    return _verdict(PASS, f"all {n} integer weights are in the artifact byte for byte", n, n, metric)


def _verdict(verdict: str, why: str, matched: int, n: int, metric: str = WEIGHTS) -> Verdict:
    share = matched / n if n else None
    return Verdict("integer", verdict, why, metric=metric, quantized=share, limit=1.0, n=n)


def _orders(shape: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    return LAYOUTS.get(len(shape), (tuple(range(len(shape))),))


def _keys(weights: np.ndarray) -> Iterator[bytes]:
    for order in _orders(weights.shape):
        yield _digest(weights.transpose(order))


def _torch_layout(stored: np.ndarray, shape: tuple[int, ...], order: tuple[int, ...]) -> np.ndarray:
    """Undo `order`: the stored array, whatever its own shape, as torch's `shape`."""
    laid = stored.reshape([shape[axis] for axis in order])
    return laid.transpose(np.argsort(order))


def _digest(array: np.ndarray) -> bytes:
    if array.dtype != np.int8:
        raise TypeError(f"weights are {array.dtype}, expected int8")
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()


def _same_scale(expected: np.ndarray, found: np.ndarray) -> bool:
    one, other = np.asarray(expected, np.float64).ravel(), np.asarray(found, np.float64).ravel()
    if one.size != other.size and 1 not in (one.size, other.size):
        return False
    return bool(np.allclose(other, one, rtol=SCALE_RELATIVE, atol=0.0))
