"""`data.yaml` of a YOLO data set, as ultralytics reads it: names of the classes, and the pictures of each split.

`path` is the folder that the splits are relative to; `train`, `val` (or `validation`) and `test` are each a folder, a
text file that lists pictures, or a list of those. Scalars are kept as they are written: a class may be called `yes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core import files
from ..core.errors import DataError, need
from .samples import NAMES

SUFFIXES = (".yaml", ".yml")
#: names that a data set's own file usually has, where a folder holds several with splits
USUAL = ("data", "dataset")
_KEYS = {"train": ("train",), "val": ("val", "validation"), "test": ("test",)}


@dataclass(frozen=True)
class Description:
    """A `data.yaml`: class names by number, and for each split the entries as written."""

    file: Path
    names: tuple[str, ...] = ()
    path: str = ""
    entries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)  # key -> its line, from 1
    key_points: int = 0  # values of the key points of an object, by `kpt_shape`; 0 = none

    def at(self, key: str) -> str:
        """The place of a key, for messages."""
        return f"{self.file}:{self.lines[key]}" if key in self.lines else str(self.file)


def find(root: Path) -> Description | None:
    """The description in a folder, None where no .yaml file there names classes or splits.

    Raises `DataError` where several files describe splits and none has a usual name, and as `read` does.
    """
    files = sorted(path for path in root.iterdir() if path.suffix.lower() in SUFFIXES and _may_describe(path))
    known = [found for path in files if (found := read(path)).names or found.entries]
    with_splits = [found for found in known if found.entries]
    usual = [found for found in with_splits if found.file.stem.lower() in (*USUAL, root.resolve().name.lower())]

    if len(with_splits) > 1 and len(usual) != 1:
        raise DataError(
            f"both {with_splits[0].file.name} and {with_splits[1].file.name} describe splits: which one is meant?",
            where=str(root),
            remedy="set data.path to the file",
        )

    return next(iter([*usual, *with_splits, *known]), None)


def _may_describe(path: Path) -> bool:
    """Whether a file names one of the keys: other YAML that lies beside the data is not parsed."""
    try:
        content = path.read_bytes().replace(b"\0", b"")  # UTF-16 too
    except OSError:
        return False
    return any(key in content for key in (b"names", b"train"))


def read(path: Path) -> Description:
    """The description in a .yaml file; one that is about something else has neither names nor entries.

    Raises `DataError` naming the line of what is no YAML or no list of names, `Missing` without PyYAML.
    """
    yaml = need("yaml", package="pyyaml")
    try:
        loader = yaml.BaseLoader(path.read_bytes())
        node = loader.get_single_node()
        table = loader.construct_document(node) if node is not None else {}
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = str(getattr(error, "problem", None) or error).splitlines()[0]
        raise DataError(
            f"is not readable YAML ({problem})",
            where=f"{path}:{mark.line + 1}" if mark else str(path),
            remedy="correct the file, for example names: [cat, dog]",
        ) from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=str(path)) from error

    if not isinstance(table, dict):
        return Description(path)

    lines = {key.value: key.start_mark.line + 1 for key, _ in node.value}
    entries = {}
    for split, keys in _KEYS.items():
        key = next((key for key in keys if table.get(key)), "")
        if key:
            entries[split] = _entries(table[key], f"{path}:{lines[key]}", key)

    where = f"{path}:{lines.get('names', 1)}"
    names = _names(table["names"], where) if table.get("names") else ()
    base = table.get("path", "")
    points = _key_points(table["kpt_shape"], f"{path}:{lines['kpt_shape']}") if table.get("kpt_shape") else 0

    return Description(path, names, base if isinstance(base, str) else "", entries, lines, points)


def _key_points(value: Any, where: str) -> int:
    """How many values a line of a pose has behind its box: points times 2 (x, y) or 3 (x, y, visible)."""
    digits = isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) and v.isdecimal() for v in value)
    if not digits or int(value[1]) not in (2, 3):
        raise DataError("kpt_shape is not [points, 2 or 3]", where=where, remedy="kpt_shape: [17, 3]")
    return int(value[0]) * int(value[1])


def _entries(value: Any, where: str, key: str) -> tuple[str, ...]:
    entries = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else ()
    if not entries or not all(isinstance(entry, str) and entry for entry in entries):
        raise DataError(f"{key!r} is neither a path nor a list of paths", where=where, remedy="train: images/train")
    return entries


def _names(value: Any, where: str) -> tuple[str, ...]:
    """Names by number, of a list or a table."""
    remedy = "names: [cat, dog], or a table from 0 on"
    if isinstance(value, dict):
        numbers = sorted(int(key) if isinstance(key, str) and key.isdecimal() else -1 for key in value)
        if numbers != list(range(len(value))):
            shown = ", ".join(map(str, list(value)[:10]))
            raise DataError(f"names are numbered {shown}; expected 0, 1, 2, ...", where=where, remedy=remedy)
        value = [value[key] for key in sorted(value, key=int)]

    if not isinstance(value, list) or not all(isinstance(name, str) and name.strip() for name in value):
        raise DataError("the names are neither a list nor a table of texts", where=where, remedy=remedy)
    return tuple(name.strip() for name in value)


def places(described: Description, notes: list[str]) -> dict[str, list[Path]]:
    """{split: the folders and lists of it} of the splits that are there; the others are added to `notes`.

    A relative `path` is looked for beside the file, then in the current folder; where neither holds the first split,
    entries are relative to the file's own folder. `../train/images` may also mean `train/images`.
    """
    if not described.entries:
        return {}

    beside = described.file.parent
    bases = [beside / described.path, Path(described.path), beside] if described.path else [beside]
    if described.path and not any(base.is_dir() for base in bases[:2]):
        notes.append(f"{described.at('path')}: path: {described.path} does not exist, {beside} is taken instead")

    stated = [name for name in NAMES if name in described.entries]
    base = next((b for b in bases if all(_first(b, entry) for entry in described.entries[stated[0]])), beside)
    splits = {}

    for split in stated:
        at = [_first(base, entry) for entry in described.entries[split]]
        absent = [entry for entry, path in zip(described.entries[split], at) if path is None]
        if absent:
            notes.append(f"{described.at(split)}: {split}: {absent[0]} does not exist")
            if len(absent) < len(at):
                raise DataError(
                    f"{absent[0]!r} of {split!r} does not exist", where=described.at(split), remedy="correct the list"
                )
        else:
            splits[split] = [path for path in at if path is not None]

    return splits


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file system takes
        return False


def _first(base: Path, entry: str) -> Path | None:
    entry = entry.replace("\\", "/")
    forms = [entry, entry[3:]] if entry.startswith("../") else [entry]
    return next((path for form in forms if _there(path := base / form)), None)


def listed(path: Path, bases: list[Path]) -> Iterator[Path]:
    """The pictures that a text file lists, one a line: relative to it, or to one of `bases`; absent ones as written.

    Of a path of another folder or machine (darknet's `data/obj_train_data/1.jpg`) as much of its end as is there.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"is not a readable list of pictures ({error})", where=str(path)) from error
    for line in filter(None, map(str.strip, lines)):
        name = line.replace("\\", "/")
        parts = [part for part in name.split("/") if part not in ("", ".", "..")]
        forms = [name, *("/".join(parts[start:]) for start in range(len(parts)))]
        places = (base / form for form in forms for base in (path.parent, *bases))
        yield next((place for place in places if files.is_file(place)), path.parent / name)
