"""data.yaml of YOLO data: splits and names as ultralytics reads them; a split that is there is never merged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import scenes

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError

pytest.importorskip("PIL", reason="pictures are read by pillow")
pytest.importorskip("yaml", reason="data.yaml is read by PyYAML")

#: pictures of the folders under images/ and labels/
COUNTS = {"day": 24, "night": 5, "rain": 7}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = scenes.write_yolo(tmp_path / "data", COUNTS)
    (made / "data.yaml").unlink()
    return made


def counts(path: Path, text: str = "", name: str = "data.yaml") -> dict[str, int]:
    """Samples of each split with this text as data.yaml."""
    if text:
        (path / name).write_text(text, encoding="utf-8")
    made = data.open(Data(format="yolo", path=str(path)))
    assert made.labels == ("disc", "bar")
    return {name: len(made.split(name)) for name in made.splits}


NAMES = "names: [disc, bar]\n"
WHOLE = {"train": 24, "val": 5, "test": 7}
FORMS = {
    "folders": "train: images/day\nval: images/night\ntest: images/rain\n",
    "validation": "train: images/day\nvalidation: images/night\ntest: images/rain\n",
    "path of the folder": "path: .\ntrain: images/day\nval: images/night\ntest: images/rain\n",
    "path above": "path: ../data/images\ntrain: day\nval: night\ntest: rain\n",
    "path elsewhere": "path: ../datasets/mine\ntrain: images/day\nval: images/night\ntest: images/rain\n",
    "dots that lead nowhere": "train: ../images/day\nval: ../images/night\ntest: ../images/rain\n",
    "lists of folders": "train: [images/day]\nval:\n- images/night\ntest: ['images/rain']\n",
    "backslashes": "train: images\\day\nval: images\\night\ntest: images\\rain\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_splits_as_the_file_states_them(root: Path, form: str) -> None:
    assert counts(root, FORMS[form] + NAMES) == WHOLE


def test_the_file_itself_and_a_file_beside_the_data(root: Path, tmp_path: Path) -> None:
    text = "train: images/day\nval: images/night\ntest: images/rain\n" + NAMES
    (root / "mine.yml").write_text(text)
    expected = data.fingerprint(data.open(Data(format="yolo", path=str(root))))
    assert data.fingerprint(data.open(Data(format="yolo", path=str(root / "mine.yml")))) == expected
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "d.yaml").write_text("path: ../data\n" + text)
    assert data.fingerprint(data.open(Data(format="yolo", path=str(tmp_path / "configs" / "d.yaml")))) == expected
    (tmp_path / "configs" / "d.yaml").write_text(f"path: {root}\n" + text)
    assert data.fingerprint(data.open(Data(format="yolo", path=str(tmp_path / "configs" / "d.yaml")))) == expected


def test_a_path_may_be_relative_to_the_current_folder(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    text = "path: data\ntrain: images/day\nval: images/night\ntest: images/rain\n" + NAMES
    (tmp_path / "configs" / "d.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    made = data.open(Data(format="yolo", path="configs/d.yaml"))
    assert {name: len(made.split(name)) for name in made.splits} == WHOLE


def test_lists_of_pictures(root: Path) -> None:
    every = {name: sorted((root / "images" / name).iterdir()) for name in COUNTS}
    (root / "day.txt").write_text("".join(f"./images/day/{p.name}\n" for p in every["day"]))
    (root / "night.txt").write_text("".join(f"{p}\n" for p in every["night"]))
    (root / "images" / "rain.txt").write_text("".join(f"images/rain/{p.name}\r\n" for p in every["rain"]))
    text = "train: day.txt\nval: night.txt\ntest: images/rain.txt\n" + NAMES
    assert counts(root, text) == WHOLE
    (root / "day.txt").write_text("".join(f"images/day/{i:04}.png\n" for i in range(25)))
    made = data.open(Data(format="yolo", path=str(root)))
    assert len(made.split("train")) == 24 and any("0024.png" in note for note in made.notes)


def test_lists_without_a_file_that_names_them(root: Path) -> None:
    for name, split in zip(COUNTS, ("train", "valid", "test")):
        lines = [f"images/{name}/{p.name}\n" for p in sorted((root / "images" / name).iterdir())]
        (root / f"{split}.txt").write_text("".join(lines))
    (root / "classes.txt").write_text("disc\nbar\n")
    assert counts(root) == WHOLE


def test_two_folders_of_one_split_are_joined(root: Path) -> None:
    text = "train:\n  - images/day\n  - images/rain\nval: images/night\n" + NAMES
    made = counts(root, text)
    assert made["train"] + made["test"] == 31 and made["val"] == 5


def test_a_split_that_only_the_folders_have_is_taken(root: Path) -> None:
    for old, new in (("day", "train2017"), ("night", "val2017"), ("rain", "test2017")):
        for kind in ("images", "labels"):
            (root / kind / old).rename(root / kind / new)
    assert counts(root, "train: images/train2017\nval: images/val2017\ntest:\n" + NAMES) == WHOLE
    assert counts(root, NAMES) == WHOLE
    assert counts(root, "train: images/train2017\nval: images/test2017\n" + NAMES)["val"] == 7


def test_an_entry_of_another_machine_is_told_and_the_folders_are_taken(root: Path) -> None:
    for old, new in (("day", "train"), ("night", "valid"), ("rain", "test")):
        for kind in ("images", "labels"):
            (root / kind / old).rename(root / kind / new)
    assert counts(root, "train: /content/x/train\nval: /content/x/valid\n" + NAMES) == WHOLE
    notes = data.open(Data(format="yolo", path=str(root))).notes
    assert any("data.yaml:1: train: /content/x/train does not exist" in note for note in notes)


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("names: [disc, bar]\ntrain: images/absent\nval: images/night\n", "'train' is 'images/absent'", 2),
        ("names: [disc, bar]\ntrain: [images/day, images/absent]\n", "'images/absent' of 'train'", 2),
        ("names: [disc, bar]\ntrain: {a: b}\n", "neither a path nor a list", 2),
        ("train: images/day\nnames: {0: disc, 2: bar}\n", "numbered 0, 2", 2),
        ("train: images/day\nnames: disc\n", "neither a list nor a table", 2),
        ("train: images/day\nnames: [disc, [bar]]\n", "neither a list nor a table", 2),
        ("train: images/day\nnames: [disc, bar\n", "is not readable YAML", 3),
        ("train: images/day\n\tnames: x\n", "is not readable YAML", 2),
        ("names: &a [*a]\n", "is not readable YAML", 1),
        ("? [names]\n: x\n", "is not readable YAML", 1),
    ],
)
def test_what_is_wrong_is_named_by_its_line(root: Path, text: str, words: str, line: int) -> None:
    (root / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=r".") as caught:
        data.open(Data(format="yolo", path=str(root)))
    assert words in caught.value.message and caught.value.where == f"{root / 'data.yaml'}:{line}", caught.value


def test_two_files_that_describe_splits_are_a_question(root: Path) -> None:
    text = "train: images/day\nval: images/night\ntest: images/rain\n" + NAMES
    (root / "a.yaml").write_text(text)
    (root / "b.yaml").write_text(text)
    (root / "hyp.yaml").write_text("lr0: 0.01\n")
    (root / "broken.yaml").write_text("{{ template }}: [")
    with pytest.raises(DataError, match=r"both a\.yaml and b\.yaml describe splits"):
        counts(root)
    assert counts(root, text, "data.yaml") == WHOLE


YAML = {
    "a mark": "\ufeffnames: ['disc','bar']\r\nnc: 2\r\n",
    "a comment in column 0": "names:\n# zero\n  0: disc\n# one\n  1: 'bar'\nnc: 2\n",
    "several lines": "nc: 2\nnames: ['disc',\n        'bar']\n",
    "an anchor": "classes: &c [disc, bar]\nnames: *c\n",
    "UTF-16": "UTF-16",
}


@pytest.mark.parametrize("form", YAML)
def test_names_as_any_reader_gives_them(root: Path, form: str) -> None:
    if form == "UTF-16":
        (root / "data.yaml").write_bytes("names: [disc, bar]\n".encode("utf-16"))
    else:
        (root / "data.yaml").write_bytes(YAML[form].encode())
    assert data.open(Data(format="yolo", path=str(root))).labels == ("disc", "bar")


def test_names_that_look_like_other_values_are_texts(root: Path) -> None:
    (root / "data.yaml").write_text("names: [yes, 01]\n")
    assert data.open(Data(format="yolo", path=str(root))).labels == ("yes", "01")


def test_without_the_package_the_command_is_told(root: Path, tmp_path: Path) -> None:
    """Only data with such a file needs it."""
    (tmp_path / "off" / "yaml").mkdir(parents=True)
    (tmp_path / "off" / "yaml" / "__init__.py").write_text("raise ImportError('not here')")
    code = (
        "import sys; from edgeft import data; from edgeft.core import errors; from edgeft.config import recipe\n"
        "try: print(len(data.open(recipe.Data(format='yolo', path=sys.argv[1])).splits))\n"
        "except errors.Missing as error: print(error.exit_code, error.remedy)\n"
    )

    def run() -> str:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "off"), *sys.path])}
        done = subprocess.run(
            [sys.executable, "-c", code, str(root)], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    (root / "classes.txt").write_text("disc\nbar\n")
    assert run() == "3"
    (root / "data.yaml").write_text(NAMES)
    assert run() == "4 pip install pyyaml"
    shutil.rmtree(tmp_path / "off")
    assert run() == "3"
