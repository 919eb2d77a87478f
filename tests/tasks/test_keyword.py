"""Keywords: judged as classes, fed by sounds, drawn as a waveform."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sounds

from edgeft import tasks
from edgeft.config import recipe
from edgeft.core.errors import BundleError
from edgeft.inputs import sound
from edgeft.tasks.classify import decoding as classify
from edgeft.tasks.keyword import decoding as keyword

pytestmark = pytest.mark.board

LABELS = ("no", "yes")


def test_the_task_is_found_by_name() -> None:
    record = tasks.get("keyword")
    assert record.name == "keyword" and record.preprocess is keyword.preprocess and record.measure is keyword.measure


def test_logits_are_judged_as_classes() -> None:
    outputs, targets = {"logits": np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]])}, np.array([0, 1, 1])
    assert keyword.metric(outputs, targets) == classify.metric(outputs, targets) == pytest.approx(2 / 3)
    assert [row["label"] for row in keyword.decode(outputs, LABELS)] == ["no", "yes", "no"]


def test_a_file_becomes_features(tmp_path: Path) -> None:
    path = sounds.write(tmp_path / "a.wav", sounds.clip("rise", np.random.default_rng(0)))
    spec = keyword.configure(recipe.Data(), {}, {"kind": "sound", "rate": 8000}, print)
    raw = keyword.read(str(path), spec)
    spec = keyword.measure(spec, [raw])
    assert keyword.preprocess(raw, spec)["x"].shape == (1, 1, 49, 10)
    assert keyword.draw(raw, {})["image"].dtype == np.uint8
    with pytest.raises(BundleError, match=r"preprocess\.kind"):
        keyword.preprocess(raw, {"kind": "vector"})


def test_features_that_come_as_pictures() -> None:
    facts = {"kind": "image"}
    table = {"kind": "image", "size": [4, 3], "channels": 1, "resize": "nearest", "mean": [1.0], "std": [2.0]}
    table |= {"scale": 1.0, "layout": "NHWC", "input": "x"}
    spec = keyword.measure(keyword.configure(recipe.Data(), {**table, "pretrained": False}, facts, print), [])
    assert keyword.configure(recipe.Data(format="npz"), {**table, "pretrained": False}, {}, print)["kind"] == "image"
    raw = np.arange(12, dtype=np.uint8).reshape(4, 3)
    assert np.array_equal(keyword.preprocess(raw, spec)["x"][0, :, :, 0], (raw - np.float32(1)) / 2)
    assert sound.DEFAULTS["coefficients"] == 10 and keyword.draw(raw, {})["image"] is raw
