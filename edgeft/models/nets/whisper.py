"""Whisper (Radford et al. 2022) of the package `transformers`, cut into an encoder and one step of a decoder.

The layers are the package's own, with their weights; how they are joined has the form of `seq2seq.py`, so that caches
and search are those of models that translate. Norms stand before each block. The encoder hears a window of fixed length
and looks at all of it, so that there is no mask of the source.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .marian import Attention, Embedding
from .seq2seq import EncoderDecoder, cached, mask_bias, positions_of


class FeedForward(nn.Module):
    """x + outer(activation(inner(norm(x))))."""

    def __init__(self, layer: Any, config: Any) -> None:
        super().__init__()
        self.norm, self.inner, self.outer = layer.final_layer_norm, layer.fc1, layer.fc2
        self.activation = layer.activation_fn
        self.dropout, self.dropout_within = nn.Dropout(config.dropout), nn.Dropout(config.activation_dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        added: torch.Tensor = self.outer(self.dropout_within(self.activation(self.inner(self.norm(x)))))
        return x + self.dropout(added)


class EncoderLayer(nn.Module):
    """Self-attention over the whole window, and the feed-forward block."""

    def __init__(self, layer: Any, config: Any) -> None:
        super().__init__()
        self.norm, self.attention = layer.self_attn_layer_norm, Attention(layer.self_attn, layer.self_attn.num_heads)
        self.dropout, self.feed = nn.Dropout(config.dropout), FeedForward(layer, config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        attended = self.attention(y, self.attention.key(y), self.attention.value(y), None)
        fed: torch.Tensor = self.feed(x + self.dropout(attended))
        return fed


class DecoderLayer(nn.Module):
    """Self-attention over the cache and the new tokens, attention over the window, feed-forward."""

    def __init__(self, layer: Any, config: Any) -> None:
        super().__init__()
        heads = layer.self_attn.num_heads
        self.norm, self.attention = layer.self_attn_layer_norm, Attention(layer.self_attn, heads)
        self.cross_norm, self.cross = layer.encoder_attn_layer_norm, Attention(layer.encoder_attn, heads, memory=True)
        self.dropout, self.feed = nn.Dropout(config.dropout), FeedForward(layer, config)

    def forward(
        self,
        x: torch.Tensor,
        bias: torch.Tensor,
        cache: tuple[torch.Tensor, torch.Tensor],
        memory: tuple[torch.Tensor, torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        y = self.norm(x)
        key, value = self.attention.key(y), self.attention.value(y)
        before = torch.cat([cache[0], key], 1), torch.cat([cache[1], value], 1)
        x = x + self.dropout(self.attention(y, *before, bias))
        x = x + self.dropout(self.cross(self.cross_norm(x), *memory, None))
        return self.feed(x), key, value


class Encoder(nn.Module):
    """`input_features` float (N, mels, 2 S) -> the keys and values of the decoder's D layers, 2 D tensors (N, S, d).

    `places` is S: positions behind it are cut off, so that the window is shorter than that of the weights.
    """

    def __init__(self, model: Any, config: Any, places: int) -> None:
        super().__init__()
        encoder = model.encoder
        self.first, self.second, self.activation = encoder.conv1, encoder.conv2, nn.GELU()
        positions = encoder.embed_positions.weight.detach()[:places].clone()
        self.register_buffer("positions", positions)  # sines, which the package does not train either
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(EncoderLayer(layer, config) for layer in encoder.layers)
        self.norm = encoder.layer_norm
        readers = [layer.encoder_attn for layer in model.decoder.layers]
        self.memory = nn.ModuleList(part for reader in readers for part in (reader.k_proj, reader.v_proj))

    def forward(self, input_features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.activation(self.second(self.activation(self.first(input_features)))).transpose(1, 2)
        x = self.dropout(x + self.positions)
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x)
        return tuple(linear(x) for linear in self.memory)


class Decoder(nn.Module):
    """As `seq2seq.Decoder` without a mask of the source: new tokens -> logits (N, T, vocabulary), and their keys and
    values (N, T, d) by layer."""

    def __init__(self, model: Any, head: nn.Linear, config: Any) -> None:
        super().__init__()
        decoder = model.decoder
        places, scaled = decoder.embed_positions.weight, config.scale_embedding
        self.embedding = Embedding(decoder.embed_tokens, places, scaled, config.dropout)
        self.layers = nn.ModuleList(DecoderLayer(layer, config) for layer in decoder.layers)
        self.norm, self.head = decoder.layer_norm, head

    def forward(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        mask: torch.Tensor,
        cache: torch.Tensor,
        memory: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        bias = mask_bias(mask)[:, None]
        x, rows = cached(self.layers, self.embedding(tokens, positions), bias, cache, memory)
        return (self.head(self.norm(x)), *rows)


class Whisper(EncoderDecoder):
    """The two parts of a `WhisperForConditionalGeneration` for a window of `places` positions (50 a second).

    Trained on whole texts: `input_features` (N, mels, 2 S) and `target` int (N, T), the tokens before each one that is
    to be predicted -> logits (N, T, vocabulary).
    """

    def __init__(self, module: Any, config: Any, places: int) -> None:
        super().__init__()
        self.encoder = Encoder(module.model, config, places)
        self.decoder = Decoder(module.model, module.proj_out, config)
        self.width, self.layers = config.d_model, len(module.model.decoder.layers)

    def forward(self, input_features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        memory = torch.stack(self.encoder(input_features), 1)
        n, length = target.shape
        empty = memory.new_zeros(n, 2 * self.layers, 1, self.width)  # one place of the cache, which nobody looks at
        mask = torch.ones(length, length + 1, dtype=torch.int32, device=target.device).tril(1)
        mask[:, 0] = 0
        logits: torch.Tensor = self.decoder(target, positions_of(target), mask.expand(n, -1, -1), empty, memory)[0]
        return logits
