"""Texts: as in edgeft/inputs/text.py."""

import os

import numpy as np

from ..core.runner import HERE, Stop

INPUTS = "texts, or files that hold one"


def read(path, spec=None):
    if not os.path.isfile(path):
        return path
    try:
        with open(path, "rb") as handle:
            return handle.read().decode("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(3, f"{path}: not readable as UTF-8 text ({error})") from error


def feeds(words, spec):
    """{ids: int32 (1, L), mask: int32 (1, L)} of a text, by the manifest's preprocess table."""
    try:
        import tokenizers
    except ImportError:
        raise Stop(4, "reading texts needs tokenizers: pip install tokenizers") from None

    if not words.strip():
        raise Stop(3, "the text is empty")

    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(HERE, spec["files"]["tokenizer"]))
    tokenizer.no_padding()
    tokenizer.enable_truncation(spec["length"])
    found = tokenizer.encode(words).ids
    ids = np.full((1, spec["length"]), spec["pad"], np.int32)
    ids[0, : len(found)] = found
    mask = (np.arange(spec["length"]) < len(found)).astype(np.int32)[None]

    return dict(zip(spec["inputs"], [ids, mask]))


def stored(samples, i):
    return str(samples[f"raw_{i}"])
