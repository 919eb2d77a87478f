"""Entities in sequences of tags, and their F1, as the package seqeval and the CoNLL shared tasks count them.

A tag is "O", or a prefix and a type ("B-PER"). All of IOB1, IOB2, IOBES and BILOU's kin are read by one rule (that of
conlleval, Tjong Kim Sang and De Meulder 2003), which also makes entities of sequences that no scheme allows: an "I-PER"
behind "O" or behind another type begins one.
"""

from __future__ import annotations

from collections.abc import Sequence

OUTSIDE = "O"
#: other letters for the last tag of an entity, and for one of a single word
_LETTERS = {"L": "E", "U": "S", "W": "S", "M": "I"}


def parted(tag: str) -> tuple[str, str]:
    """(prefix, type) of a tag: ("B", "PER") of "B-PER", ("O", "") of "O", and ("I", "PER") of a bare "PER"."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, dash, kind = tag.partition("-")
    if dash and kind and prefix in ("B", "I", "E", "S", *_LETTERS):
        return _LETTERS.get(prefix, prefix), kind

    return "I", tag


def spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """(type, first word, end) of every entity in the tags of a sentence, in order; the word `end` is the first after.

    The same as `seqeval.metrics.sequence_labeling.get_entities`, whose end is the last word, for tags of its schemes.
    """
    entities: list[tuple[str, int, int]] = []
    start, before = 0, (OUTSIDE, "")
    for at, tag in enumerate((*tags, OUTSIDE)):
        now = parted(tag)
        if before[0] != OUTSIDE and _ends(before, now):
            entities.append((before[1], start, at))
        if now[0] != OUTSIDE and _begins(before, now):
            start = at
        before = now

    return entities


def _ends(before: tuple[str, str], now: tuple[str, str]) -> bool:
    """Whether the entity of the tag `before` ends where `now` follows it."""
    return before[0] in "ES" or now[0] in "BSO" or before[1] != now[1]


def _begins(before: tuple[str, str], now: tuple[str, str]) -> bool:
    """Whether the tag `now` begins an entity behind `before`."""
    return now[0] in "BS" or before[0] in "ESO" or before[1] != now[1]


def iob2(tags: Sequence[str]) -> list[str]:
    """The same entities in IOB2: "B-" for the first word of each, "I-" for the others."""
    written = [OUTSIDE] * len(tags)
    for kind, start, end in spans(tags):
        written[start:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - start - 1)]

    return written


def precision_recall_f1(matching: int, predicted: int, true: int) -> tuple[float, float, float]:
    """Micro averages, each 0 where its divisor is 0; `matching` are entities that are equal in type and extent."""
    precision = matching / predicted if predicted else 0.0
    recall = matching / true if true else 0.0
    total = precision + recall
    return precision, recall, 2 * precision * recall / total if total else 0.0
