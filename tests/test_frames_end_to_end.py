"""A policy that sees stacks of frames, from a recording to a bundle that answers on the board: motion steers it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from end_to_end import Made, tuned

import edgeft
from edgeft.core.errors import UsageError
from edgeft.ros2 import package

TARGETS = ("host", "host-litert")


def scenes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Stacks uint8 (count, 24, 24, 4) of a bar that moves, and how far it moves a frame, float32 (count,).

    Where the bar stands in one frame says nothing of its speed.
    """
    rng = np.random.default_rng(0)
    speeds, places = rng.integers(-3, 4, count), rng.integers(9, 15, count)
    stacks = rng.integers(0, 40, (count, 24, 24, 4), dtype=np.uint8)
    for i, (speed, place) in enumerate(zip(speeds, places)):
        for frame in range(4):
            at = place + speed * (frame - 1)
            stacks[i, :, max(0, at - 1) : at + 2, frame] = 220
    return stacks, speeds.astype(np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("frames")
    stacks, speeds = scenes(600)
    np.savez(folder / "run.npz", obs=stacks, acts=speeds, indices=np.arange(10, 600, 10))
    recipe = {
        "task": "control",
        "name": "follow",
        "model": {"source": "builtin", "name": "resnet8"},
        "data": {"format": "trajectories", "path": str(folder / "run.npz"), "size": 24},
        "train": {"epochs": 6, "lr": 3e-3, "batch_size": 32},
        "quantize": {"method": "ptq"},
        "export": {"targets": list(TARGETS)},
        "gates": {"min_speedup": 0, "max_drop_relative": 0.25},
    }
    return tuned(folder, recipe, TARGETS)


def test_motion_is_seen(made: Made) -> None:
    """One frame alone would leave the error of a constant answer."""
    assert made.run["float"] < 0.5 * made.run["chance"]


@pytest.mark.parametrize("target", TARGETS)
def test_bundles_pass_and_answer_as_here(made: Made, target: str, tmp_path: Path) -> None:
    report, bundle = made.reports[target], made.bundle(target)
    assert report["verdict"] == "pass", [gate for gate in report["gates"] if gate["verdict"] == "fail"]
    spec = json.loads((bundle / "manifest.json").read_text())["preprocess"]
    assert (spec["kind"], spec["channels"], len(spec["mean"])) == ("frames", 4, 4)

    stacks, _ = scenes(3)
    files = [str(tmp_path / f"{i}.npy") for i in range(3)]
    for file, stack in zip(files, stacks):
        np.save(file, stack)
    here = [row["label"] for row in edgeft.predict(bundle, files)]
    command = [sys.executable, "-I", bundle / "run.py", *files]
    board = subprocess.run(command, capture_output=True, text=True, check=True)
    assert all(label in line for label, line in zip(here, board.stdout.splitlines()))


def test_a_stack_of_other_frames_is_refused_on_the_board(made: Made, tmp_path: Path) -> None:
    np.save(tmp_path / "three.npy", np.zeros((24, 24, 3), np.uint8))
    command = [sys.executable, "-I", made.bundle("host") / "run.py", tmp_path / "three.npy"]
    board = subprocess.run(command, capture_output=True, text=True, check=False)
    assert board.returncode == 3 and "expected a stack of uint8 (height, width, 4)" in board.stderr


def test_a_ros_node_of_single_messages_is_refused(made: Made) -> None:
    with pytest.raises(UsageError, match="stack of frames"):
        package.check(edgeft.load(made.bundle("host")))
