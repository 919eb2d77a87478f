"""Size: the bytes that the artifact ships, against the float baseline and a budget."""

from __future__ import annotations

from ..config.recipe import Gates
from ..core.verdict import FAIL, PASS, Verdict

MEGABYTE = 1_000_000


def size(float_bytes: int, quantized_bytes: int, gates: Gates) -> Verdict:
    """Bytes of all model files against `size_mb` (megabytes of 1,000,000 bytes).

    Without a budget the figure is reported and does not affect the verdict; an artifact of no bytes is always a fail.
    """
    limit = gates.size_mb
    megabytes = quantized_bytes / MEGABYTE

    if quantized_bytes <= 0:
        return Verdict("size", FAIL, "the artifact has no bytes; nothing was measured", metric="MB", limit=limit)

    ratio = f", {float_bytes / quantized_bytes:.2f}x smaller than float" if float_bytes > quantized_bytes else ""
    ratio = ratio or (f", larger than float ({float_bytes / MEGABYTE:.3g} MB)" if float_bytes > 0 else "")
    verdict = FAIL if limit and megabytes > limit else PASS

    return Verdict(
        "size",
        verdict,
        f"{megabytes:.3g} MB{ratio}" + (f", budget {limit:.3g} MB" if limit else ""),
        metric="MB",
        float=float_bytes / MEGABYTE if float_bytes > 0 else None,
        quantized=megabytes,
        limit=limit or None,
        n=1,
        required=bool(limit),
    )
