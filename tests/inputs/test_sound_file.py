"""Sound files: every PCM width by the standard library, other formats by soundfile, and what is broken."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sounds

from edgeft.core.errors import DataError, Missing
from edgeft.inputs import sound_file

pytestmark = pytest.mark.board

WAVE = (np.sin(np.arange(400) / 5) * 20000).astype(np.int16)


def test_16_bit_mono_is_kept_as_it_is(tmp_path: Path) -> None:
    found = sound_file.read(sounds.write(tmp_path / "a.wav", WAVE, 11_025))
    assert found["rate"] == 11_025 and found["samples"].dtype == np.int16
    assert np.array_equal(found["samples"], WAVE)
    assert sound_file.probe(tmp_path / "a.wav") == (11_025, 400)


def test_every_width_means_the_same_sound(tmp_path: Path) -> None:
    wide = WAVE.astype(np.int32) << 16
    stored = {
        1: (WAVE // 256 + 128).astype(np.uint8),
        3: np.ascontiguousarray(wide.view(np.uint8).reshape(-1, 4)[:, 1:]),
        4: wide,
    }
    for width, values in stored.items():
        samples = sound_file.read(sounds.write(tmp_path / f"{width}.wav", values, width=width))["samples"]
        assert samples.dtype == np.float32 and samples.shape == (400,)
        assert np.abs(samples - WAVE / 32768).max() <= (1 / 128 if width == 1 else 1e-7)


def test_channels_are_averaged(tmp_path: Path) -> None:
    both = np.stack([WAVE, np.zeros_like(WAVE)], axis=1)
    samples = sound_file.read(sounds.write(tmp_path / "stereo.wav", both))["samples"]
    assert samples.dtype == np.float32 and np.allclose(samples, WAVE / 65536)


def test_broken_files_are_named(tmp_path: Path) -> None:
    whole = sounds.write(tmp_path / "whole.wav", WAVE).read_bytes()
    broken = {
        "empty.wav": b"",
        "text.wav": b"these are words and no sound at all, whatever the name says",
        "cut.wav": whole[:-101],
        "header.wav": whole[:30],
        "silent.wav": whole[:40] + struct.pack("<I", 0),
        "boast.wav": whole[:40] + struct.pack("<I", 2**27) + whole[44:],
        "long.wav": whole[:40] + struct.pack("<I", 2**31) + whole[44:],
        "rate.wav": whole[:24] + struct.pack("<I", 0) + whole[28:],
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            sound_file.read(tmp_path / name)
    with pytest.raises(DataError, match="truncated"):
        sound_file.read(tmp_path / "cut.wav")
    for path in (tmp_path / "absent.wav", tmp_path):
        with pytest.raises(DataError, match=r"no such|regular"):
            sound_file.read(path)


def test_a_damaged_header_is_an_error_of_ours_or_a_sound(tmp_path: Path) -> None:
    whole, rng, read = sounds.write(tmp_path / "a.wav", WAVE).read_bytes(), np.random.default_rng(0), 0
    for _ in range(400):
        damaged = bytearray(whole[: rng.integers(1, len(whole)) if rng.random() < 0.2 else None])
        for at in rng.integers(0, 44, rng.integers(1, 4)):
            damaged[min(at, len(damaged) - 1)] = rng.choice([0, 1, 3, 255, rng.integers(256)])
        (tmp_path / "b.wav").write_bytes(damaged)
        try:
            found = sound_file.read(tmp_path / "b.wav")
        except (DataError, Missing):
            continue
        read += 1
        assert found["samples"].ndim == 1 and found["samples"].size and 0 < found["rate"] <= sound_file.MAX_RATE
    assert 0 < read < 400


def test_other_formats_are_read_by_soundfile(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "a.flac", WAVE, 8000)
    soundfile.write(tmp_path / "float.wav", WAVE / 32768, 8000, subtype="FLOAT")
    for name in ("a.flac", "float.wav"):
        found = sound_file.read(tmp_path / name)
        assert found["rate"] == 8000 and np.allclose(found["samples"], WAVE / 32768, atol=1e-6)
        assert sound_file.probe(tmp_path / name) == (8000, 400)
    (tmp_path / "words.flac").write_text("no sound")
    for ask in (sound_file.read, sound_file.probe):
        with pytest.raises(DataError, match=r"words\.flac"):
            ask(tmp_path / "words.flac")


def test_without_soundfile_the_command_is_said(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    (tmp_path / "a.flac").write_bytes(b"fLaC")
    with pytest.raises(Missing, match=r"edgeft\[audio\]"):
        sound_file.read(tmp_path / "a.flac")
    assert sound_file.read(sounds.write(tmp_path / "a.wav", WAVE))["rate"] == 8000
