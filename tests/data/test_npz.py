from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from draws import draws
from hypothesis import given
from hypothesis import strategies as st

from edgeft import data
from edgeft.config import recipe
from edgeft.core.errors import DataError
from edgeft.data.formats.npz import Rows


def arrays(n: int = 12, classes: int = 3, form: str = "medmnist", **more: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    keys = ("{}_images", "{}_labels") if form == "medmnist" else ("x_{}", "y_{}")
    made: dict[str, Any] = {}
    for name in ("train", "val", "test"):
        made[keys[0].format(name)] = rng.integers(0, 256, (n, 6, 5), np.uint8)
        made[keys[1].format(name)] = (np.arange(n) % classes).astype(np.uint8)
    return made | more


def save(path: Path, content: dict[str, Any], *, compressed: bool = False) -> Path:
    (np.savez_compressed if compressed else np.savez)(path, **content)
    return path


def open_(path: Path, **changes: Any) -> data.Dataset:
    return data.open(recipe.Data(format="npz", path=str(path), **changes))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("form", ["medmnist", "keras"])
def test_both_forms_stored_and_compressed(tmp_path: Path, form: str, compressed: bool) -> None:
    content = arrays(form=form)
    dataset = open_(save(tmp_path / "d.npz", content, compressed=compressed))
    assert dataset.labels == ("0", "1", "2")
    for name in ("train", "val", "test"):
        split = dataset.split(name)
        images = content[f"{name}_images" if form == "medmnist" else f"x_{name}"]
        assert len(split) == 12
        np.testing.assert_array_equal(np.stack([split.raw(i) for i in range(12)]), images)
        np.testing.assert_array_equal(split.targets, np.arange(12) % 3)
    assert dataset.split("test").source(4).endswith("_images][4]" if form == "medmnist" else "[x_test][4]")


def test_stored_members_are_mapped_and_compressed_ones_give_the_same_fingerprint(tmp_path: Path) -> None:
    content = arrays()
    stored = open_(save(tmp_path / "a.npz", content))
    packed = open_(save(tmp_path / "b.npz", content, compressed=True))
    pool = stored.split("train").pool
    assert isinstance(pool, Rows) and all(isinstance(array, np.memmap) for array in pool.arrays.values())
    assert data.fingerprint(stored) == data.fingerprint(packed)
    content["test_images"][0, 0, 0] ^= 1
    assert data.fingerprint(open_(save(tmp_path / "c.npz", content))) != data.fingerprint(stored)


def test_label_columns_names_text_and_gaps(tmp_path: Path) -> None:
    column = {k: v[:, None] if k.endswith("labels") else v for k, v in arrays().items()}
    assert open_(save(tmp_path / "a.npz", column)).split("val").targets.shape == (12,)
    named = open_(save(tmp_path / "b.npz", arrays(labels=np.array(["x", "y", "z"]))))
    assert named.labels == ("x", "y", "z")
    gaps = {k: v * 10 if k.endswith("labels") else v for k, v in arrays().items()}
    sparse = open_(save(tmp_path / "c.npz", gaps))
    assert sparse.labels == ("0", "10", "20") and set(sparse.split("train").targets) == {0, 1, 2}
    text = {k: np.array(["a", "b", "c"])[v] if k.endswith("labels") else v for k, v in arrays().items()}
    assert open_(save(tmp_path / "d.npz", text)).labels == ("a", "b", "c")


@pytest.mark.parametrize(
    ("images", "labels"), [("images", "labels"), ("data", "targets"), ("X", "y"), ("arr_0", "arr_1")]
)
def test_one_hot_rows_channels_first_and_files_without_splits(tmp_path: Path, images: str, labels: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 3, 6, 8)).astype(np.uint8)
    numbers = np.arange(30) % 3
    content = {images: pixels, labels: np.eye(3, dtype=np.float32)[numbers]}
    dataset = open_(save(tmp_path / "d.npz", content))
    assert dataset.labels == ("0", "1", "2") and dataset.facts["picture_size"] == (6, 8)
    split = dataset.split("train")
    at = int(split.indices[0])
    assert np.array_equal(split.raw(0), pixels[at].transpose(1, 2, 0)) and split.targets[0] == numbers[at]


def test_missing_val_is_taken_from_train(tmp_path: Path) -> None:
    content = {k: v for k, v in arrays(n=30).items() if not k.startswith("val")}
    dataset = open_(save(tmp_path / "d.npz", content))
    assert len(dataset.split("train")) + len(dataset.split("val")) == 30 and len(dataset.split("test")) == 30
    assert all("train_images" in dataset.split("val").source(i) for i in range(len(dataset.split("val"))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": np.zeros((12, 6, 5), np.float32)}, "float32, expected uint8"),
        ({"train_images": np.zeros((12, 2, 8, 8), np.uint8)}, r"expected \(N, H, W\)"),
        ({"train_labels": np.zeros((11,), np.uint8)}, "11 labels for 12 images"),
        ({"train_labels": np.full((12, 2), 7, np.uint8)}, "one label a sample"),
        (
            {"train_labels": np.eye(3, dtype=np.uint8)[[0, 1, 2] * 4] | np.eye(3, dtype=np.uint8)[0]},
            "row 1 has 2 classes",
        ),
        ({"train_labels": np.zeros(12, np.float32)}, "labels are float32"),
        ({"train_labels": np.zeros(12, np.uint8)}, "train split has no sample of '1'"),
        ({"labels": np.array(["only", "two"])}, "2 names"),
        ({"labels": np.array(["same", "same", "other"])}, "same name"),
    ],
)
def test_wrong_content_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_(save(tmp_path / "d.npz", arrays() | change))


def test_one_class_and_missing_keys(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only one class"):
        open_(save(tmp_path / "a.npz", arrays(classes=1)))
    with pytest.raises(DataError, match="no train_labels"):
        open_(save(tmp_path / "b.npz", {k: v for k, v in arrays().items() if k != "train_labels"}))
    with pytest.raises(DataError, match="no images"):
        open_(save(tmp_path / "c.npz", {"weights": np.zeros(3)}))
    with pytest.raises(DataError, match="no such file"):
        open_(tmp_path / "none.npz")


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["EDGEFT_TEST_TRAP"],)


def test_pickles_are_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = tmp_path / "sprung"
    monkeypatch.setenv("EDGEFT_TEST_TRAP", str(trap))
    objects = np.empty(12, object)
    objects[:] = [Trap()] * 12
    path = save(tmp_path / "d.npz", arrays() | {"train_images": objects})
    with pytest.raises(DataError, match="never loaded"):
        open_(path)
    assert not trap.exists()
    pickle.loads(pickle.dumps(Trap()))  # noqa: S301  the trap does work
    assert trap.exists()


@draws(60)
@given(cut=st.integers(0, 3000), at=st.integers(0, 3000), flip=st.integers(0, 255))
def test_broken_files_raise_data_errors_only(
    tmp_path_factory: pytest.TempPathFactory, cut: int, at: int, flip: int
) -> None:
    path = save(tmp_path_factory.mktemp("npz") / "d.npz", arrays())
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= flip
    path.write_bytes(bytes(content[: len(content) - cut]))
    try:
        dataset = open_(path)
    except DataError:
        return
    assert dataset.split("train").raw(0).dtype == np.uint8


def test_pneumonia_and_cifar() -> None:
    root = os.environ.get("EDGEFT_DATA")
    if not root:
        pytest.skip("EDGEFT_DATA is not set")
    lungs = open_(Path(root) / "01_image_medical" / "pneumoniamnist_28.npz")
    assert [len(lungs.split(n)) for n in ("train", "val", "test")] == [4708, 524, 624] and len(lungs.labels) == 2
    assert lungs.split("train").targets.shape == (4708,)
    cifar = open_(Path(root) / "10_standard_images" / "cifar10_test10k_train5k.npz")
    assert cifar.labels[0] == "airplane" and len(cifar.split("test")) == 10_000
    assert len(cifar.split("train")) + len(cifar.split("val")) == 5000


@pytest.mark.parametrize(("value", "code"), [(0.5, "(x_train * 255).round()"), (7.0, "of 0..255")])
def test_pictures_of_floats_are_refused_with_what_to_store(tmp_path: Path, value: float, code: str) -> None:
    values, labels = np.full((12, 4, 4), value), np.arange(12) % 2
    np.savez(tmp_path / "d.npz", x_train=values, y_train=labels, x_test=values, y_test=labels)
    with pytest.raises(DataError, match="pixels are float64") as caught:
        data.open(recipe.Data(format="npz", path=str(tmp_path / "d.npz")))
    assert code in caught.value.remedy
