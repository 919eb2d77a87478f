"""Encoder-decoders of the package `transformers` (Marian, T5) as the two graphs that translate, and their tokenizers.

A folder of Marian has two SentencePiece models and `vocab.json`, one of T5 a `tokenizer.json` or `spiece.model`. A
board reads files of the library `tokenizers`: `spm.py` makes them, and they are held against the package
`sentencepiece`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ..core.errors import ModelError, need
from . import hf_folder, pretrained, spm
from .nets.marian import Marian
from .nets.seq2seq import EncoderDecoder
from .nets.t5 import T5
from .request import ModelRequest

#: `model_type` -> the network, and what reads the folder's tokenizers
NETWORKS: dict[str, tuple[type[Any], Callable[[Path, Any], dict[str, str]]]] = {}
KIND = "pairs"
#: positions of a model that names no largest number of them
LONGEST = 512
UNKNOWN = "<unk>"
#: sentences that a converted tokenizer is tried on beside all pieces of the model
TRIED = (
    "  Two  spaces, a\ttab and a full-width \uff21.",
    "\u00bd \ufb01 caf\u00e9 cafe\u0301 \u00dcber Stra\u00dfe",
    "12,345.67 % (a+b)=c; \u201cquoted\u201d don't \u2026",
    "\u65e5\u672c\u8a9e \u0440\u0443\u0441 \U0001f600 x\U0001f600y",
)


def complete(
    module: Any, folder: Path, config: Any, request: ModelRequest
) -> tuple[nn.Module, dict[str, Any], tuple[str, ...]]:
    """The network in two parts, and the `preprocess` table; its `contents` are {name: tokenizer.json as text}.

    Raises `ModelError` for architectures that are not taken, for a folder without tokenizers, and for tokenizers that
    name tokens which the model does not have.
    """
    if config.model_type not in NETWORKS:
        raise ModelError(
            f"a {config.model_type!r} is no encoder-decoder that is taken",
            where=str(folder / hf_folder.CONFIG),
            remedy=f"take one of {', '.join(NETWORKS)}",
        )

    kind, tokenizers_of = NETWORKS[config.model_type]
    contents = tokenizers_of(folder, config)
    network: EncoderDecoder = kind(module, config)
    settings = generation(folder, module)
    start = config.decoder_start_token_id if config.decoder_start_token_id is not None else config.pad_token_id
    ids = {"pad": config.pad_token_id, "start": start, "end": config.eos_token_id}

    for key, value in ids.items():
        if type(value) is not int or not 0 <= value < config.vocab_size:
            raise ModelError(f"the {key} token is {value!r}", where=str(folder / hf_folder.CONFIG))

    if 0 not in (ids["pad"], ids["end"]):
        raise ModelError("neither the padding nor the end is token 0", where=str(folder / hf_folder.CONFIG))

    words = [word[0] for word in settings.bad_words_ids or () if len(word) == 1]
    spec: dict[str, Any] = {
        "kind": KIND,
        **ids,
        "longest": getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or LONGEST,
        "length_penalty": float(1.0 if settings.length_penalty is None else settings.length_penalty),
        "suppress": [word for word in words if 0 <= word < config.vocab_size],
        "force_end": settings.forced_eos_token_id is not None,
        "contents": contents,
    }

    return network, spec, (f"tokens are those of the folder's tokenizer: {config.vocab_size}",)


def generation(folder: Path, module: Any) -> Any:
    """How the folder says that texts are generated, a `GenerationConfig`."""
    package = pretrained.package()
    if not (folder / "generation_config.json").is_file():
        return module.generation_config
    with pretrained.quiet("transformers cannot read it", str(folder / "generation_config.json")):
        return package.GenerationConfig.from_pretrained(str(folder), local_files_only=True)


def _of_marian(folder: Path, config: Any) -> dict[str, str]:
    """Tokenizers of source and target, with the numbers of vocab.json."""
    names = ("source.spm", "target.spm", "vocab.json")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing or (folder / "target_vocab.json").is_file() or not config.share_encoder_decoder_embeddings:
        raise ModelError(
            f"has no {', '.join(missing)}" if missing else "has a vocabulary for each language",
            where=str(folder),
            remedy=f"give the whole folder of a Marian model: {', '.join(names)}"
            if missing
            else "take a Marian model of one vocabulary",
        )

    table = hf_folder.read_table(folder / "vocab.json", "a vocabulary")
    _check_numbers(table, config.vocab_size, folder / "vocab.json")
    files = {}

    for key, name in (("tokenizer", "source.spm"), ("target", "target.spm")):
        model = spm.read(folder / name)
        files[key] = spm.tokenizer(model, table, UNKNOWN)
        _hold_against_package(files[key], folder / name, model, table)

    return files


def _check_numbers(table: Mapping[str, Any], size: int, path: Path) -> None:
    numbers = [number for number in table.values() if type(number) is int]
    if sorted(numbers) != list(range(len(table))) or UNKNOWN not in table:
        raise ModelError(f"does not number its tokens from 0 without a gap, {UNKNOWN} among them", where=str(path))
    if len(table) > size:
        raise ModelError(f"has {len(table)} tokens, the model {size}", where=str(path))


def _of_t5(folder: Path, config: Any) -> dict[str, str]:
    """The folder's tokenizer.json, or one made of spiece.model, whose numbers are those of its pieces."""
    path = folder / "tokenizer.json"
    if path.is_file():
        library = need("tokenizers", "text")
        try:
            content = path.read_text(encoding="utf-8")
            highest = max(library.Tokenizer.from_str(content).get_vocab(True).values(), default=0)
        except Exception as error:  # the library raises plain Exception
            raise ModelError(f"is not a valid tokenizer.json ({str(error)[:200]})", where=str(path)) from error
        if highest >= config.vocab_size:
            raise ModelError(f"gives ids up to {highest}, the model knows {config.vocab_size} tokens", where=str(path))
        return {"tokenizer": content}

    path = folder / "spiece.model"
    if not path.is_file():
        raise ModelError(
            "has no tokenizer.json and no spiece.model",
            where=str(folder),
            remedy="write it with AutoTokenizer.from_pretrained(...).save_pretrained(...)",
        )

    model = spm.read(path)
    table = {piece: number for number, (piece, _, _) in enumerate(model.pieces)}
    _check_numbers(table, config.vocab_size, path)
    content = spm.tokenizer(model, table, UNKNOWN)
    _hold_against_package(content, path, model, table)

    return {"tokenizer": content}


def _hold_against_package(content: str, path: Path, model: spm.Pieces, table: Mapping[str, int]) -> None:
    """Raise `ModelError` where the tokenizer gives other numbers than the package sentencepiece by its own model.

    Texts with characters that the model does not know are left out: neighbours that are unknown become one token there.
    """
    sentencepiece = need("sentencepiece", "transformers")
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    tokenizer = need("tokenizers", "text").Tokenizer.from_str(content)
    tokenizer.encode_special_tokens = True

    for words in (*TRIED, *_sentences(model)):
        if processor.unk_id() in processor.encode(words):
            continue
        expected = [table.get(piece, table[UNKNOWN]) for piece in processor.encode(words, out_type=str)]
        ids = tokenizer.encode(words, add_special_tokens=False).ids
        if ids != expected:
            raise ModelError(
                f"cannot be converted: {words[:40]!r} has other tokens in the package sentencepiece",
                where=str(path),
                remedy="put a tokenizer.json beside it, as a fast tokenizer of transformers writes it",
            )


def _sentences(model: spm.Pieces, words: int = 12) -> Sequence[str]:
    """All pieces of a model, in sentences of some words each."""
    pieces = [piece.replace(spm.SPACE, " ").strip() for piece, _, kind in model.pieces if kind == 1]
    return [" ".join(pieces[i : i + words]) for i in range(0, len(pieces), words)]


NETWORKS |= {"marian": (Marian, _of_marian), "t5": (T5, _of_t5), "mt5": (T5, _of_t5)}
