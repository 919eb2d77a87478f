"""YOLO's text format: a picture `images/train/a.jpg` and its boxes `labels/train/a.txt`, one a line.

A line is `class cx cy w h`: a class number, then the box's centre and sides as shares of the picture's sides.
Folders may be `images/<split>` and `labels/<split>`, `<split>/images` and `<split>/labels`, without splits, or the text
beside the picture. Class names are taken from `names:` of a .yaml file in the folder, from classes.txt or obj.names.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..config import recipe
from ..core.errors import DataError
from .boxes import SUFFIXES, Found, Wrong, box, dataset, picture, size_of
from .folders import split_folders
from .samples import Dataset

#: files with one class name a line
LISTS = ("classes.txt", "obj.names", "names.txt")
_MOST_CLASSES = 10_000


def open(spec: recipe.Data) -> Dataset:
    """The folder at `spec.path`; raises `DataError` naming file and line of what is wrong.

    A picture without a text file, or with an empty one, has no objects. One with a line that is wrong is left out; more
    than 5 % of them in a split stop the run, and so do more than 5 % of pictures that cannot be decoded.
    """
    root = Path(spec.path)
    if not spec.path or not root.is_dir():
        problem = "no data folder is given" if not spec.path else "no such folder"
        raise DataError(
            problem, where=spec.path or "data.path", remedy="set data.path to a folder with images/ and labels/"
        )
    names = _names(root)
    base = root / "images" if (root / "images").is_dir() else root
    found = {part: _read(root, folder, len(names)) for part, folder in split_folders(base).items()}
    if not names:
        highest = max((int(b.classes.max(initial=-1)) for f in found.values() for b in f.good), default=-1)
        names = [str(i) for i in range(highest + 1)]
    return dataset(str(root), tuple(names), found, spec)


def _read(root: Path, folder: Path, classes: int) -> Found:
    found = Found()
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith(".") or not path.is_file():
            continue
        try:
            size = size_of(path)
            label = _label(root, path)
            rows = _rows(label, size, classes) if label.is_file() else []
        except Wrong as error:
            found.bad.append(error)
            continue
        if not rows:
            found.empty.append(f"{label} ({'empty' if label.is_file() else 'absent'})")
        picture(path, size, rows, found)
    return found


def _label(root: Path, path: Path) -> Path:
    """The text of a picture: the last folder called images becomes labels, else it stands beside the picture."""
    parts = list(path.relative_to(root).parts)
    if "images" in parts[:-1]:
        at = len(parts) - 2 - parts[:-1][::-1].index("images")
        parts[at] = "labels"
    return root.joinpath(*parts).with_suffix(".txt")


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
            raise Wrong(where, f"{max(cx, cy, w, h):g} is no share of the picture's side: are these pixels?")
        rows.append((int(kind), box(corners, size, where), False))
    return rows


def _names(root: Path) -> list[str]:
    """Class names in the order of their numbers, or [] where no file says them."""
    for path in sorted([*root.glob("*.yaml"), *root.glob("*.yml")]):
        names = _yaml_names(path)
        if names:
            return names
    for path in (root / name for name in LISTS):
        if path.is_file():
            return [line.strip() for line in _text(path).splitlines() if line.strip()]
    return []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read as text ({error})", where=str(path)) from error


def _yaml_names(path: Path) -> list[str]:
    """`names:` of a data set's .yaml: a list or a table by number, on one line or below; no other YAML is read."""
    lines = [re.sub(r"\s+#.*$", "", line).rstrip() for line in _text(path).splitlines()]
    at = next((i for i, line in enumerate(lines) if re.match(r"names\s*:", line)), None)
    if at is None:
        return []
    rest = lines[at].split(":", 1)[1].strip()
    if rest:
        items = [item.strip() for item in rest.strip("[]{}").split(",") if item.strip()]
    else:
        items = []
        for line in lines[at + 1 :]:
            if line.strip() and not line.startswith((" ", "\t", "-")):
                break
            items += [line.strip().removeprefix("- ").strip()] if line.strip() else []
    numbered: dict[int, str] = {}
    for position, item in enumerate(items):
        table = re.fullmatch(r"(\d+)\s*:\s*(.+)", item)
        number, name = (int(table.group(1)), table.group(2)) if table else (position, item)
        numbered[number] = name.strip().strip("'\"")
    if sorted(numbered) != list(range(len(numbered))):
        raise DataError(f"names are numbered {sorted(numbered)[:10]}, expected 0, 1, 2, ...", where=f"{path}:{at + 1}")
    return [numbered[i] for i in range(len(numbered))]
