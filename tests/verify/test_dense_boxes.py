"""Detection of dense scenes is judged box by box: 64 pictures of twelve cells, each output a median of one LSB off."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import dense_scenes
import numpy as np
import pytest

from edgeft import tasks
from edgeft.config.recipe import Gates
from edgeft.metrics import detections
from edgeft.tasks import compared

detect = tasks.get("detect")
verify = importlib.import_module("edgeft.verify")  # the subpackage: `edgeft.verify` is the function
Outputs = dict[str, np.ndarray]
STEPS = dense_scenes.steps()


@pytest.fixture(scope="module")
def graph() -> Outputs:
    """Of the quantized graph; read only."""
    return dense_scenes.outputs(np.random.default_rng(0))


@pytest.fixture(scope="module")
def artifact(graph: Outputs) -> Outputs:
    """The same in a runtime; read only."""
    return dense_scenes.restless(np.random.default_rng(1), graph)


def parity(graph: Outputs, outputs: Outputs) -> object:
    return verify.parity(detect, graph, outputs, STEPS)


def test_a_verdict_is_reached_where_most_pictures_are_not_clear_as_a_whole(graph: Outputs, artifact: Outputs) -> None:
    shown = sum(map(len, detections.detections(graph, 0.3)))
    assert shown > 64 * 6
    clear_pictures = detect.margins(graph) > 2 * dense_scenes.LOGIT_STEP
    assert clear_pictures.mean() < 0.4, "most pictures have a box that is not clear"

    verdict = parity(graph, artifact)
    assert verdict.verdict == "pass" and verdict.quantized == pytest.approx(1, abs=0.01), verdict.why
    assert "clear boxes equal" in verdict.why
    decisions = compared(detect, graph, artifact, STEPS)
    clear = decisions.margin > 4  # 99 % of the values are at most so many LSBs off
    assert clear.sum() > 0.75 * shown and decisions.equal[clear].mean() > 0.99


def shift(name: str, steps: float) -> Callable[[Outputs], None]:
    def sabotage(outputs: Outputs) -> None:
        outputs[name] += steps * STEPS[name]

    return sabotage


def one_class(kind: int, steps: float) -> Callable[[Outputs], None]:
    def sabotage(outputs: Outputs) -> None:
        for k in (0, 2, 4):
            outputs[f"output_{k}"][:, kind] += steps * STEPS[f"output_{k}"]

    return sabotage


def two_classes_swapped(outputs: Outputs) -> None:
    for k in (0, 2, 4):
        outputs[f"output_{k}"] = outputs[f"output_{k}"][:, [0, 2, 1]]


def speaking(outputs: Outputs, share: float) -> list[tuple[int, int, int, int]]:
    """(level, picture, row, column) of a share of the cells that show a box, the same ones every time."""
    cells = [
        (level, *place)
        for level in range(3)
        for place in np.argwhere(outputs[f"output_{2 * level}"].max(axis=1) > -0.5).tolist()
    ]
    order = np.random.default_rng(2).permutation(len(cells))
    return [cells[k] for k in order[: round(share * len(cells))]]


def some_boxes_elsewhere(outputs: Outputs) -> None:
    for level, i, row, column in speaking(outputs, 0.04):
        outputs[f"output_{2 * level + 1}"][i, 0, row, column] += 1.2


def some_boxes_larger(outputs: Outputs) -> None:
    for level, i, row, column in speaking(outputs, 0.04):
        outputs[f"output_{2 * level + 1}"][i, 2:, row, column] += 0.3


def some_boxes_of_another_class(outputs: Outputs) -> None:
    for level, i, row, column in speaking(outputs, 0.04):
        logits = outputs[f"output_{2 * level}"][i, :, row, column]
        logits[:] = np.roll(logits, 1)


def some_boxes_gone(outputs: Outputs) -> None:
    for i in range(2, len(outputs["output_0"]), 25):  # three of the pictures
        for k in (0, 2, 4):
            outputs[f"output_{k}"][i] = -6


def some_boxes_that_are_not_there(outputs: Outputs) -> None:
    for i in range(0, len(outputs["output_0"]), 2):
        free = np.argwhere(outputs["output_0"][i].max(axis=0) < -3)
        row, column = free[i % len(free)]
        outputs["output_0"][i, 0, row, column] = 3


SABOTAGE = {
    "a level of scores": shift("output_0", 3),
    "the coarsest level of scores": shift("output_4", 3),
    "a level of boxes": shift("output_3", -3),
    "scores of one class, higher": one_class(0, 4),
    "scores of the commonest class, lower": one_class(1, -4),
    "two classes": two_classes_swapped,
    "boxes elsewhere": some_boxes_elsewhere,
    "boxes larger": some_boxes_larger,
    "boxes of another class": some_boxes_of_another_class,
    "boxes gone": some_boxes_gone,
    "boxes that are not there": some_boxes_that_are_not_there,
}


@pytest.mark.parametrize("what", SABOTAGE)
def test_a_broken_artifact_fails(graph: Outputs, artifact: Outputs, what: str) -> None:
    broken = {name: values.copy() for name, values in artifact.items()}
    SABOTAGE[what](broken)
    verdict = parity(graph, broken)
    assert verdict.verdict == "fail", verdict.why


def test_agreement_is_the_share_of_boxes_that_are_not_close_to_the_threshold(graph: Outputs, artifact: Outputs) -> None:
    found = verify.agreement(detect, graph, artifact, Gates(min_agreement=0.9))
    pictures = float(detect.alike(graph, artifact).mean())
    assert found.verdict == "pass" and found.quantized > 0.95 > 0.7 > pictures, found.why
    assert found.ci95[0] < found.quantized < found.ci95[1] and "boxes in 64 samples" in found.why
    broken = {name: values.copy() for name, values in artifact.items()}
    for k in (0, 2, 4):
        broken[f"output_{k}"][::4] = -6
    fewer = verify.agreement(detect, graph, broken, Gates(min_agreement=0.9))
    assert fewer.verdict == "fail" and 0.6 < fewer.quantized < 0.8


def test_without_a_box_close_to_the_threshold_every_one_counts(graph: Outputs) -> None:
    nothing = {name: values - 20 if values.shape[1] == 3 else values for name, values in graph.items()}
    found = verify.agreement(detect, nothing, nothing, Gates(min_agreement=0.9))
    assert found.verdict == "pass" and found.quantized == 1 and found.n == 64
