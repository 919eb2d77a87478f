"""SentencePiece models (.spm, spiece.model) as files of the library `tokenizers`, which a board reads.

The file is a message of protocol buffers (sentencepiece_model.proto): pieces with scores and kinds, the kind of the
model, and how texts are normalized. A unigram model (Kudo 2018) is the `Unigram` of `tokenizers` over the same pieces,
and its normalization is the same table of characters. Other kinds are refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import ModelError, need

#: kinds of pieces, and of models
_NORMAL, _USER, _BYTE = 1, 4, 6
_UNIGRAM = 1
_KINDS = {1: "unigram", 2: "BPE", 3: "word", 4: "character"}
#: what stands before a piece that no text becomes: a character that no text may have
NEVER = "\0"
#: by how much an unknown character costs more than the least likely piece, here as in sentencepiece
_PENALTY = 10.0
SPACE = "\u2581"


@dataclass(frozen=True)
class Pieces:
    """What a model holds: (piece, score, kind) by number, and its normalization."""

    pieces: tuple[tuple[str, float, int], ...]
    characters: bytes
    prefix: bool
    trim: bool
    bytes_for_unknown: bool


def read(path: Path) -> Pieces:
    """The model of a file; raises `ModelError` for a file that is none, and for other kinds than unigram."""
    try:
        fields = list(_fields(path.read_bytes()))
        pieces = tuple(_piece(value) for number, value in fields if number == 1)
        trainer = dict(_fields(next((value for number, value in fields if number == 2), b"")))
        normalizer = dict(_fields(next((value for number, value in fields if number == 3), b"")))
    except OSError as error:
        raise ModelError(f"cannot be read ({error.strerror})", where=str(path)) from error
    except (ValueError, IndexError, struct.error, AttributeError, TypeError) as error:
        raise ModelError("is no model of sentencepiece", where=str(path)) from error

    if not pieces:
        raise ModelError("is no model of sentencepiece: it has no pieces", where=str(path))

    kind = trainer.get(3, _UNIGRAM)
    if kind != _UNIGRAM:
        raise ModelError(
            f"is a {_KINDS.get(kind, kind)} model of sentencepiece, and only unigram ones are read",
            where=str(path),
            remedy="put a tokenizer.json beside it, as a fast tokenizer of transformers writes it",
        )

    return Pieces(
        pieces,
        bytes(normalizer.get(2, b"")),
        bool(normalizer.get(3, 1)),
        bool(normalizer.get(4, 1)),
        bool(trainer.get(35, 0)),
    )


def tokenizer(model: Pieces, ids: Mapping[str, int], unknown: str) -> str:
    """tokenizer.json of `model` with the numbers of `ids` {piece: id}, ids from 0 without a gap.

    A token of `ids` that the model does not have is never given, but is decoded; the unknown one is decoded to nothing.
    One of a single character costs as
    much as an unknown one, and has its own number, as with MarianTokenizer. Raises `Missing` without `tokenizers`.
    """
    tokenizers = need("tokenizers", "text")
    scores = {piece: score for piece, score, kind in model.pieces if kind in (_NORMAL, _USER, _BYTE)}
    least = min(scores.values(), default=0.0)
    rows: list[tuple[str, float]] = []

    for piece, _ in sorted(ids.items(), key=lambda item: item[1]):
        if piece in scores:
            rows.append((piece, scores[piece]))
        elif len(piece) == 1:
            rows.append((piece, least - _PENALTY))
        else:
            rows.append((NEVER if piece == unknown else NEVER + piece, 0.0))

    result = tokenizers.Tokenizer(tokenizers.models.Unigram(rows, ids[unknown], model.bytes_for_unknown))
    steps: list[Any] = [tokenizers.normalizers.Precompiled(model.characters)] if model.characters else []
    if model.trim:
        steps += [tokenizers.normalizers.Strip(), tokenizers.normalizers.Replace(tokenizers.Regex(" {2,}"), " ")]

    result.normalizer = tokenizers.normalizers.Sequence(steps)
    scheme = "always" if model.prefix else "never"
    result.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(SPACE, prepend_scheme=scheme, split=False)
    result.decoder = tokenizers.decoders.Sequence(
        [
            tokenizers.decoders.Replace(NEVER, ""),
            *([tokenizers.decoders.ByteFallback()] if model.bytes_for_unknown else []),
            tokenizers.decoders.Metaspace(SPACE, prepend_scheme=scheme),
        ]
    )
    text: str = result.to_str()

    return text


def _piece(message: bytes) -> tuple[str, float, int]:
    fields = dict(_fields(message))
    return fields[1].decode("utf-8"), struct.unpack("<f", fields[2])[0] if 2 in fields else 0.0, fields.get(3, _NORMAL)


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of a message's fields: int of a varint, bytes of everything else."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if at + size > len(message):
            raise ValueError("the message is cut off")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number is too long")
