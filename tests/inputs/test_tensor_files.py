"""Arrays as inputs: the same feeds on the host and in run.py, and plain errors for what does not fit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from edgeft.core.errors import BundleError, DataError, RecipeError
from edgeft.core.runner import Stop
from edgeft.inputs import run_tensors, tensors

FACTS = {
    "tensors": [
        {"name": "scale", "shape": [1], "dtype": "float32"},
        {"name": "image:0", "shape": [2, 3], "dtype": "float32"},
    ]
}
DECLARED = {"tensors": list(reversed(FACTS["tensors"]))}


def table(defaults: dict[str, Any] | None = None, facts: Any = FACTS, **keys: Any) -> dict[str, Any]:
    data = SimpleNamespace(**{"mean": (), "std": (), **keys})
    return tensors.configure(data, defaults or {}, facts, lambda _: None)


def test_inputs_are_in_the_order_of_the_model() -> None:
    spec = table(DECLARED)
    assert [(item["name"], item["key"]) for item in spec["inputs"]] == [("image_0", "image:0"), ("scale", "scale")]
    raw = {"scale": np.array([2.0]), "image:0": np.arange(6.0).reshape(2, 3)}
    feeds = tensors.preprocess(raw, spec)
    assert list(feeds) == ["image_0", "scale"] and feeds["image_0"].shape == (1, 2, 3)
    assert all(values.dtype == np.float32 for values in feeds.values())


def test_a_single_array_needs_no_name(tmp_path: Path) -> None:
    spec = table({"tensors": [{"name": "input.1", "shape": [4], "dtype": "int64"}]}, {"tensors": [
        {"name": "x", "shape": [4], "dtype": "int64"}
    ]})  # fmt: skip
    np.save(tmp_path / "a.npy", np.array([1, 2, 3, 4], np.uint8))
    np.savez(tmp_path / "b.npz", any_name=np.array([[1.0, 2.0, 3.0, 4.0]]))
    for name in ("a.npy", "b.npz"):
        raw = tensors.read(tmp_path / name)
        feeds = tensors.preprocess(raw, spec)
        np.testing.assert_array_equal(feeds["input_1"], [[1, 2, 3, 4]])
        assert feeds["input_1"].dtype == np.int64
        np.testing.assert_array_equal(
            run_tensors.feeds(run_tensors.read(str(tmp_path / name)), spec)["input_1"], feeds["input_1"]
        )


@pytest.mark.parametrize(
    ("defaults", "problem"),
    [
        (
            {"tensors": [{"name": "image:0", "shape": [3, 2], "dtype": "float32"}, FACTS["tensors"][0]]},
            r"takes \[3, 2\]",
        ),
        ({"tensors": [{"name": "other", "shape": [2, 3], "dtype": "float32"}]}, "a sample has scale, image:0"),
    ],
)
def test_arrays_that_the_model_does_not_take(defaults: dict[str, Any], problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        table(defaults)


def test_mean_and_std_go_along_the_first_axis() -> None:
    facts = {"tensors": [FACTS["tensors"][1]]}
    spec = table(facts=facts, mean=(1.0, 2.0), std=(2.0, 4.0))
    raw = {"image:0": np.array([[1.0, 3.0, 5.0], [2.0, 6.0, 10.0]])}
    expected = [[[0, 1, 2], [0, 1, 2]]]
    np.testing.assert_array_equal(tensors.preprocess(raw, spec)["image_0"], expected)
    np.testing.assert_array_equal(run_tensors.feeds(raw, spec)["image_0"], expected)
    for keys in ({"mean": (1.0, 2.0, 3.0)}, {"std": (0.0,)}, {"std": (float("nan"),)}):
        with pytest.raises(RecipeError, match="expected a number, or one for each of the first axis"):
            table(facts=facts, **keys)


def test_what_is_no_sample(tmp_path: Path) -> None:
    spec = table()
    good = {"scale": np.ones(1), "image:0": np.ones((2, 3))}
    for raw, problem in (
        ({"scale": np.ones(1)}, "has no array 'image:0'"),
        ({**good, "image:0": np.ones((3, 2))}, r"has the shape \(3, 2\), the model takes \(2, 3\)"),
    ):
        with pytest.raises(DataError, match=problem):
            tensors.preprocess(raw, spec)
        with pytest.raises(Stop):
            run_tensors.feeds(raw, spec)
    np.save(tmp_path / "nan.npy", np.array([np.nan]))
    np.save(tmp_path / "text.npy", np.array(["a"]))
    np.save(tmp_path / "wide.npy", np.array([1e300]))
    for name, problem in (("nan", "not finite"), ("wide", "too large for float32"), ("text", "expected numbers")):
        with pytest.raises(DataError, match=problem):
            tensors.read(tmp_path / f"{name}.npy")
    with pytest.raises(DataError, match="no such file"):
        tensors.read(tmp_path / "absent.npy")
    with pytest.raises(DataError, match="is no array"):
        tensors.read(__file__)


@pytest.mark.parametrize(
    "spec",
    [{}, {"inputs": []}, {"inputs": [1]}, {"inputs": [{"name": "x", "key": "x", "shape": [0], "dtype": "float32"}]},
     {"inputs": [{"name": "x", "key": "x", "shape": [1], "dtype": "object"}]},
     {"inputs": [{"name": "x", "key": "x", "shape": [1], "dtype": "float32"}], "std": [-1]}],
)  # fmt: skip
def test_tables_that_cannot_be_followed(spec: dict[str, Any]) -> None:
    with pytest.raises(BundleError):
        tensors.preprocess({"x": np.ones(1)}, spec)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    arrays_of.arrays(
        st.sampled_from([np.float32, np.float64, np.float16, np.uint8, np.int32, np.int64, np.bool_]),
        arrays_of.array_shapes(min_dims=1, max_dims=4, max_side=4),
        elements={"allow_nan": False, "allow_infinity": False, "min_value": 0, "max_value": 1},
    )
)
def test_host_and_board_agree(tmp_path: Path, values: np.ndarray) -> None:
    np.save(tmp_path / "x.npy", values)
    raw = tensors.read(tmp_path / "x.npy")
    spec = table(facts={"tensors": [{"name": "x", "shape": list(values.shape), "dtype": tensors.dtype_of(values, "")}]})
    host, board = (
        tensors.preprocess(raw, spec)["x"],
        run_tensors.feeds(run_tensors.read(str(tmp_path / "x.npy")), spec)["x"],
    )
    assert host.dtype == board.dtype and host.tobytes() == board.tobytes()
