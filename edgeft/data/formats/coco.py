"""COCO's json format: pictures, categories and boxes of a split in one file, `annotations/instances_<split>.json`.

The file may also be `<split>/_annotations.coco.json`, `<split>.json`, or be named itself by `data.path`. Pictures are
looked for beside it, in `<split>/`, `images/<split>/`, `images/` and the data's folder. Boxes of crowds are not
learned, and the metric lets them pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...config import recipe
from ...core.errors import DataError
from ..boxes import Found, Wrong, box, dataset, picture, size_of
from ..folders import folder_named, folders, split_folders
from ..record import Format
from ..samples import NAMES, Dataset, split_named


def open(spec: recipe.Data) -> Dataset:
    """The data at `spec.path`; raises `DataError` naming the file and the entry that is wrong.

    A picture with an annotation that is wrong, or that is absent, is left out; more than 5 % of them in a split stop
    the run.
    """
    root = Path(spec.path)
    if not spec.path or not root.exists():
        problem = "no data is given" if not spec.path else "no such file or folder"
        raise DataError(
            problem, where=spec.path or "data.path", remedy="set data.path to a folder of annotations/*.json"
        )
    files = {"train": root} if root.is_file() else _files(root)
    tables = {part: _load(path) for part, path in files.items()}
    categories = {part: _categories(table, files[part]) for part, table in tables.items()}
    first = next(iter(categories))
    for part, categories_of_part in categories.items():
        if categories_of_part != categories[first]:
            raise DataError(f"its categories are not those of {files[first]}", where=str(files[part]))
    numbers = {key: i for i, key in enumerate(sorted(categories[first]))}
    labels = tuple(categories[first][key] for key in sorted(categories[first]))
    folder = root.parent if root.is_file() else root
    boxes_of = {part: _read(table, files[part], folder, part, numbers) for part, table in tables.items()}
    return dataset(str(root), labels, boxes_of, spec)


def _files(root: Path) -> dict[str, Path]:
    """The annotations of each split: `annotations/*SPLIT*.json`, `SPLIT/_annotations.coco.json` or `SPLIT.json`."""
    inside = folder_named(root, ("annotations",))
    json_files = sorted(inside.glob("*.json")) if inside else []
    top = sorted(root.glob("*.json"))
    by_split: dict[str, list[Path]] = {}
    for path in [*json_files, *top]:
        split = _split_of(path.stem, path in json_files)
        if split:
            by_split.setdefault(split, []).append(path)
    for split, folder in split_folders(root).items():
        path = folder / "_annotations.coco.json"
        if path.is_file() and folder != root:
            by_split.setdefault(split, []).append(path)
    files = {}
    for split, paths in by_split.items():
        instances = [path for path in paths if path.name.lower().startswith("instances")]
        several = instances or paths  # COCO's own folder also holds captions and key points
        if len(several) > 1:
            raise DataError(
                f"both {several[0].name} and {several[1].name} fit {split}", where=str(root), remedy="keep one"
            )
        files[split] = several[0]
    if not files:
        alone = [*top, *json_files]
        if len(alone) != 1:
            raise DataError(
                "has no annotations of a split",
                where=str(root),
                remedy="expected annotations/instances_train.json, train/_annotations.coco.json or train.json",
            )
        files["train"] = alone[0]
    return {name: files[name] for name in NAMES if name in files}


def _split_of(stem: str, parts: bool) -> str:
    """The split that a file is named after: by the whole name, or also by a part of it."""
    if split := split_named(stem):
        return split
    words = re.split(r"[-_. ]", stem) if parts else []
    named = [split for word in words if (split := split_named(word))]
    return named[-1] if named else next((s for s in NAMES if parts and s in stem.lower()), "")


def _load(path: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(f"is not JSON: {error.msg}", where=f"{path}:{error.lineno}") from error
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"cannot be read as JSON ({error})", where=str(path)) from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(table, dict) or not isinstance(table.get(key), list):
            raise DataError(f"has no list {key!r}", where=str(path), remedy="expected COCO's instances format")
    return table


def _categories(table: Mapping[str, Any], path: Path) -> dict[int, str]:
    name_of: dict[int, str] = {}
    for i, row in enumerate(table["categories"]):
        if not isinstance(row, dict) or type(row.get("id")) is not int or not isinstance(row.get("name"), str):
            raise DataError("has no whole number 'id' and 'name'", where=f"{path}: categories[{i}]")
        if row["id"] in name_of or row["name"] in name_of.values():
            raise DataError(f"{row['name']!r} or its id occurs twice", where=f"{path}: categories[{i}]")
        name_of[row["id"]] = row["name"]
    if not name_of:
        raise DataError("has no categories", where=str(path))
    return name_of


def _read(table: Mapping[str, Any], path: Path, root: Path, part: str, numbers: Mapping[int, int]) -> Found:
    rows_of: dict[Any, list[tuple[int, Any]]] = {}
    for i, row in enumerate(table["annotations"]):
        key = row.get("image_id") if isinstance(row, dict) else None
        rows_of.setdefault(key if isinstance(key, (int, str)) else None, []).append((i, row))
    annotations, file_names, places = Found(), set(), _places(path, root, part)
    for i, entry in enumerate(table["images"]):
        where = f"{path}: images[{i}]"
        try:
            if not isinstance(entry, dict) or not isinstance(entry.get("id"), (int, str)):
                raise Wrong(where, "has no 'id'")
            if entry["id"] in file_names:
                raise Wrong(where, f"the id {entry['id']!r} occurs twice")
            file_names.add(entry["id"])
            file = _place(entry.get("file_name"), places, where)
            size = size_of(file)
            stated = entry.get("height"), entry.get("width")
            if None not in stated and stated != size:
                raise Wrong(where, f"says {stated[1]}x{stated[0]} pixels, and {file} has {size[1]}x{size[0]}")
            rows = [_row(row, size, numbers, f"{path}: annotations[{k}]") for k, row in rows_of.get(entry["id"], ())]
        except Wrong as error:
            annotations.bad.append(error)
            continue
        if not rows:
            annotations.empty.append(str(file))
        picture(file, size, rows, annotations)
    for key, astray in rows_of.items():
        if key not in file_names:
            annotations.bad.append(
                Wrong(f"{path}: annotations[{astray[0][0]}]", f"its image_id {key!r} is not the id of a picture")
            )
    return annotations


def _places(path: Path, root: Path, part: str) -> list[Path]:
    """The folders in which the pictures of a split are looked for, in this order."""
    images = folder_named(root, ("images",))
    tops = [root] if images is None else [root, images]
    named = [folder for top in tops for folder in folders(top) if split_named(folder.name) == part]
    alike = [folder for folder in folders(root) if folder.name.lower().startswith(part)]
    return [path.parent, root, *named, *tops[1:], *alike]


def _place(name: Any, places: Sequence[Path], where: str) -> Path:
    if not isinstance(name, str) or not name:
        raise Wrong(where, "has no 'file_name'")
    inner = Path(name)
    if not inner.is_absolute() and ".." not in inner.parts:  # a name must not lead out of the data
        for folder in places:
            if (folder / inner).is_file():
                return folder / inner
    raise Wrong(where, f"the picture {name!r} does not exist")


def _row(row: Any, size: tuple[int, int], numbers: Mapping[int, int], where: str) -> tuple[int, list[float], bool]:
    values = row.get("bbox")
    plain = isinstance(values, list) and len(values) == 4 and all(type(v) in (int, float) for v in values)
    if not plain:
        raise Wrong(where, f"'bbox' is {values!r}, expected [x, y, width, height]")
    if row.get("category_id") not in numbers:
        raise Wrong(where, f"the category {row.get('category_id')!r} is not among the categories")
    x, y, w, h = (float(v) for v in values)
    return numbers[row["category_id"]], box([x, y, x + w, y + h], size, where), bool(row.get("iscrowd", 0))


FORMAT = Format(
    name="coco",
    description="Pictures with boxes in COCO's json files.",
    open=open,
    keys=("path", "split", "split_seed"),
)
