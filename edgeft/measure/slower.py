"""An artifact that is slower than its float baseline: when that is certain, and what can be shipped instead.

What helps depends on where the time went. Ops that the runtime left in float between integer layers cost a conversion
on each side: then the layers beside them are better float too. Where nothing stayed float, or almost everything did,
there is nothing to win by moving borders, and the float model is the one to ship.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: below this share of integer multiply-accumulates the runtime took little of the quantization up
MOSTLY_INTEGER = 0.5
SHOWN_OPS = 4
#: edgeft writes statically quantized graphs only: what ranges cost at run time is not traded for anything
NO_DYNAMIC = "dynamic quantization is not offered by edgeft"
SHIP_FLOAT = "edgeft export --auto ships the fastest that passes; the float model (fp32) is one of its candidates"


def beyond_noise(interval: tuple[float, float]) -> bool:
    """Whether a speed-up's whole interval (low, high) is below 1."""
    return interval[1] < 1


def remedies(share: float | None, float_ops: Mapping[str, int], keep_float: Sequence[str] = ()) -> str:
    """What can be done about it, the most fitting first.

    `share` is that of the integer multiply-accumulates (None: not measured), `float_ops` {op: count} are the ops that
    the runtime left in float, `keep_float` are the recipe's own patterns.
    """
    listed = ", ".join(f"{op} x{count:,}" for op, count in list(float_ops.items())[:SHOWN_OPS])
    listed += f" and {len(float_ops) - SHOWN_OPS} more kinds" if len(float_ops) > SHOWN_OPS else ""
    patterns = f" (now {', '.join(keep_float)})" if keep_float else ""

    if share is not None and share < MOSTLY_INTEGER:
        computed = f"the runtime computed {1 - share:.0%} of the multiply-accumulates in float"
        steps = [f"{computed}{f' ({listed})' if listed else ''}: {SHIP_FLOAT}"]
    elif listed:
        keep = f"keep float what stands beside them by quantize.keep_float{patterns} and tune again"
        steps = [f"these ops stayed float between integer layers: {listed}; {keep}", f"or {SHIP_FLOAT}"]
    elif share is not None:
        steps = [f"no op stayed float, so nothing would be gained with quantize.keep_float{patterns}: {SHIP_FLOAT}"]
    else:
        steps = [SHIP_FLOAT]

    return "; ".join([*steps, NO_DYNAMIC])
