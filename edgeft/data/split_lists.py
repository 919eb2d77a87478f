"""Splits of pictures in class folders that stand in text files beside them, as published data sets have them.

`train.txt` and `test.txt` (`val.txt`), in the folder or in `meta/`, `splits/` or `lists/`, name pictures by their path
with or without its ending (Food-101). CUB-200 numbers its pictures in `images.txt` and says in `train_test_split.txt`
which of them are for training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..core.errors import DataError
from .folders import folder_named
from .samples import NAMES, split_named

_PLACES = ("meta", "splits", "split", "lists", "imagesets", "annotations")
_MOST_BYTES = 256 << 20


def read(root: Path, top: Path, paths: Sequence[Path]) -> tuple[dict[str, list[int]], list[str]]:
    """({split: positions in `paths`}, notes) of lists in `root` or around it up to `top`; ({}, []) without any.

    `paths` lie below `root`. A list counts where most of its lines name pictures. Raises `DataError` for a picture that
    two splits name.
    """
    known = {}
    for position, path in enumerate(paths):
        name = path.relative_to(root).as_posix()
        known[name] = known[name.rpartition(".")[0]] = position

    for folder in _places(root, top):
        lists = {split: _lines(path) for path in sorted(folder.glob("*.txt")) if (split := split_named(path.stem))}
        lists = lists or _numbered(folder)
        positions = {split: [known.get(_bare(line, root), -1) for line in lines] for split, lines in lists.items()}
        if "train" in positions and all(_mostly(places) for places in positions.values()):
            return _checked({name: positions[name] for name in NAMES if name in positions}, folder, len(paths))

    return {}, []


def _places(root: Path, top: Path) -> list[Path]:
    around = [root, *(folder for folder in root.parents if folder == top or top in folder.parents)]
    inside = [found for folder in around if (found := folder_named(folder, _PLACES)) is not None]
    return [*around, *inside]


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            return []
        return [line.split()[0] for line in path.read_text("utf-8-sig", errors="replace").splitlines() if line.strip()]
    except OSError:
        return []


def _numbered(folder: Path) -> dict[str, list[str]]:
    """The lists of CUB-200's two tables; {} without them."""
    names, chosen = _table(folder / "images.txt"), _table(folder / "train_test_split.txt")
    if not names or names.keys() != chosen.keys() or not set(chosen.values()) <= {"0", "1"}:
        return {}
    parts = {"train": "1", "test": "0"}
    return {part: [name for key, name in names.items() if chosen[key] == sign] for part, sign in parts.items()}


def _table(path: Path) -> dict[str, str]:
    try:
        rows = [line.split(maxsplit=1) for line in path.read_text("utf-8-sig", errors="replace").splitlines()]
    except OSError:
        return {}
    return {row[0]: row[1].strip() for row in rows if len(row) == 2}


def _bare(line: str, root: Path) -> str:
    """A name as it stands below `root`: of `images/pie/12` what follows `images/`."""
    return line.replace("\\", "/").removeprefix("./").removeprefix(f"{root.name}/")


def _mostly(positions: Sequence[int]) -> bool:
    return bool(positions) and sum(position >= 0 for position in positions) * 2 > len(positions)


def _checked(
    positions: Mapping[str, Sequence[int]], folder: Path, count: int
) -> tuple[dict[str, list[int]], list[str]]:
    splits = {name: sorted({at for at in places if at >= 0}) for name, places in positions.items()}
    taken = [at for places in splits.values() for at in places]
    if len(set(taken)) < len(taken):
        raise DataError(
            f"{len(taken) - len(set(taken))} pictures stand in the lists of two splits",
            where=str(folder),
            remedy="name each picture in one of them",
        )

    absent = sum(at < 0 for places in positions.values() for at in places)
    notes = [f"splits are those of the lists in {folder}"]
    notes += [f"{absent} lines of these lists name no picture that is there"] if absent else []
    notes += [f"{count - len(taken)} pictures are in no list and are left out"] if count > len(taken) else []
    return splits, notes
