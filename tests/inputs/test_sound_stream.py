"""Features of a sound that comes in chunks: those of the whole sound bit for bit, here and in run.py."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import draws
import numpy as np
import pytest
import runners
from hypothesis import given
from hypothesis import strategies as st

from edgeft.config.recipe import Data
from edgeft.core.errors import BundleError, DataError, UsageError
from edgeft.inputs import sound, sound_stream
from edgeft.inputs.resampling import resample, resample_chunks

pytestmark = pytest.mark.board

RATE = 8000


def table(**stated: float) -> dict[str, Any]:
    """A table of half a second with a mean and a std of its own for every feature."""
    keys = {"seconds": 0.5, "level_floor": 1e-3, **stated}
    spec = sound.configure(Data(sound=keys), {}, {"rate": RATE}, lambda text: None)
    rng = np.random.default_rng(5)
    count = len(spec["mean"])
    return {**spec, "mean": rng.normal(size=count).tolist(), "std": rng.uniform(1, 2, count).tolist()}


TABLES = (
    table(),
    table(level_floor=0),
    table(coefficients=0, mels=24, hop=0.03),
    {**table(hop=0.05, window=0.02), "layout": "NHWC"},  # frames with samples between them
)


def voice(seed: int, count: int, kind: str) -> np.ndarray:
    """int16 (count,): noise that comes and goes, silence, or noise far beyond full scale."""
    rng = np.random.default_rng(seed)
    loud = {"speech": 3000 * np.sin(np.arange(count) / 900) ** 2, "silence": 0.0, "clipped": 1e6}[kind]
    return np.clip(np.round(loud * rng.standard_normal(count)), -32768, 32767).astype(np.int16)


def cut(samples: np.ndarray, seed: int, most: int) -> list[np.ndarray]:
    """`samples` in chunks of 0 to `most` samples at random, or of one each where `most` is 1."""
    if most == 1:
        return list(samples.reshape(-1, 1))
    sizes = np.random.default_rng(seed).integers(0, most + 1, len(samples))
    ends = np.cumsum(sizes)
    return np.split(samples, ends[ends < len(samples)])


@pytest.fixture(scope="module")
def hearing(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return runners.load(tmp_path_factory.mktemp("runner"), "sound", "keyword")


@given(
    st.sampled_from(TABLES),
    st.integers(0, 2**32 - 1),
    st.integers(1, 7000),
    st.sampled_from([1, 7, 160, 333, 1280, 9999]),
    st.sampled_from(["speech", "silence", "clipped"]),
    st.sampled_from([0.02, 0.1, 0.25]),
)
@draws.draws(25)
def test_every_window_is_that_of_the_whole_sound_bit_for_bit(
    hearing: ModuleType, spec: dict[str, Any], seed: int, count: int, most: int, kind: str, step: float
) -> None:
    samples = voice(seed, count, kind)
    windows = list(sound_stream.windows(cut(samples, seed, most), RATE, spec, step))
    settings = sound.check(spec)
    stride = sound_stream.hops(step, settings) * spec["hop"]
    before = spec["length"] // 2
    padded = np.concatenate([np.zeros(before, np.int16), samples, np.zeros(2 * spec["length"], np.int16)])
    used = spec["window"] + (settings.frames - 1) * spec["hop"]
    assert len(windows) == 1 + (count + spec["length"] - used) // stride
    for i, (seconds, feeds) in enumerate(windows):
        clip = padded[i * stride : i * stride + spec["length"]]
        assert seconds == pytest.approx(i * stride / RATE)
        assert feeds["x"].tobytes() == sound.preprocess({"samples": clip, "rate": RATE}, spec)["x"].tobytes()

    theirs = list(hearing.windows(cut(samples, seed + 1, most), RATE, spec, step))
    assert [seconds for seconds, _ in theirs] == [seconds for seconds, _ in windows]
    for (_, ours), (_, feeds) in zip(theirs, windows):
        assert ours["x"].tobytes() == feeds["x"].tobytes() and ours["x"].shape == feeds["x"].shape


@given(
    st.sampled_from([8000, 11_025]),
    st.integers(0, 2**32 - 1),
    st.integers(1, 5000),
    st.sampled_from([1, 7, 333, 9999]),
    st.sampled_from([1, 4, 9]),
)
@draws.draws(25)
def test_blocks_are_the_features_of_the_whole_sound_bit_for_bit(
    hearing: ModuleType, rate: int, seed: int, count: int, most: int, frames: int
) -> None:
    spec = {**table(coefficients=0, mels=24, level_floor=0, seconds=1.0), "place": "start"}
    samples = voice(seed, count, "speech")
    blocks = list(sound_stream.blocks(cut(samples, seed, most), rate, spec, frames, 5))
    features = sound.preprocess({"samples": samples, "rate": rate}, spec)["x"]
    joined = np.concatenate(blocks, axis=2)
    assert all(block.shape == (1, 1, frames, 24) for block in blocks)
    heard = -(-count * RATE // rate // spec["hop"])
    assert joined.shape[2] >= heard + 5 and heard <= features.shape[2]
    common = min(joined.shape[2], features.shape[2])
    assert joined[:, :, :common].tobytes() == features[:, :, :common].tobytes()
    theirs = list(hearing.blocks(cut(samples, seed + 1, most), rate, spec, frames, 5))
    assert [block.tobytes() for block in theirs] == [block.tobytes() for block in blocks]


@pytest.mark.parametrize("rate", [8000, 16_000])
def test_a_frame_has_the_same_bits_whatever_frames_stand_beside_it(hearing: ModuleType, rate: int) -> None:
    """In float64: what features are rounded to hides most differences. BLAS sums a single row in another order."""
    spec = sound.configure(Data(sound={"coefficients": 0}), {}, {"rate": rate}, print)
    settings = sound.check(spec)
    frames = np.random.default_rng(rate).standard_normal((49, settings.window))
    for energies, table_or_spec in ((sound.energies, settings), (hearing.energies, spec)):
        values, levels = energies(frames, table_or_spec)
        for start, count in ((0, 1), (3, 1), (48, 1), (7, 2), (11, 3), (20, 17)):
            part, level = energies(frames[start : start + count].copy(), table_or_spec)
            assert part.tobytes() == values[start : start + count].tobytes()
            assert level.tobytes() == levels[start : start + count].tobytes()


@given(
    st.sampled_from([(44_100, 16_000), (8000, 16_000), (16_000, 8000), (11_025, 8000), (8000, 8000), (48_000, 8000)]),
    st.integers(0, 2**32 - 1),
    st.integers(1, 3000),
    st.sampled_from([1, 7, 441, 5000]),
)
@draws.draws(25)
def test_a_resampled_stream_is_the_resampled_sound(
    hearing: ModuleType, rates: tuple[int, int], seed: int, count: int, most: int
) -> None:
    samples = np.random.default_rng(seed).standard_normal(count)
    expected = resample(samples, *rates, 0, -(-count * rates[1] // rates[0]))
    for chunks in (resample_chunks, hearing.at_rate):
        got = np.concatenate(list(chunks(cut(samples, seed, most), *rates)))
        assert got.tobytes() == expected.tobytes()


def test_a_window_comes_as_soon_as_its_samples_are_there() -> None:
    """And no earlier: a microphone's answer is late by half a window and what is left of a chunk."""
    spec = TABLES[0]
    samples = voice(0, 3 * RATE, "speech")
    taken = 0

    def microphone() -> Any:
        nonlocal taken
        for at in range(0, len(samples), 160):
            taken = at + 160
            yield samples[at : at + 160]

    for seconds, _ in sound_stream.windows(microphone(), RATE, spec, 0.1):
        needed = round(seconds * RATE) + spec["length"] - spec["length"] // 2
        assert taken <= min(needed + 160, len(samples))


def test_frames_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []
    energies = sound.energies
    monkeypatch.setattr(sound, "energies", lambda frames, spec: (rows.append(len(frames)), energies(frames, spec))[1])
    spec, samples = TABLES[0], voice(0, 2 * RATE, "speech")
    assert len(list(sound_stream.windows(cut(samples, 0, 300), RATE, spec, 0.02))) > 90
    assert sum(rows) == 1 + (len(samples) + spec["length"] - spec["window"]) // spec["hop"]


def test_what_is_no_stream_is_refused(hearing: ModuleType) -> None:
    chunks = [voice(0, 100, "speech")]
    cases: list[tuple[Any, int, dict[str, Any], float, type[Exception], str]] = [
        ([], RATE, TABLES[0], 0.1, DataError, "holds no sound"),
        ([np.zeros(0, np.int16)], RATE, TABLES[0], 0.1, DataError, "holds no sound"),
        (chunks, 0, TABLES[0], 0.1, DataError, "rate of 0 Hz"),
        (chunks, 768_001, TABLES[0], 0.1, DataError, "not possible"),
        ([np.zeros((2, 3), np.int16)], RATE, TABLES[0], 0.1, DataError, "expected int16 or float32"),
        ([np.array([np.nan], np.float32)], RATE, TABLES[0], 0.1, DataError, "not finite"),
        (chunks, RATE, TABLES[0], 0.6, UsageError, "leave out sound"),
        (chunks, RATE, {**TABLES[0], "hop": 0}, 0.1, BundleError, "hop"),
    ]
    for sounds, rate, spec, step, error, message in cases:
        with pytest.raises(error, match=message):
            list(sound_stream.windows(sounds, rate, spec, step))
    for sounds, rate, step, code in (([], RATE, 0.1, 3), (chunks, RATE, 0.6, 2), (chunks, -8000, 0.1, 3)):
        with pytest.raises(hearing.Stop) as caught:
            list(hearing.windows(sounds, rate, TABLES[0], step))
        assert caught.value.code == code


def test_a_float_stream_is_the_int16_one(tmp_path: Path) -> None:
    samples = voice(1, 4000, "speech")
    floats = samples.astype(np.float32) / np.float32(32768)
    for (_, ours), (_, theirs) in zip(*(sound_stream.windows([x], RATE, TABLES[0], 0.1) for x in (samples, floats))):
        assert np.array_equal(ours["x"], theirs["x"])
