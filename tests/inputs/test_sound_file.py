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
    with pytest.raises(Missing, match=r"\[audio\]"):
        sound_file.read(tmp_path / "a.flac")
    assert sound_file.read(sounds.write(tmp_path / "a.wav", WAVE))["rate"] == 8000


def wav(values: np.ndarray, tag: int = 1, extensible: bool = False, size: int | None = None, rate: int = 8000) -> bytes:
    """A .wav of (T,) or (T, channels) with a header of its own; `size` is stated in place of the true ones."""
    width = 3 if values.dtype == np.uint8 and values.shape[-1] == 3 else values.dtype.itemsize
    channels = values.shape[1] if values.ndim == 2 and width != 3 else 1
    stored = values.tobytes()
    form = struct.pack("<HHIIHH", 0xFFFE if extensible else tag, channels, rate, 0, channels * width, 8 * width)
    if extensible:
        guid = struct.pack("<H", tag) + bytes.fromhex("000000001000800000aa00389b71")
        form += struct.pack("<HHI", 22, 8 * width, 0) + guid
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"LIST" + struct.pack("<I", 3) + b"abc\0"
    total, stated = (4 + len(chunks) + 8 + len(stored), len(stored)) if size is None else (size, size)
    return b"RIFF" + struct.pack("<I", total) + b"WAVE" + chunks + b"data" + struct.pack("<I", stated) + stored


def headers() -> dict[str, bytes]:
    wide = (WAVE.astype(np.int32) << 16).view(np.uint8).reshape(-1, 4)[:, 1:]
    return {
        "extensible.wav": wav(WAVE, extensible=True),
        "extensible24.wav": wav(np.ascontiguousarray(wide), extensible=True),
        "float.wav": wav((WAVE / 32768).astype(np.float32), tag=3),
        "double.wav": wav(WAVE / 32768, tag=3, extensible=True),
        "ffmpeg.wav": wav(WAVE, size=0xFFFFFFFF),
        "sox.wav": wav(WAVE, size=0x7FFFF000),
        "none.wav": wav(WAVE, size=0),
        "stereo.wav": wav(np.stack([WAVE, WAVE], 1), size=0xFFFFFFFF) + b"\1",
    }


@pytest.mark.parametrize("name", headers())
def test_headers_of_the_field_are_read_by_the_library_and_by_run_py(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Extensible ones, floating point, and those of pipes, whose sizes are not known; without soundfile."""
    from edgeft.inputs import run_clip

    monkeypatch.setitem(sys.modules, "soundfile", None)
    path = tmp_path / name
    path.write_bytes(headers()[name])
    raw, board = sound_file.read(path), run_clip.read(str(path))
    assert raw["rate"] == board["rate"] == 8000 and sound_file.probe(path) == (8000, 400)
    assert raw["samples"].dtype == board["samples"].dtype and np.array_equal(raw["samples"], board["samples"])
    scale = 1 if raw["samples"].dtype == np.float32 else 32768
    assert np.abs(raw["samples"] / scale - WAVE / 32768).max() < 1e-6


@pytest.mark.parametrize("content", [wav(WAVE)[:-9], wav(WAVE)[:50], b"RIFF", b"words", wav(WAVE, size=2**27)])
def test_broken_files_are_named_by_run_py_too(tmp_path: Path, content: bytes) -> None:
    from edgeft.core.runner import Stop
    from edgeft.inputs import run_clip

    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(Stop, match=r"a\.wav"):
        run_clip.read(str(tmp_path / "a.wav"))
    with pytest.raises(DataError, match=r"a\.wav"):
        sound_file.read(tmp_path / "a.wav")


def test_run_py_reads_other_files_with_soundfile_or_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeft.core.runner import Stop
    from edgeft.inputs import run_clip

    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "a.flac", np.stack([WAVE, WAVE // 2], 1), 11_025)
    raw, board = sound_file.read(tmp_path / "a.flac"), run_clip.read(str(tmp_path / "a.flac"))
    assert np.array_equal(raw["samples"], board["samples"]) and raw["rate"] == board["rate"]
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(Stop, match="pip install soundfile"):
        run_clip.read(str(tmp_path / "a.flac"))
