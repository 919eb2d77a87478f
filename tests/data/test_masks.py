"""Folders of pictures and masks: what is read, and what is said of bad ones."""

from __future__ import annotations

from pathlib import Path

import mask_shapes
import numpy as np
import pytest
from PIL import Image

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError, RecipeError
from edgeft.inputs import mask


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return mask_shapes.write_folder(tmp_path / "scenes", {"train": 4, "val": 2, "test": 2}, side=32)


def opened(root: Path, void: object = "rim") -> data.Dataset:
    return data.open(Data(format="masks", path=str(root), masks={"void": void}))


def test_ids_without_void(root: Path) -> None:
    made = opened(root)
    assert made.labels == mask_shapes.LABELS
    split = made.split("train")
    assert len(split) == 4
    ids = np.array(Image.open(root / "train" / "labels" / "000.png"))
    want = np.array([0, mask.VOID, 1, 2], np.uint8)[ids]
    assert (np.asarray(split.targets[0]) == want).all()


def test_the_size_of_the_pictures_is_a_fact(root: Path) -> None:
    assert opened(root).facts["picture_size"] == (32, 32)


def test_an_id_without_a_class_names_the_file(root: Path) -> None:
    path = root / "train" / "labels" / "001.png"
    Image.fromarray(np.full((32, 32), 9, np.uint8)).save(path)
    with pytest.raises(DataError, match=r"001\.png"):
        opened(root).split("train")


def test_a_mask_of_another_size_names_the_file(root: Path) -> None:
    Image.fromarray(np.zeros((16, 32), np.uint8)).save(root / "train" / "labels" / "002.png")
    with pytest.raises(DataError, match=r"002\.png"):
        opened(root).split("train")


def test_a_truncated_mask_names_the_file(root: Path) -> None:
    path = root / "train" / "labels" / "003.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"003\.png"):
        opened(root).split("train")


def test_a_missing_mask_names_the_picture(root: Path) -> None:
    (root / "val" / "labels" / "001.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 pictures .* have no mask: .*001\.png"):
        opened(root)


def test_void_that_is_no_class(root: Path) -> None:
    with pytest.raises(RecipeError, match="'rimm' is not a class"):
        opened(root, void="rimm")


def test_a_few_bad_samples_are_left_out_and_told(tmp_path: Path) -> None:
    root = mask_shapes.write_folder(tmp_path / "scenes", {"train": 25, "val": 2, "test": 2}, side=32)
    bad = root / "train" / "labels" / "007.png"
    bad.write_bytes(bad.read_bytes()[:60])
    made = opened(root)
    assert len(made.split("train")) == 24
    assert any("skipped 1 of 25" in note and "007.png" in note for note in made.notes)


def test_colours_and_palettes_mean_the_same_as_ids(root: Path) -> None:
    colours = [(10, 20, 30), (0, 0, 0), (200, 0, 0), (0, 0, 200)]
    ids = np.array(Image.open(root / "train" / "labels" / "000.png"))
    Image.fromarray(np.array(colours, np.uint8)[ids]).save(root / "train" / "labels" / "000.png")
    palette = Image.fromarray(np.array(Image.open(root / "train" / "labels" / "001.png")), mode="P")
    palette.putpalette([value for colour in colours for value in colour])
    palette.save(root / "train" / "labels" / "001.png")
    before = opened(root).split("val")  # no colours are stated: ids are still fine
    assert len(before) == 2
    with pytest.raises(DataError, match="no class is said to have one"):
        opened(root).split("train")
    lines = [f"{name} {r} {g} {b}" for name, (r, g, b) in zip(mask_shapes.CLASSES, colours)]
    for text in (lines, [" ".join([*line.split()[1:], line.split()[0]]) for line in lines]):
        (root / "classes.txt").write_text("\n".join(text))
        split = opened(root).split("train")
        assert (np.asarray(split.targets[0]) == np.array([0, mask.VOID, 1, 2], np.uint8)[ids]).all()
        assert len(split) == 4
    wrong = np.array(colours, np.uint8)[ids]
    wrong[3, 4] = (1, 2, 3)
    Image.fromarray(wrong).save(root / "train" / "labels" / "000.png")
    with pytest.raises(DataError, match=r"\[1, 2, 3\] has no class, first at row 3, column 4") as found:
        opened(root).split("train")
    assert "000.png" in found.value.where


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("a\na\nb", "'a' twice"),
        ("a 1 2 3\nb", "'b' has none"),
        ("a 1 2 300\nb 1 2 3", "beyond 255"),
        ("a 1 2 3\nb 1 2 3", "colour of another class"),
        ("a", "1 classes"),
    ],
)
def test_a_wrong_class_file_is_named(root: Path, lines: str, said: str) -> None:
    (root / "classes.txt").write_text(lines)
    with pytest.raises(DataError, match=said) as found:
        data.open(Data(format="masks", path=str(root)))
    assert "classes.txt" in str(found.value.where)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"image": "x"}, "did you mean 'images'"),
        ({"void": 300}, "a class name or a label id"),
        ({"images": 3}, "the name of a folder"),
        ({"classes": 3}, "the name of a file"),
    ],
)
def test_a_wrong_table_is_a_recipe_error(root: Path, table: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match=r"data\.masks") as found:
        data.open(Data(format="masks", path=str(root), masks=table))
    assert said in f"{found.value} {found.value.remedy}"


def test_folders_of_another_name_and_no_splits(root: Path) -> None:
    flat = root / "train"
    (flat / "images").rename(flat / "pictures")
    with pytest.raises(DataError, match=r"no folder images/ or image/ .*, only labels, pictures"):
        data.open(Data(format="masks", path=str(flat), masks={"classes": list(mask_shapes.CLASSES), "void": "rim"}))
    table = {"images": "pictures", "classes": list(mask_shapes.CLASSES), "void": 1}
    made = data.open(Data(format="masks", path=str(flat), masks=table, split=(0.5, 0.25, 0.25)))
    assert {name: len(made.split(name)) for name in made.splits} == {"train": 2, "val": 1, "test": 1}
    assert any("divided at random" in note for note in made.notes)


def test_masks_are_read_when_they_are_looked_at(root: Path) -> None:
    split = opened(root).split("train")
    assert split.targets.dtype == object and all(isinstance(t, mask.MaskFile) for t in split.targets)
    (root / "train" / "labels" / "003.png").unlink()
    with pytest.raises(DataError, match="no such file"):
        np.asarray(split.targets[3])


def test_a_split_of_void_alone_is_refused(root: Path) -> None:
    for path in (root / "val" / "labels").iterdir():
        Image.fromarray(np.full((32, 32), mask_shapes.RIM, np.uint8)).save(path)
    with pytest.raises(DataError, match="every pixel of the val split is void"):
        opened(root).split("val")


def _flat(root: Path, masks: list[Image.Image]) -> Path:
    """Pictures of noise in images/ and these masks in masks/, without a class file."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for i, picture in enumerate(masks):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(root / "images" / f"{i}.png")
        picture.save(root / "masks" / f"{i}.png")
    return root


def _stripes(values: list[object]) -> list[Image.Image]:
    """Masks of stripes of all the values, in another order each."""
    shades = np.array(values, np.uint8)
    rows = np.arange(8) % len(shades)
    return [Image.fromarray(np.repeat(shades[np.roll(rows, i)][:, None], 8, axis=1)) for i in range(10)]


@pytest.mark.parametrize(
    ("values", "words", "lines"),
    [
        ([0, 255], "label ids 0, 255", ["ground", "disk"]),
        ([0, 1, 2], "label ids 0, 1, 2", ["ground", "disk", "box"]),
        ([0, 100, 200], "`NAME 100 100 100`", ["ground 0 0 0", "disk 100 100 100", "box 200 200 200"]),
        ([[0, 0, 0], [255, 0, 0]], "`NAME 255 0 0`", ["ground 0 0 0", "disk 255 0 0"]),
    ],
)
def test_without_a_class_file_the_values_of_the_masks_say_what_to_write(
    values: list[object], words: str, lines: list[str], tmp_path: Path
) -> None:
    root = _flat(tmp_path, _stripes(values))
    spec = Data(format="masks", path=str(root))
    with pytest.raises(DataError) as failure:
        data.open(spec)
    assert words in f"{failure.value.message} {failure.value.remedy}"

    (root / "classes.txt").write_text("\n".join(lines))
    opened_data = data.open(spec)
    assert opened_data.labels == tuple(line.split()[0] for line in lines)
    numbers = {int(n) for target in opened_data.split("train").targets for n in np.unique(np.asarray(target))}
    assert numbers == set(range(len(values))), "the remedy, followed as it is written"


@pytest.mark.parametrize("values", [[0, 100, 200], [[0, 0, 0], [255, 0, 0], [0, 0, 255]]])
def test_classes_that_fit_no_mask_are_told_with_the_values(values: list[object], tmp_path: Path) -> None:
    root = _flat(tmp_path, _stripes(values))
    (root / "classes.txt").write_text("ground\ndisk\nbox")
    with pytest.raises(DataError, match="does not fit the masks, which hold the") as failure:
        data.open(Data(format="masks", path=str(root)))
    assert "for each class and its colour" in str(failure.value.remedy)
