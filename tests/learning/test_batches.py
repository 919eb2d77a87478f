from __future__ import annotations

from typing import Any

import builds
import numpy as np
import pytest
import torch
from torch import nn

from edgeft import tasks
from edgeft.config import recipe
from edgeft.core.errors import RecipeError
from edgeft.data.formats.npz import Rows
from edgeft.data.samples import Split
from edgeft.inputs.image import preprocess
from edgeft.learning import batches as module
from edgeft.models.built import image_spec

torch.set_num_threads(1)
classify = tasks.get("classify").learning()


class Counting(Rows):
    """A pool that counts what is read of it."""

    reads = 0

    def raw(self, i: int) -> np.ndarray:
        self.reads += 1
        return super().raw(i)


def split(n: int = 21, shape: tuple[int, ...] = (20, 24, 3), seed: int = 0) -> Split:
    images = np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)
    return Split("train", Counting("d", {"x": images}), np.arange(n), np.arange(n) % 3)


def read(loader: Any, epoch: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    loader.set_epoch(epoch)
    parts = list(loader)
    return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])


SPECS = {
    "resized": image_spec((16, 12)),
    "as it is": image_spec((20, 24), mean=[127 / 255] * 3, std=[128 / 255] * 3),
    "gray": image_spec((16, 16), channels=1),
    "scaled": image_spec((16, 16)) | {"scale": 128.0, "resize": "bicubic"},
    "channels last": image_spec((16, 16)) | {"layout": "NHWC"},
}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("cached", [False, True])
def test_bit_equal_to_the_tasks_preprocessing(name: str, cached: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_BYTES", 2**20 if cached else 0)
    samples, spec = split(), SPECS[name]
    loader = classify.loader(samples, spec, 4)
    for _ in range(2):
        x, y = read(loader)
        expected = np.concatenate([preprocess(samples.raw(i), spec)["x"] for i in range(len(samples))])
        assert x.dtype == torch.float32 and y.dtype == torch.int64
        np.testing.assert_array_equal(x.numpy(), expected)
        np.testing.assert_array_equal(y.numpy(), samples.targets)


@pytest.mark.parametrize(("limit", "reads"), [(2**20, 21), (0, 63)])
def test_small_splits_are_read_once_and_large_ones_stay_on_disk(
    limit: int, reads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CACHE_BYTES", limit)
    samples = split()
    loader = classify.loader(samples, image_spec((16, 16)), 4, shuffle=True)
    for epoch in range(3):
        read(loader, epoch)
    assert isinstance(samples.pool, Counting) and samples.pool.reads == reads


def test_order_depends_on_seed_and_epoch_only() -> None:
    spec = image_spec((20, 24))
    first = classify.loader(split(), spec, 4, shuffle=True, seed=1)
    epochs = [read(first, e)[0] for e in range(3)]
    torch.manual_seed(12345)
    resumed = classify.loader(split(), spec, 4, shuffle=True, seed=1)
    assert torch.equal(read(resumed, 2)[0], epochs[2])
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(read(classify.loader(split(), spec, 4, shuffle=True, seed=2))[0], epochs[0])
    assert torch.equal(epochs[0].sum((1, 2, 3)).sort().values, epochs[1].sum((1, 2, 3)).sort().values)


def test_drop_last_and_empty_rest() -> None:
    spec = image_spec((20, 24))
    assert [len(y) for _, y in classify.loader(split(9), spec, 4)] == [4, 4, 1]
    assert [len(y) for _, y in classify.loader(split(9), spec, 4, drop_last=True)] == [4, 4]


def test_workers_give_the_same_batches() -> None:
    pytest.importorskip("kornia", reason="kornia is not installed (extra tune)")
    spec = image_spec((16, 16))
    loaders = [
        classify.loader(split(), spec, 4, augment="light", seed=3, workers=workers, shuffle=True) for workers in (0, 2)
    ]
    for epoch in (0, 1):
        (x, y), (x2, y2) = (read(loader, epoch) for loader in loaders)
        assert torch.equal(y, y2)
        assert torch.equal(x, x2)


@pytest.mark.parametrize("level", ["light", "strong"])
@pytest.mark.parametrize("channels", [1, 3])
def test_augmentation_is_seeded_and_leaves_the_global_generator(level: str, channels: int) -> None:
    pytest.importorskip("kornia", reason="kornia is not installed (extra tune)")
    spec = image_spec((20, 24), channels, [0.0] * channels, [1.0] * channels)
    plain = read(classify.loader(split(), spec, 8))[0]
    torch.manual_seed(7)
    first = read(classify.loader(split(), spec, 8, augment=level, seed=1), 5)[0]
    drawn = torch.rand(1)
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(1))
    assert torch.equal(first, read(classify.loader(split(), spec, 8, augment=level, seed=1), 5)[0])
    assert not torch.equal(first, read(classify.loader(split(), spec, 8, augment=level, seed=1), 6)[0])
    assert not torch.equal(first, read(classify.loader(split(), spec, 8, augment=level, seed=2), 5)[0])
    assert first.shape == plain.shape and not torch.equal(first, plain)
    assert first.min() >= 0 and first.max() <= 1


def test_light_augmentation_never_mirrors() -> None:
    pytest.importorskip("kornia", reason="kornia is not installed (extra tune)")
    images = np.zeros((64, 28, 28), np.uint8)
    images[:, 4:24, 3:9] = 255  # a stroke at the left
    samples = Split("train", Rows("d", {"x": images}), np.arange(64), np.arange(64) % 2)
    spec = image_spec((28, 28), 1, [0.0], [1.0])
    sides = {}
    for level in ("light", "strong"):
        x = read(classify.loader(samples, spec, 64, augment=level))[0]
        sides[level] = int((x[..., 14:].sum((1, 2, 3)) > x[..., :14].sum((1, 2, 3))).sum())
    assert sides["light"] == 0 and 16 < sides["strong"] < 48


def test_unknown_augmentation() -> None:
    with pytest.raises(RecipeError, match="did you mean 'strong'"):
        classify.loader(split(), image_spec((16, 16)), 4, augment="stron")


def test_predict_restores_the_mode_and_ignores_batch_size() -> None:
    built = builds.build(recipe.Model(name="resnet8"), 3)
    net = built.module.train()
    frozen = net.get_submodule("bn1").eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    logits = classify.predict(net, split(), built.spec, batch_size=8)
    assert logits.shape == (21, 3) and logits.dtype == np.float32
    assert net.training and not frozen.training and net.get_submodule("layer1.0.bn1").training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())  # no running statistics moved
    np.testing.assert_allclose(classify.predict(net, split(), built.spec, batch_size=5), logits, rtol=1e-4, atol=1e-5)
    assert len(classify.predict(net, split(0), built.spec)) == 0


def test_it_learns() -> None:
    """A small net learns to tell bright from dark through loader, groups and loss."""
    images = np.random.default_rng(0).integers(0, 100, (64, 8, 8), np.uint8)
    images[::2] += 100
    samples = Split("train", Rows("d", {"x": images}), np.arange(64), np.arange(64) % 2)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    spec = image_spec((8, 8), 1)
    optimizer = torch.optim.AdamW(classify.groups(net, "1", 1e-2))
    loader = classify.loader(samples, spec, 16, shuffle=True)
    for epoch in range(5):
        loader.set_epoch(epoch)
        for x, y in loader:
            optimizer.zero_grad()
            classify.loss(net(x), y).backward()
            optimizer.step()
    assert (classify.predict(net, samples, spec).argmax(1) == samples.targets).mean() == 1.0


def test_accelerate_keeps_the_order() -> None:
    accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed (extra tune)")
    loader = classify.loader(split(), image_spec((20, 24)), 4, shuffle=True, seed=1)
    expected = [read(loader, e) for e in (0, 3)]
    prepared = accelerate.Accelerator(cpu=True).prepare(loader)
    for epoch, (x, y) in zip((0, 3), expected):
        x2, y2 = read(prepared, epoch)
        assert torch.equal(x2, x) and torch.equal(y2, y)
