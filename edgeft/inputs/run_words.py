"""Texts whose words are answered one by one: as in edgeft/inputs/words.py."""

import os

import numpy as np

from ..core.runner import HERE, Stop

INPUTS = "texts, or files that hold one"
ALONE = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
WORD = rf"[{ALONE}]|[^\W{ALONE}]+(?:[-'\u2019.,:/&@][^\W{ALONE}]+)*|[^\w\s]"


def read(path, spec=None):
    """{"text", "words": int32 (K, 2), where each word begins and ends} of a file, or of the text itself."""
    import re

    text = path
    if os.path.isfile(path):
        try:
            with open(path, "rb") as handle:
                text = handle.read().decode("utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Stop(3, f"{path}: not readable as UTF-8 text ({error})") from error

    places = [match.span() for match in re.finditer(WORD, text)]
    return {"text": text, "words": np.array(places, np.int32).reshape(-1, 2)}


def encoded(raw, spec):
    """What the tokenizer makes of a text, cut at `length` tokens."""
    try:
        import tokenizers
    except ImportError:
        raise Stop(4, "reading texts needs tokenizers: pip install tokenizers") from None

    if not str(raw["text"]).strip():
        raise Stop(3, "the text is empty")

    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(HERE, spec["files"]["tokenizer"]))
    tokenizer.no_padding()
    tokenizer.enable_truncation(spec["length"])
    return tokenizer.encode(str(raw["text"]))


def feeds(raw, spec):
    """{ids: int32 (1, L), mask: int32 (1, L)} of a text, by the manifest's preprocess table."""
    tokens = encoded(raw, spec).ids
    ids = np.full((1, spec["length"]), spec["pad"], np.int32)
    ids[0, : len(tokens)] = tokens
    mask = (np.arange(spec["length"]) < len(tokens)).astype(np.int32)[None]
    return dict(zip(spec["inputs"], [ids, mask]))


def token_of_word(raw, spec):
    """The position of the first token of each word; -1 for a word behind the cut, or without a token."""
    tokens = [(start, end, i) for i, (start, end) in enumerate(encoded(raw, spec).offsets) if end > start]
    at, current = [], 0
    for start, end in raw["words"]:
        while current < len(tokens) and tokens[current][1] <= start:
            current += 1
        at.append(tokens[current][2] if current < len(tokens) and tokens[current][0] < end else -1)
    return at


def stored(samples, i):
    return {key: samples[f"raw_{i}/{key}"] for key in ("text", "words")}
