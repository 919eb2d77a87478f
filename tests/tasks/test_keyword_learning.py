"""Learning keywords: batches that depend on seed and epoch only, and what augmentation may do to features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sounds
import torch

from edgeft import tasks
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError, RecipeError
from edgeft.data.samples import Dataset, Split
from edgeft.inputs import sound
from edgeft.tasks.classify import learning as classify
from edgeft.tasks.keyword import learning as keyword


class Clips:
    def __init__(self, n: int) -> None:
        rng = np.random.default_rng(0)
        self.clips = [sounds.clip(sounds.LABELS[i % 3], rng) for i in range(n)]

    def __len__(self) -> int:
        return len(self.clips)

    def raw(self, i: int) -> dict[str, Any]:
        return {"samples": self.clips[i], "rate": 8000}

    def source(self, i: int) -> str:
        return f"clip {i}"


def split(n: int = 12) -> Split:
    return Split("train", Clips(n), np.arange(n), np.arange(n) % 3)


def spec(layout: str = "NCHW") -> dict[str, Any]:
    table = sound.configure(Data(sound={"seconds": 0.5}), {}, {"rate": 8000}, print)
    return sound.measure(table, (split().raw(i) for i in range(12))) | {"layout": layout}


def test_batches_are_features_and_class_numbers() -> None:
    assert tasks.get("keyword").learning() is keyword.LEARNING and keyword.loss is classify.loss
    ((features,), targets) = next(iter(keyword.loader(split(), spec(), 12)))
    assert features.shape == (12, 1, 24, 10) and features.dtype == torch.float32
    assert targets.tolist() == [i % 3 for i in range(12)]
    assert torch.equal(features[5], torch.from_numpy(sound.preprocess(split().raw(5), spec())["x"][0]))
    assert keyword.model_args(Data(), None) == {"channels": 1}


@pytest.mark.parametrize("level", ["light", "strong"])
def test_augmentation_is_drawn_from_seed_and_epoch(level: str) -> None:
    loader = keyword.loader(split(), spec(), 4, level, seed=3, shuffle=True)
    loader.set_epoch(1)
    first = [inputs[0].clone() for inputs, _ in loader]
    again = keyword.loader(split(), spec(), 4, level, seed=3, shuffle=True, workers=1)
    again.set_epoch(1)
    assert all(torch.equal(a, inputs[0]) for a, (inputs, _) in zip(first, again))
    loader.set_epoch(2)
    assert not torch.equal(first[0], next(iter(loader))[0][0])


def test_amounts_follow_from_the_size_of_a_clip() -> None:
    x = torch.full((300, 1, 24, 10), 9.0)
    (made,) = keyword.augmentation("strong", spec())((x,), np.random.default_rng(0))
    masked = (made == 0).reshape(300, 24, 10).numpy()
    assert masked.all(axis=2).sum(axis=1).max() == 4 and masked.all(axis=1).sum(axis=1).max() == 2
    picture = {"kind": "image", "size": [49, 10], "layout": "NHWC"}
    (made,) = keyword.augmentation("light", picture)((torch.zeros(2, 49, 10, 1),), np.random.default_rng(0))
    assert made.shape == (2, 49, 10, 1)


def test_every_level_changes_the_samples_of_a_sound_and_masks_its_features() -> None:
    assert keyword.augmentation_of_samples("none", spec()) is None
    assert keyword.augmentation_of_samples("light", {"kind": "image"}) is None
    for level in ("light", "strong"):
        (features,), _ = next(iter(keyword.loader(split(), spec(), 12, level)))
        plain = np.concatenate([sound.preprocess(split().raw(i), spec())["x"] for i in range(12)])
        assert (np.abs(features.numpy() - plain).reshape(12, -1).max(axis=1) > 0.1).all()
        (ones,) = keyword.augmentation(level, spec())((torch.ones(50, 1, 24, 10),), np.random.default_rng(0))
        assert set(ones.unique().tolist()) == {0.0, 1.0}
    with pytest.raises(RecipeError, match="did you mean 'light'"):
        keyword.loader(split(), spec(), 12, "lihgt")


def test_recordings_with_transcripts_are_no_keywords() -> None:
    with pytest.raises(DataError, match="transcripts, no classes"):
        keyword.outputs(Dataset("d", ("no", "yes"), {}, facts={"units": "words"}))
    assert keyword.outputs(Dataset("d", ("no", "yes"), {})) == 2


def test_predict_is_in_order_and_changes_nothing() -> None:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(240, 3), torch.nn.Dropout(0.5)).train()
    once, again = (keyword.predict(net, split(), spec(), size) for size in (5, 12))
    assert np.allclose(once, again, atol=1e-6) and np.asarray(once).shape == (12, 3) and net.training
