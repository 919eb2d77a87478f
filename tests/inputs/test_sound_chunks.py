"""A sound in chunks from a file or a pipe: bare samples, and .wav as recorders write it."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import runners
import sounds

from edgeft.core.errors import DataError
from edgeft.inputs import sound_chunks, sound_file, wav_file

pytestmark = pytest.mark.board

SAMPLES = np.random.default_rng(0).integers(-9000, 9000, 5001).astype(np.int16)


class Pipe(io.BytesIO):
    """Gives at most `most` bytes at once, as a pipe does that somebody writes into, and cannot be sought in."""

    def __init__(self, content: bytes, most: int) -> None:
        super().__init__(content)
        self.most = most

    def read1(self, size: int | None = -1) -> bytes:
        return super().read(min(size if size is not None and size >= 0 else self.most, self.most))

    def seek(self, *position: Any) -> int:
        raise OSError("a pipe")

    def tell(self) -> int:
        raise OSError("a pipe")


@pytest.fixture(scope="module")
def hearing(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return runners.load(tmp_path_factory.mktemp("runner"), "sound", "keyword")


def of_run_py(hearing: ModuleType, monkeypatch: pytest.MonkeyPatch, pipe: Any, rate: int = 0) -> tuple[int, np.ndarray]:
    class Stdin:
        buffer = pipe

    monkeypatch.setattr(hearing.sys, "stdin", Stdin)
    rate, chunks = hearing.chunks_of("-", {"rate": 8000}, rate)
    return rate, joined(chunks)


def joined(chunks: Any) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int16), *chunks])


def wav(size: int, total: int, channels: int = 1, before: bytes = b"") -> bytes:
    """A header as recorders write it that do not know the length: `size` and `total` stand in it."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, 8000, 16000 * channels, 2 * channels, 16)
    return b"RIFF" + struct.pack("<I", total) + b"WAVE" + before + form + b"data" + struct.pack("<I", size)


@pytest.mark.parametrize("most", [1, 2, 3, 7, 4096])
@pytest.mark.parametrize(
    "head",
    [
        b"",
        wav(2 * len(SAMPLES), 36 + 2 * len(SAMPLES)),
        wav(2 * len(SAMPLES), 36 + 2 * len(SAMPLES), before=b"LIST" + struct.pack("<I", 5) + b"abcde\0"),
        wav(0x80000000, 0x80000024),  # arecord
        wav(0xFFFFFFFF, 0xFFFFFFFF),  # ffmpeg
        wav(0, 0),
    ],
)
def test_a_pipe_gives_its_samples_whatever_comes_at_once(
    hearing: ModuleType, monkeypatch: pytest.MonkeyPatch, head: bytes, most: int
) -> None:
    content = head + SAMPLES.tobytes()
    chunks = sound_chunks.from_pipe(Pipe(content, most), 8000)
    assert chunks.rate == 8000 and np.array_equal(joined(chunks.samples), SAMPLES)
    rate, samples = of_run_py(hearing, monkeypatch, Pipe(content, most))
    assert rate == 8000 and np.array_equal(samples, SAMPLES)


def test_half_a_sample_at_the_end_is_left_out_and_short_sounds_are_sounds() -> None:
    assert np.array_equal(
        joined(sound_chunks.from_pipe(Pipe(SAMPLES[:3].tobytes() + b"\1", 9), 1).samples), SAMPLES[:3]
    )
    assert not len(joined(sound_chunks.from_pipe(Pipe(b"", 9), 1).samples))


def test_what_lies_behind_the_sound_is_no_sound(hearing: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    content = wav(20, 60) + SAMPLES[:10].tobytes() + b"LIST" + bytes(8)
    assert np.array_equal(joined(sound_chunks.from_pipe(Pipe(content, 64), 1).samples), SAMPLES[:10])
    assert np.array_equal(of_run_py(hearing, monkeypatch, Pipe(content, 64))[1], SAMPLES[:10])


def test_channels_are_averaged(hearing: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    content = wav(0, 0, channels=2) + SAMPLES[:5000].tobytes()
    expected = (SAMPLES[:5000].reshape(-1, 2) / np.float32(32768)).astype(np.float32).mean(axis=1, dtype=np.float64)
    for most in (5, 1000):
        got = joined(sound_chunks.from_pipe(Pipe(content, most), 8000).samples)
        assert np.array_equal(got, expected.astype(np.float32))
        assert np.array_equal(got, of_run_py(hearing, monkeypatch, Pipe(content, most))[1])


def test_rates(hearing: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    bare, head = SAMPLES.tobytes(), wav(0, 0) + SAMPLES.tobytes()
    assert sound_chunks.from_pipe(Pipe(bare, 99), 44_100, 44_100).rate == 44_100
    assert of_run_py(hearing, monkeypatch, Pipe(bare, 99), 44_100)[0] == 44_100
    with pytest.raises(DataError, match="8000 Hz, and --rate says 16000 Hz"):
        sound_chunks.from_pipe(Pipe(head, 99), 16_000, 16_000)
    with pytest.raises(hearing.Stop, match="8000 Hz, and --rate says 16000 Hz"):
        of_run_py(hearing, monkeypatch, Pipe(head, 99), 16_000)


@pytest.mark.parametrize(
    "content",
    [
        b"RIFF\0\0\0\0WAVE",
        b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd",
        wav(4, 40)[:30],
        wav(0, 0)[:20] + b"\x55" + wav(0, 0)[21:],
    ],
)
def test_headers_that_are_none(hearing: ModuleType, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    with pytest.raises(DataError, match="standard input"):
        sound_chunks.from_pipe(Pipe(content, 99), 8000)
    with pytest.raises(hearing.Stop, match="standard input") as caught:
        of_run_py(hearing, monkeypatch, Pipe(content, 99))
    assert caught.value.code == 3


def test_files_give_what_reading_them_gives(tmp_path: Path) -> None:
    path = sounds.write(tmp_path / "a.wav", np.tile(SAMPLES, 20))
    with sound_chunks.opened(str(path), 1) as chunks:
        parts = list(chunks.samples)
        assert chunks.rate == 8000 and len(parts) > 3, "a file is read piece by piece"
    assert np.array_equal(joined(parts), sound_file.read(path)["samples"])
    path.write_bytes(path.read_bytes()[:-3])
    for broken, message in ((path, "truncated"), (tmp_path / "absent.wav", "no such file")):
        with pytest.raises(DataError, match=message), sound_chunks.opened(str(broken), 1):
            pass
    empty = sounds.write(tmp_path / "empty.wav", SAMPLES[:0])
    with pytest.raises(DataError, match="no sound"), sound_chunks.opened(str(empty), 1):
        pass


def test_a_long_file_is_no_reason_to_refuse_a_stream(tmp_path: Path) -> None:
    path = sounds.write(tmp_path / "a.wav", SAMPLES)
    content = bytearray(path.read_bytes())
    size = 2 * (sound_file.MAX_SAMPLES + 8)
    content[4:8], content[40:44] = struct.pack("<I", size + 36), struct.pack("<I", size)
    path.write_bytes(content)
    with path.open("r+b") as file:  # a sparse file
        file.truncate(44 + size)
    with pytest.raises(DataError, match="cut it into clips"):
        sound_file.read(path)
    with sound_chunks.opened(str(path), 1) as chunks:
        assert np.array_equal(next(chunks.samples)[: len(SAMPLES)], SAMPLES)
    assert size < wav_file.ENDLESS
