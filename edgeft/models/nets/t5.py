"""T5 (Raffel et al. 2020) of the package `transformers`, cut into an encoder and one step of a decoder.

The linear layers are the package's own, with their weights; how they are joined has the form of `seq2seq.py`. A bias of
each head for the distance of two tokens takes the place of positions. The package looks it up by buckets of distances;
here it is a table by distance, in which all distances of a bucket begin with the bucket's value.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .seq2seq import EncoderDecoder, by_head, cached, mask_bias


class Norm(nn.Module):
    """Root mean square normalization (Zhang and Sennrich 2019)."""

    def __init__(self, weight: torch.Tensor, epsilon: float) -> None:
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(weight.detach().clone()), epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.epsilon)


class Distances(nn.Module):
    """The bias of each head for distances int (N, T, S), key minus query: float (N, heads, T, S)."""

    def __init__(self, attention: Any, both_ways: bool) -> None:
        super().__init__()
        self.most = attention.relative_attention_max_distance
        self.least = -self.most
        last = self.most if both_ways else 0
        buckets = attention._relative_position_bucket(
            torch.arange(self.least, last + 1),
            bidirectional=both_ways,
            num_buckets=attention.relative_attention_num_buckets,
            max_distance=self.most,
        )
        self.last = last
        self.bias = nn.Embedding.from_pretrained(
            attention.relative_attention_bias.weight[buckets].detach().clone(), freeze=False
        )

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        rows = distances.clamp(self.least, self.last) - self.least
        return self.bias(rows).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """The four linear layers of an attention of the package; scores are not scaled."""

    def __init__(self, layer: Any, *, memory: bool = False) -> None:
        super().__init__()
        self.heads = layer.n_heads
        self.query, self.out = layer.q, layer.o
        if not memory:  # those that read the encoder stand in the encoder
            self.key, self.value = layer.k, layer.v

    def forward(
        self, x: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor, distance: torch.Tensor | None
    ) -> torch.Tensor:
        query, key, value = (by_head(t, self.heads) for t in (self.query(x), key, value))
        scores = query @ key.transpose(2, 3)
        if distance is not None:
            scores = scores + distance
        attended: torch.Tensor = self.out(((scores + bias).softmax(-1) @ value).transpose(1, 2).flatten(2))
        return attended


class FeedForward(nn.Module):
    """x + outer(activation(inner(norm(x)))), where `gate` stands times gate(norm(x)) (Shazeer 2020)."""

    def __init__(self, layer: Any, config: Any) -> None:
        super().__init__()
        dense = layer.DenseReluDense
        self.norm = Norm(layer.layer_norm.weight, config.layer_norm_epsilon)
        gated = hasattr(dense, "wi_1")
        self.inner, self.outer, self.activation = dense.wi_0 if gated else dense.wi, dense.wo, dense.act
        self.gate = dense.wi_1 if gated else None
        self.dropout = nn.Dropout(config.dropout_rate)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        inner = self.activation(self.inner(y))
        if self.gate is not None:
            inner = inner * self.gate(y)
        return x + self.dropout(self.outer(self.dropout(inner)))


class EncoderLayer(nn.Module):
    def __init__(self, block: Any, config: Any) -> None:
        super().__init__()
        first, last = block.layer
        self.norm = Norm(first.layer_norm.weight, config.layer_norm_epsilon)
        self.attention, self.dropout = Attention(first.SelfAttention), nn.Dropout(config.dropout_rate)
        self.feed = FeedForward(last, config)

    def forward(self, x: torch.Tensor, bias: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        attended = self.attention(y, self.attention.key(y), self.attention.value(y), bias, distance)
        fed: torch.Tensor = self.feed(x + self.dropout(attended))
        return fed


class DecoderLayer(nn.Module):
    """Self-attention over the cache and the new tokens, attention over the source, feed-forward."""

    def __init__(self, block: Any, config: Any) -> None:
        super().__init__()
        first, second, last = block.layer
        self.norm = Norm(first.layer_norm.weight, config.layer_norm_epsilon)
        self.cross_norm = Norm(second.layer_norm.weight, config.layer_norm_epsilon)
        self.attention = Attention(first.SelfAttention)
        self.cross = Attention(second.EncDecAttention, memory=True)
        self.dropout, self.feed = nn.Dropout(config.dropout_rate), FeedForward(last, config)

    def forward(
        self,
        x: torch.Tensor,
        bias: torch.Tensor,
        cache: tuple[torch.Tensor, torch.Tensor],
        memory: tuple[torch.Tensor, torch.Tensor],
        memory_bias: torch.Tensor,
        distance: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        y = self.norm(x)
        key, value = self.attention.key(y), self.attention.value(y)
        before = torch.cat([cache[0], key], 1), torch.cat([cache[1], value], 1)
        x = x + self.dropout(self.attention(y, *before, bias, distance))
        x = x + self.dropout(self.cross(self.cross_norm(x), *memory, memory_bias, None))
        return self.feed(x), key, value


class Encoder(nn.Module):
    """As `seq2seq.Encoder`: ids, positions and mask (N, S) -> keys and values of the decoder's D layers, (N, S, d)."""

    def __init__(self, module: Any, config: Any) -> None:
        super().__init__()
        stack = module.encoder
        self.token, self.dropout = stack.embed_tokens, nn.Dropout(config.dropout_rate)
        self.distances = Distances(stack.block[0].layer[0].SelfAttention, both_ways=True)
        self.layers = nn.ModuleList(EncoderLayer(block, config) for block in stack.block)
        self.norm = Norm(stack.final_layer_norm.weight, config.layer_norm_epsilon)
        readers = [block.layer[1].EncDecAttention for block in module.decoder.block]
        self.memory = nn.ModuleList(part for reader in readers for part in (reader.k, reader.v))

    def forward(
        self, source: torch.Tensor, positions: torch.Tensor, source_mask: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        bias = mask_bias(source_mask)[:, None, None, :]
        distance = self.distances(positions[:, None, :] - positions[:, :, None])
        x = self.dropout(self.token(source))
        for layer in self.layers:
            x = layer(x, bias, distance)
        x = self.dropout(self.norm(x))
        return tuple(linear(x) for linear in self.memory)


class Decoder(nn.Module):
    """As `seq2seq.Decoder`: new tokens -> logits (N, T, vocabulary), and their keys and values (N, T, d) by layer.

    A token's place among those that are looked at is its position: `mask` counts it.
    """

    def __init__(self, module: Any, config: Any) -> None:
        super().__init__()
        stack = module.decoder
        self.token, self.dropout = stack.embed_tokens, nn.Dropout(config.dropout_rate)
        self.distances = Distances(stack.block[0].layer[0].SelfAttention, both_ways=False)
        self.layers = nn.ModuleList(DecoderLayer(block, config) for block in stack.block)
        scale = config.d_model**-0.5 if config.scale_decoder_outputs else 1.0
        self.norm = Norm(stack.final_layer_norm.weight * scale, config.layer_norm_epsilon)
        self.head = module.lm_head

    def forward(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        mask: torch.Tensor,
        cache: torch.Tensor,
        memory: torch.Tensor,
        source_mask: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        bias, source_bias = mask_bias(mask)[:, None], mask_bias(source_mask)[:, None, None, :]
        distance = self.distances(mask.cumsum(2) - 1 - positions[:, :, None])
        x = self.dropout(self.token(tokens))
        x, rows = cached(self.layers, x, bias, cache, memory, source_bias, distance)
        return (self.head(self.dropout(self.norm(x))), *rows)


class T5(EncoderDecoder):
    """The two parts of a `T5ForConditionalGeneration`."""

    def __init__(self, module: Any, config: Any) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(module, config), Decoder(module, config)
        self.width, self.layers = config.num_heads * config.d_kv, len(module.decoder.block)
