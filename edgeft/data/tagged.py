"""Sentences whose words have a tag each (IOB2 and its kin): what the formats "conll" and "tokens" share.

Tags become IOB2 whatever the scheme of the file is; the entities stay the same (`metrics.entities`). The labels are
"O", then "B-" and "I-" of each type. A sentence that cannot be used is left out and counted; more than 5 % of them stop
the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..config import recipe
from ..core.errors import DataError
from ..inputs import text, words
from ..metrics import entities
from . import left_out
from .samples import NAMES, Dataset, Split, complete
from .table_records import label_of

#: more types than this are no types of entities
MAX_TYPES = 200


@dataclass(frozen=True)
class Sentence:
    """The words of a sentence and their tags as the data have them, where it stands, or what is wrong with it."""

    where: str
    words: Sequence[Any] = ()
    tags: Sequence[Any] = ()
    problem: str = ""


@dataclass
class Sentences:
    """A pool of sentences: their words, and where each stands."""

    words: list[list[str]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.words)

    def raw(self, i: int) -> dict[str, Any]:
        return words.of_words(self.words[i])

    def source(self, i: int) -> str:
        return self.places[i]


def dataset(where: str, sentences_of: Mapping[str, Iterable[Sentence]], spec: recipe.Data, notes: list[str]) -> Dataset:
    """A data set of {split: sentences}; a target is {"tags": int64 (K,), numbers of labels}, one a word.

    Raises `DataError` for too many sentences that cannot be used, and for data without an entity.
    """
    pools, tags_of = {}, {}
    for name in (name for name in NAMES if name in sentences_of):
        pools[name], tags_of[name] = _usable(name, sentences_of[name], where, notes)

    types = sorted({entities.parted(tag)[1] for tags in tags_of.values() for row in tags for tag in row} - {""})
    if not types:
        raise DataError("no word has another tag than O", where=where, remedy="check data.columns: which has the tags?")

    if len(types) > MAX_TYPES:
        problem = f"there are {len(types)} types of tags ({', '.join(types[:5])}, ...), more than {MAX_TYPES}"
        raise DataError(problem, where=where, remedy="check data.columns: which has the tags?")

    labels = (entities.OUTSIDE, *(f"{prefix}-{kind}" for kind in types for prefix in "BI"))
    number = {label: i for i, label in enumerate(labels)}
    splits, rewritten = {}, 0

    for name, pool in pools.items():
        targets = np.empty(len(pool), object)
        for i, row in enumerate(tags_of[name]):
            tags = entities.iob2(row)
            rewritten += tags != row
            targets[i] = {"tags": np.array([number[tag] for tag in tags], np.int64)}
        splits[name] = Split(name, pool, np.arange(len(pool)), targets)

    if rewritten:
        notes.append(f"the tags of {rewritten} sentences are of another scheme than IOB2: they are read as IOB2")

    _refuse_absent(splits, labels, where)
    splits, note = complete(splits, spec.split, spec.split_seed, where)
    return Dataset(where, labels, splits, [*notes, *note])


def _usable(
    name: str, sentences: Iterable[Sentence], where: str, notes: list[str]
) -> tuple[Sentences, list[list[str]]]:
    """The usable sentences of a split and their tags; the others are added to `notes`."""
    pool, tags_of, bad, first_problem = Sentences(), [], 0, ""
    for sentence in sentences:
        try:
            if sentence.problem:
                raise ValueError(sentence.problem)
            row = _words(sentence.words)
            tags = [_tag(tag) for tag in sentence.tags]
            if len(row) != len(tags):
                raise ValueError(f"{len(row)} words and {len(tags)} tags")
        except ValueError as error:
            bad += 1
            first_problem = first_problem or f"{sentence.where}: {error}"
            continue
        pool.words.append(row)
        pool.places.append(sentence.where)
        tags_of.append(tags)

    remedy = "correct the data, or check data.format and data.columns"
    left_out.judge([first_problem], len(pool), "sentences", notes, where=where, remedy=remedy, count=bad, part=name)
    return pool, tags_of


def _words(row: Sequence[Any]) -> list[str]:
    if not isinstance(row, (list, tuple)) or not all(isinstance(word, str) for word in row):
        raise ValueError("the words are no list of texts")
    problem = text.fault(" ".join(row))
    if problem:
        raise ValueError(problem)
    return list(row)


def _tag(tag: Any) -> str:
    if not isinstance(tag, str):
        raise ValueError(f"the tag {tag!r} is no name")
    return label_of(tag)


def _refuse_absent(splits: Mapping[str, Split], labels: Sequence[str], where: str) -> None:
    """Raise `DataError` for a type of which the training split has no entity."""
    if "train" not in splits:
        return

    present = {int(k) for target in splits["train"].targets for k in np.unique(target["tags"])}
    absent = [label[2:] for i, label in enumerate(labels) if label.startswith("B-") and i not in present]
    if absent:
        raise DataError(
            f"train has no entity of the type {absent[0]}",
            where=where,
            remedy="a type cannot be learned without an example: add some, or write O for it everywhere",
        )
