"""A BERT of a few thousand weights and a vocabulary of a few dozen words, written as Hugging Face writes a model."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

GOOD = ["great", "lovely", "perfect", "soft", "comfortable", "flattering"]
BAD = ["awful", "cheap", "itchy", "torn", "disappointing", "ugly"]
PLAIN = ["the", "dress", "this", "shirt", "is", "was", "and", "it", "very", "fabric", "i", "wore", "color", "size"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
TARGETS = ("host", "host-openvino", "host-litert")
LENGTH = 16
CONFIG = {
    "model_type": "bert",
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 24,
    "hidden_act": "gelu",
    "pad_token_id": 0,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "layer_norm_eps": 1e-12,
}


def tokenizer(path: Path) -> Path:
    """tokenizer.json: words in lower case, [CLS] before and [SEP] behind. It pads to 99, which must not count."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate([*SPECIAL, *GOOD, *BAD, *PLAIN])}, "[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    made.enable_padding(length=99)
    made.save(str(path))
    return path


def encoder(folder: Path, **changed: Any) -> Path:
    """config.json, model.safetensors and tokenizer.json of a random encoder."""
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True, exist_ok=True)
    table = {**CONFIG, **changed}
    torch.manual_seed(0)
    module = BertModel(BertConfig(**table), add_pooling_layer=False)
    save_file(module.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(table))
    tokenizer(folder / "tokenizer.json")
    return folder


def classifier(classes: int = 2, **changed: Any) -> Any:
    """A random encoder with a classifier on the mean of its tokens, as the source builds it; torch's seed counts."""
    from transformers import BertConfig, BertModel

    from edgeft.models.nets import attention
    from edgeft.models.nets.encoder import MeanOfTokens

    config = BertConfig(**{**CONFIG, **changed}, attn_implementation=attention.register())
    encoder = BertModel(config, add_pooling_layer=False)
    module = MeanOfTokens(encoder, "bert", config.hidden_size, classes, config.hidden_dropout_prob)
    module.open_axes = {1: (3, config.max_position_embeddings)}
    return module.eval()


def reviews(path: Path, count: int = 240) -> Path:
    """A table of reviews with one or two telling words each; no two are the same."""
    rng = np.random.default_rng(0)
    seen: set[str] = set()
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "review", "liked"])
        while len(seen) < count:
            liked = len(seen) % 2
            words = [*rng.choice(PLAIN, rng.integers(4, 10)), *rng.choice(GOOD if liked else BAD, rng.integers(1, 3))]
            words = " ".join(rng.permutation(words))
            if words not in seen:
                seen.add(words)
                rows.writerow([len(seen), words, ("no", "yes")[liked]])
    return path


def recipe_of(folder: Path, **changed: dict[str, Any]) -> dict[str, Any]:
    weights = encoder(folder / "encoder", num_hidden_layers=1)
    table: dict[str, Any] = {
        "task": "text-classify",
        "name": "reviews",
        "model": {"source": "transformers", "name": "bert", "weights": str(weights)},
        "data": {
            "format": "csv",
            "path": str(reviews(folder / "reviews.csv")),
            "text": ["review"],
            "label": "liked",
            "length": LENGTH,
        },
        "train": {"epochs": 12, "lr": 1e-2, "batch_size": 16},
        "quantize": {"epochs": 1, "lr": 1e-4, "calibration": "quick"},
        "export": {"targets": list(TARGETS)},
        "gates": {"min_speedup": 0.0, "max_drop": 0.05},
    }
    for name, keys in changed.items():
        table[name] = {**table.get(name, {}), **keys}
    return table
