"""The files of COCO's json format: which one holds which split, their classes, and where their pictures lie.

`annotations/instances_<split>.json`, `<split>/_annotations.coco.json`, `<split>.json`, or the file that `data.path`
names. Pictures are looked for beside it, in `<split>/`, `images/<split>/`, `images/` and the data's folder.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import recipe
from ..core import strict_json
from ..core.errors import DataError
from .boxes import Wrong
from .folders import folder_named, folders, split_folders
from .samples import NAMES, listed, split_named


@dataclass(frozen=True)
class Tables:
    """The annotation files of a data set: by split the file, its table and {id: class}, and the classes of all."""

    root: Path
    files: Mapping[str, Path]
    tables: Mapping[str, Mapping[str, Any]]
    names: Mapping[str, Mapping[str, str]]
    labels: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """The folder below which pictures lie."""
        return self.root.parent if self.root.is_file() else self.root


def read(spec: recipe.Data) -> Tables:
    """The tables at `spec.path`; raises `DataError` naming the file and entry, and where splits differ in classes."""
    root = Path(spec.path)
    if not spec.path or not root.exists():
        problem = "no data is given" if not spec.path else "no such file or folder"
        raise DataError(
            problem, where=spec.path or "data.path", remedy="set data.path to a folder of annotations/*.json"
        )

    files = {"train": root} if root.is_file() else files_of(root)
    tables = {part: load(path) for part, path in files.items()}
    notes: list[str] = []
    names_of = {part: categories(table, files[part], notes) for part, table in tables.items()}
    names_of = without_roots(names_of, tables, notes)
    first = next(iter(names_of))
    labels = tuple(dict.fromkeys(names_of[first][key] for key in sorted(names_of[first], key=_number)))

    for part, names in names_of.items():
        unknown = sorted(set(names.values()) - set(labels))
        if unknown:
            raise DataError(
                f"its categories are not those of {files[first]}: it has {listed(unknown)}", where=str(files[part])
            )
        if names != names_of[first]:
            notes.append(f"{files[part]}: categories are numbered as in no other file, and are joined by their names")

    return Tables(root, files, tables, names_of, labels, tuple(dict.fromkeys(notes)))


def files_of(root: Path) -> dict[str, Path]:
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


def load(path: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = strict_json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"is not JSON: {error.msg}", where=f"{path}:{error.lineno}") from error
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"cannot be read as JSON ({error})", where=str(path)) from error

    for key in ("images", "annotations", "categories"):
        if not isinstance(table, dict) or not isinstance(table.get(key), list):
            raise DataError(f"has no list {key!r}", where=str(path), remedy="expected COCO's instances format")

    return table


def key_of(value: Any) -> str | None:
    """An id as text, which numbers and texts of the same digits share; None for what is no id."""
    return str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else None


def _number(key: str) -> tuple[int, str]:
    return (int(key), "") if key.isdecimal() else (10**9, key)


def _annotated(table: Mapping[str, Any]) -> Counter[str | None]:
    """How many annotations each category has."""
    return Counter(key_of(row.get("category_id")) for row in table["annotations"] if isinstance(row, dict))


def categories(table: Mapping[str, Any], path: Path, notes: list[str]) -> dict[str, str]:
    """{id: name}; of two categories of one name, one that no annotation has is left out with a note."""
    annotated = _annotated(table)
    name_of: dict[str, str] = {}
    for i, row in enumerate(table["categories"]):
        key = key_of(row.get("id")) if isinstance(row, dict) else None
        if key is None or not isinstance(row.get("name"), str):
            raise DataError("has no 'id' and 'name'", where=f"{path}: categories[{i}]")
        if key in name_of:
            raise DataError(f"its id {key} occurs twice", where=f"{path}: categories[{i}]")
        twin = next((k for k, name in name_of.items() if name == row["name"]), None)
        if twin is not None:
            unused = next((k for k in (twin, key) if not annotated[k]), None)
            if unused is None:
                raise DataError(
                    f"{row['name']!r} occurs twice, and both are annotated", where=f"{path}: categories[{i}]"
                )
            notes.append(
                f"{path}: of two categories {row['name']!r}, the one without annotations (id {unused}) is left out"
            )
            name_of.pop(twin, None) if unused == twin else None
            if unused == key:
                continue
        name_of[key] = row["name"]

    if not name_of:
        raise DataError("has no categories", where=str(path))
    return name_of


def without_roots(
    names_of: Mapping[str, Mapping[str, str]], tables: Mapping[str, Mapping[str, Any]], notes: list[str]
) -> dict[str, dict[str, str]]:
    """Categories without those that only group others: no annotation has them, and they are others' supercategory."""
    parents: set[str] = set()
    annotated: set[str] = set()
    for part, table in tables.items():
        counts = _annotated(table)
        annotated |= {name for key, name in names_of[part].items() if counts[key]}
        parents |= {
            str(row.get("supercategory")) for row in table["categories"] if row.get("name") != row.get("supercategory")
        }

    used = {name for names in names_of.values() for name in names.values()}
    roots = sorted((used & parents) - annotated)
    if roots:
        notes.append(f"{listed(roots)} only groups other categories and has no annotation: it is no class")

    return {part: {key: name for key, name in names.items() if name not in roots} for part, names in names_of.items()}


def places(path: Path, root: Path, part: str) -> list[Path]:
    """The folders in which the pictures of a split are looked for, in this order."""
    images = folder_named(root, ("images",))
    tops = [root] if images is None else [root, images]
    named = [folder for top in tops for folder in folders(top) if split_named(folder.name) == part]
    alike = [folder for folder in folders(root) if folder.name.lower().startswith(part)]
    return [path.parent, root, *named, *tops[1:], *alike]


@dataclass(frozen=True)
class Picture:
    """A picture of a table: its place for messages, its name, its stated height and width, and its annotations, each
    with its place."""

    where: str
    name: str
    size: tuple[int, int] | None
    annotations: tuple[tuple[str, Mapping[str, Any]], ...]


def pictures(table: Mapping[str, Any], path: Path) -> Iterator[Picture | Wrong]:
    """The pictures of a table, and what is wrong with those that cannot be used."""
    rows_of: dict[str | None, list[tuple[int, Any]]] = {}
    for i, row in enumerate(table["annotations"]):
        rows_of.setdefault(key_of(row.get("image_id")) if isinstance(row, dict) else None, []).append((i, row))

    known: set[str] = set()
    for i, row in enumerate(table["images"]):
        where = f"{path}: images[{i}]"
        key = key_of(row.get("id")) if isinstance(row, dict) else None
        if key is None:
            yield Wrong(where, "has no 'id'")
            continue
        if key in known:
            yield Wrong(where, f"the id {key} occurs twice")
            continue
        known.add(key)
        if not isinstance(row.get("file_name"), str) or not row["file_name"]:
            yield Wrong(where, "has no 'file_name'")
            continue
        stated = row.get("height"), row.get("width")
        size = (int(stated[0]), int(stated[1])) if all(type(v) in (int, float) for v in stated) else None
        rows = tuple((f"{path}: annotations[{k}]", entry) for k, entry in rows_of.get(key, ()))
        yield Picture(where, row["file_name"], size, rows)

    for key, astray in rows_of.items():
        if key not in known:
            shown = "None" if key is None else key
            yield Wrong(f"{path}: annotations[{astray[0][0]}]", f"its image_id {shown} is not the id of a picture")


def class_of(row: Mapping[str, Any], names: Mapping[str, str], where: str) -> str:
    """The class of an annotation; raises `Wrong` where its category is none of the table's."""
    key = key_of(row.get("category_id"))
    if key is None or key not in names:
        raise Wrong(where, f"the category {row.get('category_id')!r} is not among the categories")
    return names[key]
