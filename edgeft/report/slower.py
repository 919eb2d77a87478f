"""When int8 is slower than float: said in every form of the report, with what can be shipped instead.

What helps depends on where the time went. Ops that the runtime left in float between integer layers cost a conversion
on each side: then the layers beside them are better float too. Where nothing stayed float, or almost everything did,
there is nothing to win by moving borders, and the float model is the one to ship.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import words

#: below this share of integer multiply-accumulates the runtime took little of the quantization up
_MOSTLY = 0.5
_SHOWN = 4
#: edgeft writes statically quantized graphs only: what ranges cost at run time is not traded for anything
_DYNAMIC = "dynamic quantization is not offered by edgeft"
_FLOAT = "ship the float model, which the bundle has under baseline/"


def beyond_noise(interval: Any) -> bool:
    """Is a speed-up's whole interval (low, high) below 1?"""
    both = words.pair(interval)
    return both is not None and both[1] < 1


def fallback(int8: Mapping[str, Any] | None, keep_float: Sequence[str] = ()) -> str:
    """What can be done about it, the most fitting first.

    `int8` {"share", "float_ops": {op: count}} is `runtime.IntegerShare` of the artifact, `keep_float` the recipe's own.
    """
    int8 = words.table(int8)
    share, ops = words.finite(int8.get("share")), words.table(int8.get("float_ops"))
    listed = ", ".join(f"{words.line(op)} x{words.plain(count)}" for op, count in list(ops.items())[:_SHOWN])
    listed += f" and {len(ops) - _SHOWN} more kinds" if len(ops) > _SHOWN else ""
    kept = f" (now {', '.join(map(words.line, keep_float))})" if keep_float else ""
    keep = f"keep float what stands beside them by quantize.keep_float{kept} and tune again"
    if share is not None and share < _MOSTLY:
        found = f"the runtime computed {1 - share:.0%} of the multiply-accumulates in float"
        steps = [f"{found}{f' ({listed})' if listed else ''}: {_FLOAT}"]
    elif listed:
        steps = [f"these ops stayed float between integer layers: {listed}; {keep}", f"or {_FLOAT}"]
    elif share is not None:
        steps = [f"no op stayed float, so nothing is gained by quantize.keep_float{kept}: {_FLOAT}"]
    else:
        steps = [_FLOAT]
    return "; ".join([*steps, _DYNAMIC])


def sentence(report: Mapping[str, Any]) -> str:
    """That int8 is slower than float, and the fallback; "" where it is not, or where noise hides it."""
    latency = words.table(report.get("latency"))
    if not beyond_noise(latency.get("ci99")):
        return ""
    where = words.line(latency.get("where") or "")
    advisory = any(
        words.table(g).get("name") == "latency" and words.table(g).get("verdict") == "advisory"
        for g in report.get("gates") or ()
    )
    place = f" on the {where}" if where else ""
    place += " (not the target: measure it there before you decide)" if advisory else ""
    kept = report.get("keep_float")
    todo = fallback(words.table(report.get("int8")), kept if isinstance(kept, (list, tuple)) else ())
    return f"int8 is slower than float{place}: {words.figure(latency.get('speedup'), 'ratio')} its speed; {todo}."


def told(gates: Any) -> bool:
    """Has a gate whose reason is shown (one that did not pass) said it already?"""
    return any(
        words.table(g).get("name") == "latency"
        and words.table(g).get("verdict") != "pass"
        and _DYNAMIC in str(words.table(g).get("why"))
        for g in gates or ()
    )
