"""Shapes of CVAT, VIA and Label Studio as masks, against pixels that are drawn by hand."""

from __future__ import annotations

import json
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
pytest.importorskip("pycocotools.mask", reason="outlines are drawn by pycocotools")
HEIGHT, WIDTH, COUNT = 24, 40, 12
#: a road over the lower half, and a car on it
ROAD, CAR = (0, 12, 40, 24), (6, 8, 16, 18)


def pictures(root: Path) -> list[str]:
    rng = np.random.default_rng(0)
    names = [f"{i:02d}.png" for i in range(COUNT)]
    (root / "images").mkdir(parents=True)
    for name in names:
        scenes.save(root / "images" / name, rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    return names


def corners(box: tuple[int, ...]) -> list[tuple[int, int]]:
    x1, y1, x2, y2 = box
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


def cvat(root: Path, extra: str = "") -> Path:
    """The car as a polygon, a turned box or a brushed mask, listed before the road, which lies below by its z order."""
    nodes = []
    for i, name in enumerate(pictures(root)):
        points = ";".join(f"{x},{y}" for x, y in corners(CAR))
        x1, y1, x2, y2 = CAR
        car = [
            f'<polygon label="car" points="{points}" z_order="1"/>',
            f'<box label="car" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}" rotation="90" z_order="1"/>',
            f'<mask label="car" rle="0, 100" left="{x1}" top="{y1}" width="10" height="10" z_order="1"/>',
        ][i % 3]
        road = '<box label="road" xtl="0" ytl="12" xbr="40" ybr="24" z_order="0"/>'
        inner = f"{car}{road}{extra if i == 0 else ''}"
        nodes.append(f'<image id="{i}" name="{name}" width="{WIDTH}" height="{HEIGHT}">{inner}</image>')
    (root / "annotations.xml").write_text(f"<annotations><meta></meta>{''.join(nodes)}</annotations>")
    return root


def via(root: Path) -> Path:
    table = {}
    for name in pictures(root):
        xs, ys = zip(*corners(CAR))
        shapes = [
            ({"name": "rect", "x": 0, "y": 12, "width": 40, "height": 12}, "road"),
            ({"name": "polygon", "all_points_x": xs, "all_points_y": ys}, "car"),
        ]
        regions = [{"shape_attributes": s, "region_attributes": {"class": c}} for s, c in shapes]
        table[name] = {"filename": name, "size": 1, "regions": regions}
    (root / "via.json").write_text(json.dumps(table))
    return root


def label_studio(root: Path) -> Path:
    tasks: list[dict[str, Any]] = []
    size = {"original_width": WIDTH, "original_height": HEIGHT}
    for i, name in enumerate(pictures(root)):
        share = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in corners(CAR)]
        road = {"x": 0, "y": 50, "width": 100, "height": 50, "rotation": 0, "rectanglelabels": ["road"]}
        car: dict[str, Any] = {"points": share, "polygonlabels": ["car"]}
        if i % 2:  # turned clockwise around the corner that comes to lie upper right
            car = {"x": 100 * 16 / WIDTH, "y": 100 * 8 / HEIGHT, "width": 25, "height": 100 * 10 / HEIGHT}
            car |= {"rotation": 90, "rectanglelabels": ["car"]}
        results = [{"type": "any", "value": value, **size} for value in (road, car)]
        tasks.append({"data": {"image": f"/data/upload/1/0123abcd-{name}"}, "annotations": [{"result": results}]})
    (root / "export.json").write_text(json.dumps(tasks))
    return root


TOOLS: dict[str, Callable[[Path], Path]] = {"cvat": cvat, "via": via, "label-studio": label_studio}


@pytest.mark.parametrize("tool", TOOLS)
def test_shapes_are_drawn_in_their_order_over_the_background(tool: str, tmp_path: Path) -> None:
    root = TOOLS[tool](tmp_path / "d")
    dataset = data.open(Data(format=f"{tool}-masks", path=str(root)), "segment")
    assert dataset.labels == ("background", "car", "road")
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[12:24] = 2
    expected[8:18, 6:16] = 1
    for name in dataset.splits:
        for target in dataset.split(name).targets:
            np.testing.assert_array_equal(np.asarray(target), expected)
    assert not any("upright boxes" in note for note in dataset.notes)


@pytest.mark.parametrize("tool", TOOLS)
def test_boxes_are_the_likelier_wish_and_masks_are_taken_for_segmentation(tool: str, tmp_path: Path) -> None:
    root = TOOLS[tool](tmp_path / "d")
    assert understand(root).data.format == tool
    assert understand(root, task="segment").data.format == f"{tool}-masks"


def test_brushed_masks_keep_their_holes(tmp_path: Path) -> None:
    root = cvat(tmp_path / "d")
    text = (root / "annotations.xml").read_text()
    (root / "annotations.xml").write_text(text.replace('rle="0, 100"', 'rle="44, 2, 54"'))
    dataset = data.open(Data(format="cvat-masks", path=str(root)), "segment")
    split = next(dataset.split(n) for n in dataset.splits)
    brushed = [t for t in (np.asarray(t) for t in split.targets) if (t == 1).sum() == 2]
    assert brushed and all((mask[12, 10:12] == 1).all() for mask in brushed)


def test_ellipses_cover_their_area(tmp_path: Path) -> None:
    root = cvat(tmp_path / "d")
    text = (root / "annotations.xml").read_text()
    drawn = '<ellipse label="car" cx="20" cy="12" rx="10" ry="6"/></image>'
    (root / "annotations.xml").write_text(text.replace("</image>", drawn))
    dataset = data.open(Data(format="cvat-masks", path=str(root)), "segment")
    mask = np.asarray(dataset.split("train").targets[0])
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    inside = ((columns - 20) / 10) ** 2 + ((rows - 12) / 6) ** 2 < 1
    assert (mask == 1)[inside].mean() > 0.97


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ('<mask label="car" rle="5, 5" left="0" top="0" width="5" height="5"/>', "add up to 10, its box is 5x5"),
        ('<mask label="car" rle="0, 25" left="38" top="0" width="5" height="5"/>', "its box is 5x5"),
        ('<polygon label="car" points="1,1;2,2"/>', "three or more points"),
        ('<polygon label="car" points="1,1;900,2;3,3"/>', "outside of its picture"),
    ],
)
def test_a_wrong_shape_names_its_picture(shape: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words) as caught:
        data.open(Data(format="cvat-masks", path=str(cvat(tmp_path / "d", shape))), "segment")
    assert "00.png" in str(caught.value)
