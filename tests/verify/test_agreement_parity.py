from __future__ import annotations

import dataclasses
import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from logits import outputs, targets, wrong

from edgeft import tasks
from edgeft.config.recipe import Gates
from edgeft.core.errors import BundleError, Missing

classify = tasks.get("classify")
control = tasks.get("control")

verify = importlib.import_module("edgeft.verify")  # the subpackage: `edgeft.verify` is the function

STEP = {"logits": 0.1}


def agree(different: int, n: int = 200, **gates):
    truth = targets(n)
    return verify.agreement(classify, outputs(truth), outputs(wrong(truth, slice(0, different))), Gates(**gates))


def test_agreement_against_its_limit():
    assert agree(2, min_agreement=0.99).verdict == "pass"
    failed = agree(3, min_agreement=0.99)
    assert failed.verdict == "fail" and failed.quantized == pytest.approx(0.985)
    assert failed.ci95[0] < 0.985 < failed.ci95[1]
    assert agree(150).verdict == "pass"  # no limit asked: reported
    assert agree(0, n=0).verdict == "fail"


def test_agreement_by_bound():
    assert agree(2, min_agreement=0.99, decide="bound").verdict == "inconclusive"
    assert agree(0, n=1000, min_agreement=0.99, decide="bound").verdict == "pass"
    assert agree(40, min_agreement=0.99, decide="bound").verdict == "fail"


def graph(n: int = 200, seed: int = 0) -> dict[str, np.ndarray]:
    """What a quantized graph gives: logits on a grid of steps."""
    steps = np.random.default_rng(seed).integers(-60, 60, (n, 10))
    return {"logits": (steps * STEP["logits"]).astype(np.float32)}


def moved(base, steps):
    return {"logits": (base["logits"] + np.asarray(steps) * STEP["logits"]).astype(np.float32)}


def test_values_are_no_decisions_that_could_flip():
    """Two controls on one grid: the narrow one has fewer steps than its own tolerance has, and nothing to decide."""
    rng = np.random.default_rng(0)
    base = np.stack([rng.integers(-80, 80, 100), rng.integers(0, 12, 100)], axis=1) * STEP["logits"]
    said, found = {"logits": base}, {"logits": base + rng.integers(-1, 2, base.shape) * STEP["logits"]}
    assert not control.alike(said, found).all() and (control.margins(said) < 2 * STEP["logits"]).all()
    assert verify.parity(control, said, found, STEP).verdict == "pass"
    assert verify.parity(control, said, {"logits": base + 9 * STEP["logits"]}, STEP).verdict == "fail"


def test_each_control_counts_in_steps_of_its_own():
    """A difference of nine of the narrow control's steps is less than one of the wide one's, and fails all the same."""
    rng, steps = np.random.default_rng(0), {"logits": [0.1, 0.01]}
    base = rng.integers(-80, 80, (100, 2)) * steps["logits"]
    said = {"logits": base}
    near = {"logits": base + rng.integers(-1, 2, base.shape) * steps["logits"]}
    assert verify.parity(control, said, near, steps).verdict == "pass"
    off = {"logits": base + np.array([0.0, 0.09])}
    verdict = verify.parity(control, said, off, steps)
    assert verdict.verdict == "fail" and verdict.quantized == pytest.approx(9)
    assert verify.parity(control, said, off, {"logits": 0.1}).verdict == "pass", "which a common grid lets pass"
    told = [{"name": "logits", "scale": None, "step": [0.1, 0.01]}]
    assert verify.output_steps(told, said) == {"logits": [0.1, 0.01]}
    for bad in ([0.1], [0.1, 0.0], [0.1, float("nan")]):
        with pytest.raises(BundleError, match="steps for an output"):
            verify.output_steps([{**told[0], "step": bad}], said)


def test_one_control_that_is_off_is_not_hidden_by_another():
    base = np.zeros((200, 2))
    off = base.copy()
    off[:6, 1] = 0.12  # 3 % of one control's values, 1.5 % of all, twelve steps off
    assert verify.parity(control, {"logits": base}, {"logits": off}, {"logits": [0.1, 0.01]}).verdict == "fail"


def test_parity_allows_rounding_and_its_spread_through_a_deep_net():
    rng, base = np.random.default_rng(1), graph()
    assert verify.parity(classify, base, base, STEP).verdict == "pass"
    one_off = verify.parity(classify, base, moved(base, rng.integers(-1, 2, (200, 10))), STEP)
    assert one_off.verdict == "pass" and one_off.quantized == pytest.approx(1.0, abs=0.01)
    rare = np.where(rng.random((200, 10)) < 0.005, 7, 0)
    assert verify.parity(classify, base, moved(base, rare), STEP).verdict == "pass"


def test_parity_catches_a_wrong_scale_and_a_wrong_offset():
    base = graph()
    doubled = {"logits": base["logits"] * 1.2}
    assert "more than rounding" in verify.parity(classify, base, doubled, STEP).why
    assert verify.parity(classify, base, moved(base, 2), STEP).verdict == "fail"
    one_channel = np.zeros((200, 10))
    one_channel[:, 3] = 12
    assert verify.parity(classify, base, moved(base, one_channel), STEP).verdict == "fail"


def test_parity_catches_clear_decisions_that_flip():
    base = graph()
    flipped = {"logits": base["logits"].copy()}
    clear = np.flatnonzero(classify.margins(base) > 0.3)[:20]
    for row in clear:  # 20 elements of 2000: within the tail, but each is a decision
        flipped["logits"][row, base["logits"][row].argmax()] -= 0.8
    found = verify.parity(classify, base, flipped, STEP)
    changed = int((classify.decisions(base) != classify.decisions(flipped)).sum())
    assert changed > 3
    assert found.verdict == "fail" and "makes other decisions" in found.why


def test_parity_forgives_close_calls():
    n = 100
    base = {"logits": np.zeros((n, 3), np.float32)}
    base["logits"][:, 0] = np.where(np.arange(n) % 2, 0.1, 3.0)
    close = {"logits": base["logits"].copy()}
    close["logits"][1::2, 1] += 0.2  # every close call flips, by two steps
    assert verify.parity(classify, base, close, STEP).verdict == "pass"


def test_parity_without_a_clear_decision_is_no_pass_when_decisions_differ():
    base = {"logits": np.tile(np.array([0.1, 0.0, 0.0], np.float32), (50, 1))}
    other = {"logits": np.tile(np.array([0.0, 0.1, 0.0], np.float32), (50, 1))}
    assert verify.parity(classify, base, other, STEP).verdict == "inconclusive"


def test_parity_needs_samples_names_shapes_and_numbers():
    base = graph()
    assert verify.parity(classify, {}, {}, {}).verdict == "fail"
    assert "missing" in verify.parity(classify, base, {"other": base["logits"]}, STEP).why
    assert "shape" in verify.parity(classify, base, {"logits": base["logits"][:5]}, STEP).why
    broken = {"logits": base["logits"].copy()}
    broken["logits"][3, 3] = np.inf
    assert "not finite" in verify.parity(classify, base, broken, STEP).why


def test_on_the_same_machine_one_step_is_the_limit():
    base = graph()
    off = np.zeros((200, 10))
    off[7, 7] = 3
    assert verify.samples_parity(classify, base, moved(base, off), STEP, same=True).verdict == "fail"
    assert verify.samples_parity(classify, base, moved(base, off), STEP, same=False).verdict == "pass"
    assert verify.samples_parity(classify, base, moved(base, off / 3), STEP, same=True).verdict == "pass"


@given(st.integers(0, 2**31), st.floats(3.0, 100.0))
def test_a_shift_of_several_steps_never_passes(seed, steps):
    base = graph(20, seed)
    assert verify.parity(classify, base, moved(base, steps), STEP).verdict == "fail"


def test_output_steps_come_from_the_manifest_or_the_range():
    base = {"a": np.array([[0.0, 2.55]]), "b": np.array([[1.0]])}
    steps = verify.output_steps([{"name": "a", "scale": None}, {"name": "b", "scale": 0.25}], base)
    assert steps == {"a": pytest.approx(0.01), "b": 0.25}
    assert verify.output_steps([{"name": "b"}], base)["b"] > 0


SPEC = {
    "kind": "image",
    "size": [6, 6],
    "channels": 1,
    "resize": "bilinear",
    "scale": 255.0,
    "layout": "NCHW",
    "mean": [0.0],
    "std": [0.5],
    "input": "x",
}
RAWS = [np.random.default_rng(i).integers(0, 256, (6, 6)).astype(np.uint8) for i in range(6)]


def stored(spec=SPEC):
    return {"x": np.concatenate([classify.preprocess(raw, spec)["x"] for raw in RAWS])}


@pytest.mark.parametrize(
    "change", [{"mean": [0.004]}, {"std": [0.51]}, {"scale": 256.0}, {"mean": [0.5]}, {"layout": "NHWC"}]
)
def test_changed_preprocessing_is_caught(change):
    assert verify.preprocessing(classify, RAWS, stored(), SPEC).verdict == "pass"
    found = verify.preprocessing(classify, RAWS, stored(), {**SPEC, **change})
    assert found.verdict == "fail" and "preprocessing" in found.why


def test_a_resize_that_rounds_a_few_pixels_otherwise_is_forgiven():
    kept = stored()
    kept["x"][0, 0, 0, 0] += 2 / 255  # one level of one pixel
    assert verify.preprocessing(classify, RAWS, kept, SPEC).verdict == "pass"
    kept["x"][0, 0, 0, 0] += 20 / 255
    assert verify.preprocessing(classify, RAWS, kept, SPEC).verdict == "fail"


def test_changes_that_most_pixels_do_not_see_are_caught():
    dark = [np.where(raw > 200, raw, 0).astype(np.uint8) for raw in RAWS]
    kept = {"x": np.concatenate([classify.preprocess(raw, SPEC)["x"] for raw in dark])}
    assert verify.preprocessing(classify, dark, kept, {**SPEC, "std": [0.52]}).verdict == "fail"


def test_without_the_image_package_preprocessing_is_unverified():
    def missing(raw, spec):
        raise Missing("pillow is needed", remedy="pip install 'edgeft[image]'")

    found = verify.preprocessing(
        dataclasses.replace(classify, preprocess=missing), RAWS, {"x": np.zeros((6, 1, 6, 6))}, SPEC
    )
    assert found.verdict == "unverified" and "edgeft[image]" in found.why and not found.required


def test_no_raw_samples_is_a_fail():
    assert verify.preprocessing(classify, [], {}, SPEC).verdict == "fail"


def test_a_net_that_rounding_moves_far_is_allowed_as_much_and_no_more() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.normal(0, 60, (400, 3))
    off = rng.normal(0, 5, wanted.shape)  # median 3.4, 99 % 13 steps

    def judged(times: float, *reach: float) -> tuple[str, float | None, str]:
        found = {"output": wanted + times * off}
        verdict = verify.parity(
            classify, {"output": wanted}, found, {"output": 1.0}, {"output": reach} if reach else None
        )
        return verdict.verdict, verdict.limit, verdict.why

    assert judged(1)[:2] == ("fail", 1.0)
    assert judged(1, 3.0, 12.0)[:2] == ("pass", 4.5) and "rounding reach" in judged(1, 3.0, 12.0)[2]
    assert judged(2, 3.0, 12.0)[0] == "fail"
    assert judged(4, 1e9, 1e9)[:2] == ("fail", 8.0), "there is an end to it"
    assert judged(1, 0.0, 1.0)[:2] == ("fail", 1.0), "a small reach tightens and loosens nothing"


def test_agreement_of_a_model_that_always_decides_the_same_shows_nothing():
    constant, varied = np.eye(3, dtype=np.float32)[[1] * 40], np.eye(3, dtype=np.float32)[[0, 1] * 20]
    task, gates = tasks.get("classify"), Gates(min_agreement=0.9)
    for logits, verdict in ((constant, "inconclusive"), (varied, "pass")):
        assert verify.agreement(task, {"y": logits}, {"y": logits}, gates).verdict == verdict
    assert verify.agreement(task, {"y": constant}, {"y": constant}, Gates()).verdict == "pass", "no limit asks for it"
    assert verify.agreement(task, {"y": constant}, {"y": varied}, gates).verdict == "fail"
