"""Sentences to translate: as in edgeft/tasks/translate/decoding.py."""

import os

import numpy as np

from ..core.runner import HERE, Stop

INPUTS = "sentences, or files that hold one"


def read(path, spec=None):
    if not os.path.isfile(path):
        return path
    try:
        with open(path, "rb") as handle:
            return handle.read().decode("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(3, f"{path}: not readable as UTF-8 text ({error})") from error


def tokenizer_of(spec, side="tokenizer"):
    """The tokenizer of the source, or that of the target where there are two."""
    try:
        import tokenizers
    except ImportError:
        raise Stop(4, "reading sentences needs tokenizers: pip install tokenizers") from None
    path = spec["files"].get(side, spec["files"]["tokenizer"])
    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(HERE, path))
    tokenizer.encode_special_tokens = True  # "</s>" in a sentence is four characters, not its end
    return tokenizer


def feeds(words, spec):
    """{source, source_mask: int32 (1, L), positions too} of a sentence, by the manifest's preprocess table."""
    if not words.strip():
        raise Stop(3, "the text is empty")

    length = spec["length"]
    words = spec.get("prefix", "") + words
    ids = [*tokenizer_of(spec).encode(words, add_special_tokens=False).ids[: length - 1], spec["end"]]
    source = np.full((1, length), spec["pad"], np.int32)
    source[0, : len(ids)] = ids
    mask = (np.arange(length) < len(ids)).astype(np.int32)[None]

    return {"source": source, "positions": np.arange(length, dtype=np.int32)[None], "source_mask": mask}


def stored(samples, i):
    return str(samples[f"raw_{i}"])
