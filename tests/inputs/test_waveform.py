"""Waveforms for models of wav2vec2's kind: a fixed length, the package's numbers, the same in run.py."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import runners

from edgeft.core.errors import BundleError, DataError, RecipeError
from edgeft.inputs import waveform

SPEC: dict[str, Any] = {
    "kind": "waveform",
    "rate": 16_000,
    "length": 8000,
    "place": "middle",
    "normalize": True,
    "input": "input_values",
}


def clip(count: int, rate: int = 16_000, kind: str = "int16") -> dict[str, Any]:
    values = np.random.default_rng(count).normal(0.05, 0.2, count).clip(-1, 1)
    samples = np.round(32767 * values).astype(np.int16) if kind == "int16" else values.astype(np.float32)
    return {"samples": samples, "rate": rate}


@pytest.mark.board
@pytest.mark.parametrize("place", ["middle", "start"])
def test_the_clip_has_mean_0_and_variance_1_and_zeros_around_it(place: str) -> None:
    (values,) = waveform.preprocess(clip(3000), {**SPEC, "place": place})["input_values"]
    assert values.shape == (8000,) and values.dtype == np.float32
    start = 2500 if place == "middle" else 0
    inner = values[start : start + 3000].astype(np.float64)
    assert abs(inner.mean()) < 1e-6 and inner.var() == pytest.approx(1, abs=1e-4)
    assert not np.delete(values, np.arange(start, start + 3000)).any()
    (plain,) = waveform.preprocess(clip(3000), {**SPEC, "place": place, "normalize": False})["input_values"]
    assert np.array_equal(plain[start : start + 3000], clip(3000)["samples"] / np.float32(32768))


def test_the_numbers_are_those_of_the_package() -> None:
    package = pytest.importorskip("transformers", reason="compares with transformers")
    raw = clip(8000, kind="float32")
    theirs = package.Wav2Vec2FeatureExtractor(do_normalize=True)(raw["samples"], sampling_rate=16_000)
    ours = waveform.preprocess(raw, SPEC)["input_values"][0]
    assert np.abs(ours - theirs["input_values"][0]).max() < 1e-4


@pytest.mark.board
@pytest.mark.parametrize(("count", "rate"), [(3000, 16_000), (20_000, 16_000), (2000, 8000), (30_000, 44_100)])
@pytest.mark.parametrize("place", ["middle", "start"])
def test_run_py_makes_the_same_bits(tmp_path: Path, count: int, rate: int, place: str) -> None:
    runner = runners.load(tmp_path, "waveform", "keyword")
    spec, raw = {**SPEC, "place": place}, clip(count, rate)
    if place == "start" and count / rate > 0.5:
        with pytest.raises(DataError, match="hears at most"):
            waveform.preprocess(raw, spec)
        with pytest.raises(runner.Stop, match="hears at most"):
            runner.feeds(raw, spec)
        return
    expected = waveform.preprocess(raw, spec)["input_values"]
    assert np.array_equal(runner.feeds(raw, spec)["input_values"], expected)
    assert runner.INPUTS and runner.tolerance(spec) == 1e-4


@pytest.mark.board
def test_the_table_takes_the_models_rate_and_the_recipes_seconds() -> None:
    said: list[str] = []
    defaults = {"kind": "waveform", "rate": 16_000, "normalize": False, "input": "input_values"}
    data = SimpleNamespace(sound={"seconds": 2.0}, mean=())
    table = waveform.configure(data, defaults, {"rate": 8000, "seconds": 3.0}, said.append)
    assert table == {**SPEC, "length": 32_000, "normalize": False}
    assert "hold nothing above 4000 Hz" in said[0] and "only the middle 2 s" in said[1]
    with pytest.raises(RecipeError, match="has 'mels', which belongs to features"):
        waveform.configure(SimpleNamespace(sound={"mels": 40}, mean=()), defaults, {}, print)
    with pytest.raises(RecipeError, match="reads no waveform"):
        waveform.configure(data, {"kind": "image"}, {}, print)
    with pytest.raises(RecipeError, match=r"preprocess\.length"):
        waveform.configure(SimpleNamespace(sound={"seconds": 0.0}, mean=()), defaults, {}, print)


@pytest.mark.board
@pytest.mark.parametrize(
    "change", [{"rate": 0}, {"length": 2.5}, {"place": "end"}, {"normalize": 1}, {"kind": "sound"}]
)
def test_a_table_that_cannot_be_followed_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BundleError):
        waveform.preprocess(clip(100), {**SPEC, **change})
