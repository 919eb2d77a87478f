"""What litert-torch's pass over layouts does not know, or does wrong: pads, repetitions, quantized values read twice.

The pass turns a graph into the runtime's own order and puts transpositions where an operator has no rule. Without one
for a pad, each convolution with a stride and TensorFlow's padding stands between two of them; with it, the converter
even makes a pad before a convolution the convolution's own padding ("SAME").
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

#: what the converter counts among the operators that any order suits, and what depends on the order
_ORDERED = ("repeat", "col2im")


def complete() -> None:
    """Give the converter the rules, once a process."""
    import torch
    from litert_torch._convert.fx_passes.optimize_layout_transposes_pass import layout_rewrite, pass_body

    aten = torch.ops.aten
    for op in (aten.constant_pad_nd.default, aten.pad.default):
        layout_rewrite.rewriters.setdefault(op, _pad)

    for name in _ORDERED:  # without a rule they stay as they are, between transpositions
        layout_rewrite.rewriters.pop(getattr(aten, name).default, None)

    kind = pass_body.OptimizeLayoutTransposesPass
    if not hasattr(kind.insert_t_q_dq, "__wrapped__"):
        kind.insert_t_q_dq = _keeping_meta(kind.insert_t_q_dq)


def _pad(node: Any) -> None:
    """Numbers of (W, H[, C[, N]]) of a picture (N, C, H, W) as those of (N, H, W, C), whose last axis is C."""
    pads = [*node.args[1], *[0] * (8 - len(node.args[1]))]
    node.args = (node.args[0], [*pads[4:6], *pads[:4], *pads[6:]], *node.args[2:])


def _keeping_meta(insert: Callable[..., Any]) -> Callable[..., Any]:
    """The pass's own `insert_t_q_dq`, which would take shape and order from the dequantization that it transposes, so
    that the next reader of the same value would get it in the wrong order."""

    @functools.wraps(insert)
    def keeping(self: Any, graph: Any, input_dq: Any, *rest: Any) -> Any:
        before = dict(input_dq.meta)
        try:
            return insert(self, graph, input_dq, *rest)
        finally:
            input_dq.meta = before

    return keeping
