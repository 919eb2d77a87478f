"""The same recording in two splits is found, however it was stored; two recordings of one word are not taken for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sounds

from edgeft import data
from edgeft.config import recipe
from edgeft.data import checks, similar_sounds
from edgeft.data.samples import Dataset, Split
from edgeft.inputs import sound_file
from edgeft.inputs.resampling import resample

RATE = 8000


class Clips:
    """A pool of raw sounds."""

    def __init__(self, name: str, raws: list[dict[str, Any]]) -> None:
        self.name, self.raws = name, raws

    def __len__(self) -> int:
        return len(self.raws)

    def raw(self, i: int) -> dict[str, Any]:
        return self.raws[i]

    def source(self, i: int) -> str:
        return f"{self.name}/{i}.wav"


def voice(seed: int) -> np.ndarray:
    """int16 (T,): syllables, harmonics of a wandering pitch under changing formants, as a voice has them."""
    rng = np.random.default_rng(seed)
    n = int(0.6 * RATE)
    knots = np.linspace(0, n, 6)
    pitch = np.interp(np.arange(n), knots, rng.uniform(90, 220, 6))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    formant = np.interp(np.arange(n), knots, rng.uniform(300, 1800, 6))
    wave = sum(np.exp(-(((k * pitch - formant) / 300) ** 2)) * np.sin(k * phase) for k in range(1, 16))
    loud = np.interp(np.arange(n), knots, rng.uniform(0.2, 1, 6)) * np.hanning(n)
    wave = loud * wave + 0.003 * rng.standard_normal(n)
    return np.round(16000 * wave / np.abs(wave).max()).astype(np.int16)


def split(name: str, clips: list[Any]) -> Split:
    raws = [clip if isinstance(clip, dict) else {"samples": clip, "rate": RATE} for clip in clips]
    return Split(name, Clips(name, raws), np.arange(len(raws)), np.arange(len(raws)) % 2)


def floats(samples: np.ndarray) -> np.ndarray:
    return samples.astype(np.float64) / 32768


def louder(samples: np.ndarray) -> dict[str, Any]:
    return {"samples": (0.3 * floats(samples)).astype(np.float32), "rate": RATE}


def later(samples: np.ndarray) -> dict[str, Any]:
    return {"samples": np.concatenate([np.zeros(700, np.int16), samples]), "rate": RATE}


def cut(samples: np.ndarray) -> dict[str, Any]:
    return {"samples": samples[600:-300], "rate": RATE}


def upside_down(samples: np.ndarray) -> dict[str, Any]:
    return {"samples": -samples, "rate": RATE}


def another_rate(samples: np.ndarray) -> dict[str, Any]:
    made = resample(floats(samples), RATE, 16000, 0, 2 * len(samples))
    return {"samples": made.astype(np.float32), "rate": 16000}


def noisy(samples: np.ndarray) -> dict[str, Any]:
    noise = np.random.default_rng(5).standard_normal(len(samples)) * samples.std() * 0.1
    return {"samples": (floats(samples) + noise / 32768).astype(np.float32), "rate": RATE}


@pytest.mark.parametrize("change", [louder, later, cut, upside_down, another_rate, noisy])
def test_a_changed_copy_across_splits_is_found(change: Any) -> None:
    train, test = [voice(seed) for seed in range(12)], [voice(seed) for seed in range(100, 106)]
    clean = Dataset("test", ("a", "b"), {"train": split("train", train), "test": split("test", test)})
    assert data.check(clean) == []
    test[4] = change(train[7])
    lines = data.check(Dataset("test", ("a", "b"), {"train": split("train", train), "test": split("test", test)}))
    assert len(lines) == 1
    assert lines[0].startswith("possible leak: 1 of 6 test samples sound almost the same as one in train")
    assert "test/4.wav" in lines[0] and "train/7.wav" in lines[0]


@pytest.mark.parametrize(("kind", "suffix"), [("MPEG_LAYER_III", "mp3"), ("VORBIS", "ogg"), ("PCM_U8", "wav")])
def test_an_encoded_copy_in_a_folder_is_found(tmp_path: Path, kind: str, suffix: str) -> None:
    soundfile = pytest.importorskip("soundfile", reason="writes what is no plain .wav")
    form = {"mp3": "MP3", "ogg": "OGG", "wav": "WAV"}[suffix]
    if kind not in soundfile.available_subtypes(form):
        pytest.skip(f"this libsndfile writes no {kind}")
    for name, seeds in (("train", range(8)), ("test", range(50, 56))):
        for seed in seeds:
            sounds.write(tmp_path / name / "ab"[seed % 2] / f"{seed}.wav", voice(seed))
    spec = recipe.Data(format="wav-folder", path=str(tmp_path))
    assert not [line for line in data.check(data.open(spec)) if "leak" in line]
    soundfile.write(tmp_path / "test" / "b" / f"copy.{suffix}", floats(voice(3)), RATE, subtype=kind, format=form)
    found = [line for line in data.check(data.open(spec)) if "leak" in line]
    assert len(found) == 1 and f"copy.{suffix}" in found[0] and "3.wav" in found[0]


def test_silence_and_short_clips_are_like_nothing() -> None:
    nothing, click = np.zeros(4000, np.int16), np.array([9000], np.int16)
    for clip in (nothing, click):
        wave = similar_sounds.waveform({"samples": clip, "rate": RATE})
        assert np.isfinite(similar_sounds.envelope(wave)).all()
    silent = similar_sounds.waveform({"samples": nothing, "rate": RATE})
    assert similar_sounds.correlation(silent, silent) == 0.0
    lines = data.check(
        Dataset(
            "test",
            ("a", "b"),
            {"train": split("train", [nothing, click]), "test": split("test", [voice(1), nothing[:99]])},
        )
    )
    assert lines == []


def near(first: Split, second: Split, **options: Any) -> tuple[list[tuple[int, int]], int]:
    known = (similar_sounds.hashes(first), similar_sounds.hashes(second))
    return similar_sounds.near_duplicates(first, second, known, **options)


def test_a_look_that_was_cut_short_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = split("train", [voice(1)] * 4), split("test", [louder(voice(1))] * 4)
    found, looked = near(train, test, limit=2)
    assert looked == 2 and len(found) == 2
    real = similar_sounds.near_duplicates
    monkeypatch.setattr(similar_sounds, "near_duplicates", lambda *a, skip: real(*a, skip=skip, limit=2))
    limits: list[str] = []
    checks._leaks(train, test, {}, limits)
    assert "in 2 of 4 test samples only" in limits[-1]


@pytest.mark.slow
def test_spoken_digits_are_told_from_their_copies() -> None:
    """600 recordings against 200 of the same four voices and ten words: no false alarm, and the copies are found."""
    import os

    root = Path(os.environ.get("EDGEFT_DATA", "")) / "05_speech" / "fsdd"
    if not os.environ.get("EDGEFT_DATA") or not root.is_dir():
        pytest.skip("EDGEFT_DATA with the spoken digits is not here")
    clips = {name: [sound_file.read(p) for p in sorted((root / name).glob("*.wav"))] for name in ("train", "test")}
    train, test = (split(name, clips[name]) for name in ("train", "test"))
    assert near(train, test) == ([], len(test))
    copies = [louder(raw["samples"]) for raw in clips["train"][::20]]
    found, _ = near(train, split("test", copies))
    assert [i for i, _ in found] == list(range(0, len(train), 20))
