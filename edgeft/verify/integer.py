"""Integer: are the artifact's weights stored as the graph has them, byte for byte, and do integers really execute?

A converter may silently keep the float weights, round them again, or lose a scale; outputs then still look plausible.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..backends import IntegerShare, WeightTensor
from ..config.formats import int8
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
#: the manifest's `integer_weights`, see `digests`
Digests = Mapping[str, Mapping[str, Any]]
#: the type of the integers that a manifest means where it names none
DEFAULT = int8.weights().dtype
#: scales are float32 everywhere; one rounding of a last place is not a fault.
SCALE_RELATIVE = 1e-6


def integer(expected: Mapping[str, tuple[np.ndarray, np.ndarray]], stored: Sequence[WeightTensor]) -> Verdict:
    """Every expected weight is matched by a tensor of the artifact; the first that is not is named.

    `expected`: name -> (integers in torch layout, of the format's type; scale float32 per channel or of one element).
    `stored` may hold more (tables, constants), and one of its tensors may serve several layers whose integers and
    scales are equal: converters store such constants once. Nothing expected = fail: nothing was quantized, so
    nothing was measured.
    """
    if not expected:
        return _verdict(FAIL, "no quantized weights expected; nothing was measured", 0, 0)

    dtype = next(iter(expected.values()))[0].dtype.name
    if not stored:
        return _verdict(
            FAIL,
            f"the artifact holds no {dtype} weights at all, {len(expected)} were expected",
            0,
            len(expected),
            dtype,
        )

    held: dict[bytes, list[WeightTensor]] = {}
    for tensor in stored:
        held.setdefault(_typed(tensor.data), []).append(tensor)

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
        return _verdict(FAIL, wrong_scale, len(expected) - len(missing), len(expected), dtype)

    return _judge(missing, list(expected), dtype)


def digests(expected: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, dict[str, Any]]:
    """The manifest's `integer_weights`: {name: {sha256 of the bytes in torch layout and C order, shape, dtype}}.

    `dtype` is left out where it is int8.
    """
    table: dict[str, dict[str, Any]] = {}
    for name, (weights, _) in expected.items():
        table[name] = {"sha256": _digest(weights).hex(), "shape": list(weights.shape)}
        if weights.dtype.name != DEFAULT:
            table[name]["dtype"] = weights.dtype.name

    return table


def integer_digests(expected: Digests, stored: Sequence[WeightTensor]) -> Verdict:
    """`integer` where only the manifest's digests are at hand (on a board): bytes only, no scales."""
    if not expected:
        return _verdict(FAIL, "the manifest names no quantized weights; nothing was measured", 0, 0, recorded=True)

    dtype = str(next(iter(expected.values())).get("dtype", DEFAULT))
    owners = matching(expected, stored)
    return _judge([name for name in expected if not owners[name]], list(expected), dtype, recorded=True)


def matching(expected: Digests, stored: Sequence[WeightTensor]) -> dict[str, list[int]]:
    """The positions in `stored` of the tensors that hold each recorded weight's bytes, in any layout."""
    by_size: dict[tuple[int, str], list[int]] = {}
    for position, tensor in enumerate(stored):
        by_size.setdefault((tensor.data.size, tensor.data.dtype.name), []).append(position)

    digest_of: dict[tuple[int, tuple[int, ...], tuple[int, ...]], str] = {}
    owners: dict[str, list[int]] = {}
    for name, entry in expected.items():
        shape, owners[name] = tuple(int(side) for side in entry["shape"]), []
        for position in by_size.get((math.prod(shape), str(entry.get("dtype", DEFAULT))), []):
            for order in _orders(shape):
                key = (position, shape, order)
                if key not in digest_of:
                    digest_of[key] = _digest(_torch_layout(stored[position].data, shape, order)).hex()
                if digest_of[key] == entry["sha256"]:
                    owners[name].append(position)
                    break

    return owners


def int8_share(measured: IntegerShare | None, gates: Gates, *, on_target: bool, where: str = "host") -> Verdict:
    """The share of multiply-accumulates in integer kernels against `min_int8_share`.

    Advisory off the target's runtime and kind of CPU. An artifact without any multiply-accumulate fails when required.
    """
    limit = gates.min_int8_share
    base = {"metric": "int8_share", "limit": limit, "required": on_target}

    if measured is None or measured.macs == 0:
        why = "no multiply-accumulates were seen; nothing was measured"
        return Verdict("integer", FAIL if on_target else ADVISORY, why, **base)  # type: ignore[arg-type]

    stayed = ", ".join(f"{op} x{count}" for op, count in list(measured.float_ops.items())[:5])
    why = f"{measured.share:.1%} of the multiply-accumulates ran in integer kernels, required: {limit:.0%}"
    why += f"; float: {stayed}" if stayed else ""
    verdict = PASS if measured.share >= limit else FAIL
    if not on_target:
        verdict, why = ADVISORY, f"{why}; measured on the {where}, which is not the target"

    return Verdict("integer", verdict, why, quantized=measured.share, n=measured.macs, **base)  # type: ignore[arg-type]


def _judge(missing: list[str], names: list[str], dtype: str, *, recorded: bool = False) -> Verdict:
    n = len(names)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        why = f"the {dtype} weights of {missing[0]!r}{more} are not stored byte-identically in the artifact"
        return _verdict(FAIL, why, n - len(missing), n, dtype, recorded=recorded)

    why = f"all {n} {dtype} weights are stored byte-identically in the artifact"
    return _verdict(PASS, why, n, n, dtype, recorded=recorded)


def _verdict(verdict: str, why: str, matched: int, n: int, dtype: str = DEFAULT, *, recorded: bool = False) -> Verdict:
    """`recorded`: judged were the weights whose digests the manifest records, not those of the quantized graph."""
    share = matched / n if n else None
    metric = f"{'recorded ' if recorded else ''}{dtype}_weights_share"
    return Verdict("integer", verdict, why, metric=metric, quantized=share, limit=1.0, n=n)


def _orders(shape: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    return LAYOUTS.get(len(shape), (tuple(range(len(shape))),))


def _keys(weights: np.ndarray) -> Iterator[bytes]:
    for order in _orders(weights.shape):
        yield _typed(weights.transpose(order))


def _torch_layout(stored: np.ndarray, shape: tuple[int, ...], order: tuple[int, ...]) -> np.ndarray:
    """Undo `order`: the stored array, whatever its own shape, as torch's `shape`."""
    laid = stored.reshape([shape[axis] for axis in order])
    return laid.transpose(np.argsort(order))


def _typed(array: np.ndarray) -> bytes:
    """The digest of values of one type: equal bytes of another type are other values."""
    return array.dtype.name.encode() + _digest(array)


def _digest(array: np.ndarray) -> bytes:
    if array.dtype == np.float32:  # what is not quantized
        raise TypeError("weights are float32, expected those of a quantized format")
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()


def _same_scale(expected: np.ndarray, stored: np.ndarray) -> bool:
    first, second = np.asarray(expected, np.float64).ravel(), np.asarray(stored, np.float64).ravel()
    if first.size != second.size and 1 not in (first.size, second.size):
        return False
    return bool(np.allclose(second, first, rtol=SCALE_RELATIVE, atol=0.0))
