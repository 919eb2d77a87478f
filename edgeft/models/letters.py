"""The letters of a recognizer of the package `transformers` (CTC), and a head whose outputs are the task's labels.

`vocab.json` and `tokenizer_config.json` of Wav2Vec2CTCTokenizer say which letter an output is: the padding is the blank
of CTC, and the word delimiter is the space. Outputs here are the blank, then the labels in order.
"""

from __future__ import annotations

import math
import unicodedata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..core.errors import ModelError
from ..tasks.speech.decoding import refuse_units
from . import hf_folder, pretrained
from .nets.quartznet import BLANK_SHARE
from .request import ModelRequest

VOCABULARY, TOKENIZER = "vocab.json", "tokenizer_config.json"
DELIMITER = "|"
#: of the data's letters this share must be the folder's, or its head is of another script
KNOWN = 0.5
#: letters that a message lists
_LISTED = 12


def read(folder: Path) -> dict[str, int]:
    """{letter in lower case: output} of the folder, the space for the word delimiter; {} where it has no vocab.json.

    Tokens that are no single letter (<s>, <unk>, phonemes of several letters) are left out. Raises `ModelError` for a
    file that is no table of tokens and outputs, one with a vocabulary for each language included.
    """
    path = folder / VOCABULARY
    if not path.is_file():
        return {}

    table = hf_folder.read_table(path, "a vocabulary")
    if any(isinstance(value, dict) for value in table.values()):
        raise ModelError(
            f"holds a vocabulary for each of {', '.join(list(table)[:_LISTED])}",
            where=str(path),
            remedy="write the folder with the tokenizer and the adapter of one language",
        )

    for token, output in table.items():
        if type(output) is not int or output < 0:
            raise ModelError(f"gives the token {token!r} the output {output!r}, expected a number", where=str(path))

    delimiter = DELIMITER
    if (folder / TOKENIZER).is_file():
        settings = hf_folder.read_table(folder / TOKENIZER, "a tokenizer's config")
        delimiter = settings.get("word_delimiter_token", DELIMITER)

    letters: dict[str, int] = {}
    for token, output in sorted(table.items(), reverse=True):  # a letter in lower case comes first where both are there
        letter = " " if token == delimiter else unicodedata.normalize("NFC", token.lower())
        if len(letter) == 1:
            letters.setdefault(letter, output)

    return letters


def head(
    module: Any, folder: Path, config: Any, request: ModelRequest, fresh: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give `module.lm_head` the blank and the labels as its outputs; returns the labels, and notes for the user.

    Labels are those of the data and all letters that the folder's own head has; their outputs keep their weights, and
    letters of the data that it does not have begin at random. `fresh`: the head is not in the checkpoint. A
    head without names, of words, or of another script is replaced by a new one. Raises `ModelError` as `read` does.
    """
    refuse_units(request.facts, writes=False)
    stored = read(folder)
    lacking = [label for label in request.labels if label not in stored]
    reason = _why_new(stored, lacking, request, fresh)
    old = module.lm_head
    blank = config.pad_token_id

    if not reason and not all(0 <= output < old.out_features for output in (blank or 0, *stored.values())):
        raise ModelError(
            f"has outputs up to {max(stored.values())} and the padding {blank}, the model {old.out_features}",
            where=str(folder / VOCABULARY),
            remedy="vocab.json and config.json are of different models: take both from one folder",
        )

    labels = tuple(request.labels) if reason else tuple(sorted({*stored, *request.labels}))
    new = nn.Linear(old.in_features, len(labels) + 1)
    with torch.no_grad():
        new.weight.normal_(std=config.initializer_range)
        new.bias.zero_()
        if reason:
            new.bias[0] = math.log(BLANK_SHARE / (1 - BLANK_SHARE) * len(labels))
        else:
            places = [(0, blank or 0), *((k, stored[label]) for k, label in enumerate(labels, 1) if label in stored)]
            ours, theirs = (torch.tensor(column) for column in zip(*places))
            new.weight[ours], new.bias[ours] = old.weight[theirs], old.bias[theirs]

    module.lm_head = new

    if reason:
        return labels, (f"{reason}: {pretrained.NEW_HEAD}, for the data's {len(labels)} labels",)

    notes: tuple[str, ...] = (f"the weights' own letters are kept: {_listed(sorted(stored))}",)
    if lacking:
        notes += (f"{VOCABULARY} lacks {_listed(lacking)} of the transcripts: these outputs begin at random",)

    return labels, notes


def _why_new(stored: dict[str, int], lacking: list[str], request: ModelRequest, fresh: bool) -> str:
    """Why the checkpoint's own head is of no use, or ""."""
    if fresh:
        return "the weights have no head of letters"
    if request.facts.get("units") != "characters":
        return "the weights' own head has letters, and data.units are words"
    if not stored:
        return f"the folder has no {VOCABULARY} that names the outputs of its head"
    if len(lacking) > (1 - KNOWN) * len(request.labels):
        return f"{VOCABULARY} lacks {_listed(lacking)}, most letters of the transcripts"

    return ""


def _listed(letters: list[str]) -> str:
    more = f" and {len(letters) - _LISTED} more" if len(letters) > _LISTED else ""
    return ", ".join(map(repr, letters[:_LISTED])) + more
