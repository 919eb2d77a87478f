"""The loss leaves void out; picture and mask go through one view, the same one for a seed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="learning halves are torch")

from edgeft.inputs import mask  # noqa: E402
from edgeft.tasks.segment import learning as segment  # noqa: E402


def test_void_pixels_teach_nothing() -> None:
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    targets = torch.zeros(2, 4, 4, dtype=torch.uint8)
    targets[:, :2] = mask.VOID
    found = segment.loss(logits, targets)
    want = torch.nn.functional.cross_entropy(logits[:, :, 2:], torch.zeros(2, 2, 4, dtype=torch.long))
    assert float(found.detach()) == pytest.approx(float(want.detach()), rel=1e-5)
    found.backward()
    assert not logits.grad[:, :, :2].any() and logits.grad[:, :, 2:].any()
    assert float(segment.loss(logits, torch.full_like(targets, mask.VOID))) == 0.0


def test_a_teacher_alike_costs_nothing() -> None:
    logits = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    assert float(segment.distill(logits, logits, weight=1.0)) == pytest.approx(0.0, abs=1e-6)
    assert float(segment.distill(logits.flip(1), logits, weight=1.0)) > 0.01


def test_picture_and_mask_are_seen_alike() -> None:
    pytest.importorskip("kornia", reason="augmentation is kornia's")
    rows, columns = np.mgrid[:64, :64]
    disk = (np.hypot(rows - 25, columns - 38) < 14).astype(np.uint8)
    x = torch.from_numpy(np.tile(disk * 255.0, (4, 3, 1, 1)).astype(np.float32))
    masks = torch.from_numpy(np.tile(disk, (4, 1, 1)))
    apply = segment.view("light", 3)
    assert apply is not None
    seen = []
    for _ in range(2):
        torch.manual_seed(3)
        seen.append(apply(x, masks))
    assert torch.equal(seen[0][0], seen[1][0]) and torch.equal(seen[0][1], seen[1][1])
    pixels, found = seen[0]
    assert not torch.equal(found, masks)  # something was done at all
    inside = found != mask.VOID
    bright = pixels.mean(dim=1) > 110
    assert float((bright == (found == 1))[inside].float().mean()) > 0.98


def test_classes_are_weighed_by_their_pixels() -> None:
    split = SimpleNamespace(targets=[np.array([[0] * 9 + [1]]), np.array([[0] * 8 + [mask.VOID, 2]])])
    dataset = SimpleNamespace(labels=("a", "b", "c"), split=lambda name: split)
    counts = np.array([17, 1, 1])
    for kind, power in (("balanced", 1.0), ("root", 0.5)):
        found = segment.class_weights(dataset, kind).numpy()
        np.testing.assert_allclose(found[1] / found[0], 17**power, rtol=1e-5)
        np.testing.assert_allclose((found * counts).sum(), counts.sum(), rtol=1e-5)
    assert segment.class_weights(dataset, "none") is None
