"""What litert-torch's pass over layouts does not know: padding a picture whose channels are last.

The pass turns a graph into the runtime's own order and puts transpositions where an operator has no rule. Without one
for a pad, each convolution with a stride and TensorFlow's padding stands between two of them; with it, the converter
even makes a pad before a convolution the convolution's own padding ("SAME").
"""

from __future__ import annotations

from typing import Any


def know_pads() -> None:
    """Give the converter the rule, once a process."""
    import torch
    from litert_torch._convert.fx_passes.optimize_layout_transposes_pass import layout_rewrite

    for op in (torch.ops.aten.constant_pad_nd.default, torch.ops.aten.pad.default):
        layout_rewrite.rewriters.setdefault(op, _pad)


def _pad(node: Any) -> None:
    """Numbers of (W, H[, C[, N]]) of a picture (N, C, H, W) as those of (N, H, W, C), whose last axis is C."""
    pads = [*node.args[1], *[0] * (8 - len(node.args[1]))]
    node.args = (node.args[0], [*pads[4:6], *pads[:4], *pads[6:]], *node.args[2:])
