"""Decoding and measuring of classes, against definitions written out and against scikit-learn where it is there."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeft import tasks
from edgeft.core.errors import BundleError, DataError, UsageError
from edgeft.tasks.classify import decoding as classify

LABELS = ["a", "b", "c"]
NAN, INF = float("nan"), float("inf")


def out(*rows: list[float]) -> dict[str, np.ndarray]:
    return {"y": np.array(rows, np.float32)}


def test_the_task_is_found_by_name() -> None:
    record = tasks.get("classify")
    assert record.name == "classify" and record.decode is classify.decode
    with pytest.raises(UsageError, match="classify"):
        tasks.get("clasify")


def test_decode_ranks_the_classes() -> None:
    (seen,) = classify.decode(out([0.0, 2.0, 1.0]), LABELS, top=2)
    assert (seen["label"], seen["index"]) == ("b", 1)
    assert [entry["label"] for entry in seen["top"]] == ["b", "c"]
    assert seen["confidence"] == pytest.approx(np.exp(2) / (1 + np.exp(1) + np.exp(2)))
    assert seen["top"][0]["confidence"] == seen["confidence"]
    json.dumps(seen, allow_nan=False)


def test_large_logits_do_not_overflow() -> None:
    (seen,) = classify.decode(out([1e30, 0.0, -1e30]), LABELS)
    assert seen["confidence"] == 1.0


@pytest.mark.parametrize("row", [[NAN, 0.0, 1.0], [INF, 0.0, 1.0], [NAN] * 3, [-INF] * 3, [0.0, 1.0, NAN]])
def test_what_is_not_finite_is_never_right(row: list[float]) -> None:
    outputs = out(row, [1.0, 0.0, 0.0])
    assert classify.decisions(outputs).tolist() == [-1, 0]
    assert classify.margins(outputs)[0] == 0
    for target in range(3):
        assert classify.per_sample(outputs, np.array([target, 0]))[0] == 0
    seen = classify.decode(outputs, LABELS)
    assert (seen[0]["label"], seen[0]["confidence"]) == (None, None)
    json.dumps(seen, allow_nan=False)
    assert "auc" not in classify.extra_metrics(outputs, np.array([1, 0]))


def test_a_masked_class_is_no_fault() -> None:
    assert classify.decisions(out([-INF, 0.0, 1.0])).tolist() == [2]
    assert classify.margins(out([-INF, 0.0, 1.0])).tolist() == [1.0]


def test_metric_is_the_mean_of_the_samples() -> None:
    outputs, targets = out([1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]), np.array([[0], [1], [2], [0]])
    assert classify.metric(outputs, targets) == 0.75
    assert classify.per_sample(outputs, targets).tolist() == [1, 1, 1, 0]
    assert classify.per_class(outputs, targets, LABELS) == {
        "a": {"metric": 0.5, "n": 2},
        "b": {"metric": 1.0, "n": 1},
        "c": {"metric": 1.0, "n": 1},
    }
    assert classify.chance(targets) == 0.5
    assert "c" not in classify.per_class(out([1, 0, 0]), np.array([0]), LABELS)


def test_ties_go_to_the_first_class() -> None:
    assert classify.decisions(out([1, 1, 0], [0, 1, 1])).tolist() == [0, 1]
    assert classify.margins(out([1, 1, 0])).tolist() == [0]


@pytest.mark.parametrize("targets", [[0], [0, 3], [0, -1], [0.0, 1.0], []])
def test_targets_that_do_not_fit(targets: list[float]) -> None:
    with pytest.raises(DataError):
        classify.metric(out([1, 0, 0], [1, 0, 0]), np.array(targets))


def test_no_samples_is_no_metric() -> None:
    with pytest.raises(DataError, match="no samples"):
        classify.metric({"y": np.zeros((0, 3))}, np.zeros(0, int))
    with pytest.raises(DataError, match="no samples"):
        classify.chance(np.zeros(0, int))


def test_labels_and_outputs_that_do_not_fit() -> None:
    with pytest.raises(BundleError, match="2 labels for 3 classes"):
        classify.decode(out([1, 0, 0]), ["a", "b"])
    with pytest.raises(BundleError, match="several outputs"):
        classify.decisions({"y": np.zeros((1, 3)), "z": np.zeros((1, 3))})
    assert classify.decisions({"z": np.zeros((1, 9)), "logits": np.eye(3)}).tolist() == [0, 1, 2]
    with pytest.raises(BundleError, match="shape"):
        classify.decisions({"y": np.zeros((1, 1))})


def test_uneven_classes_show_in_the_other_metrics() -> None:
    outputs, targets = out(*[[1.0, 0.0]] * 10), np.array([0] * 9 + [1])
    assert classify.metric(outputs, targets) == 0.9
    extra = classify.extra_metrics(outputs, targets)
    assert extra["balanced_accuracy"] == 0.5
    assert extra["macro_f1"] == pytest.approx(18 / 19 / 2)
    assert extra["auc"] == 0.5


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_other_metrics_agree_with_scikit_learn(classes: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the reference")
    rng = np.random.default_rng(classes)
    targets = rng.integers(0, classes, 200)
    logits = np.round(4 * rng.normal(size=(200, classes)) + 8 * np.eye(classes)[targets]) / 4  # on a grid: ties
    extra = classify.extra_metrics({"logits": logits}, targets)
    decided = logits.argmax(1)
    assert extra["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(targets, decided))
    assert extra["macro_f1"] == pytest.approx(metrics.f1_score(targets, decided, average="macro"))
    shares = classify.probabilities(logits)
    if classes == 2:
        expected = metrics.roc_auc_score(targets, logits[:, 1] - logits[:, 0])
    else:
        expected = metrics.roc_auc_score(targets, shares, multi_class="ovr", average="macro")
    assert extra["auc"] == pytest.approx(expected)


def test_confusion_counts_true_classes_by_decision() -> None:
    outputs = out([3, 0, 0], [0, 3, 0], [0, 3, 0], [np.nan, 0, 0])
    assert classify.confusion(outputs, np.array([0, 0, 1, 2])).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the reference")
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(300, 5)), rng.integers(0, 5, 300)
    expected = metrics.confusion_matrix(targets, logits.argmax(1))
    np.testing.assert_array_equal(classify.confusion({"y": logits}, targets), expected)
