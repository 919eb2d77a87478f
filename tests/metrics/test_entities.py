"""Entities and their F1 against the package seqeval."""

from __future__ import annotations

import random

import pytest

from edgeft.metrics import entities

SCHEMES = {
    "IOB2": ("O", "B-X", "I-X", "B-Y", "I-Y"),
    "IOB1": ("O", "I-X", "B-X", "I-Y"),
    "IOBES": ("O", "B-X", "I-X", "E-X", "S-X", "B-Y", "E-Y", "S-Y"),
}


def sentences(scheme: str, count: int = 400) -> list[list[str]]:
    rng = random.Random(scheme)
    return [[rng.choice(SCHEMES[scheme]) for _ in range(rng.randint(1, 9))] for _ in range(count)]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_entities_are_those_of_seqeval_in_allowed_and_other_sequences(scheme: str) -> None:
    labeling = pytest.importorskip("seqeval.metrics.sequence_labeling", reason="compares with seqeval")
    for tags in sentences(scheme):
        expected = [(kind, start, last + 1) for kind, start, last in labeling.get_entities(tags)]
        assert entities.spans(tags) == expected, tags
        assert entities.spans(entities.iob2(tags)) == expected, tags


@pytest.mark.board
def test_known_entities() -> None:
    tags = ["B-PER", "I-PER", "O", "I-LOC", "B-LOC", "I-PER"]
    assert entities.spans(tags) == [("PER", 0, 2), ("LOC", 3, 4), ("LOC", 4, 5), ("PER", 5, 6)]
    assert entities.iob2(tags) == ["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "B-PER"]
    assert entities.iob2(["U-PER", "B-LOC", "L-LOC"]) == ["B-PER", "B-LOC", "I-LOC"], "BILOU"
    assert entities.iob2(["PER", "PER", "O", "LOC"]) == ["B-PER", "I-PER", "O", "B-LOC"], "types without a prefix"
    assert entities.parted("B-") == ("I", "B-") and entities.parted("X-ray") == ("I", "X-ray")
    assert entities.precision_recall_f1(1, 2, 4) == (0.5, 0.25, pytest.approx(1 / 3))
    assert entities.precision_recall_f1(0, 0, 0) == (0.0, 0.0, 0.0)
