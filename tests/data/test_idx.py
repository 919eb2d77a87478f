"""MNIST and its kin in the files in which they are published."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError
from edgeft.data.understand import understand

RNG = np.random.default_rng(0)


def packed(array: np.ndarray) -> bytes:
    head = bytes((0, 0, 8, array.ndim)) + b"".join(side.to_bytes(4, "big") for side in array.shape)
    return head + array.tobytes()


def written(root: Path, prefix: str = "", form: str = "{}-idx{}-ubyte", zipped: bool = True) -> dict[str, np.ndarray]:
    """30 training pictures and 10 of `t10k` of 6 x 8 pixels with labels 0 to 2."""
    root.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for split, count in (("train", 30), ("t10k", 10)):
        arrays[split] = RNG.integers(0, 256, (count, 6, 8), dtype=np.uint8)
        arrays[f"{split} labels"] = (np.arange(count) % 3).astype(np.uint8)
        for kind, array in (("images", arrays[split]), ("labels", arrays[f"{split} labels"])):
            name = prefix + form.format(f"{split}-{kind}", array.ndim)
            content = packed(array)
            (root / (name + ".gz" * zipped)).write_bytes(gzip.compress(content) if zipped else content)
    return arrays


@pytest.mark.parametrize(
    ("prefix", "form", "zipped", "folder"),
    [("", "{}-idx{}-ubyte", True, ""), ("", "{}.idx{}-ubyte", False, ""), ("", "{}-idx{}-ubyte", False, "raw")],
)
def test_pictures_and_labels_as_published(tmp_path: Path, prefix: str, form: str, zipped: bool, folder: str) -> None:
    arrays = written(tmp_path / folder, prefix, form, zipped)
    understood = understand(tmp_path)
    assert (understood.task, understood.data.format) == ("classify", "idx")
    dataset = data.open(understood.data, "classify")
    assert dataset.labels == ("0", "1", "2") and dataset.facts["picture_size"] == (6, 8)
    assert len(dataset.split("test")) == 10 and len(dataset.split("train")) + len(dataset.split("val")) == 30

    test = dataset.split("test")
    for i in range(10):
        assert (test.raw(i) == arrays["t10k"][i]).all() and test.targets[i] == arrays["t10k labels"][i]


def test_emnist_is_turned_upright_and_its_codes_are_characters(tmp_path: Path) -> None:
    arrays = written(tmp_path, "emnist-letters-")
    (tmp_path / "emnist-letters-mapping.txt").write_text("0 65 97\n1 66 98\n2 67 99\n")
    dataset = data.open(Data(format="idx", path=str(tmp_path)), "classify")
    assert dataset.labels == ("A", "B", "C") and any("turned upright" in note for note in dataset.notes)
    assert (dataset.split("test").raw(0) == arrays["t10k"][0].T).all()


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    def refused(words: str) -> None:
        with pytest.raises(DataError, match=words):
            data.open(Data(format="idx", path=str(tmp_path)), "classify")

    refused("holds no IDX files")
    written(tmp_path)
    images, labels = (tmp_path / f"train-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))
    whole = images.read_bytes()
    images.write_bytes(whole[: len(whole) // 2])
    refused("cannot be read")
    images.write_bytes(gzip.compress(gzip.decompress(whole)[:-5]))
    refused("says that it holds 1440 bytes, and has 1435 bytes")
    images.write_bytes(gzip.compress(gzip.decompress(whole) + b"0"))
    refused("and has more")
    images.write_bytes(gzip.compress(bytes((0, 0, 8, 3)) + b"\xff" * 12))
    refused("more than 4294967296 are not read")
    images.write_bytes(whole)
    labels.write_bytes(gzip.compress(packed(np.zeros(29, np.uint8))))
    refused("has 29 labels for 30 pictures")
    labels.unlink()
    refused("has no labels beside it")
    written(tmp_path, "emnist-digits-")
    refused("holds several sets")
