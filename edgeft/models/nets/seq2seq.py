"""A small encoder-decoder transformer (Vaswani et al. 2017), cut where a device cuts it: an encoder that runs once a
sentence, and a decoder that takes the keys and values of earlier tokens as inputs and hands out those of the new ones.

Norms stand before each block (Xiong et al. 2020), so that it trains without care; ReLU between the two linears of a
block, so that the first one's output is quantized behind it. The output's weights are the embedding's (Press and Wolf
2017). No op's arguments hold a length: the same graph runs over a whole target sentence, to be trained, and over one
token at a time, to translate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

#: added to the score of what must not be looked at: exp() of it is exactly 0 in float32, and it is finite in float16
MASKED = -1e4


class FeedForward(nn.Module):
    """x + outer(relu(inner(norm(x))))."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner, self.outer = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.dropout(self.outer(self.dropout(F.relu(self.inner(self.norm(x))))))


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor | None, heads: int
) -> torch.Tensor:
    """Scaled dot-product attention of (N, T, d) over (N, S, d); `bias` (N, 1, 1 or T, S) is added to the scores."""
    query, key, value = (by_head(x, heads) for x in (query, key, value))
    scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
    scores = scores if bias is None else scores + bias
    return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)


def by_head(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(N, T, d) -> (N, heads, T, d / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def mask_bias(mask: torch.Tensor) -> torch.Tensor:
    """What is added to scores where an int `mask` is 0: float32 of the same shape."""
    return (1.0 - mask.to(torch.float32)) * MASKED


class EncoderLayer(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.dropout = nn.Dropout(dropout)
        self.feed = FeedForward(width, hidden, dropout)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        attended = attend(self.query(y), self.key(y), self.value(y), bias, self.heads)
        return self.feed(x + self.dropout(self.out(attended)))


class DecoderLayer(nn.Module):
    """Self-attention over the cache and the new tokens, attention over the source, feed-forward."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.cross_norm = nn.LayerNorm(width)
        self.cross_query, self.cross_out = nn.Linear(width, width), nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.feed = FeedForward(width, hidden, dropout)

    def forward(
        self,
        x: torch.Tensor,
        bias: torch.Tensor,
        cache: tuple[torch.Tensor, torch.Tensor],
        memory: tuple[torch.Tensor, torch.Tensor],
        memory_bias: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        y = self.norm(x)
        key, value = self.key(y), self.value(y)
        before = torch.cat([cache[0], key], 1), torch.cat([cache[1], value], 1)
        x = x + self.dropout(self.out(attend(self.query(y), *before, bias, self.heads)))
        attended = attend(self.cross_query(self.cross_norm(x)), *memory, memory_bias, self.heads)

        return self.feed(x + self.dropout(self.cross_out(attended))), key, value


class Embedding(nn.Module):
    """Token ids and positions, both int (N, T) -> (N, T, d)."""

    def __init__(self, vocabulary: int, longest: int, width: int, dropout: float) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(vocabulary, width), nn.Embedding(longest, width)
        nn.init.normal_(self.token.weight, std=width**-0.5)
        nn.init.normal_(self.position.weight, std=0.02)
        self.scale = math.sqrt(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.token(tokens) * self.scale + self.position(positions))


class Encoder(nn.Module):
    """`source` ids, `positions` and `source_mask` (1 = token), all int (N, S) -> the keys and values that the D layers
    of the decoder look at, layer by layer: 2 D tensors (N, S, d), each quantized by a scale of its own."""

    def __init__(
        self, vocabulary: int, longest: int, width: int, heads: int, hidden: int, layers: int, readers: int, drop: float
    ) -> None:
        super().__init__()
        self.embedding = Embedding(vocabulary, longest, width, drop)
        self.layers = nn.ModuleList(EncoderLayer(width, heads, hidden, drop) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.memory = nn.ModuleList(nn.Linear(width, width) for _ in range(2 * readers))

    def forward(
        self, source: torch.Tensor, positions: torch.Tensor, source_mask: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        bias = ((1.0 - source_mask.to(torch.float32)) * MASKED)[:, None, None, :]
        x = self.embedding(source, positions)
        for layer in self.layers:
            x = layer(x, bias)

        x = self.norm(x)
        return tuple(linear(x) for linear in self.memory)


def cached(
    layers: Iterable[Any], x: torch.Tensor, bias: torch.Tensor, cache: torch.Tensor, memory: torch.Tensor, *masks: Any
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """`x` (N, T, d) after all layers of a decoder, and their keys and values in order.

    Each layer takes its pair of `cache` and of `memory` (N, 2 D, ..., d), and gives its output, key and value.
    """
    rows: list[torch.Tensor] = []
    for i, layer in enumerate(layers):
        at, after = 2 * i, 2 * i + 1
        cache_pair, memory_pair = (cache[:, at], cache[:, after]), (memory[:, at], memory[:, after])
        x, key, value = layer(x, bias, cache_pair, memory_pair, *masks)
        rows += [key, value]
    return x, rows


class Decoder(nn.Module):
    """New tokens -> logits (N, T, vocabulary), and layer by layer their keys and values, 2 D tensors (N, T, d).

    `tokens`, `positions` int (N, T); `mask` int (N, T, P + T), 1 where a token may look: at P places of the `cache`
    (N, 2 D, P, d) float, then at the new tokens; `memory` (N, 2 D, S, d) is the encoder's, stacked.
    """

    def __init__(
        self, vocabulary: int, longest: int, width: int, heads: int, hidden: int, layers: int, drop: float
    ) -> None:
        super().__init__()
        self.embedding = Embedding(vocabulary, longest, width, drop)
        self.layers = nn.ModuleList(DecoderLayer(width, heads, hidden, drop) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)
        nn.init.zeros_(self.head.bias)

    def forward(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        mask: torch.Tensor,
        cache: torch.Tensor,
        memory: torch.Tensor,
        source_mask: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        bias = ((1.0 - mask.to(torch.float32)) * MASKED)[:, None]
        source_bias = ((1.0 - source_mask.to(torch.float32)) * MASKED)[:, None, None, :]
        x, rows = cached(self.layers, self.embedding(tokens, positions), bias, cache, memory, source_bias)

        return (self.head(self.norm(x)), *rows)


class EncoderDecoder(nn.Module):
    """An encoder and a decoder of the forms of `Encoder` and `Decoder`, trained on whole sentences: `source` and
    `source_mask` int (N, S), `target` int (N, T), the tokens before each one that is to be predicted -> logits
    (N, T, vocabulary). `width` is that of a key, `layers` how many the decoder has. Both parts are what is exported.
    """

    encoder: nn.Module
    decoder: nn.Module
    width: int
    layers: int

    def forward(self, source: torch.Tensor, source_mask: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        memory = torch.stack(self.encoder(source, positions_of(source), source_mask), 1)
        n, length = target.shape
        empty = memory.new_zeros(n, 2 * self.layers, 1, self.width)  # one place of the cache, which nobody looks at
        mask = torch.ones(length, length + 1, dtype=torch.int32, device=target.device).tril(1)
        mask[:, 0] = 0

        return self.decoder(target, positions_of(target), mask.expand(n, -1, -1), empty, memory, source_mask)[0]


class Seq2Seq(EncoderDecoder):
    """The network that comes with edgeft, of `n_classes` tokens.

    `longest` is the number of positions of either language. Raises `ValueError` where `heads` do not divide `width`.
    """

    def __init__(
        self,
        n_classes: int,
        width: int = 192,
        heads: int = 4,
        hidden: int = 512,
        encoder_layers: int = 2,
        decoder_layers: int = 2,
        longest: int = 64,
        dropout: float = 0.1,
        tied: bool = True,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"a width of {width} cannot be divided over {heads} heads")

        sizes = (n_classes, longest, width, heads, hidden)
        self.encoder = Encoder(*sizes, encoder_layers, decoder_layers, dropout)
        self.decoder = Decoder(*sizes, decoder_layers, dropout)

        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

        self.width, self.layers, self.longest = width, decoder_layers, longest
        if tied:
            self.decoder.embedding.token.weight = self.encoder.embedding.token.weight
            self.decoder.head.weight = self.encoder.embedding.token.weight


def positions_of(tokens: torch.Tensor) -> torch.Tensor:
    """0, 1, 2 .. for each row, int32 (N, T)."""
    return torch.arange(tokens.shape[1], dtype=torch.int32, device=tokens.device).expand(tokens.shape[0], -1)
