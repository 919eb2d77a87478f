"""The task regress in numpy, by figures computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgeft import tasks
from edgeft.config.recipe import Gates
from edgeft.core.errors import BundleError, DataError
from edgeft.data.samples import Split
from edgeft.tasks.regress import decoding, maps, run_part
from edgeft.verify.agreement import agreement

OUTPUTS = {"map": np.array([[[1.0, 2.0]], [[3.0, 4.0]]]), "pose": np.array([[10.0], [20.0]])}
TARGETS = np.array([[1.0, 4.0, 10.0], [np.nan, 4.0, 23.0]], np.float32)


def test_errors_are_of_known_values() -> None:
    np.testing.assert_allclose(decoding.per_sample(OUTPUTS, TARGETS), [2 / 3, 3 / 2])
    assert decoding.metric(OUTPUTS, TARGETS) == pytest.approx((2 / 3 + 3 / 2) / 2)
    table = decoding.per_class(OUTPUTS, TARGETS, ())
    assert table["map"]["metric"] == pytest.approx(2 / 3) and table["pose"]["metric"] == pytest.approx(1.5)
    assert decoding.extra_metrics(OUTPUTS, TARGETS)["rmse"] == pytest.approx(np.sqrt((4 + 9) / 5))
    assert decoding.extra_metrics(OUTPUTS, TARGETS)["r2"] == pytest.approx(1 - 13 / (2 * 6.5**2))
    assert decoding.chance(TARGETS) == pytest.approx((0 + 0 + 0 + 6.5 + 6.5) / 5)


def test_targets_that_do_not_fit() -> None:
    with pytest.raises(DataError, match=r"gives 3 values a sample, and a target has \(2,\)"):
        decoding.metric(OUTPUTS, TARGETS[:, :2])
    with pytest.raises(DataError, match="have no targets"):
        decoding.metric(OUTPUTS, np.full(2, np.nan))
    with pytest.raises(DataError, match="no samples"):
        decoding.metric({"y": np.zeros((0, 2))}, np.zeros((0, 2)))
    with pytest.raises(BundleError):
        decoding.metric({}, TARGETS)


def test_a_fifth_of_what_an_output_changes_by_is_the_same() -> None:
    rng = np.random.default_rng(0)
    pattern = 100 * rng.normal(size=(3, 8, 8))  # the same in every sample: it hides nothing
    values = pattern + rng.normal(5, 2, (40, 3, 8, 8))
    for factor, same in ((0.19, True), (0.21, False)):
        other = values + factor * 2 * np.sign(rng.normal(size=values.shape))
        assert (decoding.alike({"y": values}, {"y": other}) == same).all()
    # each output by its own deviation: a small one is not hidden by a large one
    small = rng.normal(0, 0.01, (40, 2))
    both = decoding.alike({"y": values, "z": small}, {"y": values, "z": small + 0.005})
    assert not both.any()
    assert decoding.margins({"y": values, "z": small})[0] == pytest.approx(0.2 * small.std(), rel=0.05)


def test_samples_on_which_the_mean_is_as_good_say_nothing() -> None:
    """A detector of text on 30 pictures of which one has text, which the other artifact does not see."""
    maps_of_text = np.full((30, 1, 16, 16), 1e-6)
    maps_of_text[3, 0, 4:8, 4:8] = 0.9
    record = tasks.get("regress")
    result = agreement(record, {"y": maps_of_text}, {"y": np.zeros_like(maps_of_text)}, Gates(min_agreement=0.9))
    assert result.verdict == "fail" and result.n == 1, result.why
    same = agreement(record, {"y": maps_of_text}, {"y": maps_of_text + 1e-3}, Gates(min_agreement=0.9))
    assert same.verdict == "pass" and "1 samples that differ from the mean answer are the same" in same.why
    silent = np.full((30, 4), 2.0)
    nothing = agreement(record, {"y": silent}, {"y": silent}, Gates(min_agreement=0.9))
    assert nothing.verdict == "inconclusive", nothing.why


def test_decoding_names_the_outputs_as_the_model_does() -> None:
    one = {key: value[:1] for key, value in OUTPUTS.items()}
    spec = {"outputs": ["depth", "angle"]}
    told = tasks.tell(
        tasks.get("regress"), {f"output_{i}": v for i, v in enumerate(one.values())}, {}, spec, ("output",)
    )
    assert told["label"] == "depth: 1, 2; angle: 10" == run_part.tell(one, {}, spec, ())
    assert told["outputs"][0] == {"name": "depth", "shape": [1, 2], "min": 1.0, "max": 2.0, "mean": 1.5}
    np.testing.assert_array_equal(decoding.arrays(told)["depth"], [[1, 2]])
    bad = decoding.decode({"y": np.array([[np.nan, 1.0]])}, ())[0]
    assert bad["label"] == "values that are not finite" and bad["outputs"][0]["max"] is None


def test_a_sample_is_shown_as_a_picture_or_in_short() -> None:
    class Pool:
        def __len__(self) -> int:
            return 2

        def raw(self, i: int) -> dict[str, np.ndarray]:
            return {"a": np.arange(64.0).reshape(1, 8, 8)} if i else {"b": np.arange(6.0).reshape(2, 3)}

    split = Split("train", Pool(), np.arange(2), np.array([[1.0, 2.0], [3.0, np.nan]]))  # type: ignore[arg-type]
    first, second = (tasks.show_sample(tasks.get("regress"), split, i, ("output",)) for i in range(2))
    assert first["rows"] == [("b (2, 3)", "6 values, 0 to 5, mean 2.5")] and first["caption"] == "1, 2"
    assert second["image"].shape == (8, 8) and second["caption"] == "3, nan"


def test_what_has_the_form_of_a_picture_is_drawn() -> None:
    ramp = np.linspace(-1, 3, 64, dtype=np.float32).reshape(8, 8)
    pixels = maps.as_picture(ramp[None])
    assert pixels is not None and pixels.dtype == np.uint8 and pixels.min() == 0 and pixels.max() == 255
    assert maps.as_picture(np.zeros((3, 9, 8))).shape == (9, 8, 3)  # type: ignore[union-attr]
    assert maps.as_picture(np.zeros((9, 8, 1))).shape == (9, 8)  # type: ignore[union-attr]
    for other in (np.zeros((4, 9, 9)), np.zeros((7, 9)), np.zeros(100), np.full((9, 9), np.inf)):
        assert maps.as_picture(other) is None
