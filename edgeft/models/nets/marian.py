"""Marian (Junczys-Dowmunt et al. 2018) of the package `transformers`, cut into an encoder and one step of a decoder.

The layers are the package's own, with their weights; how they are joined has the form of `seq2seq.py`, so that the
graphs, their caches and the search are those of every model that translates. Norms stand behind each block.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from .seq2seq import EncoderDecoder, attend, cached, mask_bias


class Attention(nn.Module):
    """The four linear layers of an attention of the package."""

    def __init__(self, layer: Any, heads: int, *, memory: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.out = layer.q_proj, layer.out_proj
        if not memory:  # those that read the encoder stand in the encoder
            self.key, self.value = layer.k_proj, layer.v_proj

    def forward(
        self, x: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        attended: torch.Tensor = self.out(attend(self.query(x), key, value, bias, self.heads))
        return attended


class FeedForward(nn.Module):
    def __init__(self, layer: Any, dropout: float) -> None:
        super().__init__()
        self.inner, self.outer, self.norm, self.activation = (
            layer.fc1,
            layer.fc2,
            layer.final_layer_norm,
            layer.activation_fn,
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = self.norm(x + self.dropout(self.outer(self.activation(self.inner(x)))))
        return normed


class EncoderLayer(nn.Module):
    def __init__(self, layer: Any, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention, self.norm = Attention(layer.self_attn, heads), layer.self_attn_layer_norm
        self.dropout, self.feed = nn.Dropout(dropout), FeedForward(layer, dropout)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        attended = self.attention(x, self.attention.key(x), self.attention.value(x), bias)
        fed: torch.Tensor = self.feed(self.norm(x + self.dropout(attended)))
        return fed


class DecoderLayer(nn.Module):
    """Self-attention over the cache and the new tokens, attention over the source, feed-forward."""

    def __init__(self, layer: Any, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention, self.norm = Attention(layer.self_attn, heads), layer.self_attn_layer_norm
        self.cross = Attention(layer.encoder_attn, heads, memory=True)
        self.cross_norm = layer.encoder_attn_layer_norm
        self.dropout, self.feed = nn.Dropout(dropout), FeedForward(layer, dropout)

    def forward(
        self,
        x: torch.Tensor,
        bias: torch.Tensor,
        cache: tuple[torch.Tensor, torch.Tensor],
        memory: tuple[torch.Tensor, torch.Tensor],
        memory_bias: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        key, value = self.attention.key(x), self.attention.value(x)
        before = torch.cat([cache[0], key], 1), torch.cat([cache[1], value], 1)
        x = self.norm(x + self.dropout(self.attention(x, *before, bias)))
        x = self.cross_norm(x + self.dropout(self.cross(x, *memory, memory_bias)))
        return self.feed(x), key, value


class Embedding(nn.Module):
    """Token ids and positions, both int (N, T) -> (N, T, d)."""

    def __init__(self, token: nn.Embedding, places: torch.Tensor, scaled: bool, dropout: float) -> None:
        super().__init__()
        self.token, self.position = token, nn.Embedding.from_pretrained(places.clone(), freeze=False)
        self.scale = math.sqrt(token.embedding_dim) if scaled else 1.0
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = self.dropout(self.token(tokens) * self.scale + self.position(positions))
        return embedded


class Encoder(nn.Module):
    """As `seq2seq.Encoder`: ids, positions and mask (N, S) -> keys and values of the decoder's D layers, (N, S, d)."""

    def __init__(self, model: Any, config: Any) -> None:
        super().__init__()
        encoder, drop = model.encoder, config.dropout
        self.embedding = Embedding(encoder.embed_tokens, encoder.embed_positions.weight, config.scale_embedding, drop)
        self.layers = nn.ModuleList(EncoderLayer(x, config.encoder_attention_heads, drop) for x in encoder.layers)
        readers = [layer.encoder_attn for layer in model.decoder.layers]
        self.memory = nn.ModuleList(part for reader in readers for part in (reader.k_proj, reader.v_proj))

    def forward(
        self, source: torch.Tensor, positions: torch.Tensor, source_mask: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        bias = mask_bias(source_mask)[:, None, None, :]
        x = self.embedding(source, positions)
        for layer in self.layers:
            x = layer(x, bias)
        return tuple(linear(x) for linear in self.memory)


class Decoder(nn.Module):
    """As `seq2seq.Decoder`: new tokens -> logits (N, T, vocabulary), and their keys and values (N, T, d) by layer."""

    def __init__(self, model: Any, head: nn.Linear, bias: torch.Tensor, config: Any) -> None:
        super().__init__()
        decoder, drop = model.decoder, config.dropout
        self.embedding = Embedding(decoder.embed_tokens, decoder.embed_positions.weight, config.scale_embedding, drop)
        self.layers = nn.ModuleList(DecoderLayer(x, config.decoder_attention_heads, drop) for x in decoder.layers)
        self.head = nn.Linear(head.in_features, head.out_features)
        self.head.weight, self.head.bias = head.weight, nn.Parameter(bias.detach().clone().flatten())

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
        x, rows = cached(self.layers, self.embedding(tokens, positions), bias, cache, memory, source_bias)
        return (self.head(x), *rows)


class Marian(EncoderDecoder):
    """The two parts of a `MarianMTModel`."""

    def __init__(self, module: Any, config: Any) -> None:
        super().__init__()
        self.encoder = Encoder(module.model, config)
        self.decoder = Decoder(module.model, module.lm_head, module.final_logits_bias, config)
        self.width, self.layers = config.d_model, len(module.model.decoder.layers)
