"""What users' data looks like when it is wrong, format by format: each is refused by name, with a remedy.

`refused` opens the data, checks it and reads every sample, as `tune` would; anything but a `DataError` is a failure.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sounds

from edgeft import data
from edgeft.config import recipe
from edgeft.core.errors import DataError

RNG = np.random.default_rng(0)
ROWS = "".join(f"some words {i},{i % 2}\n" for i in range(30))


def read(**spec: Any) -> list[str]:
    dataset = data.open(recipe.Data(**{"text": ("text",), "label": "label", **spec}))
    lines = data.check(dataset)
    for name in dataset.splits:
        for _ in dataset.split(name):
            pass
    return lines


def refused(words: str, where: str, /, **spec: Any) -> None:
    with pytest.raises(DataError) as found:
        read(**spec)
    error = found.value
    assert error.exit_code == 3 and error.remedy, error
    assert words in error.message and where in error.where, error


# -- pictures and labels in one .npz --------------------------------------------
def archive(path: Path, **changes: Any) -> str:
    arrays: dict[str, Any] = {
        "train_images": RNG.integers(0, 256, (20, 8, 8), np.uint8),
        "train_labels": np.arange(20) % 2,
        "test_images": RNG.integers(0, 256, (8, 8, 8), np.uint8),
        "test_labels": np.arange(8) % 2,
    }
    np.savez(path, **{**arrays, **changes})
    return str(path)


NAMES = np.array(["healthy", "ill"])


@pytest.mark.parametrize(
    ("changes", "words", "where"),
    [
        ({"labels": NAMES, "train_labels": np.arange(20) % 3}, "train sample 2 has the label 2", "d.npz"),
        ({"labels": NAMES, "test_labels": np.arange(8) % 2 - 1}, "test sample 0 has the label -1", "d.npz"),
        ({"train_images": np.full((20, 8, 8), np.nan)}, "float64", "[train_images]"),
        ({"train_images": np.zeros((20, 0, 8), np.uint8)}, "without pixels", "[train_images]"),
        ({"train_images": np.zeros((20, 5, 8, 8), np.uint8)}, "expected (N, H, W)", "[train_images]"),
        ({"train_labels": np.full(20, np.nan)}, "float64", "[train_labels]"),
        ({"train_labels": np.ones((20, 2), int)}, "row 0 has 2 classes", "[train_labels]"),
        ({"train_labels": np.arange(19) % 2}, "19 labels for 20 images", "[train_labels]"),
        ({"train_labels": np.array(["a", "b"] * 10)}, "numbers in one split and text in another", "d.npz"),
        ({"train_labels": np.zeros(20, int), "test_labels": np.zeros(8, int)}, "only one class", "d.npz"),
        ({"test_labels": np.arange(8) % 3}, "no sample of '2'", "d.npz"),
        ({"train_images": np.zeros((0, 8, 8), np.uint8), "train_labels": np.zeros(0, int)}, "is empty", "d.npz"),
    ],
)
def test_npz(tmp_path: Path, changes: dict[str, Any], words: str, where: str) -> None:
    refused(words, where, format="npz", path=archive(tmp_path / "d.npz", **changes))


def test_a_truncated_and_an_altered_npz(tmp_path: Path) -> None:
    whole = Path(archive(tmp_path / "d.npz")).read_bytes()
    for content, words in (
        (whole[:300], "not a readable .npz"),
        (whole[:60] + b"\xff" * 40 + whole[100:], "cannot be"),
    ):
        (tmp_path / "d.npz").write_bytes(content)
        refused(words, "d.npz", format="npz", path=str(tmp_path / "d.npz"))
    np.save(tmp_path / "one.npy", np.zeros(3))
    refused("not a readable .npz", "one.npy", format="npz", path=str(tmp_path / "one.npy"))


# -- folders --------------------------------------------
def test_folders_of_pictures(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")

    def write(*parts: str) -> Path:
        path = tmp_path.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        pillow.fromarray(RNG.integers(0, 256, (20, 20, 3), np.uint8)).save(path)
        return path

    spec = {"format": "image-folder", "path": str(tmp_path)}
    refused("holds no images", str(tmp_path), **spec)
    refused("is a file, not a folder", "flat.png", format="image-folder", path=str(write("flat.png")))
    files = [write(split, label, f"{i}.png") for split in ("train", "test") for label in "ab" for i in range(6)]
    only_tested = write("test", "c", "0.png")
    refused("no sample of 'c'", str(tmp_path), **spec)
    only_tested.unlink()
    only_tested.parent.rmdir()
    files[0].write_bytes(files[0].read_bytes()[:200])
    (tmp_path / "train" / "a" / "numbers.npy").write_bytes(files[1].read_bytes())
    refused("truncated", "0.png", **spec)


def test_folders_of_sounds(tmp_path: Path) -> None:
    spec = {"format": "wav-folder", "path": str(tmp_path)}
    refused("holds no sounds", str(tmp_path), **spec)
    sounds.write_folder(tmp_path, {"train": 10, "test": 4})
    sounds.write(tmp_path / "train" / "fall" / "stereo.wav", np.stack([sounds.clip("fall", RNG)] * 2, 1))
    assert not [line for line in read(**spec) if "skipped" in line]  # mixed down
    for i in range(4):
        file = tmp_path / "train" / "fall" / f"00{i}.wav"
        file.write_bytes(file.read_bytes()[: 500 if i % 2 else 0])
    refused("truncated", str(tmp_path / "train" / "fall"), **spec)
    refused("do not fit the pattern", ".wav", **spec, pattern="{label}_{speaker}")


def test_sounds_that_are_no_numbers(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="writes floating point .wav")
    sounds.write_folder(tmp_path, {"train": 4, "test": 4})
    for i in range(3):
        where = tmp_path / "train" / "fall" / f"x{i}.wav"
        soundfile.write(where, np.full(4000, np.nan, np.float32), 8000, subtype="FLOAT")
    refused("not finite", "x0.wav", format="wav-folder", path=str(tmp_path), split=(0.8, 0.1, 0.1))


# -- tables of texts --------------------------------------------
@pytest.mark.parametrize(
    ("content", "words", "where"),
    [
        (b"", "is empty", "t.csv"),
        (b"text,label\n", "no records", "t.csv"),
        (b"texts,label\n" + ROWS.encode(), "no column 'text'", "t.csv:1"),
        (b"texts;label\n" + ROWS.replace(",", ";").encode(), "no column 'text'", "t.csv:1"),
        (("texts,label\n" + ROWS).encode("utf-16"), "no column 'text'", "t.csv:1"),
        (
            b"text,label\n" + b"caf\xe9 au lait,1\n" * 9 + ROWS.encode() + "café,0\n".encode(),
            "t.csv:2: the text is not UTF-8",
            "t.csv",
        ),
        (b"text,label\n" + b"a,b,1\n" * 9 + ROWS.encode(), "t.csv:2: has 3 fields where", "t.csv"),
        (b"text,label\n" + b"words,\n" * 9 + ROWS.encode(), "t.csv:2: the label is empty", "t.csv"),
        (b"text,label\n" + b"hello,1\n" * 30, "only one class", "t.csv"),
        (b"\x00\x01\r\x02" * 500, "header", "t.csv:1"),
    ],
)
def test_csv(tmp_path: Path, content: bytes, words: str, where: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    refused(words, where, format="csv", path=str(tmp_path / "t.csv"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"text": "a"', "t.jsonl:31: broken JSON"),
        ('[{"text": "a", "label": 1}]', "(not an object)"),
        ('{"text": "a", "label": NaN}', "t.jsonl:31: the label is neither"),
        ('{"text": 3, "label": 1}', "t.jsonl:31: 'text' is not text"),
        ('{"words": "a", "label": 1}', "t.jsonl:31: has no 'text'"),
        ('{"text": "a\\ud800", "label": 1}', "t.jsonl:31: the text is not UTF-8"),
    ],
)
def test_jsonl(tmp_path: Path, line: str, words: str) -> None:
    good = "".join(json.dumps({"text": f"some {i}", "label": i % 2}) + "\n" for i in range(30))
    (tmp_path / "t.jsonl").write_text(good + f"{line}\n" * 9)
    refused(words, "t.jsonl", format="jsonl", path=str(tmp_path / "t.jsonl"))


# -- ratings --------------------------------------------
HEADER = "userId,movieId,rating,timestamp\n"
RATED = "".join(f"{u},{i},3,{t}\n" for u in range(30) for t, i in enumerate(RNG.choice(60, 8, False)))


@pytest.mark.parametrize(
    ("content", "words", "where"),
    [
        ("", "is empty", "ratings.csv"),
        (HEADER, "holds no ratings", "ratings.csv"),
        ("who,sku,much,when\n" + RATED, "neither a header", "ratings.csv:1"),
        (HEADER + RATED + "1,2\n" * 30, "ratings.csv:242: has 2 columns", "ratings.csv"),
        (HEADER + RATED.replace("\n", "x\n"), "is not a number", "ratings.csv"),
        (HEADER + RATED + "1,2,nan,3\n" * 30, "rating 'nan'", "ratings.csv"),
        (HEADER + "".join(f"{u},{i},3,{i}\n" for u in range(9) for i in range(9)), "no list of 21", "ratings.csv"),
    ],
)
def test_ratings(tmp_path: Path, content: str, words: str, where: str) -> None:
    (tmp_path / "ratings.csv").write_text(content)
    refused(words, where, format="ratings", path=str(tmp_path))


def test_repeated_ratings_are_told(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text(HEADER + RATED + RATED)
    assert any("240 lines repeat" in line for line in read(format="ratings", path=str(tmp_path)))


# -- recorded control --------------------------------------------
def spoilt(values: np.ndarray, at: Any, value: float) -> np.ndarray:
    values = values.astype(np.float64)
    values[at] = value
    return values


OBS, ACTS = RNG.standard_normal((204, 4)), RNG.standard_normal(200)


@pytest.mark.parametrize("pack", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    ("changes", "words", "where"),
    [
        ({"obs": spoilt(OBS, (7, 2), np.nan)}, "not finite", "[obs][7]"),
        ({"acts": spoilt(ACTS, 5, np.inf)}, "not finite", "[acts][5]"),
        ({"obs": OBS[:190]}, "190 observations do not fit 200", "t.npz"),
        ({"acts": np.array(["left"] * 200)}, "expected numbers", "[acts]"),
        ({"acts": ACTS.astype(complex)}, "expected numbers", "[acts]"),
        ({"obs": np.float32(1)}, "shape ()", "[obs]"),
        ({"acts": np.zeros(0), "obs": np.zeros((0, 4))}, "(0, 4)", "[obs]"),
        ({"indices": np.array([50, 500])}, "is 500", "[indices][1]"),
        ({"indices": np.array(["a"])}, "expected numbers", "[indices]"),
        ({"indices": np.array([100]), "obs": OBS[:202]}, "2 recording(s)", "t.npz"),
    ],
)
def test_trajectories(tmp_path: Path, pack: Any, changes: dict[str, Any], words: str, where: str) -> None:
    path = tmp_path / "t.npz"
    pack(path, **{"obs": OBS, "acts": ACTS, "indices": np.array([50, 100, 150]), **changes})
    refused(words, where, format="trajectories", path=str(path))


def test_a_tub_without_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    row = {"cam/image_array": "a.jpg", "user/angle": 0.1, "user/throttle": 0.2, "_index": 0}
    (tmp_path / "c_0.catalog").write_text((json.dumps(row) + "\n") * 5)
    refused("its picture is missing", str(tmp_path), format="trajectories", path=str(tmp_path))
