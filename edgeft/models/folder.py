"""Which files of a model's folder are its weights, and which others it needs: of a local folder and of a repository."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

#: files of weights by the name that Hugging Face gives them, the preferred first; an index names its shards
KNOWN = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
#: kinds of files that may be the weights where they have another name, the preferred first
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
INDEX = ".index.json"
#: what a model needs beside its weights: settings, vocabularies, tokenizers
_TEXTS = (".json", ".txt", ".model", ".jinja", ".spm", ".vocab", ".bpe", ".tiktoken")
#: files of other programs and variants of the weights that have the same suffixes
_ELSEWHERE = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state.*|trainer_state|onnx.*)\.\w+")
_SHARD = re.compile(r"(?P<stem>.+)-\d{5}-of-\d{5}(?P<suffix>\.\w+)")
#: modules of sentence-transformers, such as 1_Pooling/config.json
_MODULE = re.compile(r"\d+_\w+/config\.json")


def weights_among(names: Iterable[str]) -> tuple[str, ...]:
    """The files that may be the weights of a folder with these file names: safetensors before pickles.

    One name for a folder that is clear, several where a person has to choose, none where it holds no weights. Shards
    are stood for by their index. Folders below are left out.
    """
    at_root = sorted(name for name in names if "/" not in name)
    for name in KNOWN:
        if name in at_root:
            return (name,)

    for suffix in SUFFIXES:
        files = tuple(name for name in at_root if name.endswith(suffix) and not _ELSEWHERE.fullmatch(name))
        indices = tuple(name for name in at_root if name.endswith(suffix + INDEX))
        whole = tuple(name for name in files if not _SHARD.fullmatch(name))
        if whole or indices:
            return whole or indices

    return ()


def shards_of(index: str, names: Iterable[str]) -> tuple[str, ...]:
    """The shards of an index (`model.safetensors.index.json`) among file names, by their names."""
    stem, _, suffix = index.removesuffix(INDEX).rpartition(".")
    matches = ((name, _SHARD.fullmatch(name)) for name in sorted(names))
    return tuple(name for name, match in matches if match and match["stem"] == stem and match["suffix"] == f".{suffix}")


def needed(names: Collection[str], weights: str) -> tuple[str, ...]:
    """The files to fetch of a repository for its `weights`: these, their shards, settings and tokenizers, sorted."""
    texts = {
        name
        for name in names
        if (("/" not in name and name.endswith(_TEXTS)) or _MODULE.fullmatch(name)) and not name.endswith(INDEX)
    }
    shards = shards_of(weights, names) if weights.endswith(INDEX) else ()
    return tuple(sorted({weights, *shards, *texts}))
