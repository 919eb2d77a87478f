"""Splits of pictures in class folders that stand in text files beside them, as published data sets have them.

`train.txt` and `test.txt` (`val.txt`), in the folder or in `meta/`, `splits/` or `lists/`, name pictures by their path
with or without its ending (Food-101). CUB-200 numbers its pictures in `images.txt` and says in `train_test_split.txt`
which of them are for training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..core.errors import DataError
from .annotations import text_of
from .folders import folder_named
from .samples import NAMES, split_named

_PLACES = ("meta", "splits", "split", "lists", "imagesets", "annotations")


def read(root: Path, top: Path, paths: Sequence[Path]) -> tuple[dict[str, list[int]], list[str]]:
    """({split: positions in `paths`}, notes) of lists in `root` or around it up to `top`; no splits without any.

    `paths` lie below `root`. Lists count where most of their lines name pictures; others get a note. Without a list of
    training what no list names is for training. Raises `DataError` for a picture that two splits name.
    """
    known = {}
    for position, path in enumerate(paths):
        name = path.relative_to(root).as_posix()
        known[name] = known[name.rpartition(".")[0]] = position

    notes = []
    for folder in _places(root, top):
        lists = _named(folder) or _numbered(folder)
        positions = {split: [_position(line, root, known) for line in lines] for split, lines in lists.items()}
        if lists and all(map(_mostly, positions.values())):
            return _checked(positions, folder, len(paths))
        if lists:
            notes.append(f"lists of splits in {folder} do not name the pictures by their paths and are not read")

    return {}, notes


def _places(root: Path, top: Path) -> list[Path]:
    around = [root, *(folder for folder in root.parents if folder == top or top in folder.parents)]
    inside = [place for folder in around if (place := folder_named(folder, _PLACES)) is not None]
    return [*around, *inside]


def _named(folder: Path) -> dict[str, list[str]]:
    """{split: lines} of the texts that are called like splits."""
    lists: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.txt")):
        if split := split_named(path.stem):
            lists.setdefault(split, []).extend(line.strip() for line in _lines(path) if line.strip())
    return lists


def _lines(path: Path) -> list[str]:
    """The lines of a text; none of what is no text, so that it counts as a list that cannot be read."""
    try:
        return text_of(path).splitlines()
    except DataError:
        return []


def _position(line: str, root: Path, known: Mapping[str, int]) -> int:
    """Of the picture that a line names, alone or in front of further columns; -1 for none."""
    name = _bare(line, root)
    tries = (name, name.rpartition(" ")[0].rstrip(), name.split()[0])
    return next((known[text] for text in tries if text in known), -1)


def _numbered(folder: Path) -> dict[str, list[str]]:
    """The lists of CUB-200's two tables; {} without them."""
    names, chosen = _table(folder / "images.txt"), _table(folder / "train_test_split.txt")
    if not names or names.keys() != chosen.keys() or not set(chosen.values()) <= {"0", "1"}:
        return {}
    parts = {"train": "1", "test": "0"}
    return {part: [name for key, name in names.items() if chosen[key] == sign] for part, sign in parts.items()}


def _table(path: Path) -> dict[str, str]:
    rows = [line.split(maxsplit=1) for line in _lines(path)] if path.is_file() else []
    return {row[0]: row[1].strip() for row in rows if len(row) == 2}


def _bare(line: str, root: Path) -> str:
    """A name as it stands below `root`: of `images/pie/12` what follows `images/`."""
    return line.replace("\\", "/").removeprefix("./").removeprefix(f"{root.name}/")


def _mostly(positions: Sequence[int]) -> bool:
    return bool(positions) and sum(position >= 0 for position in positions) * 2 > len(positions)


def _checked(
    positions: Mapping[str, Sequence[int]], folder: Path, count: int
) -> tuple[dict[str, list[int]], list[str]]:
    splits = {name: sorted({at for at in positions[name] if at >= 0}) for name in NAMES if name in positions}
    listed = {at for places in splits.values() for at in places}
    twice = sum(map(len, splits.values())) - len(listed)
    if twice:
        raise DataError(
            f"{twice} pictures stand in the lists of two splits",
            where=str(folder),
            remedy="name each picture in one of them",
        )

    notes = [f"splits are those of the lists in {folder}"]
    absent = sum(at < 0 for places in positions.values() for at in places)
    notes += [f"{absent} lines of these lists name no picture that is there"] if absent else []
    rest = [at for at in range(count) if at not in listed]
    if "train" not in splits:
        return {"train": rest, **splits}, [*notes, "pictures that no list names are for training"]
    notes += [f"{len(rest)} pictures are in no list and are left out"] if rest else []
    return splits, notes
