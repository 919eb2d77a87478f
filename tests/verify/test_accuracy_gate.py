from __future__ import annotations

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
from draws import draws
from hypothesis import given
from hypothesis import strategies as st
from logits import LABELS, outputs, targets, wrong

from edgeft import tasks
from edgeft.config.recipe import Gates
from edgeft.core.errors import DataError, ModelError, RecipeError
from edgeft.core.metric import Metric
from edgeft.verify.accuracy import drop_interval

classify = tasks.get("classify")

verify = importlib.import_module("edgeft.verify")  # the subpackage: `edgeft.verify` is the function


def judge(float_wrong: int, more_wrong: int, n: int = 400, **gates):
    truth = targets(n)
    before = wrong(truth, slice(0, float_wrong))
    after = before.copy()
    after[float_wrong : float_wrong + more_wrong] = wrong(truth, slice(0, n))[float_wrong : float_wrong + more_wrong]
    return verify.accuracy(classify, outputs(before), outputs(after), truth, LABELS, Gates(**gates))


def test_point_judges_the_drop_itself():
    assert judge(20, 4).verdict == "pass"  # exactly 0.01, the task's default
    failed = judge(20, 5)
    assert failed.verdict == "fail" and failed.drop == pytest.approx(0.0125) and "exceeds" in failed.why
    assert failed.float == 0.95 and failed.quantized == pytest.approx(0.9375)
    assert failed.ci95[0] < failed.drop < failed.ci95[1] and failed.n == 400 and failed.limit == 0.01


def test_bound_passes_and_fails_only_on_the_whole_interval():
    assert judge(20, 0, n=4000, decide="bound").verdict == "pass"
    assert judge(20, 40, decide="bound").verdict == "fail"
    unsure = judge(20, 4, decide="bound")
    assert unsure.verdict == "inconclusive" and "no number of samples" in unsure.why
    assert "samples would decide" in judge(20, 2, decide="bound").why


def test_the_estimate_of_samples_needed_is_of_the_right_size():
    first = judge(10, 0, n=200, decide="bound")
    assert first.verdict == "inconclusive"
    needed = int(first.why.split("about ")[1].split(" ")[0])
    assert needed > 200 and needed == first.n_to_decide
    again = judge(10, 0, n=needed, decide="bound")
    assert again.ci95[1] < first.ci95[1] and again.verdict == "pass" and not again.n_to_decide
    assert judge(10, 0, n=needed - 1, decide="bound").verdict == "inconclusive"


def test_a_pass_by_few_samples_says_so():
    few = judge(0, 0, n=4)
    assert few.verdict == "pass" and few.ci95[1] > 0.4
    assert "4 samples give an interval that reaches across the limit" in few.why and 'gates.decide = "bound"' in few.why
    assert judge(0, 0, n=few.n_to_decide).n_to_decide == 0, "as many as were said to decide do"
    assert "n_to_decide" not in judge(0, 0, n=few.n_to_decide).as_dict()
    failed = judge(20, 5)
    assert failed.verdict == "fail" and failed.n_to_decide > 400 and "reaches across" in failed.why


@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("n", [1, 4, 19])
def test_a_pass_without_an_interval_says_so(mean, n):
    rng = np.random.default_rng(0)
    truth = np.linspace(-5, 5, n) if n > 1 else np.array([3.0])
    good, other = ({"y": truth + rng.normal(0, 0.01, n)} for _ in range(2))
    task = SimpleNamespace(**{**vars(error_task(mean)), "chance": lambda targets: 3.0})
    found = verify.accuracy(task, good, other, truth, (), Gates())
    assert found.verdict == "pass" and found.ci95 is None and found.n_to_decide >= 20
    assert f"{n} sample{'s give' if n > 1 else ' gives'} no interval" in found.why


def test_without_an_interval_more_samples_are_asked_for_where_they_differ_more():
    rng = np.random.default_rng(0)
    truth = np.linspace(-5, 5, 12)
    good = {"y": truth + rng.normal(0, 0.1, 12)}
    quiet, noisy = ({"y": good["y"] + rng.normal(0, spread, 12)} for spread in (0.01, 0.4))
    asked = [verify.accuracy(error_task(True), good, o, truth, (), Gates(decide="bound")) for o in (quiet, noisy)]
    assert [v.verdict for v in asked] == ["inconclusive"] * 2
    assert asked[0].n_to_decide == 20 < asked[1].n_to_decide


def test_no_samples_is_a_fail():
    found = verify.accuracy(classify, outputs(targets(0)), outputs(targets(0)), targets(0), LABELS, Gates())
    assert found.verdict == "fail" and "nothing was measured" in found.why and found.n == 0


def test_a_better_artifact_has_a_negative_drop():
    truth = targets(400)
    found = verify.accuracy(classify, outputs(wrong(truth, slice(0, 40))), outputs(truth), truth, LABELS, Gates())
    assert found.drop == pytest.approx(-0.1) and found.verdict == "pass" and found.ci95[1] < 0


def test_a_baseline_that_is_right_on_too_few_samples_is_not_called_worthless():
    truth = np.array([0, 0, 1, 1])
    with pytest.raises(DataError, match=r"100\.00 % on 4 samples.* so few samples do not tell that from luck"):
        verify.accuracy(classify, outputs(truth), outputs(truth), truth, LABELS, Gates())
    with pytest.raises(DataError, match="nothing that quantization could lose"):
        verify.accuracy(classify, outputs(np.zeros(4, int)), outputs(truth), truth, LABELS, Gates())


def test_a_baseline_at_chance_is_refused():
    truth = np.repeat([0, 1, 2, 3], [70, 10, 10, 10])
    always = outputs(np.zeros(100, int))
    with pytest.raises(DataError, match="chance") as caught:
        verify.accuracy(classify, always, always, truth, LABELS, Gates())
    assert caught.value.exit_code == 3
    a_little = np.zeros(100, int)
    a_little[70] = 1  # 71 of 100 against 70: within the noise
    assert (a_little == truth).sum() == 71
    with pytest.raises(DataError, match="chance"):
        verify.accuracy(classify, outputs(a_little), always, truth, LABELS, Gates())
    rarely = np.zeros(100, int)
    rarely[70:74] = 1  # 74 of 100 may be luck against 70, but that four answers of "1" are all right is none
    assert verify.accuracy(classify, outputs(rarely), outputs(rarely), truth, LABELS, Gates()).verdict == "pass"
    shuffled = np.random.default_rng(3).permutation(truth)
    with pytest.raises(DataError, match="chance"):
        verify.accuracy(classify, outputs(shuffled), outputs(shuffled), truth, LABELS, Gates())
    clearly = truth.copy()
    clearly[85:] = 0  # 85 of 100
    assert verify.accuracy(classify, outputs(clearly), outputs(clearly), truth, LABELS, Gates()).verdict == "pass"


@pytest.mark.parametrize("gates", [{"max_drop": 0.7}, {"max_drop": 5.0}, {"max_drop_relative": 0.9}])
def test_a_limit_as_wide_as_the_metric_is_refused(gates):
    with pytest.raises(RecipeError, match="never fail") as caught:
        judge(20, 0, **gates)
    assert caught.value.exit_code == 3 and caught.value.where == "gates.max_drop"


def test_an_error_near_zero_may_grow_by_a_hundredth_of_its_distance_from_chance():
    """5 % of an error of a hundredth are less than the steps of eight bits."""
    control, rng = tasks.get("control"), np.random.default_rng(0)
    truth = np.tanh(rng.normal(size=(400, 2)))
    chance = control.chance(truth)

    def judged(before: float, after: float, **gates):
        signs = np.sign(rng.normal(size=truth.shape))
        first, second = ({"output": (truth + error * signs).astype(np.float32)} for error in (before, after))
        return verify.accuracy(control, first, second, truth, ("a", "b"), Gates(**gates))

    near = judged(0.01, 0.014)
    assert near.verdict == "pass" and near.limit == pytest.approx((chance - 0.01) / 100, rel=1e-3)
    assert judged(0.01, 0.02).verdict == "fail"
    assert judged(0.3, 0.314).limit == pytest.approx(0.015, rel=1e-3), "5 % where that is more"
    assert judged(0.01, 0.014, max_drop_relative=0.05).verdict == "fail", "a limit of the recipe stays"


def test_of_two_limits_the_stricter_one_holds():
    assert judge(20, 0, max_drop=0.05, max_drop_relative=0.02).limit == pytest.approx(0.019)
    assert judge(20, 0, max_drop=0.005, max_drop_relative=0.02).limit == 0.005
    assert judge(20, 0, max_drop_relative=0.02).limit == pytest.approx(0.019)


def test_swapped_labels_fail_though_both_artifacts_suffer_alike():
    truth = targets(400, classes=10)
    labels = [f"class {i}" for i in range(10)]
    swapped = np.array([0, 1, 2, 5, 4, 3, 6, 7, 8, 9])[truth]
    found = verify.accuracy(classify, outputs(swapped, 10), outputs(swapped, 10), truth, labels, Gates())
    assert found.verdict == "fail" and "label map" in found.why and "'class 3' are seen as 'class 5'" in found.why
    ring = np.roll(np.arange(10), 1)[truth]
    assert verify.accuracy(classify, outputs(ring, 10), outputs(ring, 10), truth, labels, Gates()).verdict == "fail"


def test_a_class_that_is_only_weak_is_no_swapped_label():
    truth = targets(400)
    decided = truth.copy()
    decided[truth == 2] = 3  # cats are taken for dogs, but dogs stay dogs
    assert "label map" not in verify.accuracy(classify, outputs(decided), outputs(decided), truth, LABELS, Gates()).why


def test_outputs_that_are_not_numbers_lose():
    truth = targets(400)
    broken = {"logits": np.full((400, 4), np.nan, np.float32)}
    assert verify.accuracy(classify, outputs(truth), broken, truth, LABELS, Gates()).verdict == "fail"


@draws(60)
@given(st.integers(0, 100), st.integers(0, 100), st.integers(200, 600))
def test_bound_is_never_more_lenient_than_point(float_wrong, more_wrong, n):
    point, bound = judge(float_wrong, more_wrong, n=n), judge(float_wrong, more_wrong, n=n, decide="bound")
    assert (point.verdict, bound.verdict) in {
        ("pass", "pass"),
        ("fail", "fail"),
        ("pass", "inconclusive"),
        ("fail", "inconclusive"),
    }
    assert point.drop == pytest.approx(more_wrong / n)


def error_task(mean: bool):
    """Mean absolute error, lower is better; as a mean over samples or (root mean square) as none."""

    def per_sample(outputs, targets):
        return np.abs(outputs["y"] - targets) if mean else None

    def score(outputs, targets):
        gap = np.abs(outputs["y"] - targets)
        return float(gap.mean() if mean else np.sqrt((gap**2).mean()))

    return SimpleNamespace(
        metric=Metric("mae", higher_is_better=False, max_drop=0.1),
        score=score,
        per_sample=per_sample,
        statistics=None,
        metric_of=None,
        decisions=lambda outputs: outputs["y"],
        chance=lambda targets: float(np.abs(targets - np.median(targets)).mean()),
    )


def test_a_share_where_less_is_better():
    """Of a share of errors a rise is a drop: the interval lies on the side of the drop."""
    truth = np.zeros(400)
    before, after = {"y": (np.arange(400) < 40) * 1.0}, {"y": (np.arange(400) < 100) * 1.0}
    low, high = drop_interval(error_task(mean=True), before, after, truth)
    assert 0 < low < 60 / 400 < high
    assert drop_interval(error_task(mean=True), after, before, truth) == pytest.approx((-high, -low))


@pytest.mark.parametrize("mean", [True, False])
def test_a_metric_where_less_is_better(mean):
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 3, 300)
    good = {"y": truth + rng.normal(0, 0.5, 300)}
    worse = {"y": good["y"] + rng.normal(0, 1.0, 300)}
    task = error_task(mean)
    same = verify.accuracy(task, good, good, truth, (), Gates(decide="bound"))
    assert same.verdict == "pass" and same.drop == 0
    found = verify.accuracy(task, good, worse, truth, (), Gates(decide="bound"))
    assert found.verdict == "fail" and found.drop > 0.3 and found.ci95[0] < found.drop < found.ci95[1]
    useless = {"y": rng.normal(0, 3, 300)}
    with pytest.raises(DataError, match="chance"):
        verify.accuracy(task, useless, good, truth, (), Gates())
    with pytest.raises(ModelError):
        verify.accuracy(task, {"y": np.full(300, np.nan)}, good, truth, (), Gates())


def test_equal_scores_of_a_mean_still_have_a_width():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 3, 25)
    good = {"y": truth + rng.normal(0, 0.5, 25)}
    found = verify.accuracy(error_task(True), good, good, truth, (), Gates(decide="bound"))
    assert found.ci95[0] < 0 < found.ci95[1]


def test_too_few_samples_for_a_bootstrap_decide_nothing_in_bound():
    truth = np.array([-4.0, -1.0, 0.0, 2.0, 5.0, 9.0])
    good = {"y": truth + 0.1}
    found = verify.accuracy(error_task(True), good, good, truth, (), Gates(decide="bound"))
    assert found.verdict == "inconclusive" and found.ci95 is None
