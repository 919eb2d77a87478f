"""How models of the package `transformers` compute attention here: plain ops that every runtime has, and small masks.

The package lets attention and its masks be replaced by name (`AttentionInterface`, `AttentionMaskInterface`). Its own
"eager" masks index a table with positions and hold the smallest float32; these are a product with `MASKED`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...core.errors import need

NAME = "edgeft"
#: added to the score of a masked token: exp() of it is exactly 0 in float32, and it is finite in float16 too
MASKED = -1e4


def register() -> str:
    """Make attention known to the package; returns its name for `attn_implementation`. Raises `Missing`."""
    transformers = need("transformers", "transformers")
    transformers.AttentionInterface.register(NAME, attention)
    transformers.AttentionMaskInterface.register(NAME, mask)
    return NAME


def attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scaled dot-product attention (Vaswani et al. 2017) of (N, heads, L, width): the values (N, L, heads, width), and
    the weights (N, heads, L, L)."""
    width = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = query @ key.transpose(2, 3) * width
    if attention_mask is not None:
        scores = scores + attention_mask

    weights = nn.functional.dropout(scores.softmax(-1), dropout, module.training)
    return (weights @ value).transpose(1, 2), weights


def mask(*, mask_function: Any, attention_mask: torch.Tensor | None = None, **sizes: Any) -> torch.Tensor | None:
    """What is added to the scores: (N, 1, 1, L) for padding alone, (N, 1, L, L) for other patterns, or None."""
    masking = need("transformers.masking_utils", "transformers")
    if mask_function is masking.bidirectional_mask_function:
        if attention_mask is None:
            return None
        return ((1.0 - attention_mask.to(torch.float32)) * MASKED)[:, None, None, :]

    sizes = {key: value for key, value in sizes.items() if key != "dtype"}
    sizes = {**sizes, "allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
    seen = masking.sdpa_mask(mask_function=mask_function, attention_mask=attention_mask, **sizes)
    return None if seen is None else (1.0 - seen.to(torch.float32)) * MASKED
