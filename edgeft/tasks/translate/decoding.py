"""Translation: a sentence in, a sentence out; the metric is BLEU, 0..100 (Papineni et al. 2002, by sacrebleu).

A model has two graphs, an encoder and one step of a decoder (see `composed.py`); the search between them is numpy
(`metrics/beam_search.py`). Outputs are {tokens: int32 (N, L), text: str (N,)}, targets reference sentences (an object
array).

The tokenizer is that of the model, or built from the training pairs: byte-pair encoding (Sennrich et al. 2016) over
bytes, so that no character is unknown, one vocabulary for both languages. It is a `tokenizer.json`, carried as
`preprocess.files`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...core.errors import BundleError, DataError, RecipeError, nearest, need
from ...core.metric import Metric
from ...inputs import text
from ...inputs.text import read

__all__ = ["configure", "preprocess", "read"]

NAME = "translate"
METRIC = Metric("BLEU", "score", max_drop=1.0, chance="one sentence for all")
EXTRA_METRICS = (Metric("chrF", "score"),)
KIND = "pairs"
PAD, START, END = 0, 1, 2
SPECIAL = ("<pad>", "<s>", "</s>")
#: tokens of a sentence where the recipe states none
LENGTH = 40
#: pairs longer than that are left out of training; more than this share of them stops the run
MAX_LONG = 0.05
#: the smallest vocabulary: the special tokens and all bytes
LEAST = 256 + len(SPECIAL)
SETTINGS: dict[str, Any] = {"source": "en", "target": "de", "vocabulary": 4000, "beam": 1, "prefix": ""}
GRAPHS = ("encoder", "decoder")
#: files of the preprocessing: the tokenizer of the source, and that of the target where it has its own
SIDES = ("tokenizer", "target")
#: how a model that brings it wants its texts to be searched: see `beam_search.search`
SEARCH = ("length_penalty", "suppress", "force_end")
#: words of a reference up to which it counts as short, and as of middle length
SHORT, MIDDLE = 8, 14


def settings(data: Any) -> dict[str, Any]:
    """[data.pairs] with its defaults; raises `RecipeError` for an unknown key or a value that cannot be."""
    pairs_table = dict(data.pairs)
    for key, value in pairs_table.items():
        if key not in SETTINGS:
            raise RecipeError(f"unknown key {key!r}", where="data.pairs", remedy=nearest(key, SETTINGS))
        if type(value) is not type(SETTINGS[key]):
            raise RecipeError(f"is {value!r}, expected a value like {SETTINGS[key]!r}", where=f"data.pairs.{key}")

    table = {**SETTINGS, **pairs_table}
    if table["source"] == table["target"] or not table["source"] or not table["target"]:
        raise RecipeError("source and target must be two names", where="data.pairs")

    for key, low, high in (("vocabulary", LEAST, 1 << 20), ("beam", 1, 64)):
        if not low <= table[key] <= high:
            raise RecipeError(f"is {table[key]}, expected {low} to {high}", where=f"data.pairs.{key}")

    return table


def learn(data: Any, dataset: Any, say: Callable[[str], None] = lambda text: None) -> dict[str, bytes]:
    """{tokenizer: the bytes of tokenizer.json}, trained on both languages of the training split.

    The same pairs give the same file. Raises `DataError` naming the first pair where more than 5 % are longer than the
    recipe's `data.length` tokens, `Missing` without `tokenizers`.
    """
    tokenizers = need("tokenizers", "translate")
    train, asked = dataset.split("train"), settings(data)
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.normalizer = tokenizers.normalizers.NFC()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=asked["vocabulary"],
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )

    sentences = [words for i in range(len(train)) for words in (train.raw(i), str(train.targets[i]))]
    tokenizer.train_from_iterator(sentences, trainer)
    tokenizer.encode_special_tokens = True
    lengths = [len(encoding.ids) + 1 for encoding in tokenizer.encode_batch(sentences)]
    refuse_long(np.array(lengths).reshape(-1, 2).max(axis=1), data.length or LENGTH, train, say)

    return {"tokenizer": tokenizer.to_str().encode()}


def refuse_long(lengths: np.ndarray, limit: int, train: Any, say: Callable[[str], None] = lambda text: None) -> None:
    """Raise `DataError` naming the first pair where more than 5 % are longer than `limit` tokens; fewer are said."""
    long = np.flatnonzero(lengths > limit)
    if not len(long):
        return

    first = f"{len(long)} of {len(lengths)} pairs are longer than {limit} tokens"
    where = train.source(int(long[0]))

    if len(long) > MAX_LONG * len(lengths):
        long_length = int(np.quantile(lengths, 0.99))
        raise DataError(
            first, where=where, remedy=f"data.length = {long_length} takes 99 % of them, or divide the sentences"
        )

    say(f"{first} and are left out of training, the first: {where}")


def configure(
    data: Any, defaults: Mapping[str, Any], facts: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """The `preprocess` table. Raises `RecipeError` for more tokens than the model has positions for."""
    asked = settings(data)
    length, longest = data.length or LENGTH, int(defaults.get("longest", 1 << 16))
    if not 3 <= length <= longest:
        raise RecipeError(f"is {length}, the model takes 3 to {longest} tokens", where="data.length")

    if "vocabulary" in data.pairs and defaults.get("kind") == KIND:
        say("note: data.pairs.vocabulary has no meaning here, the model has its own tokenizer")
    if "tokenizer" not in facts.get("files", {}):
        raise RecipeError("this data gives no tokenizer", where="data.format", remedy='format = "pairs"')

    return {
        "kind": KIND,
        "length": length,
        "inputs": ["source", "source_mask"],
        "pad": defaults.get("pad", PAD),
        "start": defaults.get("start", START),
        "end": defaults.get("end", END),
        "beam": asked["beam"],
        "source": asked["source"],
        "target": asked["target"],
        "files": {key: str(facts["files"][key]) for key in SIDES if key in facts["files"]},
        **{key: defaults[key] for key in SEARCH if key in defaults},
        **({"prefix": asked["prefix"]} if asked["prefix"] else {}),
    }


def number(spec: Mapping[str, Any], key: str, low: int, high: int) -> int:
    """The whole number `key` of a spec; raises `BundleError` where it is none from `low` to `high`."""
    value = spec.get(key)
    if type(value) is not int or not low <= value <= high:
        raise BundleError(f"is {value!r}, expected {low} to {high}", where=f"preprocess.{key}")
    return value


def _tokenizer(spec: Mapping[str, Any], side: str = "tokenizer") -> Any:
    files = spec.get("files")
    if spec.get("kind") != KIND:
        raise BundleError(f"is {spec.get('kind')!r}, expected {KIND!r}", where="preprocess.kind")
    if not isinstance(files, Mapping) or not isinstance(files.get("tokenizer"), str):
        raise BundleError("names no tokenizer", where="preprocess.files")

    path = str(files.get(side, files["tokenizer"]))
    return _loaded(path, text._stamp(path))


@functools.lru_cache(maxsize=4)
def _loaded(path: str, stamp: tuple[int, int]) -> Any:
    tokenizer = text._opened(path)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True  # "</s>" in a sentence is four characters, not its end
    return tokenizer


def ids(words: str, spec: Mapping[str, Any], side: str = "tokenizer") -> list[int]:
    """Token ids of a text, without special tokens: of a source, behind the prefix, or of a "target"."""
    prefix = str(spec.get("prefix", "")) if side == "tokenizer" else ""
    return list(_tokenizer(spec, side).encode(prefix + words, add_special_tokens=False).ids)


def vocabulary(path: str) -> int:
    """How many tokens the tokenizer at `path` has."""
    return text.highest_id(path) + 1


def preprocess(raw: Any, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{source: int32 (1, L), source_mask: int32 (1, L)}: the tokens, an end token, `pad` and mask 0 behind it.

    A longer sentence is cut at `length` tokens. Raises `DataError` for what is no text, `BundleError` for a spec or a
    tokenizer that cannot be followed, `Missing` without `tokenizers`.
    """
    words = text.checked(raw, "text")
    length, pad, end = (number(spec, key, low, 1 << 20) for key, low in (("length", 3), ("pad", 0), ("end", 0)))
    token_ids = [*ids(words, spec)[: length - 1], end]
    source = np.full((1, length), pad, np.int32)
    source[0, : len(token_ids)] = token_ids

    return {"source": source, "source_mask": (np.arange(length) < len(token_ids)).astype(np.int32)[None]}


def texts(tokens: np.ndarray, spec: Mapping[str, Any]) -> np.ndarray:
    """The sentences (N,) of token ids (N, L)."""
    tokenizer = _tokenizer(spec, "target")
    rows = [[int(t) for t in row if t != PAD] for row in tokens]
    return np.array([tokenizer.decode(row, skip_special_tokens=True).strip() for row in rows], np.str_)


def _said(outputs: Mapping[str, np.ndarray]) -> list[str]:
    if "text" not in outputs:
        raise BundleError(f"the outputs are {', '.join(outputs)}, expected tokens and text", where="outputs")
    return [str(words) for words in outputs["text"]]


def decode(outputs: Mapping[str, np.ndarray], labels: Sequence[str], *, top: int = 5) -> list[dict[str, Any]]:
    """Per sentence `label`, its translation, and `tokens`, how many it took."""
    counts = (np.asarray(outputs["tokens"]) != PAD).sum(axis=1)
    return [{"label": words, "tokens": int(n)} for words, n in zip(_said(outputs), counts)]


def describe(target: Any, labels: Sequence[str]) -> str:
    return str(target)


def draw(raw: Any, decoded: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": str(raw)}


def join(targets: np.ndarray, ours: Sequence[str], theirs: Sequence[str], where: str) -> np.ndarray:
    return targets


def _bleu() -> Any:
    return need("sacrebleu.metrics", "translate").BLEU


def _checked(outputs: Mapping[str, np.ndarray], targets: Any) -> tuple[list[str], list[str]]:
    hypotheses, references = _said(outputs), [str(target) for target in targets]
    if len(hypotheses) != len(references):
        raise DataError(f"{len(hypotheses)} translations for {len(references)} references", where="targets")
    if not references:
        raise DataError("no samples to measure", where="targets")

    return hypotheses, references


def statistics(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> np.ndarray:
    """int64 (N, 10): matching and all n-grams of 1 to 4 words, and the words of translation and reference."""
    hypotheses, references = _checked(outputs, targets)
    scorer = _bleu()()
    rows = []
    for words, reference in zip(hypotheses, references):
        score_of_pair = scorer.corpus_score([words], [[reference]])
        rows.append([*score_of_pair.counts, *score_of_pair.totals, score_of_pair.sys_len, score_of_pair.ref_len])

    return np.array(rows, np.int64)


def metric_of(rows: Any) -> float:
    """BLEU of the sentences whose statistics these are."""
    total = [int(v) for v in np.sum(np.asarray(rows, np.int64), axis=0)]
    bleu = _bleu().compute_bleu(total[:4], total[4:8], total[8], total[9], smooth_method="exp")
    return float(bleu.score)


def metric(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> float:
    """Corpus BLEU, 0..100: sacrebleu's defaults (13a tokenization, case kept, exponential smoothing)."""
    hypotheses, references = _checked(outputs, targets)
    return float(_bleu()().corpus_score(hypotheses, [references]).score)


def extra_metrics(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> dict[str, float]:
    """`chrF`, 0..100 (Popović 2015): n-grams of characters."""
    hypotheses, references = _checked(outputs, targets)
    return {"chrF": float(need("sacrebleu.metrics", "translate").CHRF().corpus_score(hypotheses, [references]).score)}


def per_sample(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> None:
    """BLEU is no mean over sentences: it is bootstrapped from `statistics`."""
    return


def decisions(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The tokens, (N, L) int64."""
    return np.asarray(outputs["tokens"], np.int64)


def alike(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) bool: the same sentence. One word that flips changes all that follow, so this is far below any loss."""
    return np.array([a == b for a, b in zip(_said(first), _said(second))], bool)


def margins(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) zeros: of a search's answer nobody knows how close it was. The graphs have margins, see `part`."""
    return np.zeros(len(outputs["tokens"]))


def per_class(
    outputs: Mapping[str, np.ndarray], targets: np.ndarray, labels: Sequence[str]
) -> dict[str, dict[str, float]]:
    """BLEU by the length of the reference."""
    rows, words = statistics(outputs, targets), np.array([len(str(target).split()) for target in targets])
    groups = {
        f"up to {SHORT} words": words <= SHORT,
        f"{SHORT + 1} to {MIDDLE} words": (words > SHORT) & (words <= MIDDLE),
        f"more than {MIDDLE} words": words > MIDDLE,
    }

    return {
        name: {"metric": metric_of(rows[which]), "n": int(which.sum())} for name, which in groups.items() if which.any()
    }


def chance(targets: np.ndarray) -> float:
    """BLEU of answering every sentence with the same one: the reference of middle length with the commonest words."""
    references = [str(target) for target in targets]
    if not references:
        raise DataError("no samples to measure", where="targets")

    counts: dict[str, int] = {}
    for words in references:
        for word in words.split():
            counts[word] = counts.get(word, 0) + 1

    middle = int(np.median([len(words.split()) for words in references]))
    some = [words for words in dict.fromkeys(references) if len(words.split()) == middle] or references[:1]
    best = max(some, key=lambda words: sum(counts[word] for word in set(words.split())))
    hypotheses = np.array([best] * len(references), np.str_)

    return metric({"text": hypotheses}, targets)
