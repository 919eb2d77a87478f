"""Boxes as annotation tools export them, each written from the same drawn scenes.

Longer than 400 lines because the files of five annotation tools are written by it.
"""

from __future__ import annotations

import csv
import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError
from edgeft.data.understand import understand

pytest.importorskip("PIL", reason="pictures are read by pillow")
COUNT = 24
Scenes = list[tuple[str, list[scenes.Box]]]


def draw(folder: Path, count: int = COUNT) -> Scenes:
    rng = np.random.default_rng(0)
    drawn: Scenes = []
    for i in range(count):
        pixels, boxes = scenes.scene(rng)
        scenes.save(folder / f"{i:03d}.png", pixels)
        drawn.append((f"{i:03d}.png", boxes))
    return drawn


def check(dataset: data.Dataset, drawn: Scenes, parts: tuple[str, ...] = ()) -> None:
    """Every picture is there once, with the boxes that were drawn."""
    names = {}
    for part in dataset.splits:
        split = dataset.split(part)
        for i in range(len(split)):
            names[Path(split.source(i)).name] = split.targets[i]
    assert set(names) == {name for name, _ in drawn}
    for name, boxes in drawn:
        target = names[name]
        assert [dataset.labels[kind] for kind in target["classes"]] == [scenes.LABELS[box[0]] for box in boxes]
        np.testing.assert_allclose(target["boxes"], [box[1:] for box in boxes], atol=1e-3)
    assert not parts or tuple(dataset.splits) == parts


def voc_xml(name: str, boxes: list[scenes.Box], difficult: bool = False) -> str:
    objects = "".join(
        f"<object><name>{scenes.LABELS[kind]}</name><difficult>{int(difficult)}</difficult><bndbox>"
        f"<xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for kind, x1, y1, x2, y2 in boxes
    )
    size = f"<size><width>{scenes.WIDTH}</width><height>{scenes.HEIGHT}</height><depth>3</depth></size>"
    return f'<?xml version="1.0" encoding="utf-8"?><annotation><filename>{name}</filename>{size}{objects}</annotation>'


def write_voc(root: Path) -> Scenes:
    drawn = draw(root / "JPEGImages")
    (root / "Annotations").mkdir()
    for name, boxes in drawn:
        (root / "Annotations" / f"{name[:3]}.xml").write_text(voc_xml(name, boxes))
    return drawn


def write_cvat(root: Path) -> Scenes:
    drawn = draw(root / "images")
    nodes = []
    for i, (name, boxes) in enumerate(drawn):
        inner = []
        for kind, x1, y1, x2, y2 in boxes:
            label = scenes.LABELS[kind]
            if i % 4 == 1:
                inner.append(f'<polygon label="{label}" points="{x1},{y1};{x2},{y1};{x2},{y2};{x1},{y2}"/>')
            elif i % 4 == 2:
                cx, cy, w, h = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
                turned = f'xtl="{cx - h / 2}" ytl="{cy - w / 2}" xbr="{cx + h / 2}" ybr="{cy + w / 2}" rotation="90"'
                inner.append(f'<box label="{label}" {turned}/>')
            else:
                inner.append(f'<box label="{label}" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}"/>')
        size = f'width="{scenes.WIDTH}" height="{scenes.HEIGHT}"'
        nodes.append(f'<image id="{i}" name="{name}" {size}>{"".join(inner)}<points label="bar" points="1,2"/></image>')
    labels = "".join(f"<label><name>{name}</name></label>" for name in scenes.LABELS)
    meta = f"<meta><task><labels>{labels}</labels></task></meta>"
    (root / "annotations.xml").write_text(f'<?xml version="1.0"?><annotations>{meta}{"".join(nodes)}</annotations>')
    return drawn


def write_cvat_video(root: Path) -> Scenes:
    """Each box a track of one frame, which ends with a shape outside; the first frame is 10."""
    drawn = draw(root / "drawn")
    (root / "images").mkdir()
    tracks, frames = [], []
    for number, (name, boxes) in enumerate(drawn, 10):
        (root / "drawn" / name).rename(root / "images" / f"frame_{number:06d}.png")
        frames.append((f"frame_{number:06d}.png", boxes))
        for kind, x1, y1, x2, y2 in boxes:
            place = f'occluded="0" keyframe="1" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}" z_order="0"'
            shown = [f'<box frame="{number + i}" outside="{i}" {place}/>' for i in range(2)]
            tracks.append(f'<track id="{len(tracks)}" label="{scenes.LABELS[kind]}">{"".join(shown)}</track>')
    labels = "".join(f"<label><name>{name}</name></label>" for name in scenes.LABELS)
    meta = f"<meta><task><mode>interpolation</mode><labels>{labels}</labels></task></meta>"
    (root / "annotations.xml").write_text(f'<?xml version="1.0"?><annotations>{meta}{"".join(tracks)}</annotations>')
    return frames


def percent(box: scenes.Box, turned: bool = False) -> dict[str, float]:
    _, x1, y1, x2, y2 = box
    w, h = x2 - x1, y2 - y1
    if turned:  # by 90 degrees clockwise around the corner that comes to lie upper right
        x, y, across, down, degrees = x2, y1, h, w, 90
    else:
        x, y, across, down, degrees = x1, y1, w, h, 0
    values = {"x": 100 * x / scenes.WIDTH, "y": 100 * y / scenes.HEIGHT}
    return {**values, "width": 100 * across / scenes.WIDTH, "height": 100 * down / scenes.HEIGHT, "rotation": degrees}


def write_label_studio(root: Path, minimal: bool) -> Scenes:
    drawn = draw(root / "images")
    size = {"original_width": scenes.WIDTH, "original_height": scenes.HEIGHT}
    tasks: list[dict[str, Any]] = []
    for i, (name, boxes) in enumerate(drawn):
        address = f"/data/upload/7/0123abcd-{name}"
        values = [{**percent(box, i % 3 == 1), "rectanglelabels": [scenes.LABELS[box[0]]]} for box in boxes]
        if minimal:
            tasks.append({"id": i, "image": address, "label": [{**value, **size} for value in values]})
        else:
            result = [{"type": "rectanglelabels", "value": value, **size} for value in values]
            cancelled = {"was_cancelled": True, "result": []}
            tasks.append({"id": i, "data": {"image": address}, "annotations": [{"result": result}, cancelled]})
    (root / "export.json").write_text(json.dumps(tasks))
    return drawn


def via_regions(boxes: list[scenes.Box], polygon: bool) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    regions = []
    for kind, x1, y1, x2, y2 in boxes:
        shape: dict[str, Any] = {"name": "rect", "x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}
        if polygon:
            shape = {"name": "polygon", "all_points_x": [x1, x2, x2], "all_points_y": [y1, y1, y2]}
        regions.append((shape, {"kind": {scenes.LABELS[kind]: True} if polygon else scenes.LABELS[kind]}))
    return regions


def write_via(root: Path, form: str) -> Scenes:
    drawn = draw(root)
    if form == "csv":
        head = ["filename", "file_size", "file_attributes", "region_count", "region_id"]
        with (root / "via.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*head, "region_shape_attributes", "region_attributes"])
            for name, boxes in drawn:
                for number, (shape, attributes) in enumerate(via_regions(boxes, False)):
                    writer.writerow([name, 9, "{}", len(boxes), number, json.dumps(shape), json.dumps(attributes)])
        return drawn
    table = {}
    for i, (name, boxes) in enumerate(drawn):
        regions = [
            {"shape_attributes": shape, "region_attributes": attributes}
            for shape, attributes in via_regions(boxes, i % 2 == 1)
        ]
        table[f"{name}9"] = {"filename": name, "size": 9, "regions": regions}
    if form == "project":
        table = {"_via_settings": {}, "_via_img_metadata": table}
    (root / "via.json").write_text(json.dumps(table))
    return drawn


def write_labelme(root: Path) -> Scenes:
    """Rectangles by any two opposite corners, and polygons."""
    drawn = draw(root)
    for i, (name, boxes) in enumerate(drawn):
        shapes = []
        for kind, x1, y1, x2, y2 in boxes:
            points = [[x2, y1], [x1, y2]] if i % 2 else [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]
            form = "rectangle" if i % 2 else "polygon"
            shapes.append({"label": scenes.LABELS[kind], "points": points, "shape_type": form, "flags": {}})
        table = {"version": "5.4", "shapes": shapes, "imagePath": f"..\\pictures\\{name}", "imageData": None}
        size = {"imageHeight": scenes.HEIGHT, "imageWidth": scenes.WIDTH}
        (root / f"{name[:3]}.json").write_text(json.dumps({**table, **size}))
    return drawn


def write_kitti(root: Path) -> Scenes:
    drawn = draw(root / "training" / "image_2")
    (root / "training" / "label_2").mkdir()
    (root / "testing").mkdir()
    for name, boxes in drawn:
        lines = [
            f"{scenes.LABELS[b[0]]} 0.00 0 -1.57 {b[1]} {b[2]} {b[3]} {b[4]} 1.5 1.6 3.9 1 1.5 20 -1.5" for b in boxes
        ]
        lines.append("DontCare -1 -1 -10 1 1 3 3 -1 -1 -1 -1000 -1000 -1000 -10")
        (root / "training" / "label_2" / f"{name[:3]}.txt").write_text("\n".join(lines))
    return drawn


#: header and row of each kind of table: (picture, class, x1, y1, x2, y2) -> its fields
TABLES: dict[str, tuple[str, Callable[..., str]]] = {
    "roboflow": (
        "filename,width,height,class,xmin,ymin,xmax,ymax",
        lambda name, label, a, b, c, d: f"{name},{scenes.WIDTH},{scenes.HEIGHT},{label},{a},{b},{c},{d}",
    ),
    "open images": (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax",
        lambda name, label, a, b, c, d: (
            f"{name[:3]},x,{label},1,{a / scenes.WIDTH},{c / scenes.WIDTH},{b / scenes.HEIGHT},{d / scenes.HEIGHT}"
        ),
    ),
    "kaggle": (
        "image_id,width,height,bbox,label",
        lambda name, label, a, b, c, d: (
            f'{name[:3]},{scenes.WIDTH},{scenes.HEIGHT},"[{a}, {b}, {c - a}, {d - b}]",{label}'
        ),
    ),
    "retinanet": ("", lambda name, label, a, b, c, d: f"{name},{a},{b},{c},{d},{label}"),
    "corner and sides": (
        "image;x;y;w;h;label",
        lambda name, label, a, b, c, d: f"{name};{a};{b};{c - a};{d - b};{label}",
    ),
}


def write_table(root: Path, form: str) -> Scenes:
    drawn = draw(root)
    header, row = TABLES[form]
    lines = [row(name, scenes.LABELS[kind], *corners) for name, boxes in drawn for kind, *corners in boxes]
    (root / "boxes.csv").write_text("\n".join([header, *lines] if header else lines))
    return drawn


WRITERS: dict[str, tuple[str, Callable[[Path], Scenes]]] = {
    "voc": ("voc", write_voc),
    "cvat": ("cvat", write_cvat),
    "cvat video": ("cvat", write_cvat_video),
    "label-studio": ("label-studio", lambda root: write_label_studio(root, False)),
    "label-studio min": ("label-studio", lambda root: write_label_studio(root, True)),
    "via project": ("via", lambda root: write_via(root, "project")),
    "via json": ("via", lambda root: write_via(root, "json")),
    "via csv": ("via", lambda root: write_via(root, "csv")),
    "labelme": ("labelme", write_labelme),
    "kitti": ("kitti", write_kitti),
    **{f"table {form}": ("box-table", functools.partial(write_table, form=form)) for form in TABLES},
}


def opened(form: str, path: Path) -> data.Dataset:
    return data.open(Data(format=form, path=str(path)), "detect")


@pytest.mark.parametrize("name", WRITERS)
def test_boxes_are_those_that_were_drawn(tmp_path: Path, name: str) -> None:
    form, write = WRITERS[name]
    drawn = write(tmp_path)
    understood = understand(tmp_path)
    assert (understood.data.format, understood.task) == (form, "detect")
    dataset = opened(form, tmp_path)
    check(dataset, drawn)
    assert set(dataset.labels) == set(scenes.LABELS)


def test_a_name_that_no_file_system_takes_is_a_picture_that_is_absent(tmp_path: Path) -> None:
    write_voc(tmp_path)
    first = next(iter(sorted(tmp_path.rglob("*.xml"))))
    text = first.read_text()
    name = text.partition("<filename>")[2].partition("</filename>")[0]
    first.write_text(text.replace(name, name + "9" * 400).replace("<path>", "<path>" + "9" * 400))
    assert opened("voc", tmp_path).splits  # found by the name of the annotation, or left out and counted


def test_what_is_no_box_is_counted(tmp_path: Path) -> None:
    write_cvat(tmp_path)
    notes = " ".join(opened("cvat", tmp_path).notes)
    assert f"left out: {COUNT} points" in notes and "polygons" in notes and "turned boxes" in notes


def test_voc_lists_difficult_objects_and_roboflows_folders(tmp_path: Path) -> None:
    root = tmp_path / "VOCdevkit" / "VOC2007"
    drawn = write_voc(root)
    (root / "Annotations" / "000.xml").write_text(voc_xml(*drawn[0], difficult=True))
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for part, (start, end) in {"train": (0, 16), "val": (16, 20), "test": (20, 23)}.items():
        (lists / f"{part}.txt").write_text("".join(f"{i:03d}\n" for i in range(start, end)))
    (lists / "disc_train.txt").write_text("000  1\n001 -1\n")
    dataset = opened("voc", tmp_path / "VOCdevkit")
    check(dataset, drawn[:23], ("train", "val", "test"))
    notes = " ".join(dataset.notes)
    assert "are marked difficult" in notes and "1 annotations are in no list" in notes
    assert dataset.split("train").targets[0]["crowd"].all()

    flat = tmp_path / "roboflow"
    for i, (name, boxes) in enumerate(drawn):
        part = ("train", "valid", "test")[min(2, i // 10)]
        (flat / part).mkdir(parents=True, exist_ok=True)
        (flat / part / name).write_bytes((root / "JPEGImages" / name).read_bytes())
        (flat / part / f"{name[:3]}.xml").write_text(voc_xml(f"C:\\pictures\\{name[:3]}.jpeg", boxes))
    check(opened("voc", flat), drawn, ("train", "val", "test"))


def test_frames_of_a_cvat_video_that_cannot_be_used(tmp_path: Path) -> None:
    drawn = write_cvat_video(tmp_path)
    file = tmp_path / "annotations.xml"
    text = file.read_text()
    (tmp_path / "images" / drawn[0][0]).unlink()
    dataset = opened("cvat", tmp_path)
    check(dataset, drawn[1:])
    assert any("frame 10: the picture of this frame does not exist" in note for note in dataset.notes)

    broken = re.sub(r'(frame="11" outside="0" .*? xtl=")', r"\1x", text, count=1)
    file.write_text(broken.replace("</annotations>", '<track id="99"><box frame="x"/></track></annotations>'))
    with pytest.raises(DataError, match=r"3 of \d+ .*track '99', frame 'x'.*frame 10.*track '\d', frame '11'"):
        opened("cvat", tmp_path)

    file.write_text(text.replace('<track id="0"', '<track id="0" task_id="7"'))
    with pytest.raises(DataError, match="several videos"):
        opened("cvat", tmp_path)


def test_subsets_of_a_cvat_project_are_splits(tmp_path: Path) -> None:
    drawn = write_cvat(tmp_path)
    text = (tmp_path / "annotations.xml").read_text()
    for i in range(COUNT):
        subset = ("Train", "Validation", "Test")[min(2, i // 10)]
        text = text.replace(f'<image id="{i}" ', f'<image id="{i}" subset="{subset}" ')
    (tmp_path / "annotations.xml").write_text(text)
    check(opened("cvat", tmp_path), drawn, ("train", "val", "test"))
    (tmp_path / "annotations.xml").write_text(text.replace('"Test"', '"Extra"'))
    with pytest.raises(DataError, match="subset 'Extra'"):
        opened("cvat", tmp_path)


WRONG: dict[str, tuple[str, str, str]] = {
    "video": ("cvat", "annotations.xml", "<annotations><track id='0' label='a'/></annotations>"),
    "no xml": ("cvat", "annotations.xml", "<annotations>"),
    "entity": ("cvat", "annotations.xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>'),
    "no list": ("label-studio", "export.json", "{}"),
    "no json": ("label-studio", "export.json", "[{]"),
    "several attributes": (
        "via", "via.json",
        '{"a": {"filename": "000.png", "regions": [{"shape_attributes": {}, "region_attributes": {"x": 1, "y": 2}}]}}',
    ),
    "no picture": ("via", "via.json", "{}"),
    "no columns": ("via", "via.csv", "a,b\n1,2\n"),
    "other annotations": ("voc", "a.xml", "<svg></svg>"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_read_names_the_file(tmp_path: Path, name: str) -> None:
    form, file, text = WRONG[name]
    (tmp_path / file).write_text(text)
    with pytest.raises(DataError) as caught:
        opened(form, tmp_path)
    assert file in str(caught.value)


def test_an_object_outside_of_its_picture_leaves_that_one_out(tmp_path: Path) -> None:
    drawn = write_voc(tmp_path)
    wrong = tmp_path / "Annotations" / "003.xml"
    wrong.write_text(voc_xml("003.png", [(0, 90, 10, 130, 30)]))
    (note,) = [note for note in opened("voc", tmp_path).notes if "left out" in note]
    assert f"1 of {len(drawn)} pictures" in note and f"{wrong}: object[0]" in note


def test_splits_of_a_table_of_boxes_are_files_folders_or_a_column(tmp_path: Path) -> None:
    header, row = TABLES["roboflow"]
    drawn = draw(tmp_path / "files")
    lines = {name: [row(name, scenes.LABELS[kind], *c) for kind, *c in boxes] for name, boxes in drawn}
    parts = {"train": drawn[:16], "valid": drawn[16:20], "test": drawn[20:]}
    for part, pictures in parts.items():
        rows = [line for name, _ in pictures for line in lines[name]]
        (tmp_path / "files" / f"{part}-annotations-bbox.csv").write_text("\n".join([header, *rows]))
    dataset = opened("box-table", tmp_path / "files")
    assert {name: len(dataset.split(name)) for name in dataset.splits} == {"train": 16, "val": 4, "test": 4}

    column = draw(tmp_path / "column")
    rows = [
        f"{row(name, scenes.LABELS[kind], *c)},{'train' if i < 16 else 'test'}"
        for i, (name, boxes) in enumerate(column)
        for kind, *c in boxes
    ]
    (tmp_path / "column" / "boxes.csv").write_text("\n".join([f"{header},split", *rows]))
    dataset = opened("box-table", tmp_path / "column")
    assert len(dataset.split("test")) == 8 and sum(len(dataset.split(name)) for name in dataset.splits) == 24


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("filename,class\na.png,cat", "no columns of corners"),
        ("class,xmin,ymin,xmax,ymax\ncat,1,1,2,2", "no columns of pictures"),
        ("filename,class,xmin,ymin,xmax,ymax\n000.png,cat,1,1,x,2", "'xmax' is 'x'"),
        ("filename,class,xmin,ymin,xmax,ymax\n000.png,cat,1,1,nan,2", "not finite"),
        ("filename,class,xmin,ymin,xmax,ymax\n000.png,,1,1,2,2", "has no class"),
        ("filename,class,xmin,ymin,xmax,ymax\n000.png,cat,1,1,9999,2", "reaches outside"),
        ("filename,class,xmin,ymin,xmax,ymax\nabsent.png,cat,1,1,2,2", "does not exist"),
        ("image_id,bbox,label\n000,[1,cat", "cannot be read|expected"),
        ('image_id,bbox,label\n000,"[1, 2]",cat', "expected .x, y, width, height."),
        ("000.png,1,1,2", "4 columns and no header"),
    ],
)
def test_a_wrong_table_of_boxes_names_its_line(text: str, words: str, tmp_path: Path) -> None:
    draw(tmp_path, 1)
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(DataError, match=words) as refused:
        opened("box-table", tmp_path)
    assert "boxes.csv" in refused.value.where and refused.value.remedy


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"label": "cat", "points": [[1, 1]], "shape_type": "polygon"}, "1 points"),
        ({"label": "cat", "points": [[1, "a"], [2, 2]], "shape_type": "rectangle"}, "'y' is 'a'"),
        ({"label": "", "points": [[1, 1], [5, 5]], "shape_type": "rectangle"}, "no label"),
        ({"label": "cat", "points": {}, "shape_type": "rectangle"}, "no list of"),
        ({"label": "cat", "points": [[1, 1], [9999, 5]], "shape_type": "rectangle"}, "shapes.0."),
        (7, "no list 'shapes'"),
    ],
)
def test_a_wrong_shape_of_labelme_names_its_file(shape: Any, words: str, tmp_path: Path) -> None:
    write_labelme(tmp_path)
    for path in sorted(tmp_path.glob("*.json"))[:3]:
        table = json.loads(path.read_text())
        path.write_text(json.dumps({**table, "shapes": [shape]}))
    for form in ("labelme", "labelme-masks"):
        with pytest.raises(DataError, match=words) as refused:
            opened(form, tmp_path) if form == "labelme" else data.open(Data(format=form, path=str(tmp_path)), "segment")
        assert "000.json" in refused.value.where


def test_a_wrong_line_of_kitti_names_its_place(tmp_path: Path) -> None:
    write_kitti(tmp_path)
    for path in sorted((tmp_path / "training" / "label_2").glob("*.txt"))[:3]:
        path.write_text("car 1 2 3\n")
    with pytest.raises(DataError, match="has 4 fields") as refused:
        opened("kitti", tmp_path)
    assert "000.txt:1" in refused.value.where
