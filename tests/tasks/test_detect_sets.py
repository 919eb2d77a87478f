"""The task detect for detectors that answer with a set: loss, imitation, metric, words, and what run.py says."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from edgeft.core.errors import DataError
from edgeft.tasks.detect import comparing, decoding

SIZE, LABELS = (64, 96), ("disc", "bar")
SPEC = {
    "kind": "letterbox", "fill": 114, "size": list(SIZE), "channels": 3, "resize": "bilinear", "mean": [0.0] * 3,
    "std": [1.0] * 3, "scale": 255.0, "layout": "NCHW", "input": "x",
}  # fmt: skip


def target(*rows: tuple[int, float, float, float, float], size: tuple[int, int] = (60, 100)) -> dict[str, np.ndarray]:
    boxes = np.array([row[1:] for row in rows], np.float32).reshape(-1, 4)
    return {
        "boxes": boxes,
        "classes": np.array([row[0] for row in rows], np.int64),
        "crowd": np.zeros(len(rows), bool),
        "size": np.array(size, np.int64),
    }


def told(softmax: bool, *rows: tuple[int, float, float, float, float], queries: int = 5) -> dict[str, np.ndarray]:
    """Outputs that show boxes (class, cx, cy, w, h) and nothing else, for one picture."""
    logits, nothing = np.full((1, queries, 2), -5.0, np.float32), np.full((1, queries, 1), 3.0, np.float32)
    boxes = np.full((1, queries, 4), 0.5, np.float32)
    for i, (kind, *box) in enumerate(rows):
        logits[0, i, kind], nothing[0, i], boxes[0, i] = 3.0 - 0.1 * i, -3.0, box
    arrays = (logits, nothing, boxes) if softmax else (logits, boxes)
    return {f"output_{i}": array for i, array in enumerate(arrays)}


BOTH = pytest.mark.parametrize("softmax", [True, False])


@BOTH
def test_the_metric_knows_the_borders_of_a_picture(softmax: bool) -> None:
    """A picture of 60 x 100 becomes 58 x 96 in an input of 64 x 96, with 3 rows of border above and below."""
    pytest.importorskip("pycocotools")
    outputs = told(softmax, (0, 0.25, 0.5, 0.25, 0.5))
    # 12..36 x 16..48 in the input; x * 100/96 and (y - 3) * 60/58 in the picture
    truth = target((0, 12.5, 13 * 60 / 58, 37.5, 45 * 60 / 58))
    targets = np.empty(1, object)
    targets[0] = decoding.complete_target(truth, SPEC)
    assert decoding.extra_metrics(outputs, targets)["ap50_95"] == pytest.approx(1.0, abs=1e-6)
    targets[0] = {**targets[0], "classes": np.array([1])}
    assert decoding.metric(outputs, targets) == 0
    targets[0] = truth
    with pytest.raises(DataError, match="size the targets do not state"):
        decoding.metric(outputs, targets)


@BOTH
def test_a_sample_is_told_in_its_own_pixels(softmax: bool) -> None:
    raw = np.zeros((120, 200, 3), np.uint8)
    outputs = told(softmax, (1, 0.25, 0.5, 0.25, 0.5), (0, 0.75, 0.5, 0.1, 0.2))
    answer = decoding.tell(outputs, raw, SPEC, LABELS)
    assert [box["label"] for box in answer["boxes"]] == ["bar", "disc"] and answer["label"] == "1 disc, 1 bar"
    np.testing.assert_allclose(answer["boxes"][0]["box"], [25, 26.9, 75, 93.1], atol=0.1)


@BOTH
def test_run_py_says_the_same(softmax: bool) -> None:
    from edgeft.tasks.detect import run_part

    rng = np.random.default_rng(0)
    raw = np.zeros((47, 113, 3), np.uint8)
    for _ in range(20):
        outputs = {
            name: (rng.uniform(0, 1, array.shape) if array.shape[2] == 4 else rng.normal(0, 3, array.shape)).astype(
                "f4"
            )
            for name, array in told(softmax, queries=7).items()
        }
        assert run_part.tell(outputs, raw, SPEC, LABELS) == (
            decoding.tell(outputs, raw, SPEC, LABELS)["found"] or "nothing"
        )


def test_run_py_compares_sets_without_their_order() -> None:
    from edgeft.tasks.detect import run_part

    rng = np.random.default_rng(0)
    expected = {"output_0": rng.normal(0, 3, (4, 9, 2)), "output_1": rng.uniform(0, 1, (4, 9, 4))}
    shuffled = {name: values[:, rng.permutation(9)] for name, values in expected.items()}
    apart = {name: np.abs(values - expected[name]).max() for name, values in shuffled.items()}
    assert min(apart.values()) > 0.5

    moved = {name: values[:, ::-1] + 0.001 for name, values in expected.items()}
    ordered = run_part.in_order_of(expected, moved)
    assert all(np.abs(ordered[name] - expected[name]).max() < 0.002 for name in expected)
    moved["output_1"][2, 3] = moved["output_1"][2, 4]
    ordered = run_part.in_order_of(expected, moved)
    assert np.abs(ordered["output_1"] - expected["output_1"]).max() > 0.1, "a query twice is a difference"
    unlike = run_part.in_order_of(expected, shuffled)
    assert np.abs(unlike["output_1"] - expected["output_1"]).max() > 0.1, "each output in an order of its own"
    maps = {"output_0": np.zeros((2, 3, 4, 4)), "output_1": np.zeros((2, 4, 4, 4))}
    assert run_part.in_order_of(maps, maps) is maps


@BOTH
def test_margins_say_what_a_step_can_change(softmax: bool) -> None:
    clear, close = told(softmax, (0, 0.3, 0.5, 0.2, 0.2)), told(softmax, (0, 0.3, 0.5, 0.2, 0.2))
    rivals = np.logaddexp(-3.0, -5.0) if softmax else 0.0
    close["output_0"][0, 0, 0] = np.log(0.3 / 0.7) + 0.05 + rivals
    assert decoding.margins(clear)[0] > 2 and decoding.margins(close)[0] == pytest.approx(0.05, abs=0.01)
    assert decoding.alike(clear, clear).all() and not decoding.alike(clear, told(softmax)).any()
    twice = told(softmax, (0, 0.3, 0.5, 0.2, 0.2), (0, 0.3, 0.5, 0.2, 0.2))
    compared = comparing.compare(clear, twice)
    assert compared.equal.tolist() == [True, False], "a second query on the same place is a box more"
    assert decoding.decisions(twice).tolist() == [[2, 0]]


torch: Any = pytest.importorskip("torch") if importlib.util.find_spec("torch") else None
if torch is not None:
    from edgeft.tasks.detect import learning as detect
    from edgeft.tasks.detect.learning import set_loss

learns = pytest.mark.skipif(torch is None, reason="learning needs torch")


def drawn(seed: int, classes: int, softmax: bool) -> tuple[Any, Any]:
    """Outputs of two pictures with two and no boxes, and their targets in shares (N, 3, 5)."""
    torch.manual_seed(seed)
    logits, boxes = torch.randn(2, 6, classes + softmax), torch.rand(2, 6, 4) * 0.5 + 0.2
    targets = torch.full((2, 3, 5), -1.0)
    targets[0, 0] = torch.tensor([1, 0.1, 0.2, 0.5, 0.6])
    targets[0, 1] = torch.tensor([0, 0.6, 0.1, 0.9, 0.9])
    outputs = (logits[..., :-1], logits[..., -1:], boxes) if softmax else (logits, boxes)
    return outputs, targets


@learns
@BOTH
@pytest.mark.parametrize("seed", range(3))
def test_the_loss_is_that_of_the_package(softmax: bool, seed: int) -> None:
    """DETR's loss (also YOLOS's) and RT-DETR's, without those of inner layers, to five digits."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("scipy")
    loss = pytest.importorskip("transformers.loss.loss_for_object_detection")
    of_rt_detr = pytest.importorskip("transformers.loss.loss_rt_detr")
    outputs, targets = drawn(seed, 3, softmax)
    truths = [rows[rows[:, 0] >= 0] for rows in targets]
    labels = [{"class_labels": rows[:, 0].long(), "boxes": set_loss.centred(rows[:, 1:])} for rows in truths]
    if softmax:
        config = transformers.YolosConfig(num_labels=3)
        expected, *_ = loss.ForObjectDetectionLoss(torch.cat(outputs[:2], 2), labels, "cpu", outputs[2], config)
    else:
        config = transformers.RTDetrConfig(num_labels=3, auxiliary_loss=False)
        expected, *_ = of_rt_detr.RTDetrForObjectDetectionLoss(outputs[0], labels, "cpu", outputs[1], config)
    assert float(set_loss.set_loss(outputs, targets)) == pytest.approx(float(expected), rel=1e-5)


@learns
@BOTH
def test_pictures_without_boxes_and_classes_without_weight(softmax: bool) -> None:
    outputs, targets = drawn(0, 3, softmax)
    leaves = tuple(t.clone().requires_grad_(True) for t in outputs)
    set_loss.set_loss(leaves, torch.full((2, 1, 5), -1.0)).backward()
    assert all(leaf.grad is not None and torch.isfinite(leaf.grad).all() for leaf in leaves)
    assert not leaves[-1].grad.any() and leaves[0].grad.any(), (
        "no box is told where to be, all classes are told to be off"
    )

    leaves = tuple(t.clone().requires_grad_(True) for t in outputs)
    set_loss.set_loss(leaves, targets, torch.tensor([0.0, 1.0, 1.0])).backward()
    answer = set_loss.answers(outputs)[0]
    (queries, objects), _ = set_loss.matched(answer, [rows[rows[:, 0] >= 0] for rows in targets])
    moved = leaves[-1].grad[0].abs().sum(-1) > 0
    assert moved.nonzero().flatten().tolist() == [int(queries[objects.tolist().index(0)])], "class 0 weighs nothing"


@learns
@BOTH
def test_inner_answers_are_learned_too(softmax: bool) -> None:
    outputs, targets = drawn(1, 3, softmax)
    inner = (torch.randn(2, 6, 3 + softmax), torch.rand(2, 6, 4))
    both = float(set_loss.set_loss((*outputs, *inner), targets))
    alone = (inner[0][..., :3], inner[0][..., 3:], inner[1]) if softmax else inner
    assert both == pytest.approx(
        float(set_loss.set_loss(outputs, targets) + set_loss.set_loss(alone, targets)), rel=1e-6
    )


@learns
@BOTH
def test_imitation_is_zero_for_equals_and_weighs_what_the_teacher_sees(softmax: bool) -> None:
    outputs = tuple(torch.from_numpy(array) for array in told(softmax, (0, 0.3, 0.5, 0.2, 0.2)).values())
    assert float(set_loss.set_imitation(outputs, outputs)) == pytest.approx(0, abs=1e-5)
    shown, idle = outputs[-1].clone(), outputs[-1].clone()
    shown[0, 0, 0] += 0.1
    idle[0, 4, 0] += 0.1
    near, far = (float(set_loss.set_imitation((*outputs[:-1], boxes), outputs)) for boxes in (idle, shown))
    assert 0 <= near < 0.1 * far


@learns
def test_targets_in_pixels_become_shares() -> None:
    targets = detect.padded([np.array([[1, 24, 16, 48, 64]], np.float32), np.zeros((0, 5), np.float32)], SIZE)
    shares = detect.in_shares(targets)
    assert shares[0, 0].tolist() == [1, 0.25, 0.25, 0.5, 1.0] and shares[1, 0, 0] == -1
    outputs, _ = drawn(0, 2, True)
    assert float(detect.loss(outputs, targets)) == float(set_loss.set_loss(outputs, shares))
