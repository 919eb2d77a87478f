"""Models of the package `transformers` whose first layers read the samples of a sound: wav2vec 2.0, HuBERT and kin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from ..core.errors import ModelError
from . import hf_folder
from .request import ModelRequest


def complete(
    module: nn.Module, folder: Path, config: Any, request: ModelRequest
) -> tuple[nn.Module, dict[str, Any], tuple[str, ...]]:
    """Samples (N, T) at the rate of the folder's feature extractor. Weight norm becomes a plain weight."""
    if not hasattr(config, "conv_kernel"):
        raise ModelError(
            f"a {config.model_type!r} reads features of a sound, and only models that read the waveform are taken",
            where=str(folder / hf_folder.CONFIG),
            remedy="take one of wav2vec2, hubert, wavlm, unispeech-sat, data2vec-audio",
        )

    for layer in module.modules():
        if parametrize.is_parametrized(layer):
            for name in list(layer.parametrizations):
                parametrize.remove_parametrizations(layer, name)

    return module, {"kind": "waveform", "input": "input_values", **hf_folder.waveform(folder)}, ()


def complete_frames(
    module: Any, folder: Path, config: Any, request: ModelRequest
) -> tuple[nn.Module, dict[str, Any], tuple[str, ...]]:
    """As `complete`, for logits (N, tokens, frames)."""
    module.register_forward_hook(_tokens_first)
    return complete(module, folder, config, request)


def _tokens_first(module: nn.Module, inputs: Any, logits: torch.Tensor) -> torch.Tensor:
    """Logits of the package (N, frames, tokens) as those of the task."""
    return logits.transpose(1, 2)
