"""Batches of texts: tokens and masks in the order of the model's inputs, whatever the workers."""

from __future__ import annotations

from pathlib import Path

import builds
import numpy as np
import pytest
import text_run
import torch

from edgeft import data, models, tasks
from edgeft.config import recipe
from edgeft.core.errors import DataError
from edgeft.learning import texts
from edgeft.tasks.text_classify import decoding
from edgeft.tasks.text_classify import learning as text_classify

pytest.importorskip("tokenizers", reason="texts need tokenizers")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple[data.Dataset, models.Built]:
    folder: Path = tmp_path_factory.mktemp("texts")
    table = text_run.recipe_of(folder)
    made = recipe.from_table(table, "the test")
    return data.open(made.data), builds.build(made.model, 2, task="text-classify")


def test_batches_are_tokens_masks_and_class_numbers(opened) -> None:
    dataset, built = opened
    assert tasks.get("text-classify").learning() is text_classify.LEARNING
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
    groups = text_classify.LEARNING.groups(built.module, built.head, 1e-2, 1e-2)
    optimizer = torch.optim.Adam(groups)
    losses = []
    for _ in range(8):
        for inputs, targets in text_classify.loader(split, built.spec, 16):
            loss = text_classify.loss(built.module(*inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_one_class_gives_nothing_to_learn(opened) -> None:
    dataset, _ = opened
    with pytest.raises(DataError, match="two or more classes"):
        text_classify.outputs(data.Dataset("x", ("one",), dataset.splits))


def test_a_batch_holds_texts_of_similar_length_and_is_as_long_as_the_longest(opened) -> None:
    dataset, built = opened
    split = dataset.split("train")
    loader = text_classify.loader(split, built.spec, 8, seed=1, shuffle=True, drop_last=True)
    spread, seen = [], 0
    for (ids, mask), _ in loader:
        lengths = mask.sum(1)
        assert ids.shape == mask.shape == (8, int(lengths.max()))
        spread.append(float(lengths.float().std()))
        seen += len(ids)
    assert seen == len(split) // 8 * 8
    whole = texts.lengths(decoding.preprocess, split, built.spec)
    assert np.mean(spread) < 0.5 * whole.std()


def test_order_is_a_permutation_drawn_from_seed_and_epoch(opened) -> None:
    dataset, built = opened
    split = dataset.split("train")

    def order(epoch: int, seed: int = 1, drop_last: bool = False) -> list[int]:
        loader = text_classify.loader(split, built.spec, 7, seed=seed, shuffle=True, drop_last=drop_last)
        loader.set_epoch(epoch)
        return list(loader.sampler)

    assert sorted(order(1)) == list(range(len(split)))
    assert order(1) == order(1) != order(2) and order(1) != order(1, seed=2)


def test_what_is_predicted_does_not_depend_on_the_order_or_the_padding(opened) -> None:
    dataset, built = opened
    split = dataset.split("val")
    found = text_classify.predict(built.module, split, built.spec, 8)
    one_by_one = []
    with torch.no_grad():
        for i in range(len(split)):
            feeds = decoding.preprocess(split.raw(i), built.spec)
            one_by_one.append(built.module(*(torch.from_numpy(v) for v in feeds.values())).numpy()[0])
    assert np.allclose(found, np.stack(one_by_one), atol=1e-5)
    assert text_classify.predict(built.module, split.subset([]), built.spec, 8).shape == (0, 0)


def test_calibration_sees_words_and_almost_no_padding(opened) -> None:
    dataset, built = opened
    split = dataset.split("train")
    batches = list(text_classify.calibration(split, built.spec, 8))
    assert sum(len(ids) for ids, _ in batches) == len(split)
    share = sum(float(mask.sum()) for _, mask in batches) / sum(mask.numel() for _, mask in batches)
    assert share > 0.95


def test_a_captured_graph_takes_texts_of_any_length(opened) -> None:
    from edgeft.config.scheme import Scheme
    from edgeft.graph.from_torch import capture_float
    from edgeft.quantize.graph import insert

    _, built = opened
    ids = torch.randint(2, 20, (2, 16), dtype=torch.int32)
    captured = capture_float(built.module, (ids, torch.ones_like(ids)))
    graph = insert(captured, Scheme())
    graph.set_mode("off")
    for length in (3, 16, 24):
        ids = torch.randint(2, 20, (3, length), dtype=torch.int32)
        mask = torch.ones_like(ids)
        with torch.no_grad():
            assert torch.allclose(graph.module(ids, mask), built.module(ids, mask), atol=1e-5)
