"""Batches of texts: tokens and masks in the order of the model's inputs, whatever the workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import text_run
import torch

from edgeft import data, models, objectives, recipe
from edgeft.errors import DataError
from edgeft.objectives import text_classify

pytest.importorskip("tokenizers", reason="texts need tokenizers")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple[data.Dataset, models.Built]:
    folder: Path = tmp_path_factory.mktemp("texts")
    table = text_run.recipe_of(folder)
    made = recipe.from_table(table, "the test")
    return data.open(made.data), models.build(made.model, 2)


def test_batches_are_tokens_masks_and_class_numbers(opened) -> None:
    dataset, built = opened
    assert objectives.get("text-classify") is text_classify
    assert text_classify.outputs(dataset) == 2 and text_classify.model_args(recipe.Data(), dataset) == {}
    split = dataset.split("train")
    loader = text_classify.loader(split, built.spec, 8, augment="strong", seed=1, shuffle=True)
    (ids, mask), targets = next(iter(loader))
    assert ids.shape == mask.shape == (8, int(mask.sum(1).max())) and ids.dtype == mask.dtype == torch.int32
    assert targets.dtype == torch.int64 and bool((mask.sum(1) > 2).all())
    again = text_classify.loader(split, built.spec, 8, seed=1, workers=1, shuffle=True)
    assert torch.equal(next(iter(again))[0][0], ids)
    assert text_classify.predict(built.module, split.subset(range(5)), built.spec, 2).shape == (5, 2)


def test_a_step_moves_the_loss(opened) -> None:
    dataset, built = opened
    split = dataset.split("train").subset(np.arange(16))
    groups = text_classify.groups(built.module, built.head, 1e-2, 1e-2)
    optimizer = torch.optim.Adam(groups)
    losses = []
    for _ in range(8):
        for inputs, targets in text_classify.loader(split, built.spec, 16):
            loss = text_classify.loss(built.module(*inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]


def test_one_class_gives_nothing_to_learn(opened) -> None:
    dataset, _ = opened
    with pytest.raises(DataError, match="two or more classes"):
        text_classify.outputs(data.Dataset("x", ("one",), dataset.splits))
