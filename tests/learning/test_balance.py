"""Weights of uneven classes: every class has the same share of the loss, and the loss keeps its size."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgeft import tasks
from edgeft.core.errors import RecipeError
from edgeft.learning import balance
from edgeft.tasks.classify import learning as classify
from edgeft.tasks.segment.learning import dice


def dataset(classes: list[int], labels: tuple[str, ...] = ("a", "b", "c")) -> SimpleNamespace:
    split = SimpleNamespace(classes=np.array(classes), targets=np.array(classes))
    return SimpleNamespace(labels=labels, split=lambda name: split)


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=8).filter(any))
def test_every_class_that_occurs_has_the_same_share(counts: list[int]) -> None:
    weights = balance.balanced(counts)
    shares = weights.double() * torch.tensor(counts)
    there = torch.tensor(counts) > 0
    assert weights.dtype == torch.float32 and (weights[~there] == 0).all()
    torch.testing.assert_close(
        shares[there], torch.full_like(shares[there], sum(counts) / int(there.sum())), rtol=1e-5, atol=0
    )
    assert float(shares.sum() / sum(counts)) == pytest.approx(1, rel=1e-5), "a mean of 1 over the samples"


@pytest.mark.parametrize("task", ["classify", "keyword", "text-classify"])
def test_the_weighted_loss_of_a_whole_split_is_the_mean_over_classes(task: str) -> None:
    learning = tasks.get(task).learning()
    classes = [0] * 8 + [1] * 3 + [2]
    logits, targets = torch.randn(12, 3, generator=torch.Generator().manual_seed(1)), torch.tensor(classes)
    loss = learning.weighted_loss(dataset(classes), "balanced")
    each = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    by_class = torch.stack([each[targets == c].mean() for c in range(3)])
    torch.testing.assert_close(loss(logits, targets), by_class.mean())
    even = learning.weighted_loss(dataset([0, 1, 2] * 4), "balanced")
    torch.testing.assert_close(even(logits, targets), learning.loss(logits, targets))
    plain = learning.weighted_loss(dataset(classes), "none")
    assert torch.equal(plain(logits, targets), learning.loss(logits, targets))


def test_pixels_are_weighed_by_class_and_void_counts_for_nothing() -> None:
    segment = tasks.get("segment").learning()
    masks = np.empty(2, object)
    masks[:] = [np.array([[0, 0, 0], [1, 255, 255]], np.uint8), np.array([[0, 0, 0], [1, 2, 255]], np.uint8)]
    data = SimpleNamespace(labels=("road", "car", "sign"), split=lambda name: SimpleNamespace(targets=masks))
    weights = segment.class_weights(data, "balanced")
    torch.testing.assert_close(weights, torch.tensor([9 / (3 * 6), 9 / (3 * 2), 9 / 3]))
    logits, targets = (
        torch.randn(2, 3, 2, 3, generator=torch.Generator().manual_seed(2)),
        torch.from_numpy(np.stack(masks)),
    )
    each = torch.nn.functional.cross_entropy(logits, targets.long().where(targets < 3, 0), reduction="none")
    by_class = torch.stack([each[targets == c].mean() for c in range(3)])
    expected = by_class.mean() + dice(logits, targets)
    torch.testing.assert_close(segment.weighted_loss(data, "balanced")(logits, targets), expected)
    assert torch.equal(segment.weighted_loss(data, "none")(logits, targets), segment.loss(logits, targets))


def test_weights_of_a_task_by_its_training_samples() -> None:
    torch.testing.assert_close(classify.class_weights(dataset([0, 0, 0, 1]), "balanced"), torch.tensor([2 / 3, 2, 0]))
    assert classify.class_weights(dataset([0, 1]), "none") is None


def test_targets_that_are_no_classes_are_refused() -> None:
    with pytest.raises(RecipeError, match="targets are no classes"):
        classify.class_weights(SimpleNamespace(labels=(), split=lambda name: SimpleNamespace(classes=None)), "balanced")
