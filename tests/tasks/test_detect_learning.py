"""Assignment, loss and imitation of a detector; batches and augmentation whose boxes stay on their objects."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from edgeft.core.errors import DataError, RecipeError
from edgeft.metrics import boxes as decoding
from edgeft.metrics import detections
from edgeft.models.built import image_spec
from edgeft.tasks.detect import learning as detect
from edgeft.tasks.detect.learning import augment as detect_augment
from edgeft.tasks.detect.learning import box_loss

SIZE = (64, 96)
SPEC: dict[str, Any] = {**image_spec(SIZE, mean=[0.0] * 3, std=[1.0] * 3), "kind": "letterbox", "fill": 114}
WANTED = [(0, 8.0, 8.0, 36.0, 40.0), (1, 50.0, 20.0, 90.0, 60.0)]


#: boxes as offsets and logarithms of sides, and as distributions of distances over so many bins
FORMS = pytest.mark.parametrize("bins", [1, 8])


def raw_outputs(n: int = 1, scale: float = 0.1, bins: int = 1) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(n, c, SIZE[0] // s, SIZE[1] // s) for s in (8, 16, 32) for c in (2, 4 * bins)]
    return tuple(scale * torch.randn(s, generator=generator) - (2.0 if s[1] == 2 else 0.0) for s in shapes)


def batch_targets() -> Any:
    return torch.tensor([[*WANTED, (-1, -1, -1, -1, -1)]], dtype=torch.float32)


@FORMS
def test_boxes_are_decoded_as_on_the_board(bins: int) -> None:
    said = raw_outputs(2, scale=1.0, bins=bins)
    logits, raw, cells = box_loss.flat(said)
    named = {f"output_{i}": t.numpy() for i, t in enumerate(said)}
    for i in range(2):
        expected, boxes = decoding.cells(decoding.levels(named), i)
        np.testing.assert_allclose(logits[i].numpy(), expected, atol=1e-6)
        np.testing.assert_allclose(box_loss.decoded(raw, cells)[i].numpy(), boxes, rtol=1e-4, atol=1e-3)


def test_cells_answer_for_the_box_that_they_lie_in() -> None:
    logits, raw, cells = box_loss.flat(raw_outputs())
    truth = torch.tensor(WANTED)
    owner, score = box_loss.assign(logits[0].sigmoid(), box_loss.decoded(raw, cells)[0], cells, truth)
    for k, (_, x1, y1, x2, y2) in enumerate(WANTED):
        mine = cells[owner == k]
        assert 1 <= len(mine) <= box_loss.TOP
        reach = mine[:, 2] / 2  # a coarse cell may stand a little beside a small box
        assert ((mine[:, 0] >= x1 - reach) & (mine[:, 0] <= x2 + reach)).all()
        assert ((mine[:, 1] >= y1 - reach) & (mine[:, 1] <= y2 + reach)).all()
    assert (score[owner < 0] == 0).all() and (score >= 0).all() and (score <= 1).all() and score.max() > 0


def test_a_box_smaller_than_a_cell_has_a_cell() -> None:
    logits, raw, cells = box_loss.flat(raw_outputs())
    tiny = torch.tensor([[0, 17.0, 17.0, 18.0, 18.0]])
    owner, _ = box_loss.assign(logits[0].sigmoid(), box_loss.decoded(raw, cells)[0], cells, tiny)
    assert (owner == 0).any()


def test_overlaps_are_those_of_the_board() -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 50, (2, 20, 2))
    made = np.concatenate([low, low + rng.uniform(1, 40, (2, 20, 2))], axis=2)
    a, b = (torch.from_numpy(v) for v in made)
    np.testing.assert_allclose(
        box_loss.overlap(a[:, None], b[None]).numpy(), decoding.overlaps(made[0], made[1]), atol=1e-6
    )
    assert float(box_loss.overlap(a, a, generalized=True).min()) == pytest.approx(1)
    apart = torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([[9.0, 9, 10, 10]])
    assert float(box_loss.overlap(*apart, generalized=True)) == pytest.approx(-0.98)


@FORMS
def test_learning_by_the_loss_finds_the_boxes(bins: int) -> None:
    said = [t.clone().requires_grad_(True) for t in raw_outputs(bins=bins)]
    optimizer = torch.optim.Adam(said, lr=0.1)
    first = None
    for _ in range(150):
        loss = detect.loss(tuple(said), batch_targets())
        first = first or float(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.2 * first
    (seen,) = detections.detections({f"output_{i}": t.detach().numpy() for i, t in enumerate(said)}, 0.3)
    assert sorted(seen[:, 5].tolist()) == [0, 1]
    for row in seen:
        (wanted,) = [w for w in WANTED if w[0] == row[5]]
        assert decoding.overlaps(row[None, :4], np.array([wanted[1:]]))[0, 0] > 0.9


def test_rare_classes_weigh_more_and_a_class_without_boxes_is_learned_to_be_nowhere() -> None:
    def target(*classes: int) -> dict[str, np.ndarray]:
        count = len(classes)
        return {"classes": np.array(classes), "crowd": np.arange(count) >= 17, "boxes": np.zeros((count, 4))}

    split = SimpleNamespace(targets=[target(*[0] * 16, 1), target(*[0] * 0)])
    split.targets.append({**target(1), "crowd": np.array([True])})
    dataset = SimpleNamespace(labels=("many", "few", "none"), split=lambda name: split)
    assert detect.class_weights(dataset, "none") is None
    for kind, ratio in (("balanced", 16.0), ("root", 4.0)):
        weights = detect.class_weights(dataset, kind)
        assert weights is not None
        assert float(weights[1] / weights[0]) == pytest.approx(ratio) and float(weights[2]) == 1.0


def test_weights_of_classes_multiply_what_each_adds() -> None:
    outputs, targets = raw_outputs(), batch_targets()
    plain = float(detect.loss(outputs, targets))
    assert float(box_loss.detection_loss(outputs, targets, torch.ones(2))) == pytest.approx(plain, rel=1e-6)
    leaves = tuple(t.clone().requires_grad_() for t in outputs)
    box_loss.detection_loss(leaves, targets, torch.tensor([0.0, 1.0])).backward()
    classes = torch.cat([t.grad.flatten(2) for t in leaves[::2]], dim=2)  # type: ignore[union-attr]
    assert float(classes[:, 0].abs().max()) == 0 and float(classes[:, 1].abs().max()) > 0


def test_a_side_lies_between_two_bins() -> None:
    cells = torch.tensor([[20.0, 12.0, 8.0]])
    wanted = torch.tensor([[10.0, 12.0, 40.0, 20.0]])  # 1.25, 0, 2.5 and 1 strides from the centre
    shares = torch.tensor(
        [[[1e-9, 0.75, 0.25, 1e-9], [1, 1e-9, 1e-9, 1e-9], [1e-9, 1e-9, 0.5, 0.5], [1e-9, 1, 1e-9, 1e-9]]]
    )
    least = box_loss.bins_loss(shares.log().flatten(1), cells, wanted)
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25) + np.log(0.5)) / 4
    assert float(least) == pytest.approx(entropy, abs=1e-5)
    logits = torch.randn(1, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert float(box_loss.bins_loss(logits, cells, wanted).detach()) > entropy
    far = torch.tensor([[-900.0, 12.0, 40.0, 20.0]])
    assert torch.isfinite(box_loss.bins_loss(logits, cells, far)).all()


def test_a_picture_without_boxes_teaches_that_there_is_nothing() -> None:
    said = tuple(t.clone().requires_grad_(True) for t in raw_outputs())
    loss = detect.loss(said, torch.full((1, 1, 5), -1.0))
    loss.backward()
    assert float(loss.detach()) > 0 and all((t.grad > 0).all() for t in said[::2])


def test_ranges_are_held() -> None:
    quiet, loud = torch.zeros(1, 8, 2), torch.zeros(1, 8, 4)
    assert float(box_loss.beyond(quiet, loud)) == 0
    assert float(box_loss.beyond(quiet - box_loss.LOGITS - 3, loud)) == pytest.approx(9)


def test_imitation_is_zero_for_equals_and_weighs_what_the_teacher_sees() -> None:
    teacher = tuple(t.clone() for t in raw_outputs())
    teacher[0][0, 0, 2, 2] = 4.0
    assert float(detect.distill(teacher, teacher)) == pytest.approx(0, abs=1e-4)

    def moved(row: int, column: int) -> float:
        student = tuple(t.clone() for t in teacher)
        student[1][0, :, row, column] += 1
        return float(detect.distill(student, teacher))

    assert moved(2, 2) > 5 * moved(6, 9)
    mixed = detect.distill(teacher, teacher, batch_targets(), weight=0.0)
    assert float(mixed) == pytest.approx(float(detect.loss(teacher, batch_targets())), rel=1e-4)


def test_imitation_of_distributions_weighs_what_the_teacher_sees() -> None:
    teacher = tuple(t.clone() for t in raw_outputs(bins=8))
    teacher[0][0, 0, 2, 2] = 4.0
    assert float(detect.distill(teacher, teacher)) == pytest.approx(0, abs=1e-4)

    def moved(row: int, column: int, by: float, every: int) -> float:
        student = tuple(t.clone() for t in teacher)
        student[1][0, ::every, row, column] += by
        return float(detect.distill(student, teacher))

    assert moved(2, 2, 1.0, 3) > 5 * moved(6, 9, 1.0, 3) > 0
    assert moved(2, 2, 1.0, 1) == pytest.approx(0, abs=1e-4), "a constant added to all bins says the same"


class Split:
    """Pictures in which each box is a bright field on a dark ground: what the augmentation moves can be seen."""

    def __init__(self, n: int) -> None:
        rng = np.random.default_rng(1)
        self.pictures, rows = [], []
        for _ in range(n):
            pixels = np.full((*SIZE, 3), 20, np.uint8)
            w, h = rng.integers(16, 40), rng.integers(16, 40)
            x, y = rng.integers(0, SIZE[1] - w), rng.integers(0, SIZE[0] - h)
            pixels[y : y + h, x : x + w] = 250
            self.pictures.append(pixels)
            rows.append(
                {
                    "boxes": np.array([[x, y, x + w, y + h]], np.float32),
                    "classes": np.array([1]),
                    "crowd": np.array([False]),
                    "size": np.array(SIZE),
                }
            )
        self.targets = np.empty(n, object)
        self.targets[:] = rows

    def __len__(self) -> int:
        return len(self.pictures)

    def raw(self, i: int) -> np.ndarray:
        return self.pictures[i]


def test_batches_are_preprocessed_as_on_the_board_and_reproducible() -> None:
    split = Split(6)
    (x, boxes), *_ = detect.loader(split, SPEC, 4)
    from edgeft.tasks.detect import decoding as task

    np.testing.assert_array_equal(x[2].numpy(), task.preprocess(split.raw(2), SPEC)["x"][0])
    np.testing.assert_array_equal(boxes[2, 0, 1:5].numpy(), split.targets[2]["boxes"][0])
    assert boxes[:, :, 5:].unique(dim=0).tolist() == [[[SIZE[1], SIZE[0]]] * boxes.shape[1]], "the input's size"

    def drawn(epoch: int) -> list[Any]:
        loader = detect.loader(split, SPEC, 3, "strong", seed=5, shuffle=True)
        loader.set_epoch(epoch)
        torch.rand(3)
        return [t for batch in loader for t in batch]

    assert all(torch.equal(a, b) for a, b in zip(drawn(1), drawn(1)))
    assert not all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(drawn(1), drawn(2)))


def test_strong_augmentation_mirrors_about_half_of_the_pictures() -> None:
    """A picture that grows brighter to the right grows brighter to the left when it is mirrored."""
    x = torch.linspace(0, 1, SIZE[1]).expand(60, 3, *SIZE).clone()
    rows = [torch.zeros(0, 5).numpy()] * 60

    def mirrored(level: str) -> int:
        augment = detect_augment.Augment(level, 3, 0.5)
        pictures, _ = augment._moved(x, rows, np.random.default_rng(0))
        half = SIZE[1] // 2
        return int((pictures[..., :half].mean((1, 2, 3)) > pictures[..., half:].mean((1, 2, 3))).sum())

    assert mirrored("light") == 0 and 15 <= mirrored("strong") <= 45


@pytest.mark.parametrize("level", ["light", "strong"])
def test_augmented_boxes_stay_on_their_objects(level: str) -> None:
    augment = detect_augment.Augment(level, 3, 114 / 255)
    augment.colour = torch.nn.Identity()  # colours would hide what is bright
    split = Split(8)
    x = torch.stack([torch.from_numpy(p).permute(2, 0, 1) for p in split.pictures]).float() / 255
    rows = [detect.in_input(t, SIZE) for t in split.targets]
    seen = 0
    for seed in range(6):
        made, boxes = augment(x, rows, seed)
        assert made.shape == x.shape
        for pixels, mine in zip(made[:, 0].numpy(), boxes):
            bright = pixels > 0.8
            covered = np.zeros(SIZE, bool)
            for _, x1, y1, x2, y2 in mine:
                assert 0 <= x1 < x2 <= SIZE[1] and 0 <= y1 < y2 <= SIZE[0]
                inner = bright[int(y1 + 1.5) : int(y2 - 0.5), int(x1 + 1.5) : int(x2 - 0.5)]
                assert inner.mean() > 0.95 if inner.size else True
                covered[max(int(y1) - 1, 0) : int(y2) + 2, max(int(x1) - 1, 0) : int(x2) + 2] = True
                seen += 1
            # what is bright and in no box is the rest of an object that was cut off
            assert (bright & ~covered).sum() < 0.4 * 40 * 40
    assert seen > 30


def test_unknown_levels_and_data_without_boxes_are_refused() -> None:
    with pytest.raises(RecipeError, match="storng"):
        detect_augment.Augment("storng", 3, 0.4)
    empty = SimpleNamespace(name="d", labels=("a",), split=lambda _: SimpleNamespace(targets=[{"classes": []}]))
    with pytest.raises(DataError, match="no training picture has a box"):
        detect.outputs(empty)
