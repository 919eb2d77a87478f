"""An encoder of texts of the package `transformers` as a classifier that reads the mean of its tokens."""

from __future__ import annotations

import torch
from torch import nn


class TextVector(nn.Module):
    """`input_ids` and `attention_mask`, both int (N, L) -> a vector of length 1 for each text, float (N, width).

    The vector is the mean of the last layer's tokens without padding, or the first token's ("cls"), divided by its
    length (Reimers and Gurevych 2019): the product of two of them is the cosine of their angle.
    """

    def __init__(self, encoder: nn.Module, name: str, pooling: str = "mean") -> None:
        super().__init__()
        self.encoder_name, self.pooling = name, pooling
        self.add_module(name, encoder)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        encoder = self.get_submodule(self.encoder_name)
        states: torch.Tensor = encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.pooling == "mean":
            mask = attention_mask.to(torch.float32)[:, :, None]
            vector = (states * mask).sum(1) / mask.sum(1).clamp(min=1.0)
        else:
            vector = states[:, 0]

        return vector / (vector * vector).sum(1, keepdim=True).clamp(min=1e-12).sqrt()


class MeanOfTokens(nn.Module):
    """`input_ids` and `attention_mask` (1 = token, 0 = padding), both int (N, L) -> logits (N, n_classes).

    The classifier reads the mean of the last layer's tokens, padding left out, as sentence encoders do (Reimers and
    Gurevych 2019). What stands in padded places makes no difference. The encoder goes by the name that checkpoints of
    its kind give it (`base_model_prefix`), the classifier is called `classifier`.
    """

    def __init__(self, encoder: nn.Module, name: str, width: int, n_classes: int, dropout: float) -> None:
        super().__init__()
        self.encoder_name = name
        self.add_module(name, encoder)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, n_classes)
        nn.init.normal_(self.classifier.weight, std=0.02)
        nn.init.zeros_(self.classifier.bias)

    def tokens(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """The last layer's (N, L, width), what the encoder calls last_hidden_state."""
        encoder = self.get_submodule(self.encoder_name)
        states: torch.Tensor = encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return states

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = attention_mask.to(torch.float32)[:, :, None]
        mean = (self.tokens(input_ids, attention_mask) * mask).sum(1) / mask.sum(1).clamp(min=1.0)
        logits: torch.Tensor = self.classifier(self.dropout(mean))
        return logits
