"""Texts of which a file may hold many, one a line: as in edgeft/inputs/lines.py."""

import os

import numpy as np

from ..core.runner import HERE, Stop

INPUTS = "texts, or files with one a line"


def read(path, spec=None):
    text = path
    if os.path.isfile(path):
        try:
            with open(path, "rb") as handle:
                text = handle.read().decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise Stop(3, f"{path}: not readable as UTF-8 text ({error})") from error

    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if not lines:
        raise Stop(3, "the text is empty")

    return lines[0] if len(lines) == 1 else {"texts": lines}


def feeds(raw, spec):
    """{ids: int32 (n, L), mask: int32 (n, L)}, a row a text, by the manifest's preprocess table."""
    try:
        import tokenizers
    except ImportError:
        raise Stop(4, "reading texts needs tokenizers: pip install tokenizers") from None

    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(HERE, spec["files"]["tokenizer"]))
    tokenizer.no_padding()
    tokenizer.enable_truncation(spec["length"])
    rows = [tokenizer.encode(text).ids for text in (raw["texts"] if isinstance(raw, dict) else [raw])]
    ids = np.full((len(rows), spec["length"]), spec["pad"], np.int32)
    mask = np.zeros((len(rows), spec["length"]), np.int32)

    for i, tokens in enumerate(rows):
        ids[i, : len(tokens)] = tokens
        mask[i, : len(tokens)] = 1

    return dict(zip(spec["inputs"], [ids, mask]))


def stored(samples, i):
    return str(samples[f"raw_{i}"])
