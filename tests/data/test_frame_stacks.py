"""Stacks of frames in a recording: no frame is dropped, whatever the order of the axes; opacity is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError

RNG = np.random.default_rng(0)
STACKS = RNG.integers(0, 256, (200, 12, 10, 4), dtype=np.uint8)


def recorded(folder: Path, observations: np.ndarray) -> data.Dataset:
    acts = RNG.normal(size=(len(observations), 2)).astype(np.float32)
    np.savez(folder / "run.npz", obs=observations, acts=acts, indices=np.arange(10, len(observations), 10))
    return data.open(Data(format="trajectories", path=str(folder / "run.npz")), "control")


def steps(dataset: data.Dataset) -> dict[str, np.ndarray]:
    return {
        dataset.split(name).source(i): dataset.split(name).raw(i)
        for name in dataset.splits
        for i in range(len(dataset.split(name)))
    }


@pytest.mark.parametrize(
    ("stored", "place"),
    [(STACKS, "last"), (np.moveaxis(STACKS, 3, 1), "first"), (np.moveaxis(STACKS, 3, 1)[..., None], "first")],
)
def test_every_frame_is_a_channel(tmp_path: Path, stored: np.ndarray, place: str) -> None:
    dataset = recorded(tmp_path, stored)
    assert (dataset.facts["kind"], dataset.facts["channels"]) == ("frames", 4)
    assert any(f"frames {place}" in note and "4 channels" in note for note in dataset.notes)
    read = steps(dataset)
    assert len(read) == len(STACKS)
    for i in range(len(STACKS)):
        assert (read[f"{tmp_path / 'run.npz'}[obs][{i}]"] == STACKS[i]).all()


def test_frames_of_colour_lie_one_behind_another(tmp_path: Path) -> None:
    stored = RNG.integers(0, 256, (100, 2, 12, 10, 3), dtype=np.uint8)
    dataset = recorded(tmp_path, stored)
    assert dataset.facts["channels"] == 6
    step = steps(dataset)[f"{tmp_path / 'run.npz'}[obs][7]"]
    assert (step[:, :, :3] == stored[7, 0]).all() and (step[:, :, 3:] == stored[7, 1]).all()


def test_a_channel_of_255_alone_is_opacity(tmp_path: Path) -> None:
    opaque = STACKS.copy()
    opaque[..., 3] = 255
    dataset = recorded(tmp_path, opaque)
    assert dataset.facts["kind"] == "image" and any("opacity" in note for note in dataset.notes)
    assert all(step.shape == (12, 10, 3) for step in steps(dataset).values())


def test_colour_with_its_channels_first(tmp_path: Path) -> None:
    dataset = recorded(tmp_path, np.moveaxis(STACKS[..., :3], 3, 1))
    assert dataset.facts["kind"] == "image" and any("channels first" in note for note in dataset.notes)
    assert (steps(dataset)[f"{tmp_path / 'run.npz'}[obs][3]"] == STACKS[3, ..., :3]).all()


def test_other_shapes_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither pictures"):
        recorded(tmp_path, np.zeros((40, 12, 10, 100), np.uint8))
