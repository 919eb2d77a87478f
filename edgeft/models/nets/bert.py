"""BERT's encoder (Devlin et al. 2019) as a classifier of texts: plain ops that every runtime has, and no package.

Names of layers are those of Hugging Face's `BertModel`, so that its weights load by name. The classifier reads the
mean of the last layer's tokens, padding left out, as sentence encoders do (Reimers and Gurevych 2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

#: added to the score of a padded token: exp() of it is exactly 0 in float32, and it is finite in float16 too
MASKED = -1e4
#: `hidden_act` of a config -> what `torch.nn.functional.gelu` calls it ("" = relu)
ACTIVATIONS = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh", "relu": ""}


@dataclass(frozen=True)
class Config:
    """Sizes by the names of a config.json."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    pad_token_id: int = 0


class Embeddings(nn.Module):
    """Token ids (N, L) -> (N, L, hidden); all tokens are of the first segment."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        size = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, size)
        self.LayerNorm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.word_embeddings(ids) + self.token_type_embeddings.weight[0]
        return self.dropout(self.LayerNorm(x + self.position_embeddings.weight[: ids.shape[1]]))


class SelfAttention(nn.Module):
    """Scaled dot-product attention; `bias` (N, 1, 1, L) is added to the scores."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        size = config.hidden_size
        self.heads, self.width = config.num_attention_heads, size // config.num_attention_heads
        self.query, self.key, self.value = (nn.Linear(size, size) for _ in range(3))
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, self.width)).transpose(1, 2)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        query, key, value = (self._split(layer(x)) for layer in (self.query, self.key, self.value))
        scores = query @ key.transpose(2, 3) * self.width**-0.5 + bias
        return (self.dropout(scores.softmax(-1)) @ value).transpose(1, 2).flatten(2)


class Residual(nn.Module):
    """LayerNorm(residual + dropout(linear(x)))."""

    def __init__(self, inputs: int, config: Config) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)


class Attention(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = Residual(config.hidden_size, config)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return self.output(self.self(x, bias), x)


class Intermediate(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.approximate = ACTIVATIONS[config.hidden_act]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.dense(x)
        return F.gelu(x, approximate=self.approximate) if self.approximate else F.relu(x)


class Layer(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = Residual(config.intermediate_size, config)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        x = self.attention(x, bias)
        return self.output(self.intermediate(x), x)


class Encoder(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        for layer in self.layer:
            x = layer(x, bias)
        return x


class BertClassifier(nn.Module):
    """`input_ids` and `attention_mask` (1 = token, 0 = padding), both int (N, L) -> logits (N, n_classes).

    L is at most `max_position_embeddings`; what stands in padded places makes no difference.
    """

    def __init__(self, config: Config, n_classes: int) -> None:
        super().__init__()
        #: axes of the inputs, beside the batch, that a captured graph leaves open: {axis: (smallest, largest)}
        self.open_axes = {1: (2, config.max_position_embeddings)}
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, n_classes)

    def tokens(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """The last layer's (N, L, hidden), what `BertModel` calls last_hidden_state."""
        mask = attention_mask.to(torch.float32)
        return self.encoder(self.embeddings(input_ids), ((1.0 - mask) * MASKED)[:, None, None, :])

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = attention_mask.to(torch.float32)[:, :, None]
        mean = (self.tokens(input_ids, attention_mask) * mask).sum(1) / mask.sum(1).clamp(min=1.0)
        return self.classifier(self.dropout(mean))
