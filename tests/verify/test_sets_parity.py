"""Sets of boxes are compared without their order: a mere permutation passes, and whatever else differs fails."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np
import pytest

from edgeft import tasks
from edgeft.config.recipe import Gates
from edgeft.metrics import box_sets, sets

detect = tasks.get("detect")
verify = importlib.import_module("edgeft.verify")  # the subpackage: `edgeft.verify` is the function
Outputs = dict[str, np.ndarray]
PICTURES, QUERIES, CLASSES = 64, 20, 3
STEPS = {"output_0": 0.05, "output_1": 1 / 255}


@pytest.fixture(scope="module")
def graph() -> Outputs:
    """Of the quantized graph: in each picture four queries that show a box, and others that show none; read only."""
    rng = np.random.default_rng(0)
    logits = rng.uniform(-6, -3, (PICTURES, QUERIES, CLASSES))
    for picture in logits:
        picture[rng.choice(QUERIES, 4, replace=False), rng.integers(0, CLASSES, 4)] = rng.uniform(1, 5, 4)
    boxes = np.concatenate(
        [rng.uniform(0.2, 0.8, (PICTURES, QUERIES, 2)), rng.uniform(0.1, 0.3, (PICTURES, QUERIES, 2))], 2
    )
    return {"output_0": logits.astype(np.float32), "output_1": boxes.astype(np.float32)}


@pytest.fixture(scope="module")
def artifact(graph: Outputs) -> Outputs:
    """The same in a runtime, a step off here and there, the queries of each picture in another order; read only."""
    rng = np.random.default_rng(1)
    order = np.stack([rng.permutation(QUERIES) for _ in range(PICTURES)])[..., None]
    moved = {name: values + rng.integers(-1, 2, values.shape) * STEPS[name] for name, values in graph.items()}
    return {name: np.take_along_axis(values.astype(np.float32), order, axis=1) for name, values in moved.items()}


def shown(outputs: Outputs, count: int) -> list[tuple[int, int]]:
    """(picture, query) of the first queries that show a box, at most one a picture."""
    best = outputs["output_0"].max(axis=2)
    return [(i, int(best[i].argmax())) for i in range(count)]


def dropped(outputs: Outputs) -> None:
    for i, q in shown(outputs, 4):
        outputs["output_0"][i, q] = -5


def hidden_dropped(outputs: Outputs) -> None:
    """Of every picture the place of a query that shows nothing: what is shown stays as it is."""
    for i, row in enumerate(outputs["output_0"].max(axis=2)):
        outputs["output_1"][i, row.argmin()] = 0.95


def doubled(outputs: Outputs) -> None:
    """The best query of every picture speaks twice, in place of one that shows nothing."""
    for values in (outputs["output_0"], outputs["output_1"]):
        for i, row in enumerate(outputs["output_0"].max(axis=2).copy()):
            values[i, row.argmin()] = values[i, row.argmax()]


def moved(outputs: Outputs) -> None:
    for i, q in shown(outputs, 4):
        outputs["output_1"][i, q, 0] = 1 - outputs["output_1"][i, q, 0]
        outputs["output_1"][i, q, 1] = 0.0


def classes_swapped(outputs: Outputs) -> None:
    outputs["output_0"] = outputs["output_0"][..., [1, 0, 2]]


def classes_of_some_swapped(outputs: Outputs) -> None:
    for i, q in shown(outputs, 4):
        outputs["output_0"][i, q] = np.roll(outputs["output_0"][i, q], 1)


def boxes_of_others(outputs: Outputs) -> None:
    """Boxes in another order than scores: no permutation of queries."""
    outputs["output_1"] = np.roll(outputs["output_1"], 1, axis=1)


def pictures_in_another_order(outputs: Outputs) -> None:
    for name in outputs:
        outputs[name] = np.roll(outputs[name], 1, axis=0)


def shifted(outputs: Outputs) -> None:
    outputs["output_1"] += 3 * np.float32(STEPS["output_1"])


SABOTAGE: dict[str, Callable[[Outputs], None]] = {
    "queries dropped": dropped,
    "queries that show nothing dropped": hidden_dropped,
    "a query twice": doubled,
    "boxes moved": moved,
    "classes swapped": classes_swapped,
    "classes of some queries swapped": classes_of_some_swapped,
    "boxes of other queries": boxes_of_others,
    "pictures in another order": pictures_in_another_order,
    "all boxes shifted": shifted,
}


def test_a_permutation_passes(graph: Outputs, artifact: Outputs) -> None:
    apart = np.abs(graph["output_1"] - artifact["output_1"]) / STEPS["output_1"]
    assert np.median(apart) > 20, "index by index they differ"
    verdict = verify.parity(detect, graph, artifact, STEPS)
    assert verdict.verdict == "pass" and verdict.quantized == pytest.approx(1, abs=0.01), verdict.why
    assert "99 % 1," in verdict.why and "maximum 1 LSB" in verdict.why
    same = verify.samples_parity(detect, graph, artifact, STEPS, same=True)
    assert same.verdict == "pass", same.why
    found = verify.agreement(detect, graph, artifact, Gates(min_agreement=0.9))
    assert found.verdict == "pass" and found.quantized == 1, found.why


@pytest.mark.parametrize("what", SABOTAGE)
def test_whatever_else_differs_fails(graph: Outputs, artifact: Outputs, what: str) -> None:
    broken = {name: values.copy() for name, values in artifact.items()}
    SABOTAGE[what](broken)
    verdict = verify.parity(detect, graph, broken, STEPS)
    assert verdict.verdict == "fail", verdict.why


def test_outputs_of_cells_keep_their_places() -> None:
    rng = np.random.default_rng(0)
    maps = {f"output_{k}": rng.normal(size=(8, 4 if k % 2 else 2, 8, 8)).astype(np.float32) for k in range(2)}
    assert box_sets.names(maps) == []
    rolled = {name: np.roll(values, 1, axis=2) for name, values in maps.items()}
    assert verify.parity(detect, maps, rolled, dict.fromkeys(maps, 0.02)).verdict == "fail"


def test_rows_find_their_partners_one_to_one() -> None:
    first = {"a": np.array([[[0.0], [0.4], [9.0]]]), "b": np.array([[[1.0], [2.0], [3.0]]]), "c": np.zeros((1, 2))}
    second = {"a": np.array([[[9.0], [0.0], [0.0]]]), "b": np.array([[[3.0], [1.0], [1.0]]]), "c": np.ones((1, 2))}
    ordered = sets.in_order_of(first, second, ["a", "b"], {"a": 0.1, "b": [0.1]})
    assert ordered["a"].ravel().tolist() == [0, 0, 9] and ordered["b"].ravel().tolist() == [1, 1, 3]
    assert ordered["c"] is second["c"]
