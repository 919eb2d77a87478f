"""What augmentation may do to features."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeft.core.errors import RecipeError
from edgeft.learning import spectra

AMOUNTS = spectra.Amounts(shift=2, time=10, feature=2)


def test_light_shifts_whole_frames_and_adds_a_little_noise() -> None:
    x = torch.arange(20.0).reshape(1, 1, 20, 1).expand(64, 1, 20, 3).contiguous()
    kept = x.clone()
    (made,) = spectra.augmentation("light", "NCHW", AMOUNTS)((x,), np.random.default_rng(0))
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
    (made,) = spectra.augmentation("strong", layout, AMOUNTS)((x,), np.random.default_rng(0))
    assert made.shape == x.shape
    masked = (made == 0).reshape(200, 50, 10).numpy()
    times, features = masked.all(axis=2).sum(axis=1), masked.all(axis=1).sum(axis=1)
    assert times.max() == 10 and features.max() == 2 and times.min() == features.min() == 0
    for row in masked.all(axis=2):
        assert np.count_nonzero(np.diff(row.astype(int), prepend=0, append=0)) in (0, 2), "one run"
    assert float(made[made != 0].mean()) == pytest.approx(9, abs=0.05)


def test_levels() -> None:
    assert spectra.augmentation("none", "NCHW", AMOUNTS) is None
    with pytest.raises(RecipeError, match="did you mean 'light'"):
        spectra.augmentation("lihgt", "NCHW", AMOUNTS)


def test_several_masks() -> None:
    x = torch.full((200, 1, 50, 10), 9.0)
    amounts = spectra.Amounts(shift=1, time=5, feature=1, masks=3)
    (made,) = spectra.augmentation("strong", "NCHW", amounts)((x,), np.random.default_rng(0))
    silent = (made == 0).reshape(200, 50, 10).numpy().all(axis=2)
    assert silent.sum(axis=1).max() > 10 and silent.sum(axis=1).max() <= 15
