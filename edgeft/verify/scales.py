"""Scales: does every activation of the artifact lie on a grid of the quantized graph, and is each scale still the same?

Outputs hardly tell: a scale that is half as large again changes a ReLU net's results by a step or two, and loses the
accuracy that training had fitted to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ..backends import Grid, WeightTensor
from ..core.verdict import ADVISORY, FAIL, PASS, Verdict

#: ranges that a format stores in place of the scale lose a few last places of float32 on the way back.
RELATIVE = 1e-5


def activation_scales(expected: Sequence[tuple[float, int]], stored: Sequence[Grid]) -> Verdict:
    """Every grid in `stored` must be one of `expected` (scale, zero point in signed integers); it names the first
    that is not.

    A converter may leave grids out (it merges ops), so only what it wrote is judged. None at all = fail.
    """
    if not expected or not stored:
        what = "no activation is quantized" if not expected else "the artifact stores no quantized activation"
        return _verdict(FAIL, f"{what}; nothing was measured", 0, len(expected))

    scales = np.array([scale for scale, _ in expected])
    zeros = np.array([zero for _, zero in expected])
    wrong = []

    for grid in stored:
        near = np.isclose(scales, grid.scale, rtol=RELATIVE, atol=0.0)
        if not (near & (zeros == grid.zero_point)).any():
            wrong.append(grid)

    good = len(stored) - len(wrong)
    if wrong:
        first = wrong[0]
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        why = f"the activation {first.name!r}{more} has scale {first.scale:.6g} and zero point {first.zero_point}"
        return _verdict(FAIL, f"{why}, which the quantized graph does not have", good, len(stored))

    return _verdict(PASS, f"all {good} activations have the quantization parameters of the quantized graph", good, good)


def scales_digest(weights: Sequence[WeightTensor], grids: Sequence[Grid]) -> str:
    """The manifest's `scales_sha256`: sha256 over every scale and zero point that the artifact stores, in its order."""
    digest = hashlib.sha256()
    for tensor in weights:
        zeros = [] if tensor.zero_point is None else tensor.zero_point.tolist()
        digest.update(repr((tensor.name, tensor.scale.astype(np.float32).tolist(), zeros)).encode())

    for grid in grids:
        digest.update(repr((grid.name, float(np.float32(grid.scale)), grid.zero_point)).encode())

    return digest.hexdigest()


def same_scales(
    recorded: str | None, weights: Sequence[WeightTensor], grids: Sequence[Grid], *, expected: bool = False
) -> Verdict:
    """The artifact's scales against those recorded at export. Where none were recorded it is advisory, and a fail where
    they are `expected`: whoever records integer weights records their scales."""
    n = len(weights) + len(grids)
    if not recorded and expected:
        why = "the manifest records integer weights, and the record of their scales is gone"
        return Verdict("integer", FAIL, why, metric="recorded scales", n=n)
    if not recorded:
        why = "the manifest records no scales"
        return Verdict("integer", ADVISORY, why, metric="recorded scales", n=n, required=False)

    if scales_digest(weights, grids) != recorded:
        return Verdict(
            "integer", FAIL, "the artifact's scales differ from those at export", metric="recorded scales", n=n
        )

    return Verdict("integer", PASS, f"the scales of {n} tensors equal those at export", metric="recorded scales", n=n)


def _verdict(verdict: str, why: str, matched: int, n: int) -> Verdict:
    share = matched / n if n else None
    return Verdict("integer", verdict, why, metric="activation_scales", quantized=share, limit=1.0, n=n)
