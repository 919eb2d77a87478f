from __future__ import annotations

import importlib

import numpy as np
import pytest
from draws import draws
from hypothesis import given
from hypothesis import strategies as st

from edgeft.backends import IntegerShare, WeightTensor
from edgeft.config.recipe import Gates

verify = importlib.import_module("edgeft.verify")  # the subpackage: `edgeft.verify` is the function

LAYOUTS = {
    "conv as it is": ((8, 3, 3, 2), lambda w: w),
    "conv OHWI": ((8, 3, 3, 2), lambda w: w.transpose(0, 2, 3, 1)),
    "conv HWIO": ((8, 3, 3, 2), lambda w: w.transpose(2, 3, 1, 0)),
    "depthwise 1HWO": ((8, 1, 3, 3), lambda w: w.transpose(1, 2, 3, 0)),
    "transposed OHWI": ((4, 6, 2, 2), lambda w: w.transpose(1, 2, 3, 0)),
    "grouped GOIHW": ((8, 2, 3, 3), lambda w: w.reshape(4, 2, 2, 3, 3)),
    "pointwise as a matrix": ((8, 5, 1, 1), lambda w: w.reshape(8, 5)),
    "linear OI": ((7, 5), lambda w: w),
    "linear IO": ((7, 5), lambda w: w.T),
    "conv1d OWI": ((6, 4, 3), lambda w: w.transpose(0, 2, 1)),
    "conv1d as a flat image": ((6, 4, 3), lambda w: w.transpose(0, 2, 1)[:, None]),
    "conv3d": ((4, 3, 2, 2, 2), lambda w: w.transpose(0, 2, 3, 4, 1)),
}


def weights(shape, seed=0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(-127, 128, shape).astype(np.int8), rng.uniform(0.01, 0.1, shape[0]).astype(np.float32)


def both(expected, found):
    return verify.integer(expected, found), verify.integer_digests(verify.digests(expected), found)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_of_a_runtime_matches_and_a_flipped_byte_does_not(name):
    shape, store = LAYOUTS[name]
    w, scale = weights(shape)
    kept = np.ascontiguousarray(store(w))
    for verdict in both({"layer": (w, scale)}, [WeightTensor("t", kept, scale)]):
        assert verdict.verdict == "pass" and verdict.n == 1
    flipped = kept.copy()
    flipped.flat[5] ^= 1
    for verdict in both({"layer": (w, scale)}, [WeightTensor("t", flipped, scale)]):
        assert verdict.verdict == "fail" and "'layer'" in verdict.why


def test_a_kernel_that_was_turned_is_no_layout():
    w, scale = weights((4, 3, 3, 3))
    for order in ((0, 1, 3, 2), (1, 0, 2, 3), (3, 2, 1, 0)):
        found = [WeightTensor("t", np.ascontiguousarray(w.transpose(order)), scale)]
        assert [v.verdict for v in both({"layer": (w, scale)}, found)] == ["fail", "fail"]


def test_the_scale_counts_too():
    w, scale = weights((8, 3, 3, 2))
    near = WeightTensor("t", w, np.nextafter(scale, np.float32(1)))
    assert verify.integer({"layer": (w, scale)}, [near]).verdict == "pass"
    wrong = scale.copy()
    wrong[3] *= 1.001
    found = verify.integer({"layer": (w, scale)}, [WeightTensor("t", w, wrong)])
    assert found.verdict == "fail" and "another scale" in found.why and "'layer'" in found.why
    one = np.array([0.5], np.float32)
    assert verify.integer({"layer": (w, one)}, [WeightTensor("t", w, np.full(8, 0.5, np.float32))]).verdict == "pass"
    assert verify.integer({"layer": (w, scale)}, [WeightTensor("t", w, scale[:5])]).verdict == "fail"


def test_layers_of_equal_integers_may_share_a_constant_but_not_a_scale():
    w, scale = weights((8, 4))
    other = (scale * 2).astype(np.float32)
    expected = {"first": (w, scale), "second": (w, other)}
    pair = [WeightTensor("a", w, other), WeightTensor("b", w, scale)]
    assert [v.verdict for v in both(expected, pair)] == ["pass", "pass"]
    assert [v.verdict for v in both({"first": (w, scale), "second": (w, scale)}, pair[1:])] == ["pass", "pass"]
    found = verify.integer(expected, pair[1:])
    assert found.verdict == "fail" and "'second' has the right bytes but another scale" in found.why


def test_nothing_expected_and_nothing_found_are_fails():
    w, scale = weights((8, 4))
    for verdict in both({}, [WeightTensor("t", w, scale)]):
        assert verdict.verdict == "fail" and "nothing was measured" in verdict.why
    assert "no int8 weights at all" in verify.integer({"layer": (w, scale)}, []).why
    assert verify.integer_digests(verify.digests({"layer": (w, scale)}), []).verdict == "fail"


def test_float_weights_cannot_pass_for_int8():
    w, scale = weights((8, 4))
    with pytest.raises(TypeError, match="float32"):
        verify.digests({"layer": (w.astype(np.float32), scale)})


@draws(60)
@given(st.sampled_from(sorted(LAYOUTS)), st.integers(0, 2**31), st.data())
def test_any_set_of_layers_in_any_order_matches(name, seed, data):
    count = data.draw(st.integers(1, 5))
    shape, store = LAYOUTS[name]
    expected = {f"layer {i}": weights(shape, seed + i) for i in range(count)}
    found = [WeightTensor(str(i), np.ascontiguousarray(store(w)), s) for i, (w, s) in enumerate(expected.values())]
    found = data.draw(st.permutations([*found, WeightTensor("table", np.zeros(256, np.int8), np.ones(1, np.float32))]))
    assert [v.verdict for v in both(expected, found)] == ["pass", "pass"]


def test_int8_share_gates_only_on_the_target():
    measured = IntegerShare(0.4, 1000, 400, {"Conv": 2})
    here = verify.int8_share(measured, Gates(), on_target=True)
    assert here.verdict == "fail" and here.required and "Conv x2" in here.why
    elsewhere = verify.int8_share(measured, Gates(), on_target=False)
    assert elsewhere.verdict == "advisory" and not elsewhere.required and "host" in elsewhere.why
    assert verify.int8_share(IntegerShare(0.6, 10, 6), Gates(), on_target=True).verdict == "pass"
    assert verify.int8_share(IntegerShare(0.0, 0, 0), Gates(), on_target=True).verdict == "fail"
    assert verify.int8_share(None, Gates(), on_target=True).verdict == "fail"
