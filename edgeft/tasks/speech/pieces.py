"""Texts of token ids by a byte-level BPE (Radford et al. 2019), read of its tokenizer.json without another package."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...core import strict_json
from ...core.errors import BundleError
from ...inputs import text

#: bytes that stand for themselves; the others have the characters from 256 on, in order
_PRINTED = (*range(33, 127), *range(161, 173), *range(174, 256))


def text_of(ids: Iterable[int], path: str) -> str:
    """The text of token ids without special tokens, spaces at its ends removed.

    Bytes that are no UTF-8 become U+FFFD, as in the package `tokenizers`. Raises `BundleError` for a file that cannot
    be read.
    """
    table = _table(path, text._stamp(path))
    return b"".join(table.get(int(token), b"") for token in ids).decode("utf-8", "replace").strip()


@functools.lru_cache(maxsize=4)
def _table(path: str, stamp: tuple[int, int]) -> dict[int, bytes]:
    try:
        content = strict_json.loads(Path(path).read_text(encoding="utf-8"))
        return table(content)
    except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        raise BundleError(f"is no tokenizer.json of a byte-level BPE ({error})", where=path) from error


def table(content: dict[str, Any]) -> dict[int, bytes]:
    """{token id: its bytes} of a tokenizer.json; special tokens have none."""
    byte_of = {chr(byte): byte for byte in _PRINTED}
    others = [byte for byte in range(256) if byte not in _PRINTED]
    byte_of |= {chr(256 + place): byte for place, byte in enumerate(others)}
    pieces = {
        int(number): bytes(byte_of[character] for character in piece)
        for piece, number in content["model"]["vocab"].items()
        if all(character in byte_of for character in piece)
    }
    for token in content["added_tokens"]:
        pieces[int(token["id"])] = b"" if token["special"] else str(token["content"]).encode()

    return pieces


def ids_of(words: str, path: str) -> list[int]:
    """Token ids of a text without special tokens; raises `Missing` without the package `tokenizers`."""
    return list(_tokenizer(path, text._stamp(path)).encode(words, add_special_tokens=False).ids)


@functools.lru_cache(maxsize=4)
def _tokenizer(path: str, stamp: tuple[int, int]) -> Any:
    tokenizer = text._opened(path)
    tokenizer.encode_special_tokens = True  # "<|en|>" in a transcript is six characters, not a language
    return tokenizer
