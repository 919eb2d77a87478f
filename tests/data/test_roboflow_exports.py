"""What Roboflow writes beside COCO, YOLO and Pascal VOC: a folder a split, with pictures and annotations in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import scenes
import test_annotation_tools as tools

from edgeft.core.errors import DataError
from edgeft.data.understand import understand

PARTS = {"train": slice(0, 16), "valid": slice(16, 20), "test": slice(20, 24)}
Export = Callable[[Path, tools.Scenes], None]


def createml(folder: Path, drawn: tools.Scenes) -> None:
    rows = [{"image": name, "annotations": [of_createml(box) for box in boxes]} for name, boxes in drawn]
    (folder / "_annotations.createml.json").write_text(json.dumps(rows))


def of_createml(box: scenes.Box) -> dict[str, object]:
    kind, x1, y1, x2, y2 = box
    middle = {"x": (x1 + x2) / 2, "y": (y1 + y2) / 2, "width": x2 - x1, "height": y2 - y1}
    return {"label": scenes.LABELS[kind], "coordinates": middle}


def keras_yolo(folder: Path, drawn: tools.Scenes) -> None:
    (folder / "_classes.txt").write_text("\n".join(scenes.LABELS))
    lines = [" ".join([name, *(f"{a},{b},{c},{d},{kind}" for kind, a, b, c, d in boxes)]) for name, boxes in drawn]
    (folder / "_annotations.txt").write_text("\n".join(lines))


def darknet(folder: Path, drawn: tools.Scenes) -> None:
    (folder / "_darknet.labels").write_text("\n".join(scenes.LABELS))
    w, h = scenes.WIDTH, scenes.HEIGHT
    for name, boxes in drawn:
        lines = [f"{k} {(a + c) / 2 / w} {(b + d) / 2 / h} {(c - a) / w} {(d - b) / h}" for k, a, b, c, d in boxes]
        (folder / name).with_suffix(".txt").write_text("\n".join(lines))


def retinanet(folder: Path, drawn: tools.Scenes) -> None:
    (folder / "_classes.csv").write_text("".join(f"{label},{i}\n" for i, label in enumerate(scenes.LABELS)))
    rows = [f"{name},{a},{b},{c},{d},{scenes.LABELS[kind]}" for name, boxes in drawn for kind, a, b, c, d in boxes]
    (folder / "_annotations.csv").write_text("\n".join(rows))


EXPORTS: dict[str, tuple[str, Export]] = {
    "CreateML": ("createml", createml),
    "Keras and PyTorch TXT": ("box-lines", keras_yolo),
    "Darknet": ("yolo", darknet),
    "RetinaNet": ("box-table", retinanet),
}


def write(root: Path, name: str) -> tools.Scenes:
    """The export in folders of splits."""
    drawn = tools.draw(root / "drawn")
    for part, which in PARTS.items():
        (root / part).mkdir()
        for picture, _ in drawn[which]:
            (root / "drawn" / picture).rename(root / part / picture)
        EXPORTS[name][1](root / part, drawn[which])
    (root / "drawn").rmdir()
    return drawn


@pytest.mark.parametrize("name", EXPORTS)
def test_splits_classes_and_boxes_are_those_that_were_drawn(tmp_path: Path, name: str) -> None:
    drawn = write(tmp_path, name)
    understood = understand(tmp_path)
    assert (understood.data.format, understood.task) == (EXPORTS[name][0], "detect")

    dataset = tools.opened(EXPORTS[name][0], tmp_path)
    tools.check(dataset, drawn, ("train", "val", "test"))
    assert set(dataset.labels) == set(scenes.LABELS)
    assert not [note for note in dataset.notes if "left out" in note or "not read" in note], dataset.notes


@pytest.mark.parametrize("name", ["CreateML", "Keras and PyTorch TXT", "RetinaNet"])
def test_a_folder_without_splits_and_the_file_alone(tmp_path: Path, name: str) -> None:
    form, export = EXPORTS[name]
    drawn = tools.draw(tmp_path)
    export(tmp_path, drawn)
    tools.check(tools.opened(form, tmp_path), drawn)
    (file,) = tmp_path.glob("_annotations*")
    tools.check(tools.opened(form, file), drawn)


WRONG = {
    "CreateML": ('"width": ', '"width": "x", "w": ', "expected a number"),
    "Keras and PyTorch TXT": (",", ",x,", "is no x1,y1,x2,y2,class"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_objects_are_named_with_their_place(tmp_path: Path, name: str) -> None:
    form, export = EXPORTS[name]
    drawn = tools.draw(tmp_path)
    export(tmp_path, drawn)
    (file,) = tmp_path.glob("_annotations*")
    before, after, message = WRONG[name]
    file.write_text(file.read_text().replace(before, after, 1))
    (note,) = [note for note in tools.opened(form, tmp_path).notes if "cannot be used" in note]
    assert "1 of" in note and message in note and file.name in note

    file.write_text(file.read_text().replace(before, after))
    with pytest.raises(DataError, match=message):
        tools.opened(form, tmp_path)


@pytest.mark.parametrize("word", ["1,2,3,4,nan", "1,2,inf,4,0", "1,2,3,4,99999", "1,2,3,4", "1..2,2,3,4,0"])
def test_a_word_that_is_no_box_is_named(tmp_path: Path, word: str) -> None:
    drawn = tools.draw(tmp_path)
    keras_yolo(tmp_path, drawn)
    lines = (tmp_path / "_annotations.txt").read_text().split("\n")
    (tmp_path / "_annotations.txt").write_text("\n".join([f"{drawn[0][0]} 1,2,30,40,0 {word}", *lines[1:]]))
    (note,) = [note for note in tools.opened("box-lines", tmp_path).notes if "cannot be used" in note]
    assert f"'{word}' is no x1,y1,x2,y2,class" in note


def test_names_of_pictures_have_blanks_and_commas(tmp_path: Path) -> None:
    drawn = tools.draw(tmp_path)
    odd = [(f"a picture, b, {name}", boxes) for name, boxes in drawn]
    for (name, _), (new, _) in zip(drawn, odd):
        (tmp_path / name).rename(tmp_path / new)
    keras_yolo(tmp_path, odd)
    tools.check(tools.opened("box-lines", tmp_path), odd)


def test_lines_of_more_classes_than_are_named_and_without_names(tmp_path: Path) -> None:
    drawn = tools.draw(tmp_path)
    keras_yolo(tmp_path, drawn)
    (tmp_path / "_classes.txt").write_text(scenes.LABELS[0])
    with pytest.raises(DataError, match="classes are named"):
        tools.opened("box-lines", tmp_path)
    (tmp_path / "_classes.txt").unlink()
    assert tools.opened("box-lines", tmp_path).labels == tuple(str(i) for i in range(len(scenes.LABELS)))


def test_several_files_in_a_folder_are_named(tmp_path: Path) -> None:
    drawn = tools.draw(tmp_path)
    createml(tmp_path, drawn)
    (tmp_path / "more.json").write_text("[]")
    with pytest.raises(DataError, match=r"holds 2 \.json files \(_annotations\.createml\.json, more\.json\)"):
        tools.opened("createml", tmp_path)
