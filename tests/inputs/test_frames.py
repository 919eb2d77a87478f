"""Stacks of frames as a graph's input: each frame as a gray picture of its own would be, here and in run.py."""

from __future__ import annotations

import numpy as np
import pytest

from edgeft.core.errors import BundleError, DataError, RecipeError
from edgeft.core.runner import Stop
from edgeft.inputs import frames, image, run_frames

RNG = np.random.default_rng(0)


def table(channels: int = 4, size: tuple[int, int] = (20, 16)) -> dict[str, object]:
    shown = {"size": list(size), "channels": channels, "resize": "bilinear", "scale": 255.0, "layout": "NCHW"}
    numbers = np.linspace(0.2, 0.6, channels).tolist()
    return {"kind": "frames", **shown, "mean": numbers, "std": numbers, "input": "x"}


@pytest.mark.parametrize("shape", [(20, 16), (33, 41)])
def test_a_stack_is_its_frames_one_by_one(shape: tuple[int, int]) -> None:
    stack = RNG.integers(0, 256, (*shape, 4), dtype=np.uint8)
    whole = frames.preprocess(stack, table())["x"]
    assert whole.shape == (1, 4, 20, 16) and whole.dtype == np.float32

    for i in range(4):
        alone = {**table(1), "kind": "image", "mean": table()["mean"][i : i + 1], "std": table()["std"][i : i + 1]}
        assert (image.preprocess(stack[:, :, i], alone)["x"][0, 0] == whole[0, i]).all()

    assert run_frames.feeds(stack, table())["x"].tobytes() == whole.tobytes()


def test_what_is_no_stack_is_named(tmp_path) -> None:
    for wrong in (np.zeros((20, 16, 3), np.uint8), np.zeros((20, 16), np.uint8), np.zeros((20, 16, 4), np.float32)):
        with pytest.raises(DataError, match="expected uint8"):
            frames.preprocess(wrong, table())
        with pytest.raises(Stop, match="expected a stack"):
            run_frames.feeds(wrong, table())

    with pytest.raises(BundleError, match="channels"):
        frames.preprocess(np.zeros((20, 16, 4), np.uint8), {**table(), "channels": 0})
    with pytest.raises(DataError, match="no picture file"):
        frames.read(tmp_path / "a.png")
    (tmp_path / "a.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match="not readable"):
        frames.read(tmp_path / "a.npy")


def test_a_model_of_other_channels_is_named() -> None:
    from edgeft.config.recipe import Data

    defaults = {**table(3), "kind": "image", "pretrained": False}
    with pytest.raises(RecipeError, match="takes 3 channels, and an observation is a stack of 4"):
        frames.configure(Data(), defaults, {"channels": 4}, print)
