from __future__ import annotations

import math

import numpy as np
import pytest

from edgeft import tasks
from edgeft.core.errors import DataError
from edgeft.personalize import graphs, learn, samples
from edgeft.personalize import plan as plans
from edgeft.personalize.judge import Scored, judge
from edgeft.report import learned

classify = tasks.get("classify")
control = tasks.get("control")

pytestmark = pytest.mark.board
LABELS = ("a", "b")


def logits(decisions: list[int]) -> np.ndarray:
    return np.eye(2, dtype=np.float32)[decisions]


def judged(new: tuple[list[int], list[int]], old: tuple[list[int], list[int]], max_forget: float = 0.1):
    """(before, after) decisions on new samples and on reference samples; the truth is always class 1."""
    truth = (np.ones(len(new[0]), np.int64), np.ones(len(old[0]), np.int64))
    pair = [Scored(logits(n), logits(o)) for n, o in zip(new, old)]
    return judge(classify, "output", *pair, truth, LABELS, max_forget)


def test_better_and_nothing_forgotten_passes() -> None:
    verdict, found = judged(([0] * 8 + [1] * 8, [1] * 16), ([1] * 10, [1] * 10))
    assert verdict.verdict == "pass" and found["gain"] == 0.5 and found["forgetting"] == 0
    assert found["new"]["per_class"]["b"] == {"n": 16, "before": 0.5, "after": 1.0}
    assert verdict.ci95 is not None and verdict.ci95[0] < 0 < verdict.ci95[1]
    assert 0 < found["gain_ci95"][0] < 0.5 < found["gain_ci95"][1] and "gain [" in verdict.why


def test_a_gain_that_may_be_chance_is_inconclusive_and_asks_for_more_samples() -> None:
    verdict, found = judged(([0, 1, 1, 1] * 3, [1] * 11 + [0]), ([1] * 10, [1] * 10))
    assert found["gain"] == pytest.approx(2 / 12) and found["gain_ci95"][0] < 0
    assert verdict.verdict == "inconclusive" and "may be chance: give about" in verdict.why
    needed = int(verdict.why.rsplit("about ", 1)[1].split()[0])
    assert 12 < needed < 100
    times = math.ceil(needed / 12)
    again, _ = judged(([0, 1, 1, 1] * 3 * times, ([1] * 11 + [0]) * times), ([1] * 10, [1] * 10))
    assert again.verdict == "pass"


def test_equal_on_the_new_samples_is_not_kept() -> None:
    verdict, _ = judged(([1, 0], [0, 1]), ([1] * 10, [1] * 10))
    assert verdict.verdict == "fail" and "no improvement" in verdict.why


def test_forgetting_up_to_the_limit_and_beyond() -> None:
    better = ([0] * 8, [1] * 8)
    held, _ = judged((better[0], better[1]), ([1] * 200, [1] * 199 + [0]), max_forget=0.01)
    lost, _ = judged((better[0], better[1]), ([1] * 200, [1] * 197 + [0] * 3), max_forget=0.01)
    assert held.verdict == "pass", held.why
    assert lost.verdict == "fail" and "forgets" in lost.why and lost.drop == pytest.approx(0.015)


def test_what_is_forgotten_shows_in_the_confidence_before_an_answer_flips() -> None:
    """All 90 reference samples stay right; a third of them barely."""
    truth = (np.ones(8, np.int64), np.ones(90, np.int64))
    sure, barely = np.array([[0.0, 4.0]], np.float32), np.array([[0.0, 0.1]], np.float32)
    reference = np.concatenate([sure.repeat(60, axis=0), barely.repeat(30, axis=0)])
    before = Scored(logits([0] * 8), sure.repeat(90, axis=0))
    verdict, found = judge(classify, "output", before, Scored(logits([1] * 8), reference), truth, LABELS, 0.01)
    assert found["forgetting"] == 0 and found["confidence_loss"]["bound95"] > found["confidence_loss"]["mean"] > 0.1
    assert verdict.verdict == "fail" and "less probable" in verdict.why
    kept, found = judge(classify, "output", before, Scored(logits([1] * 8), before.reference), truth, LABELS, 0.01)
    assert kept.verdict == "pass" and found["confidence_loss"] == {"mean": 0, "bound95": 0}


def test_one_new_sample_does_not_pay_for_a_loss() -> None:
    old = ([1] * 100, [1] * 99 + [0])
    bought, _ = judged(([0, 0, 0, 1], [0, 0, 1, 1]), old)
    free, _ = judged(([0, 0, 0, 1], [0, 0, 1, 1]), ([1] * 100, [1] * 100))
    assert bought.verdict == "fail" and "improvement is too small" in bought.why
    assert free.verdict == "inconclusive", "which one of four samples cannot decide"


def test_an_error_counts_the_other_way_round() -> None:
    truth = np.zeros((6, 1), np.float32)
    far, near = np.ones((6, 1), np.float32), np.full((6, 1), 0.2, np.float32)
    verdict, found = judge(control, "o", Scored(far, near), Scored(near, near), (truth, truth), ("steer",), 0.01)
    assert verdict.verdict == "pass" and found["gain"] == pytest.approx(0.8) and found["confidence_loss"] is None
    verdict, _ = judge(control, "o", Scored(far, near), Scored(near, far), (truth, truth), ("steer",), 0.01)
    assert verdict.verdict == "fail"
    many = np.zeros((40, 1), np.float32)
    _, found = judge(control, "o", Scored(many + 1, many), Scored(many + 0.2, many), (many, many), ("steer",), 0.01)
    assert found["gain_ci95"][0] > 0


def test_every_sample_is_held_out_once() -> None:
    classes = np.array([0] * 8 + [1] * 2 + [2])
    fold = samples.folds_of(classes, 11, 0, "x")
    assert sorted(fold[classes == 0]) == [0, 0, 1, 1, 2, 2, 3, 4] and sorted(fold[classes == 1]) == [0, 1]
    assert fold[classes == 2].tolist() == [-1]  # one of a kind has to teach
    assert np.array_equal(fold, samples.folds_of(classes, 11, 0, "x"))
    assert not np.array_equal(fold, samples.folds_of(classes, 11, 3, "x"))
    drive = samples.folds_of(None, 10, 0, "x")  # in stretches, since frames beside each other are near copies
    assert drive.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    for alone in (np.array([0]), np.array([0, 1, 2])):
        with pytest.raises(DataError, match="held out"):
            samples.folds_of(alone, len(alone), 0, "x")


class Tail:
    """A linear last layer in numpy; its features are what it is given."""

    inputs = outputs = ()

    def run(self, feeds):
        x = feeds["latent_0"]
        return {"output": x @ feeds["parameter_0"].T + feeds["parameter_1"], "features": x}


def plan(spare: int = 1) -> plans.Plan:
    return plans.Plan(
        tail="head",
        latents=(plans.Latent("x", (4,), None, None),),
        parameters=(plans.Parameter("w", (3, 4)), plans.Parameter("b", (3,))),
        state=(),
        ones=(),
        outputs=("output",),
        loss="cross-entropy",
        optimizer="sgd",
        rate=0.1,
        batch=4,
        steps=1,
        max_forget=0.1,
        spare=spare,
        head=(0, 1),
        file="f",
    )


def clusters(rng: np.random.Generator, count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    middles = np.array([[4, 0, 0, 0], [0, 4, 0, 0], [0, 0, 4, 1]], np.float32)
    targets = np.arange(3 * count) % 3
    return middles[targets] + 0.3 * rng.standard_normal((3 * count, 4)).astype(np.float32), targets


def test_a_new_class_starts_at_its_mean_and_leaves_the_old_ones_alone() -> None:
    x, y = clusters(np.random.default_rng(0))
    weight, bias = np.zeros((3, 4), np.float32), np.array([0, 0, -30], np.float32)
    weight[0, 0] = weight[1, 1] = 1
    made = learn.enrolled(plan(), [weight, bias], Tail(), ([x[y == 2]], y[y == 2]), [x[y < 2]], 2)  # type: ignore[arg-type]
    said, _ = graphs.outputs_of(Tail(), plan(), made, [x])  # type: ignore[arg-type]
    assert (said.argmax(1) == y).mean() == 1
    assert np.array_equal(made[0][:2], weight[:2]) and np.array_equal(made[1][:2], bias[:2])
    assert weight[2].any() == False and bias[2] == -30  # noqa: E712  the parameters that were given are untouched


def test_class_means_decide_as_the_nearest_mean() -> None:
    x, y = clusters(np.random.default_rng(1))
    made = learn.prototypes(plan(), [np.ones((3, 4), np.float32), np.ones(3, np.float32)], Tail(), ([x], y), 3)  # type: ignore[arg-type]
    said, _ = graphs.outputs_of(Tail(), plan(), made, [x])  # type: ignore[arg-type]
    means = np.stack([x[y == k].mean(0) for k in range(3)])
    nearest = ((x[:, None] - means[None]) ** 2).sum(-1).argmin(1)
    assert np.array_equal(said.argmax(1), nearest)
    absent = learn.prototypes(plan(), made, Tail(), ([x[y < 2]], y[y < 2]), 3)  # type: ignore[arg-type]
    assert (graphs.outputs_of(Tail(), plan(), absent, [x])[0].argmax(1) < 2).all()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"loss": "pickle"},
        {"batch": 0},
        {"rate": float("inf")},
        {"head": [5, 0]},
        {"parameters": []},
        {"latents": [{"name": "x", "shape": [0], "scale": None, "zero_point": None}]},
        {"steps": "many"},
    ],
)
def test_a_plan_that_cannot_be_is_refused(change: dict) -> None:
    good = {
        "tail": "head",
        "latents": [{"name": "x", "shape": [4], "scale": 0.1, "zero_point": 3}],
        "parameters": [{"name": "w", "shape": [3, 4]}],
        "state": [{"name": "velocity_0", "shape": [3, 4]}],
        "ones": [],
        "outputs": ["output"],
        "loss": "cross-entropy",
        "optimizer": "sgd",
        "rate": 0.1,
        "batch": 8,
        "steps": 10,
        "max_forget": 0.01,
        "spare": 0,
        "head": [0, -1],
        "file": "personalize/start.npz",
    }
    assert plans.read(good).batch == 8
    with pytest.raises((ValueError, TypeError, KeyError)):
        plans.read({**good, **change})
    for key in good:
        with pytest.raises((ValueError, TypeError, KeyError)):
            plans.read({k: v for k, v in good.items() if k != key})


def test_the_page_shows_every_class_and_no_markup_of_a_label() -> None:
    rows = {"<b>loud</b>": {"n": 3, "before": 0.0, "after": 1.0}, "quiet": {"n": 2, "before": 1.0, "after": 0.5}}
    table = {"n": 5, "before": 0.4, "after": 0.8, "per_class": rows}
    found = {
        "verdict": "pass",
        "why": "better",
        "version": 3,
        "metric": "accuracy",
        "new": table,
        "reference": table,
        "forgetting": -0.4,
        "gates": [{"limit": 0.01}],
        "samples": 9,
        "steps": 10,
        "rate": 0.1,
        "state": "state.npz",
        "bundle": "b",
    }
    page = learned.render(found)
    assert "<b>loud" not in page and "&lt;b&gt;loud" in page and page.count("<rect") == 8 and "version 3" in page
