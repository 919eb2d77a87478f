"""Controls: decoding, the metric by hand, tolerance, and rows of numbers as inputs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeft import tasks
from edgeft.config import recipe
from edgeft.core.errors import BundleError, DataError
from edgeft.inputs import vector
from edgeft.tasks.control import decoding as control

LABELS = ("steering", "throttle")
SPEC = {"kind": "vector", "size": [3], "input": "x", "mean": [1.0, 0.0, 0.0], "std": [2.0, 1.0, 1.0]}


def out(*rows: list[float]) -> dict[str, np.ndarray]:
    return {"output": np.array(rows, np.float32)}


def test_the_task_is_found_by_name() -> None:
    record = tasks.get("control")
    assert record.decode is control.decode and record.real_time and record.outputs_apart and not record.discrete


def test_decode_names_the_controls() -> None:
    seen = control.decode(out([0.25, -1.0], [float("nan"), 0.0]), LABELS)
    assert seen[0] == {"label": "steering 0.25, throttle -1", "controls": {"steering": 0.25, "throttle": -1.0}}
    assert seen[1]["controls"] == {"steering": None, "throttle": 0.0} and "undecided" in seen[1]["label"]
    json.dumps(seen, allow_nan=False)
    with pytest.raises(BundleError, match="2 labels for 3 controls"):
        control.decode(out([1.0, 2.0, 3.0]), LABELS)


def test_the_metric_by_hand() -> None:
    outputs, targets = out([0.0, 1.0], [1.0, 1.0]), np.array([[0.5, 1.0], [1.0, 0.0]], np.float32)
    assert control.metric(outputs, targets) == pytest.approx((0.5 + 0 + 0 + 1) / 4)
    assert control.per_sample(outputs, targets).tolist() == [0.25, 0.5]
    assert control.per_class(outputs, targets, LABELS)["throttle"] == {"metric": 0.5, "n": 2}
    assert control.extra_metrics(outputs, targets)["rmse"] == pytest.approx(np.sqrt(1.25 / 4))
    with pytest.raises(DataError, match="targets"):
        control.metric(outputs, targets[:, :1])


def test_chance_is_the_best_constant_answer() -> None:
    targets = np.array([[0.0], [0.0], [0.0], [4.0]])
    assert control.chance(targets) == 1.0, "the median, which no other constant beats in absolute error"


def test_alike_is_within_the_tolerance_of_the_range() -> None:
    one = out([0.0, 0.0], [10.0, 1.0], [5.0, 0.5])
    assert control.alike(one, out([0.4, 0.0], [10.0, 1.06], [5.6, 0.5])).tolist() == [True, False, False]
    assert control.margins(one).tolist() == pytest.approx([0.05, 0.05, 0.05])


def test_controls_are_joined_by_name() -> None:
    targets = np.array([[1.0, 2.0]])
    assert control.join(targets, ("throttle", "steering"), LABELS, "x").tolist() == [[2.0, 1.0]]
    with pytest.raises(DataError, match="no control 'throttle'"):
        control.join(targets, ("steering", "brake"), LABELS, "x")


def test_a_row_is_normalized_by_column() -> None:
    assert control.preprocess(np.array([3.0, 1.0, -1.0]), SPEC)["x"].tolist() == [[1.0, 1.0, -1.0]]
    with pytest.raises(DataError, match="2 values, the model takes 3"):
        control.preprocess(np.array([3.0, 1.0]), SPEC)
    with pytest.raises(DataError, match="not finite"):
        control.preprocess(np.array([3.0, float("inf"), 1.0]), SPEC)
    with pytest.raises(BundleError, match="std"):
        control.preprocess(np.zeros(3), SPEC | {"std": [1.0, 0.0, 1.0]})
    with pytest.raises(BundleError, match=r"preprocess\.kind"):
        control.preprocess(np.zeros(3), {"kind": "sound"})


def test_rows_are_read_from_files_and_from_words(tmp_path) -> None:
    (tmp_path / "row.csv").write_text("1, 2.5,-3\n")
    np.save(tmp_path / "row.npy", np.array([1, 2.5, -3]))
    for named in (tmp_path / "row.csv", tmp_path / "row.npy", "1 2.5 -3", "1;2.5;-3"):
        assert control.read(str(named), SPEC).tolist() == [1.0, 2.5, -3.0]
    (tmp_path / "two.csv").write_text("1,2\n3,4\n")
    for wrong in (tmp_path / "two.csv", tmp_path / "absent.csv", "1, two", ""):
        with pytest.raises(DataError):
            control.read(str(wrong), SPEC)
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="not readable"):
        control.read(str(tmp_path / "pickled.npy"), SPEC)


def test_the_spec_comes_from_the_data_unless_the_recipe_states_it() -> None:
    facts = {"kind": "vector", "inputs": 2, "mean": [1.0, 2.0], "std": [3.0, 0.0]}
    made = vector.configure(recipe.Data(), {}, facts, print)
    assert made == {"kind": "vector", "size": [2], "input": "x", "mean": [1.0, 2.0], "std": [3.0, 1.0]}
    assert vector.configure(recipe.Data(mean=(0.5,)), {}, facts, print)["mean"] == [0.5, 0.5]
    with pytest.raises(DataError, match="3 values for 2 columns"):
        vector.configure(recipe.Data(mean=(0.5, 1, 2)), {}, facts, print)
