"""YOLO's text format: a picture `images/train/a.jpg` and its boxes `labels/train/a.txt`, one a line.

A line is `class cx cy w h`: a class number, then the box's centre and sides as shares of the picture's sides.
`data.yaml` names the classes and the pictures of each split, as ultralytics reads it (`data_yaml.py`). Without splits
there, folders are `images/<split>` and `labels/<split>`, `<split>/images` and `<split>/labels`, or the text lies beside
the picture. Class names may also stand in classes.txt, obj.names or _darknet.labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...config import recipe
from ...core.errors import DataError
from ...inputs.picture_file import SUFFIXES
from .. import data_yaml, recognize
from ..annotations import around, class_names, text_of
from ..boxes import Found, Wrong, box, dataset, header_of, picture
from ..folders import folder_named, split_folders
from ..pictures import KEYS, Unread, walk
from ..record import Format
from ..samples import NAMES, Dataset, split_named

#: files with one class name a line
LISTS = ("classes.txt", "obj.names", "names.txt", "_darknet.labels")
_MOST_CLASSES = 10_000
#: endings of files that lie among the pictures and are labels, names or caches
_BESIDE = (".txt", ".yaml", ".yml", ".names", ".cache", ".json", ".xml", ".data", ".labels")


def open(spec: recipe.Data) -> Dataset:
    """The folder or `data.yaml` at `spec.path`; raises `DataError` naming file and line of what is wrong.

    A picture without a text file, or with an empty one, has no objects. One with a line that is wrong is left out; more
    than 5 % of them in a split stop the run, and so do more than 5 % of pictures that cannot be decoded.
    """
    root, names, places, notes, key_points = located(spec)
    kinds, unread = _Lines(len(names), key_points), Unread()
    boxes_of = {part: _read(root, places[part], spec, kinds, unread) for part in NAMES if part in places}
    notes += [*unread.notes(), *kinds.notes(), *_orphans(root, places)]

    if not names:
        highest = max((int(b.classes.max(initial=-1)) for f in boxes_of.values() for b in f.good), default=-1)
        names = tuple(str(i) for i in range(highest + 1))

    yolo_dataset = dataset(str(root), names, boxes_of, spec)
    yolo_dataset.notes[:0] = notes
    return yolo_dataset


def located(spec: recipe.Data) -> tuple[Path, tuple[str, ...], dict[str, list[Path]], list[str], int]:
    """(folder of the data, class names or (), {split: folders and lists of pictures}, notes, values of key points a
    line); raises `DataError` for a path that is neither a folder nor a data.yaml."""
    path = Path(spec.path)
    is_yaml = path.suffix.lower() in data_yaml.SUFFIXES and path.is_file()
    if not spec.path or not (path.is_dir() or is_yaml):
        problem = "no data folder is given" if not spec.path else "no such folder, nor a data.yaml"
        raise DataError(
            problem, where=spec.path or "data.path", remedy="set data.path to a folder with images/ and labels/"
        )

    root = path.parent if is_yaml else path
    described = data_yaml.read(path) if is_yaml else data_yaml.find(root)
    names = described.names if described is not None and described.names else _names(root)
    notes: list[str] = []
    places = _places(root, described, notes)

    return root, names, places, notes, described.key_points if described is not None else 0


def _places(root: Path, described: data_yaml.Description | None, notes: list[str]) -> dict[str, list[Path]]:
    """{split: folders of pictures and lists of them}: as data.yaml has it, else by the names of folders and lists."""
    stated = data_yaml.places(described, notes) if described is not None else {}
    if stated and "train" not in stated and described is not None and "train" in described.entries:
        stated = {}  # an entry that is not there: all of them are those of another machine

    by_name = _by_name(root, notes if not stated else None)
    if described is not None and described.entries and not stated and len(by_name) == 1:
        split, entries = next(iter(described.entries.items()))
        raise DataError(
            f"{split!r} is {entries[0]!r}, which does not exist",
            where=described.at(split),
            remedy="correct the path, or remove the splits from this file",
        )

    if not stated:
        return by_name

    used = {place.resolve() for at in stated.values() for place in at}
    for split, at in by_name.items():
        if split not in stated and not {place.resolve() for place in at} & used and len(by_name) > 1:
            notes.append(f"{split} is not in {described.file if described else root}: {at[0]} is taken")
            stated[split] = at

    return stated


def _by_name(root: Path, notes: list[str] | None) -> dict[str, list[Path]]:
    """The folders of the splits by their names, or the lists (`train.txt`) beside a folder that has none."""
    images = folder_named(root, ("images",))
    base = images if images is not None else root
    parts = split_folders(base, notes)
    if parts != {"train": base}:
        return {part: [folder] for part, folder in parts.items()}
    lists = {split: path for path in sorted(root.glob("*.txt")) if (split := split_named(path.stem)) and _lists(path)}
    return {split: [path] for split, path in lists.items()} if "train" in lists else {"train": [base]}


def _lists(path: Path) -> bool:
    """Whether a text file lists pictures, by its first line."""
    first = next(iter(text_of(path).split("\n", 1)), "")
    return Path(first.strip()).suffix.lower() in SUFFIXES


def picture_files(root: Path, places: list[Path], unread: Unread) -> list[Path]:
    """The picture files of a split, none twice."""
    once: dict[Path, None] = {}
    for place in places:
        if place.is_file():
            is_list = place.suffix.lower() not in SUFFIXES
            once |= dict.fromkeys(data_yaml.listed(place, [root]) if is_list else [place])
        else:
            once |= dict.fromkeys(walk(place, unread, _BESIDE))
    return list(once)


@dataclass
class _Lines:
    """What the lines of label files are: the classes that are named, key points of a pose, and counts of each kind."""

    classes: int
    key_points: int = 0  # values of key points on a line of a pose; 0 = lines have none
    outlines: list[str] = field(default_factory=list)
    poses: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        lines = []
        if self.outlines:
            lines.append(
                f"{len(self.outlines)} objects are outlines (polygons or rotated boxes), for example "
                f"{self.outlines[0]}: the upright boxes around them are taken"
            )

        if self.poses:
            lines.append(f"{len(self.poses)} objects have key points, which are not read, for example {self.poses[0]}")

        return lines


def _read(root: Path, places: list[Path], spec: recipe.Data, kinds: _Lines, unread: Unread) -> Found:
    annotations = Found()
    for path in picture_files(root, places, unread):
        try:
            size = header_of(path, spec).size
            label = label_file(root, path)
            rows = _rows(label, size, kinds) if label.is_file() else []
        except Wrong as error:
            annotations.bad.append(error)
            continue
        if not rows:
            annotations.empty.append(f"{label} ({'empty' if label.is_file() else 'absent'})")
        picture(path, size, rows, annotations)

    return annotations


def _orphans(root: Path, places: dict[str, list[Path]]) -> list[str]:
    """A note of label files that belong to no picture of any split, in the folders of those that do."""
    known = {label_file(root, path) for at in places.values() for path in picture_files(root, at, Unread())}
    beside = sorted(
        file
        for folder in {label.parent for label in known}
        if folder.is_dir()
        for file in folder.glob("*.txt")
        if file not in known and _has_boxes(file)
    )
    if not beside:
        return []

    return [f"{len(beside)} label files belong to no picture and are not read, for example {beside[0]}"]


def _has_boxes(path: Path) -> bool:
    """Whether the first line of a text file is a class number and four further numbers or more."""
    try:
        first = path.read_text(encoding="utf-8-sig").strip().split("\n", 1)[0].split()
        return len([float(word) for word in first]) > 4
    except (OSError, ValueError):
        return False


def label_file(root: Path, path: Path) -> Path:
    """The text of a picture: the last folder called images becomes labels, else it stands beside the picture."""
    base = root if path.is_relative_to(root) else Path(path.anchor)
    parts = list(path.relative_to(base).parts) if path.is_relative_to(base) else list(path.parts)
    at = next((i for i in reversed(range(len(parts) - 1)) if parts[i].lower() == "images"), None)
    if at is None:
        return path.with_suffix(".txt")

    above = base.joinpath(*parts[:at])
    labels = above / "labels"
    if not labels.is_dir():
        labels = folder_named(above, ("labels",)) or labels

    return labels.joinpath(*parts[at + 1 :]).with_suffix(".txt")


def rows_of(path: Path, classes: int) -> Iterator[tuple[str, int, list[float]]]:
    """(place, class number, further values) of each line of a label file; raises `Wrong` for what cannot be read.

    `classes` is how many are named, 0 where none are.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Wrong(str(path), f"cannot be read as text ({error})") from error
    for number, line in enumerate(lines, 1):
        words, where = line.split(), f"{path}:{number}"
        if not words:
            continue
        try:
            kind, values = float(words[0]), [float(word) for word in words[1:]]
        except ValueError as error:
            raise Wrong(where, f"{error}") from error
        if not kind.is_integer() or not 0 <= kind < (classes or _MOST_CLASSES):
            known = f"0 to {classes - 1} are named" if classes else "expected a whole number from 0 on"
            raise Wrong(where, f"the class {words[0]} is out of range: {known}")
        yield where, int(kind), values


def _rows(path: Path, size: tuple[int, int], kinds: _Lines) -> list[tuple[int, list[float], bool]]:
    rows = []
    for where, kind, values in rows_of(path, kinds.classes):
        corners = _corners(values, kinds, where)
        if max(map(abs, corners)) > 3:
            raise Wrong(where, f"{max(corners):g} is not a share of the picture's side: are these pixels?")
        scaled = [value * side for value, side in zip(corners, (size[1], size[0]) * 2)]
        rows.append((kind, box(scaled, size, where), False))
    return rows


def _corners(values: list[float], kinds: _Lines, where: str) -> tuple[float, ...]:
    """x1 y1 x2 y2 as shares of the sides, of a line's values behind its class: a box, an outline, a box with points."""
    pose = kinds.key_points and len(values) == 4 + kinds.key_points
    if len(values) == 4 or pose:
        cx, cy, w, h = values[:4]
        if pose:
            kinds.poses.append(where)
        if max(cx, cy, w, h) > 2:
            raise Wrong(where, f"{max(cx, cy, w, h):g} is not a share of the picture's side: are these pixels?")
        return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2

    if len(values) == 5:
        raise Wrong(where, "6 values, of which the last may be a score: expected labels, not predictions")

    if kinds.key_points or _may_be_pose(values):
        raise Wrong(
            where,
            f"{len(values) + 1} values, which look like a box with key points: state kpt_shape in data.yaml"
            if not kinds.key_points
            else f"{len(values) + 1} values; a box with the key points of kpt_shape has {5 + kinds.key_points}",
        )

    if len(values) < 6 or len(values) % 2:
        raise Wrong(
            where,
            f"{len(values) + 1} values, expected five (class, centre x, centre y, width, height) or an outline "
            "(class, then x and y of three or more points)",
        )

    kinds.outlines.append(where)
    return around(list(zip(values[::2], values[1::2])))


def _may_be_pose(values: list[float]) -> bool:
    """Whether values are a box and points with a visibility of 0, 1 or 2 each, all of them within the box."""
    points = values[4:]
    if len(points) < 3 or len(points) % 3 or not set(points[2::3]) <= {0.0, 1.0, 2.0}:
        return False
    cx, cy, w, h = values[:4]
    return all(
        not v or (abs(x - cx) <= w / 2 + 0.02 and abs(y - cy) <= h / 2 + 0.02)
        for x, y, v in zip(points[::3], points[1::3], points[2::3])
    )


def _names(root: Path) -> tuple[str, ...]:
    """Class names in the order of their numbers, or () where no list says them."""
    labels = folder_named(root, ("labels",))
    beside = [labels, *split_folders(labels).values()] if labels is not None else []  # where labelImg writes it
    beside += split_folders(root).values()  # where Roboflow does
    return class_names((root, *beside), LISTS)


FORMAT = Format(
    name="yolo",
    description="Pictures with a text file of boxes each, and data.yaml, as YOLO has them.",
    open=open,
    keys=KEYS,
    recognize=recognize.yolo,
)
