"""Log mel spectrograms of Whisper: the package's numbers, the same in run.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runners

from edgeft.core.errors import BundleError, DataError
from edgeft.inputs import log_mel

SPEC: dict[str, Any] = {
    "kind": "log_mel", "input": "input_features", "rate": 16_000, "length": 32_000, "window": 400, "hop": 160,
    "mels": 80,
}  # fmt: skip


def clip(count: int, rate: int = 16_000, kind: str = "float32") -> dict[str, Any]:
    rng = np.random.default_rng(count)
    swell = np.sin(np.arange(count) / count * np.pi) * np.sin(np.arange(count) ** 1.3 / 40)
    values = (0.4 * swell + 0.02 * rng.standard_normal(count)).clip(-1, 1)
    samples = np.round(32767 * values).astype(np.int16) if kind == "int16" else values.astype(np.float32)
    return {"samples": samples, "rate": rate}


@pytest.mark.parametrize(
    ("mels", "seconds", "count"), [(80, 30, 70_000), (128, 30, 480_000), (80, 2, 32_000), (128, 5, 1)]
)
def test_the_numbers_are_those_of_the_package(mels: int, seconds: int, count: int) -> None:
    package = pytest.importorskip("transformers", reason="compares with transformers")
    raw, extractor = clip(count), package.WhisperFeatureExtractor(feature_size=mels)
    padded = {"max_length": 16_000 * seconds, "sampling_rate": 16_000, "return_tensors": "np"}
    theirs = extractor(raw["samples"], **padded).input_features
    ours = log_mel.preprocess(raw, {**SPEC, "mels": mels, "length": 16_000 * seconds})["input_features"]
    assert ours.shape == theirs.shape == (1, mels, 100 * seconds) and ours.dtype == np.float32
    assert np.abs(ours - theirs).max() < 1e-4, "torch computes them in float32"
    zeros = np.pad(raw["samples"], (0, 16_000 * seconds - count))
    exact = extractor._np_extract_fbank_features(zeros[None], "cpu")
    assert np.abs(ours - exact).max() < 1e-6


@pytest.mark.board
@pytest.mark.parametrize(("count", "rate"), [(3000, 16_000), (32_000, 16_000), (2000, 8000), (50_000, 44_100)])
@pytest.mark.parametrize("kind", ["int16", "float32"])
def test_run_py_makes_the_same_bits(tmp_path: Path, count: int, rate: int, kind: str) -> None:
    runner: Any = runners.load(tmp_path, "log_mel", "speech")
    raw = clip(count, rate, kind)
    assert np.array_equal(runner.feeds(raw, SPEC)["input_features"], log_mel.preprocess(raw, SPEC)["input_features"])


@pytest.mark.board
def test_silence_and_a_recording_that_is_too_long() -> None:
    silence = log_mel.preprocess({"samples": np.zeros(100, np.int16), "rate": 16_000}, SPEC)["input_features"]
    assert np.all(silence == silence[0, 0, 0]) and silence[0, 0, 0] == np.float32(-1.5)
    with pytest.raises(DataError, match=r"hears at most 2\.00 s"):
        log_mel.preprocess(clip(32_001), SPEC)


@pytest.mark.board
@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"mels": 0}, "preprocess.mels"),
        ({"hop": 1.5}, "preprocess.hop"),
        ({"length": 300}, "preprocess.length"),
        ({"rate": None}, "preprocess.rate"),
        ({"kind": "sound"}, "preprocess.kind"),
        ({"input": ""}, "preprocess.kind"),
    ],
)
def test_a_table_that_cannot_be_followed_is_named(change: dict[str, Any], where: str) -> None:
    with pytest.raises(BundleError) as caught:
        log_mel.preprocess(clip(100), {**SPEC, **change})
    assert caught.value.where == where
