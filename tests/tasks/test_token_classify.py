"""Entities: the tokens of words, the metric against seqeval, and what is told of a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeft import tasks
from edgeft.core.errors import DataError
from edgeft.inputs import words
from edgeft.tasks.token_classify import decoding

TASK = tasks.get("token-classify")
LABELS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    pytest.importorskip("tokenizers", reason="texts need tokenizers")
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "met", "in", ".", "an", "##na", "bris", "##k", "bo", "##ris"]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    path = tmp_path_factory.mktemp("words") / "tokenizer.json"
    tokenizer.save(str(path))
    return {
        "kind": "words",
        "length": 10,
        "inputs": ["input_ids", "attention_mask"],
        "pad": 0,
        "files": {"tokenizer": str(path)},
    }


def logits_of(tokens: np.ndarray, count: int = len(LABELS)) -> np.ndarray:
    """Logits float32 (N, L, C) whose highest is that of each token's tag."""
    return (4.0 * np.eye(count)[tokens]).astype(np.float32)


def targets_of(*rows: dict[str, Any]) -> np.ndarray:
    targets = np.empty(len(rows), object)
    for i, row in enumerate(rows):
        targets[i] = {key: np.asarray(value, np.int64) for key, value in row.items()}
    return targets


def test_a_word_is_answered_at_its_first_token(spec: dict[str, Any]) -> None:
    raw = words.of_words(["Anna", "met", "Boris", "in", "Brisk", "."])
    feeds = TASK.preprocess(raw, spec)
    assert feeds["input_ids"][0].tolist() == [2, 7, 8, 4, 11, 12, 5, 9, 10, 3], "cut at 10 tokens, [SEP] kept"
    target = TASK.locate(raw, {"tags": np.array([3, 0, 3, 0, 1, 0])}, spec)
    assert target["at"].tolist() == [1, 3, 4, 6, 7, -1]
    assert TASK.locate(words.of_words(["Anna-Brisk", "\u200b", "met"]), {"tags": np.zeros(3, int)}, spec)["at"][0] == 1
    with pytest.raises(DataError, match="6 words and 2 tags"):
        TASK.locate(raw, {"tags": np.array([0, 0])}, spec)


def test_a_users_text_is_divided_into_words() -> None:
    raw = words.of_text("Anna  (St. O'Neill) left New-York: 3.5 km. \u5317\u4eac")
    shown = [raw["text"][start:end] for start, end in raw["words"]]
    expected = ["Anna", "(", "St", ".", "O'Neill", ")", "left", "New-York", ":", "3.5", "km", ".", "\u5317", "\u4eac"]
    assert shown == expected


@pytest.mark.parametrize("seed", range(5))
def test_the_metric_is_that_of_seqeval(seed: int) -> None:
    metrics = pytest.importorskip("seqeval.metrics", reason="compares with seqeval")
    rng = np.random.default_rng(seed)
    rows, at = rng.integers(0, len(LABELS), (60, 12)), np.arange(0, 12, 2)
    truth = [np.where(rng.random(6) < 0.6, row[at], rng.integers(0, len(LABELS), 6)) for row in rows]
    targets = targets_of(*({"tags": tags, "at": at} for tags in truth))
    outputs = {"logits": logits_of(rows)}
    true, predicted = ([[LABELS[k] for k in row] for row in part] for part in (truth, rows[:, at]))
    assert TASK.score(outputs, targets) == pytest.approx(metrics.f1_score(true, predicted))
    extra = TASK.extra_metrics(outputs, targets)
    assert extra["precision"] == pytest.approx(metrics.precision_score(true, predicted))
    assert extra["recall"] == pytest.approx(metrics.recall_score(true, predicted))
    assert extra["word accuracy"] == pytest.approx(metrics.accuracy_score(true, predicted))
    report = metrics.classification_report(true, predicted, output_dict=True)
    for kind, row in TASK.per_class(outputs, targets, LABELS).items():
        assert row == {"metric": pytest.approx(report[kind]["f1-score"]), "n": report[kind]["support"]}
    best = max(metrics.f1_score(true, [[tag] * 6 for _ in true]) for tag in LABELS[1:])
    assert TASK.chance(targets) >= best
    assert TASK.chance(targets) == pytest.approx(
        max(metrics.f1_score(true, [[f"B-{kind}"] * 6 for _ in true]) for kind in ("LOC", "PER"))
    )


@pytest.mark.board
def test_a_word_behind_the_cut_counts_as_missed() -> None:
    outputs = {"logits": logits_of(np.array([[0, 1, 0, 3]]))}
    seen = targets_of({"tags": [1, 0, 3], "at": [1, 2, 3]})
    assert TASK.score(outputs, seen) == 1.0
    cut = targets_of({"tags": [1, 0, 3, 3], "at": [1, 2, 3, -1]})
    assert TASK.statistics(outputs, cut).tolist() == [[2, 2, 3]]
    assert TASK.answered(outputs, cut).tolist() == [[False, True, True, True]]
    with pytest.raises(DataError, match="no places"):
        TASK.score(outputs, targets_of({"tags": [1]}))


@pytest.mark.board
def test_a_row_that_is_not_finite_gives_no_tag() -> None:
    logits = logits_of(np.array([[0, 1, 3]]))
    logits[0, 1, 0] = np.nan
    targets = targets_of({"tags": [1, 3], "at": [1, 2]})
    assert TASK.statistics({"logits": logits}, targets).tolist() == [[1, 1, 2]]
    assert TASK.decisions({"logits": logits}).tolist() == [[0, -1, 3]] and TASK.margins({"logits": logits})[0, 1] == 0


def test_entities_have_their_place_in_the_text(spec: dict[str, Any]) -> None:
    raw = TASK.read("Anna Boris met.", spec)
    tokens = np.array([[0, 3, 2, 4, 2, 0, 0, 0, 0, 0]])
    told = tasks.tell(TASK, {"logits": logits_of(tokens)}, raw, spec, LABELS)
    (entity,) = told["entities"]
    assert (entity["text"], entity["label"], entity["start"], entity["end"]) == ("Anna Boris", "PER", 0, 10)
    assert entity["score"] == pytest.approx(np.exp(4) / (np.exp(4) + 4)) and told["label"] == "Anna Boris (PER 93 %)"
    assert TASK.draw(raw, told)["text"] == "[Anna Boris PER] met." and "unread" not in told
    long = tasks.tell(TASK, {"logits": logits_of(tokens)}, words.of_text("met " * 9 + "Anna."), spec, LABELS)
    assert long["unread"] == ["met", "Anna", "."]


def test_data_of_a_user_are_joined_by_names() -> None:
    targets = targets_of({"tags": [0, 1, 2], "at": [1, 2, 3]})
    joined = TASK.join(targets, ("O", "B-PER", "I-PER"), LABELS, "x")
    assert joined[0]["tags"].tolist() == [0, 3, 4] and joined[0]["at"].tolist() == [1, 2, 3]
    with pytest.raises(DataError, match="the tag 'B-ORG'"):
        TASK.join(targets, ("O", "B-ORG", "I-ORG"), LABELS, "x")


def test_a_page_shows_the_entities_of_a_text(tmp_path: Path) -> None:
    from edgeft import data
    from edgeft.config import recipe

    (tmp_path / "all.conll").write_text("Anna B-PER\nmet O\nBrisk B-LOC\n\nin O\nBrisk B-LOC\n")
    split = data.open(recipe.Data(format="conll", path=str(tmp_path), split=data.WHOLE)).split("train")
    shown = tasks.show_sample(TASK, split, 0, LABELS)
    assert shown["text"] == "[Anna PER] met [Brisk LOC]" and shown["caption"] == "1 LOC, 1 PER"
    assert tasks.count_labels(TASK, split, LABELS).counts.tolist() == [2, 2, 0, 1, 0]


def test_other_words_in_the_kind_of_text_are_refused(spec: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a text"):
        TASK.preprocess({"text": 3, "words": np.zeros((0, 2), np.int32)}, spec)
    with pytest.raises(DataError, match="no places"):
        TASK.preprocess({"text": "met", "words": np.zeros(3)}, spec)
    with pytest.raises(DataError, match="no such file"):
        TASK.read("absent.txt", spec)
    assert decoding.configure(_Data(0), {**spec, "longest": 24}, {}, print)["length"] == 10


class _Data:
    def __init__(self, length: int) -> None:
        self.length = length
