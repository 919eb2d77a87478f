"""Texts, for every task that reads: a string becomes token ids and a mask of fixed length.

The tokenizer is a `tokenizer.json` of the library `tokenizers`; a bundle carries it (`preprocess.files`). The same few
lines are in the bundle's `run.py` (edgeft/inputs/run_text.py).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import BundleError, DataError, RecipeError, need

#: bytes of a text file: a longer one is no sample
MAX_BYTES = 1 << 20
_KEYS = ("kind", "length", "inputs", "pad", "files")


def configure(
    data: Any, defaults: Mapping[str, Any], facts: Mapping[str, Any], say: Callable[[str], None], kind: str = "text"
) -> dict[str, Any]:
    """The `preprocess` table: the model's own, with `data.length` tokens where the recipe states it.

    Raises `RecipeError` for more tokens than the model has positions for, and for a model that reads no text.
    """
    if defaults.get("kind") != kind:
        raise RecipeError(
            "this model reads no text", where="model.source", remedy='source = "transformers", name = "bert"'
        )

    table = {key: defaults[key] for key in _KEYS}
    if data.length:
        longest = int(defaults.get("longest", data.length))
        if not 2 < data.length <= longest:
            raise RecipeError(
                f"is {data.length}, the model takes 3 to {longest} tokens",
                where="data.length",
                remedy=f"set data.length = {longest}, or less for a lower latency: longer texts are cut",
            )
        table["length"] = data.length

    return table


def read(path: str, spec: Mapping[str, Any] | None = None) -> str:
    """The text of a UTF-8 file, or `path` itself where it names no file; raises `DataError` where there is none."""
    words = str(path)
    try:
        is_file = Path(words).is_file()
    except (OSError, ValueError):  # a text may be longer than a name can be
        is_file = False

    if not is_file:
        if len(words.split()) == 1 and (words.endswith(".txt") or words.startswith(("/", "./", "../"))):
            raise DataError("no such file", where=words, remedy="give a text file, or the text itself in quotes")
        return checked(words, words[:40] or "text")

    try:
        with open(words, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise DataError(f"is larger than {MAX_BYTES} bytes: no single text", where=words)
        return checked(content.decode("utf-8-sig").strip(), words)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=words) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError("is not UTF-8 text", where=f"{words}:{line}", remedy="save the file as UTF-8") from error


def parse(words: str, spec: Mapping[str, Any] | None = None) -> str:
    """The text itself; no file is opened. Raises `DataError` for one that is empty or too long."""
    return checked(words, words[:40] or "text")


def fault(words: Any) -> str:
    """What is wrong with a raw sample, or ""."""
    if not isinstance(words, str):
        return f"is a {type(words).__name__}, expected a text"
    if not words.strip():
        return "the text is empty"
    if "\0" in words:
        return "the text holds a null character"

    try:
        words.encode()
    except UnicodeEncodeError:
        return "the text is not UTF-8 (or not valid Unicode)"

    return ""


def checked(words: Any, where: str) -> str:
    """`words`, refused with `DataError` where it is no text that can be read."""
    problem = fault(words)
    if problem:
        raise DataError(problem, where=where)
    return str(words)


def preprocess(raw: Any, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{ids: int32 (1, L), mask: int32 (1, L)} of a text: cut at `length` tokens, filled up with `pad` and mask 0.

    Special tokens are the tokenizer's own and survive the cut. Raises `DataError` for what is no text, `BundleError`
    for a spec or a tokenizer that cannot be followed, `Missing` without `tokenizers`.
    """
    words = checked(raw, "text")
    return padded(encoded(words, spec).ids, spec)


def encoded(words: str, spec: Mapping[str, Any], kind: str = "text") -> Any:
    """The `tokenizers.Encoding` of a text, cut at `length` tokens, by a spec of `kind`; raises as `preprocess` does."""
    length, _, _, path = _checked_spec(spec, kind)
    return _loaded(path, _stamp(path), length).encode(words)


def padded(token_ids: Sequence[int], spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{ids: int32 (1, L), mask: int32 (1, L)} of the tokens of a text, filled up with `pad` and mask 0."""
    length, names = int(spec["length"]), spec["inputs"]
    ids = np.full((1, length), spec["pad"], np.int32)
    ids[0, : len(token_ids)] = token_ids
    mask = (np.arange(length) < len(token_ids)).astype(np.int32)[None]

    return {names[0]: ids, names[1]: mask}


def _checked_spec(spec: Mapping[str, Any], kind: str) -> tuple[int, int, list[str], str]:
    def fail(key: str, expected: str) -> BundleError:
        return BundleError(f"is {spec.get(key)!r}, expected {expected}", where=f"preprocess.{key}")

    length, pad, names, files = (spec.get(key) for key in ("length", "pad", "inputs", "files"))

    if spec.get("kind") != kind:
        raise fail("kind", repr(kind))
    if type(length) is not int or not 3 <= length <= 65_536:
        raise fail("length", "a number of tokens from 3")
    if type(pad) is not int or not 0 <= pad < 2**31:
        raise fail("pad", "a token id")
    if not isinstance(names, (list, tuple)) or len(names) != 2 or not all(isinstance(n, str) for n in names):
        raise fail("inputs", "the names of the inputs for token ids and mask")
    if not isinstance(files, Mapping) or not isinstance(files.get("tokenizer"), str):
        raise fail("files", "a table with the path of a tokenizer")

    return length, pad, list(names), files["tokenizer"]


def highest_id(path: str) -> int:
    """The highest token id that the tokenizer at `path` can give; raises as `preprocess` does."""
    return max(_opened(path).get_vocab(True).values(), default=0)


def _stamp(path: str) -> tuple[int, int]:
    """Changes when the file does, so that a tokenizer which was replaced is read again."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise BundleError(f"the tokenizer cannot be read ({error.strerror})", where=path) from error

    return status.st_mtime_ns, status.st_size


def _opened(path: str) -> Any:
    _stamp(path)
    tokenizers = need("tokenizers", "text")
    try:
        return tokenizers.Tokenizer.from_file(path)
    except Exception as error:  # the library raises plain Exception
        raise BundleError(f"is not a valid tokenizer.json ({str(error)[:200]})", where=path) from error


@functools.lru_cache(maxsize=4)
def _loaded(path: str, stamp: tuple[int, int], length: int) -> Any:
    tokenizer = _opened(path)
    tokenizer.no_padding()
    tokenizer.enable_truncation(length)
    return tokenizer
