"""Pascal VOC's boxes: an XML file a picture, `Annotations/a.xml` beside `JPEGImages/a.jpg`, lists in ImageSets/Main.

Also the folders of Roboflow (`train/a.jpg` with `train/a.xml`, `valid/`, `test/`) and of LabelImg (both in one folder).
Pixels are counted from 1 in these files. Objects that are marked difficult are left out of training, and the
metric ignores them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from ...config import recipe
from ...core.errors import DataError
from ...core.files import is_file
from .. import recognize_tools
from ..annotations import Entry, Finder, Shape, numbers_of, opened, text_of, xml_of
from ..boxes import Wrong
from ..folders import folder_named, folders, split_folders
from ..pictures import KEYS
from ..record import Format
from ..samples import NAMES, Dataset, split_named


def open(spec: recipe.Data) -> Dataset:
    """The folder at `spec.path`; raises `DataError` naming the file that is wrong.

    A picture with an object that is wrong, or that is absent, is left out; more than 5 % of them in a split stop the
    run.
    """
    root = Path(spec.path)
    if not spec.path or not root.is_dir():
        problem = "no data folder is given" if not spec.path else "no such folder"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a folder with Annotations/")

    while not folder_named(root, ("Annotations",)) and len(inner := _voc_folders(root)) == 1:
        root = inner[0]

    notes: list[str] = []
    files = _files(root, notes)
    entries = {part: [_entry(path) for path in paths] for part, paths in files.items()}
    labels = sorted(
        {shape.label for part in entries.values() for e in part if isinstance(e, Entry) for shape in e.shapes}
    )
    difficult = sum(s.crowd for part in entries.values() for e in part if isinstance(e, Entry) for s in e.shapes)
    if difficult:
        notes.append(f"{difficult} objects are marked difficult: training leaves them out, and the metric ignores them")

    places = [path for path in (folder_named(root, ("JPEGImages", "images")), root) if path is not None]
    finders = {part: Finder(root, [*dict.fromkeys(p.parent for p in paths), *places]) for part, paths in files.items()}
    return opened(entries, finders, labels, spec, str(root), notes)


def _voc_folders(root: Path) -> list[Path]:
    return [path for path in folders(root) if path.name.startswith("VOC")]


def _files(root: Path, notes: list[str]) -> dict[str, list[Path]]:
    """{split: annotation files}: by the lists of ImageSets/Main, by folders of splits, or all of them as train."""
    inside = folder_named(root, ("Annotations",))
    lists = _lists(root) if inside is not None else {}
    if inside is not None and lists:
        files = {}
        for part, stems in lists.items():
            paths = [inside / f"{stem}.xml" for stem in stems]
            absent = [path for path in paths if not is_file(path)]
            if absent:
                notes.append(f"{part}: {len(absent)} annotations of ImageSets/Main do not exist, such as {absent[0]}")
            files[part] = [path for path in paths if is_file(path)]
        unlisted = len(list(inside.glob("*.xml"))) - len({path for paths in files.values() for path in paths})
        if unlisted > 0:
            notes.append(f"{unlisted} annotations are in no list of ImageSets/Main and are not read")
    else:
        tops = split_folders(inside if inside is not None else root, notes)
        files = {
            part: sorted(path for path in top.rglob("*.xml") if not path.name.startswith("."))
            for part, top in tops.items()
        }

    empty = next((part for part, paths in files.items() if not paths), "")
    if empty or not files:
        raise DataError(f"there are no annotations of {empty or 'any split'}", where=str(root), remedy="expected *.xml")

    return {part: files[part] for part in NAMES if part in files}


def _lists(root: Path) -> dict[str, list[str]]:
    folder = root / "ImageSets" / "Main"
    names: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.txt")) if folder.is_dir() else []:
        split = split_named(path.stem)
        if split or path.stem == "trainval":  # the lists of single classes are called cat_train and the like
            names[split or "trainval"] = [line.split()[0] for line in text_of(path).splitlines() if line.strip()]
    everything = names.pop("trainval", [])
    return names if "train" in names or not everything else {"train": everything, **names}


def _entry(path: Path) -> Entry | Wrong:
    try:
        root = xml_of(path)
        if root.tag != "annotation":
            raise Wrong(str(path), f"is <{root.tag}>, expected <annotation>")
        shapes = tuple(_shape(node, f"{path}: object[{i}]") for i, node in enumerate(root.iterfind("object")))
        size = _texts(root.find("size"), ("height", "width"))
        stated = tuple(int(v) if v.isdecimal() else 0 for v in size.values())
        name = (root.findtext("filename") or "").strip() or path.stem
        return Entry(
            str(path), name, shapes, (stated[0], stated[1]) if len(stated) == 2 and all(stated) else None, path.stem
        )
    except Wrong as error:
        return error
    except DataError as error:
        return Wrong(error.where, error.message)


def _texts(node: Element | None, keys: Sequence[str]) -> Mapping[str, str]:
    return {} if node is None else {key: (node.findtext(key) or "").strip() for key in keys}


def _shape(node: Element, where: str) -> Shape:
    label = (node.findtext("name") or "").strip()
    if not label:
        raise Wrong(where, "has no name")
    x1, y1, x2, y2 = numbers_of(
        _texts(node.find("bndbox"), ("xmin", "ymin", "xmax", "ymax")), ("xmin", "ymin", "xmax", "ymax"), where
    )
    difficult = (node.findtext("difficult") or "0").strip().lower() in ("1", "true")
    return Shape(label, (max(0.0, x1 - 1), max(0.0, y1 - 1), x2, y2), where, difficult)


FORMAT = Format(
    name="voc",
    description="Pictures with an XML file of boxes each, as Pascal VOC, LabelImg and Roboflow have them.",
    open=open,
    keys=KEYS,
    recognize=recognize_tools.voc,
)
