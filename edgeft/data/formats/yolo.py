"""YOLO's text format: a picture `images/train/a.jpg` and its boxes `labels/train/a.txt`, one a line.

A line is `class cx cy w h`: a class number, then the box's centre and sides as shares of the picture's sides.
`data.yaml` names the classes and the pictures of each split, as ultralytics reads it (`data_yaml.py`). Without splits
there, folders are `images/<split>` and `labels/<split>`, `<split>/images` and `<split>/labels`, or the text lies beside
the picture. Class names may also stand in classes.txt or obj.names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...config import recipe
from ...core.errors import DataError
from .. import data_yaml
from ..boxes import SUFFIXES, Found, Wrong, box, dataset, picture, size_of
from ..folders import folder_named, split_folders
from ..record import Format
from ..samples import NAMES, Dataset, split_named

#: files with one class name a line
LISTS = ("classes.txt", "obj.names", "names.txt")
_MOST_CLASSES = 10_000


def open(spec: recipe.Data) -> Dataset:
    """The folder or `data.yaml` at `spec.path`; raises `DataError` naming file and line of what is wrong.

    A picture without a text file, or with an empty one, has no objects. One with a line that is wrong is left out; more
    than 5 % of them in a split stop the run, and so do more than 5 % of pictures that cannot be decoded.
    """
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
    boxes_of = {part: _read(root, places[part], len(names)) for part in NAMES if part in places}
    if not names:
        highest = max((int(b.classes.max(initial=-1)) for f in boxes_of.values() for b in f.good), default=-1)
        names = tuple(str(i) for i in range(highest + 1))
    yolo_dataset = dataset(str(root), names, boxes_of, spec)
    yolo_dataset.notes[:0] = notes
    return yolo_dataset


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
    first = next(iter(_text(path).split("\n", 1)), "")
    return Path(first.strip()).suffix.lower() in SUFFIXES


def _pictures(root: Path, places: list[Path]) -> Iterator[Path]:
    """The picture files of a split, none twice."""
    once: dict[Path, None] = {}
    for place in places:
        if place.is_file() and place.suffix.lower() not in SUFFIXES:
            once |= dict.fromkeys(data_yaml.listed(place, [root]))
            continue
        files = [place] if place.is_file() else sorted(place.rglob("*"))
        once |= dict.fromkeys(
            path
            for path in files
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
        )
    return iter(once)


def _read(root: Path, places: list[Path], classes: int) -> Found:
    annotations = Found()
    for path in _pictures(root, places):
        try:
            size = size_of(path)
            label = _label(root, path)
            rows = _rows(label, size, classes) if label.is_file() else []
        except Wrong as error:
            annotations.bad.append(error)
            continue
        if not rows:
            annotations.empty.append(f"{label} ({'empty' if label.is_file() else 'absent'})")
        picture(path, size, rows, annotations)
    return annotations


def _label(root: Path, path: Path) -> Path:
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


def _rows(path: Path, size: tuple[int, int], classes: int) -> list[tuple[int, list[float], bool]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Wrong(str(path), f"cannot be read as text ({error})") from error
    rows = []
    for number, line in enumerate(lines, 1):
        words, where = line.split(), f"{path}:{number}"
        if not words:
            continue
        if len(words) != 5:
            what = "an outline of a shape" if len(words) > 6 and len(words) % 2 else f"{len(words)} values"
            raise Wrong(where, f"{what}, expected five: class, centre x, centre y, width, height")
        try:
            kind, (cx, cy, w, h) = float(words[0]), (float(word) for word in words[1:])
        except ValueError as error:
            raise Wrong(where, f"{error}") from error
        if not kind.is_integer() or not 0 <= kind < (classes or _MOST_CLASSES):
            known = f"0 to {classes - 1} are named" if classes else "expected a whole number from 0 on"
            raise Wrong(where, f"the class {words[0]} is out of range: {known}")
        corners = [(cx - w / 2) * size[1], (cy - h / 2) * size[0], (cx + w / 2) * size[1], (cy + h / 2) * size[0]]
        if max(cx, cy, w, h) > 2:
            raise Wrong(where, f"{max(cx, cy, w, h):g} is not a share of the picture's side: are these pixels?")
        rows.append((int(kind), box(corners, size, where), False))
    return rows


def _names(root: Path) -> tuple[str, ...]:
    """Class names in the order of their numbers, or () where no list says them."""
    for path in (root / name for name in LISTS):
        if path.is_file():
            return tuple(line.strip() for line in _text(path).splitlines() if line.strip())
    return ()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read as text ({error})", where=str(path)) from error


FORMAT = Format(
    name="yolo",
    description="Pictures with a text file of boxes each, and data.yaml, as YOLO has them.",
    open=open,
    keys=("path", "split", "split_seed"),
)
