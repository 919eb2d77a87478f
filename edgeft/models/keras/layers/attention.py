"""Attention of several heads, as linear layers and torch's scaled product."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..layer import Layer, tensor_of
from ..placed import Placed
from ..registry import imports


class Heads(nn.Module):
    """Attention (Vaswani et al. 2017) of `query` (N, T, D) to `value` and `key` (N, S, D), and its four projections."""

    def __init__(self, keras: Any, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = int(keras.num_heads), causal
        self.query, self.key, self.value = (
            _projection(dense, tensor_of(dense.kernel).flatten(1))
            for dense in (keras._query_dense, keras._key_dense, keras._value_dense)
        )
        self.output = _projection(keras._output_dense, tensor_of(keras._output_dense.kernel).flatten(0, 1))

    def forward(self, query: torch.Tensor, value: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """(N, T, D) -> (N, T, D)."""
        q, k, v = self._split(self.query(query)), self._split(self.key(key)), self._split(self.value(value))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        joined: torch.Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return joined

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _projection(dense: Any, kernel: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(*kernel.shape, bias=dense.bias is not None)
    layer.weight.data = kernel.T.contiguous()
    if dense.bias is not None:
        layer.bias.data = tensor_of(dense.bias).reshape(-1)
    return layer


@imports("MultiHeadAttention")
def multi_head(layer: Layer) -> Placed:
    query, value = (layer.argument(name, position) for position, name in enumerate(("query", "value")))
    key = layer.argument("key", 2) or value
    masks = [k for k in layer.kwargs if k.endswith("_mask") and layer.kwargs[k] is not None and k != "use_causal_mask"]
    if masks or len(layer.args) > 3 or layer.kwargs.get("return_attention_scores"):
        raise layer.fail("with a mask as input, or with its scores as output, is not read")

    odd = getattr(layer.keras, "_attention_axes", None) not in (None, (1,), [1]) or query.rank != 3
    if odd:
        raise layer.fail("over other axes than one of positions is not read")

    parts = [layer.order.plain(part) for part in (query, value, key)]
    causal = bool(layer.kwargs.get("use_causal_mask", False))
    return Placed(layer.module(parts[0], lambda: Heads(layer.keras, causal), "", *parts[1:]))
