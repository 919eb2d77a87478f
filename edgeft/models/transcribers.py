"""Whisper of the package `transformers` as the two graphs that transcribe, its prompt, its tokenizer and its features.

The prompt (language, task, no timestamps), suppressed tokens and the search are those of `generate`, by what
`generation_config.json` and `model.args` say; a board detects no language, so that one has to be named.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..core.errors import ModelError, RecipeError, nearest
from ..inputs import log_mel
from . import hf_folder, pretrained, translators
from .nets.whisper import Whisper
from .request import ModelRequest

KIND = "whisper"
#: what `model.args` may say of the answers: the prompt's language and task, hypotheses, tokens of the longest text
ARGS = ("language", "task", "beam", "length")
#: tokens of the longest text where nothing says how many: so many a second of the window, and the least
TOKENS_A_SECOND, LEAST = 8, 16
INPUT = "input_features"
#: files of a feature extractor, and the key under which it stands there
EXTRACTORS = (("preprocessor_config.json", ""), ("processor_config.json", "feature_extractor"))
TIMESTAMP = re.compile(r"<\|\d+\.\d+\|>")
#: settings of `generate` that change scores and are not followed, and their values without effect
_OTHERS = {"repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "num_beam_groups": 1, "early_stopping": False}
#: languages that a message lists
_LISTED = 8


def complete(
    module: Any, folder: Path, config: Any, request: ModelRequest
) -> tuple[nn.Module, dict[str, Any], tuple[str, ...]]:
    """The network in two parts, and the `preprocess` table; its `contents` are {tokenizer: tokenizer.json as text}.

    The window is that of the weights, or the shorter `data.sound.seconds`. Raises `ModelError` for architectures that
    are not taken, for a folder without a tokenizer, one of another model, and features that the board does not compute;
    `RecipeError` naming the argument for a language or task that the model does not know, and for a longer window.
    """
    if config.model_type != KIND:
        raise ModelError(
            f"a {config.model_type!r} is no encoder-decoder that is taken",
            where=str(folder / hf_folder.CONFIG),
            remedy=f"take one of {KIND}, or a model with a CTC head",
        )

    features, notes = _features(folder, config)
    hop, rate, most = 2 * features["hop"], features["rate"], config.max_source_positions
    seconds = float(request.facts.get("most_seconds", 0)) or most * hop / rate
    places = -(-round(seconds * rate) // hop)

    if places > most:
        raise RecipeError(
            f"is {seconds:g}, and the model hears at most {most * hop / rate:g} s",
            where="data.sound.seconds",
            remedy="leave it out, or give less: longer recordings are left out then",
        )

    settings = translators.generation(folder, module)
    contents = _tokenizer(folder, config)
    search, more = _search(settings, config, request.model.args, places * hop / rate, folder)
    spec = {
        "kind": log_mel.KIND,
        "input": INPUT,
        **features,
        "length": places * hop,
        "search": search,
        "contents": {"tokenizer": contents},
    }
    heard = f"the model hears {places * hop / rate:g} s and writes at most {search['length']} tokens"

    return Whisper(module, config, places), spec, (*notes, *more, heard)


def _features(folder: Path, config: Any) -> tuple[dict[str, int], tuple[str, ...]]:
    """`rate`, `window`, `hop` and `mels` of the folder's feature extractor; those of Whisper where it has none."""
    table: Mapping[str, Any] = {}
    path = folder / EXTRACTORS[0][0]
    for name, key in EXTRACTORS:
        if (folder / name).is_file() and not table:
            path = folder / name
            found = hf_folder.read_table(path, "a feature extractor's config")
            table = found.get(key, {}) if key else found
            table = table if isinstance(table, dict) else {}

    kind = table.get("feature_extractor_type", "WhisperFeatureExtractor")
    if kind != "WhisperFeatureExtractor":
        raise ModelError(f"is of a {kind}, which makes other features", where=str(path))

    usual = {"rate": 16_000, "window": 400, "hop": 160, "mels": config.num_mel_bins}
    names = {"rate": "sampling_rate", "window": "n_fft", "hop": "hop_length", "mels": "feature_size"}
    values = {key: table.get(names[key], value) for key, value in usual.items()}

    for key, value in values.items():
        if type(value) is not int or not 1 <= value <= log_mel.COUNTS[key]:
            raise ModelError(f"{names[key]} is {value!r}", where=str(path))

    if values["mels"] != config.num_mel_bins:
        message = f"has {values['mels']} features a frame, and the model takes {config.num_mel_bins}"
        raise ModelError(message, where=str(path), remedy="take both files from one folder")
    if table.get("padding_value", 0.0) != 0:
        raise ModelError(f"padding_value is {table['padding_value']!r}, only zeros are taken", where=str(path))

    notes: tuple[str, ...] = ()
    if not table:
        notes += ("the folder has no preprocessor_config.json: features are those of Whisper",)
    if table.get("dither"):
        notes += ("the feature extractor's dither, which is noise, is left out",)

    return values, notes


def _tokenizer(folder: Path, config: Any) -> str:
    """The tokenizer as text of a tokenizer.json, from one or from vocab.json and merges.txt.

    Timestamps become special tokens, so that they are in no text. Raises `ModelError`.
    """
    names = [name for name in ("tokenizer.json", "vocab.json") if (folder / name).is_file()]
    if not names or (names == ["vocab.json"] and not (folder / "merges.txt").is_file()):
        raise ModelError(
            "has no tokenizer.json, and no vocab.json with merges.txt",
            where=str(folder),
            remedy="write it with WhisperTokenizer.from_pretrained(...).save_pretrained(...)",
        )

    path = folder / names[0]
    if path.name == "tokenizer.json":  # the package would take the vocabulary of any other kind for its own
        model = hf_folder.read_table(path, "a tokenizer").get("model")
        if not isinstance(model, dict) or model.get("type") != "BPE":
            raise ModelError("is no byte-level BPE, as Whisper has it", where=str(path))

    with pretrained.quiet("transformers cannot read the tokenizer", str(path)):
        tokenizer = pretrained.package().WhisperTokenizer.from_pretrained(str(folder), local_files_only=True)
        table = json.loads(tokenizer.backend_tokenizer.to_str())

    highest = max([*table["model"]["vocab"].values(), *(token["id"] for token in table["added_tokens"])], default=0)
    if highest >= config.vocab_size:
        raise ModelError(f"gives ids up to {highest}, the model knows {config.vocab_size} tokens", where=str(path))

    for token in table["added_tokens"]:
        token["special"] = token["special"] or bool(TIMESTAMP.fullmatch(token["content"]))

    return json.dumps({**table, "truncation": None, "padding": None, "post_processor": None}, ensure_ascii=False)


def _search(
    settings: Any, config: Any, args: Mapping[str, Any], seconds: float, folder: Path
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """How texts are searched, the table `search` of a spec, and notes."""
    prompt, notes = _prompt(settings, config, args, folder)
    end = settings.eos_token_id if settings.eos_token_id is not None else config.eos_token_id
    ids = functools.partial(_ids, size=config.vocab_size, folder=folder)
    room = config.max_target_positions - len(prompt) + 1
    usual = min(max(LEAST, round(TOKENS_A_SECOND * seconds)), room)
    changed = [key for key, value in _OTHERS.items() if getattr(settings, key, None) not in (None, value)]
    if changed:
        notes += (f"{', '.join(changed)} of generation_config.json are not followed",)

    return {
        "start": ids(prompt, "the prompt"),
        "end": ids(end if isinstance(end, list) else [end], "eos_token_id")[0],
        "length": _whole(args, "length", usual, 2, room),
        "beam": _whole(args, "beam", settings.num_beams or 1, 1, 64),
        "length_penalty": float(1.0 if settings.length_penalty is None else settings.length_penalty),
        "suppress": ids(settings.suppress_tokens or [], "suppress_tokens"),
        "suppress_first": ids(settings.begin_suppress_tokens or [], "begin_suppress_tokens"),
    }, notes


def _ids(values: list[Any], name: str, size: int, folder: Path) -> list[int]:
    if not all(type(value) is int and 0 <= value < size for value in values):
        raise ModelError(f"{name} is {values!r}, expected tokens below {size}", where=str(folder))
    return list(values)


def _whole(args: Mapping[str, Any], name: str, usual: int, low: int, high: int) -> int:
    value = args.get(name, usual)
    if type(value) is not int or not low <= value <= high:
        raise RecipeError(f"is {value!r}, expected {low} to {high}", where=f"model.args.{name}")
    return value


def _prompt(settings: Any, config: Any, args: Mapping[str, Any], folder: Path) -> tuple[list[int], tuple[str, ...]]:
    """The tokens that every text begins with, as `generate` has them: start, language, task, no timestamps."""
    languages = dict(getattr(settings, "lang_to_id", None) or {})
    tasks = dict(getattr(settings, "task_to_id", None) or {})
    silent = getattr(settings, "no_timestamps_token_id", None)

    if getattr(settings, "return_timestamps", False) and silent is None:
        raise ModelError(
            "writes timestamps, and names no token without them (no_timestamps_token_id)",
            where=str(folder / "generation_config.json"),
            remedy="take a model that writes texts without timestamps",
        )

    for name in ("language", "task"):
        if name in args and not (languages if name == "language" else tasks):
            raise RecipeError("is set, and the model knows one language", where=f"model.args.{name}")

    language = args.get("language", getattr(settings, "language", None))
    task = args.get("task", getattr(settings, "task", None))
    start = settings.decoder_start_token_id
    prompt = [config.decoder_start_token_id if start is None else start]
    if language is None and task is None:
        prompt += _forced(settings, config, folder)

    if language is not None:
        prompt = [prompt[0], languages[_language(language, languages)], *prompt[2:]]
    elif languages and (len(prompt) < 2 or prompt[1] is None):
        known = ", ".join(name.strip("<|>") for name in list(languages)[:_LISTED])
        raise RecipeError(
            "is not set, and the model knows several languages: a board detects none",
            where="model.args.language",
            remedy=f"name that of the recordings, such as {known}",
        )

    if task is None and language is not None and tasks:
        task = "transcribe"

    if task is not None:
        if task not in tasks:
            raise RecipeError(f"unknown task {task!r}", where="model.args.task", remedy=nearest(str(task), tasks))
        prompt.append(tasks[task])

    if silent is not None and prompt[-1] != silent:
        prompt.append(silent)

    stamped = getattr(settings, "return_timestamps", False)
    return prompt, ("the model's timestamps are left out",) if stamped else ()


def _forced(settings: Any, config: Any, folder: Path) -> list[Any]:
    """The older way to state a prompt, `forced_decoder_ids`: pairs of place and token."""
    pairs = getattr(settings, "forced_decoder_ids", None) or getattr(config, "forced_decoder_ids", None) or []
    if [pair[0] for pair in pairs] != list(range(1, len(pairs) + 1)):
        raise ModelError(f"forced_decoder_ids are {pairs}, expected the places from 1", where=str(folder))
    return [pair[1] for pair in pairs]


def _language(asked: Any, languages: Mapping[str, int]) -> str:
    """The token of a language by its code or English name; raises `RecipeError` with the nearest ones."""
    names: dict[str, str] = pretrained.languages()
    code = str(asked).lower().strip("<|>")
    token = f"<|{names.get(code, code)}|>"
    if token not in languages:
        codes = [name.strip("<|>") for name in languages]
        known = [*codes, *(name for name, short in names.items() if short in codes)]
        raise RecipeError(f"unknown language {asked!r}", where="model.args.language", remedy=nearest(code, known))
    return token
