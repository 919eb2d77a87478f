"""samples.npz is read without pickle, within the bounds that its headers state, whatever bytes it consists of."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_bundle

from edgeft.bundle import reader as bundle
from edgeft.core import npz
from edgeft.core.errors import BundleError


def _npz(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def _npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def test_npz_reads_what_numpy_writes(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {
        "raw_0": np.arange(12, dtype=np.uint8).reshape(3, 4),
        "input/x": np.asfortranarray(np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)),
        "none": np.zeros((0, 3), np.int64),
        "words": np.array(["dark", "größer"]),
        "one": np.array(2.5),
    }
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    read = npz.read(tmp_path / "a.npz")
    assert set(read) == set(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        assert np.array_equal(read[name], array)
        assert read[name].shape == array.shape


def test_a_pickle_in_the_samples_is_never_loaded(tmp_path: Path) -> None:
    flag = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple:
            return Path.touch, (flag,)

    np.savez(tmp_path / "samples.npz", raw_0=np.array([Trap()], dtype=object))
    with pytest.raises(BundleError, match="pickle"):
        npz.read(tmp_path / "samples.npz")
    assert not flag.exists()


def test_a_bundle_with_a_pickle_cannot_be_written(tmp_path: Path) -> None:
    tiny_bundle.usable("litert")
    manifest = tiny_bundle.stage(tmp_path / "staging", "litert")
    np.savez(tmp_path / "staging" / "samples.npz", raw_0=np.array([{}], dtype=object))
    with pytest.raises(BundleError, match="pickle"):
        bundle.write(tmp_path / "staging", manifest)


def test_a_small_file_that_unpacks_to_much(tmp_path: Path) -> None:
    size = 40 << 20
    data = _npy(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size},)}}", bytes(size))
    path = _npz(tmp_path / "bomb.npz", {"raw_0.npy": data})
    assert path.stat().st_size < 1 << 20
    with pytest.raises(BundleError, match="unpacks to"):
        npz.read(path, limit=32 << 20)


@pytest.mark.parametrize("shape", ["(10**0, 1000000000000)", "(1000000000000,)", "(-1,)", "(3,)", "(1,)"])
def test_a_header_that_claims_another_size(tmp_path: Path, shape: str) -> None:
    data = _npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}", b"\0" * 8)
    with pytest.raises(BundleError):
        npz.read(_npz(tmp_path / "a.npz", {"raw_0.npy": data}))


@pytest.mark.parametrize("cut", [1, 10, 100, -1, -30])
def test_a_cut_archive(tmp_path: Path, cut: int) -> None:
    np.savez(tmp_path / "a.npz", raw_0=np.zeros(100))
    data = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(data[:cut])
    with pytest.raises(BundleError):
        npz.read(tmp_path / "a.npz")


def test_every_flipped_byte_is_an_array_or_an_error(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, raw_0=np.arange(6, dtype=np.uint8))
    whole, target = buffer.getvalue(), tmp_path / "a.npz"
    for at in range(len(whole)):
        target.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        try:
            arrays = npz.read(target)
        except BundleError:
            continue
        assert all(array.size <= 6 for array in arrays.values())
