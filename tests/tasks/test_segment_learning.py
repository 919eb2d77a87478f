"""The loss leaves void out; picture and mask go through one view, the same one for a seed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="learning halves are torch")

from edgeft.inputs import mask  # noqa: E402
from edgeft.models.built import image_spec  # noqa: E402
from edgeft.tasks.segment import learning as segment  # noqa: E402


def test_void_pixels_teach_nothing() -> None:
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    targets = torch.zeros(2, 4, 4, dtype=torch.uint8)
    targets[:, :2] = mask.VOID
    known, zeros = logits[:, :, 2:], torch.zeros(2, 2, 4, dtype=torch.long)
    found = segment.cross_entropy(logits, targets)
    assert float(found.detach()) == pytest.approx(
        float(torch.nn.functional.cross_entropy(known, zeros).detach()), rel=1e-5
    )
    whole = segment.loss(logits, targets)
    alone = segment.loss(known, zeros.to(torch.uint8))
    assert float(whole.detach()) == pytest.approx(float(alone.detach()), rel=1e-5)
    whole.backward()
    assert not logits.grad[:, :, :2].any() and logits.grad[:, :, 2:].any()
    assert float(segment.loss(logits, torch.full_like(targets, mask.VOID)).detach()) == 0.0


def test_dice_counts_every_class_alike_however_small() -> None:
    targets = torch.zeros(1, 10, 10, dtype=torch.uint8)
    targets[0, 0, 0] = 1  # one pixel of a hundred
    sure = 50 * torch.nn.functional.one_hot(targets.long(), 3).movedim(-1, 1).float()
    assert float(segment.dice(sure, targets)) == pytest.approx(0, abs=1e-6)
    blind = torch.zeros(1, 3, 10, 10)
    blind[:, 0] = 50  # the common class everywhere
    expected = (1 - 2 * 99 / (100 + 99) + 1) / 2  # the absent third class does not count
    assert float(segment.dice(blind, targets)) == pytest.approx(expected, rel=1e-5)
    assert float(segment.loss(blind, targets)) > float(segment.loss(sure, targets)) + 0.4


def test_a_teacher_alike_costs_nothing() -> None:
    logits = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    assert float(segment.distill(logits, logits, weight=1.0)) == pytest.approx(0.0, abs=1e-6)
    assert float(segment.distill(logits.flip(1), logits, weight=1.0)) > 0.01


@pytest.mark.parametrize(("level", "crop"), [("light", (64, 64)), ("strong", (40, 32))])
def test_picture_and_mask_are_seen_alike(level: str, crop: tuple[int, int]) -> None:
    pytest.importorskip("kornia", reason="augmentation of colours is kornia's")
    rows, columns = np.mgrid[:64, :64]
    disk = (np.hypot(rows - 32, columns - 32) < 20).astype(np.uint8)
    x = torch.from_numpy(np.tile(disk * 255.0, (8, 3, 1, 1)).astype(np.float32))
    masks = torch.from_numpy(np.tile(disk, (8, 1, 1)))
    apply = segment.view(level, 3, crop)
    assert apply is not None
    seen = []
    for _ in range(2):
        torch.manual_seed(3)
        seen.append(apply(x, masks))
    assert torch.equal(seen[0][0], seen[1][0]) and torch.equal(seen[0][1], seen[1][1])
    pixels, found = seen[0]
    assert pixels.shape == (8, 3, *crop) and found.shape == (8, *crop)
    assert len({found[i].numpy().tobytes() for i in range(8)}) == 8, "every picture has a view of its own"
    inside = found != mask.VOID
    bright = pixels.mean(dim=1) > 90
    assert float((bright == (found == 1))[inside].float().mean()) > 0.97


def test_an_epoch_has_as_many_crops_as_cover_the_pictures() -> None:
    class Pictures:
        targets = np.empty(3, object)

        def __len__(self) -> int:
            return 3

        def raw(self, i: int) -> np.ndarray:
            return np.full((512, 300, 3), 40 * i, np.uint8)

    split = Pictures()
    for i in range(3):
        split.targets[i] = np.full((512, 300), i, np.uint8)
    spec = image_spec((512, 512)) | {"mean": [0.0] * 3, "std": [1.0] * 3}
    loader = segment.loader(split, spec, 4, "light", shuffle=True)
    batches = list(loader)
    assert [len(x) for x, _ in batches] == [4, 4, 4] and batches[0][0].shape[2:] == (256, 256)
    assert sorted(int(m[m != mask.VOID][0]) for _, masks in batches for m in masks) == [0] * 4 + [1] * 4 + [2] * 4
    (whole, masks), *_ = segment.loader(split, spec, 2)
    assert whole.shape == (2, 3, 512, 512) and masks.shape == (2, 512, 512)


def test_classes_are_weighed_by_their_pixels() -> None:
    split = SimpleNamespace(targets=[np.array([[0] * 9 + [1]]), np.array([[0] * 8 + [mask.VOID, 2]])])
    dataset = SimpleNamespace(labels=("a", "b", "c"), split=lambda name: split)
    counts = np.array([17, 1, 1])
    for kind, power in (("balanced", 1.0), ("root", 0.5)):
        found = segment.class_weights(dataset, kind).numpy()
        np.testing.assert_allclose(found[1] / found[0], 17**power, rtol=1e-5)
        np.testing.assert_allclose((found * counts).sum(), counts.sum(), rtol=1e-5)
    assert segment.class_weights(dataset, "none") is None
