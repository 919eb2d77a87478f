"""Files as people have them: clutter, folders in folders, several labels a sample, names written in two ways."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError
from edgeft.data.label_names import combined, written_twice
from edgeft.data.understand import understand
from edgeft.data_check import check_data

pillow = pytest.importorskip("PIL.Image", reason="pictures are decoded by pillow")
RNG = np.random.default_rng(0)


def picture(path: Path, side: int = 16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pillow.fromarray(RNG.integers(0, 256, (side, side, 3), np.uint8)).save(path, format="PNG")
    return path


def classes(root: Path, *names: str, count: int = 6) -> Path:
    for name in names:
        for i in range(count):
            picture(root / name / f"{i}.PNG")
    return root


def test_clutter_and_an_empty_folder_are_no_classes(tmp_path: Path) -> None:
    root = classes(tmp_path / "d", "Cat", "dog")
    for name in (".DS_Store", "Thumbs.db"):
        (root / "Cat" / name).write_bytes(b"\0")
    (root / "__MACOSX" / "Cat").mkdir(parents=True)
    (root / "__MACOSX" / "Cat" / "._0.png").write_bytes(b"\0")
    (root / "later").mkdir()
    os.symlink("/nowhere/x.png", root / "dog" / "gone.png")
    result = check_data(root, samples=0)
    assert result["labels"] == ["Cat", "dog"] and sum(result["splits"].values()) == 12
    notes = " ".join([*result["notes"], *result["left_out"]])
    assert "folders without a picture are no classes and are left out: 'later'" in notes and "gone.png" in notes


def test_an_archive_that_unpacked_into_folders_is_read_inside(tmp_path: Path) -> None:
    inner = tmp_path / "d" / "set-v2" / "set-v2"
    for split in ("Train", "Valid", "Test"):
        classes(inner / split, "ok", "nok")
    (tmp_path / "d" / "README.md").write_text("about")
    (tmp_path / "d" / "__MACOSX").mkdir()
    found = understand(tmp_path / "d")
    assert found.data.path == str(inner) and found.task == "classify"
    with pytest.raises(DataError, match="lie inside of it") as caught:
        data.open(Data(path=str(tmp_path / "d")), "classify")
    assert str(inner) in caught.value.remedy


@pytest.mark.parametrize("name", ["train", "images", "labels", "data"])
def test_folders_of_a_layout_are_not_left_behind(tmp_path: Path, name: str) -> None:
    classes(tmp_path / "d" / name, "a", "b")
    assert understand(tmp_path / "d", format_name="image-folder").data.path == str(tmp_path / "d")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"only/a.png": b"", "only/b.png": b""}, "holds pictures in one folder, only/"),
        ({"a.wav": b"", "b.wav": b""}, "holds sounds in this folder"),
        ({"t.csv": b"zone,town\nx,Rome\ny,Oslo\n"}, "t.csv has the columns 'zone', 'town'"),
        ({}, "it holds no file; put the data there"),
        ({"t.csv": b""}, "t.csv is empty; put the data there"),
        ({"data.zip": b"PK\3\4"}, "data.zip is an archive: unpack it"),
        ({"data.tar.gz": b"\x1f\x8b"}, "data.tar.gz is an archive"),
        ({"d.xlsx": b"PK\3\4"}, "d.xlsx is a spreadsheet: save the sheet as CSV"),
        ({"d.pkl": b"\x80\4"}, "d.pkl is a pickle, which may run code"),
        ({"t.csv": b"a,a,,label\n1,2,3,u\n4,5,6,v\n"}, "each by a name of its own, and it has 'a', 'a', ''"),
    ],
)
def test_what_is_not_recognized_is_described(tmp_path: Path, files: dict[str, bytes], words: str) -> None:
    (tmp_path / "d").mkdir()
    for name, content in files.items():
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_bytes(content)
    with pytest.raises(DataError, match="no data that a format recognizes") as caught:
        understand(tmp_path / "d")
    assert words in caught.value.remedy


def test_a_label_that_is_always_the_same_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,state\n" + "".join(f"{i}.5,{i / 7:.3f},x\n" for i in range(30)))
    with pytest.raises(DataError) as caught:
        understand(tmp_path / "t.csv", label="state")
    assert (
        "each row that was looked at has 'x' in 'state'" in caught.value.remedy and "--set" not in caught.value.remedy
    )


@pytest.mark.parametrize(
    ("labels", "several"),
    [
        (("cat", "cat,dog", "dog"), ["cat,dog"]),
        (("1", "2", "1|2", "2|3"), ["1|2", "2|3"]),
        (("a;b", "b; c", "a;c"), ["a;b", "b; c", "a;c"]),
        (("Pepper, bell", "Tomato, ripe", "Tomato"), []),
        (("Corn_(maize),_healthy", "Corn_(maize),_rust"), []),
        (("yes", "no"), []),
    ],
)
def test_labels_that_are_several_in_one(labels: tuple[str, ...], several: list[str]) -> None:
    assert combined(labels) == several


@pytest.mark.parametrize("kind", ["pictures", "texts"])
def test_samples_with_several_labels_are_told_plainly(tmp_path: Path, kind: str) -> None:
    tags = [["cat", "cat,dog", "dog"][i % 3] for i in range(30)]
    if kind == "pictures":
        rows = [f'{picture(tmp_path / "d" / f"{i}.png").name},"{tag}"' for i, tag in enumerate(tags)]
        (tmp_path / "d" / "labels.csv").write_text("filename,label\n" + "\n".join(rows))
        spec, task = Data(format="image-table", path=str(tmp_path / "d")), "classify"
    else:
        (tmp_path / "t.csv").write_text("text,label\n" + "\n".join(f'a text {i},"{t}"' for i, t in enumerate(tags)))
        spec, task = Data(format="csv", path=str(tmp_path / "t.csv")), "text-classify"
    with pytest.raises(DataError, match=r"such as 'cat,dog': samples with several labels at once"):
        data.open(spec, task)


def test_columns_of_several_ones_a_row_are_told_plainly(tmp_path: Path) -> None:
    rows = [f"{picture(tmp_path / 'd' / f'{i}.png').name},{int(i % 2 == 0)},{int(i % 3 == 0)}" for i in range(12)]
    (tmp_path / "d" / "labels.csv").write_text("image,cat,dog\n" + "\n".join(rows))
    with pytest.raises(DataError, match=r"has 2 classes \(cat, dog\)") as caught:
        data.open(Data(format="image-table", path=str(tmp_path / "d")), "classify")
    assert "several classes at once (multi-label) are not taken" in caught.value.remedy


def test_one_class_in_two_spellings_is_a_warning(tmp_path: Path) -> None:
    assert written_twice(("a", "A", "no", "yes")) == [], "letters are their own"
    (line,) = written_twice(("Positive", "positive", "hot dog", "hot_dog", "cat"))
    assert line.startswith("'Positive' and 'positive' are read as classes") and "1 more like it ('hot dog')" in line
    root = classes(tmp_path / "d", "Cat", "cat ")
    assert any("differ in case or spacing" in note for note in check_data(root, samples=0)["notes"])


def test_label_files_without_pictures_and_names_beside_labels(tmp_path: Path) -> None:
    root = tmp_path / "d"
    for i in range(12):
        picture(root / "images" / f"{i}.JPG", 32)
        (root / "labels").mkdir(exist_ok=True)
        (root / "labels" / f"{i}.txt").write_text(f"{i % 2} .5 .5 .2 .2\r\n")
    (root / "labels" / "gone.txt").write_text("0 .5 .5 .1 .1\n")
    (root / "labels" / "readme.txt").write_bytes(b"caf\xe9: not boxes\n")
    (root / "labels" / "classes.txt").write_text("scratch\ndent\n")  # where labelImg writes it
    result = check_data(root, samples=0)
    assert result["labels"] == ["scratch", "dent"]
    said = [*result["notes"], *result["left_out"]]
    assert any("1 label files belong to no picture" in line and "gone.txt" in line for line in said)


def test_a_column_called_after_faults_is_likelier_than_one_called_y(tmp_path: Path) -> None:
    rows = [f"{i},{i * 2},{i % 4 == 0}" for i in range(60)]
    (tmp_path / "t.csv").write_text("x,y,fault\n" + "\n".join(rows))
    found = understand(tmp_path / "t.csv")
    assert (found.task, found.data.label) == ("tabular", "fault")
