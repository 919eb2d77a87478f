"""Learning keywords: batches that depend on seed and epoch only, and what augmentation may do to features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sounds
import torch

from edgeft.data.samples import Split
from edgeft.errors import RecipeError
from edgeft.objectives import classify, get, keyword
from edgeft.recipe import Data
from edgeft.tasks import sound


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
    assert get("keyword") is keyword and keyword.loss is classify.loss
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


def test_light_shifts_whole_frames_and_adds_a_little_noise() -> None:
    x = torch.arange(20.0).reshape(1, 1, 20, 1).expand(64, 1, 20, 3).contiguous()
    kept = x.clone()
    (made,) = keyword.augmentation("light")((x,), np.random.default_rng(0))
    assert torch.equal(x, kept), "the kept features are not changed"
    shifts = set()
    for clip in made:
        steps = (clip[0] - torch.arange(20.0)[:, None])[4:-4]
        shifts.add(round(float(steps.mean())))
        assert float(steps.std()) < 0.2
    assert shifts == {-2, -1, 0, 1, 2}


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_strong_masks_one_span_in_time_and_one_over_features(layout: str) -> None:
    x = torch.full((200, 1, 50, 10) if layout == "NCHW" else (200, 50, 10, 1), 9.0)
    (made,) = keyword.augmentation("strong", layout)((x,), np.random.default_rng(0))
    assert made.shape == x.shape
    masked = (made == 0).reshape(200, 50, 10).numpy()
    times, features = masked.all(axis=2).sum(axis=1), masked.all(axis=1).sum(axis=1)
    assert times.max() == 10 and features.max() == 2 and times.min() == features.min() == 0
    for row in masked.all(axis=2):
        assert np.count_nonzero(np.diff(row.astype(int), prepend=0, append=0)) in (0, 2), "one run"
    assert float(made[made != 0].mean()) == pytest.approx(9, abs=0.05)


def test_levels() -> None:
    assert keyword.augmentation("none") is None
    with pytest.raises(RecipeError, match="did you mean 'light'"):
        keyword.augmentation("lihgt")


def test_predict_is_in_order_and_changes_nothing() -> None:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(240, 3), torch.nn.Dropout(0.5)).train()
    once, again = (keyword.predict(net, split(), spec(), size) for size in (5, 12))
    assert np.allclose(once, again, atol=1e-6) and np.asarray(once).shape == (12, 3) and net.training
