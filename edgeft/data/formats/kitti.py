"""KITTI's text format of boxes: `image_2/000000.png` and `label_2/000000.txt`, a line an object.

A line is `type truncated occluded alpha left top right bottom` and, after them, the object's size and place in space,
which are not read. `DontCare` marks what nobody labelled and is left out. NVIDIA's TAO writes the same.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ...config import recipe
from ...core.errors import DataError
from .. import recognize_tools
from ..annotations import Entry, Finder, Shape, numbers_of, opened, text_of
from ..boxes import Wrong
from ..folders import folder_named, split_folders
from ..pictures import KEYS
from ..record import Format
from ..samples import Dataset

IMAGES = ("image_2", "images", "image")
TEXTS = ("label_2", "labels", "label")
#: fields of a line without and with a score
FIELDS = (15, 16)
_IGNORED = ("dontcare",)
_CORNERS = ("left", "top", "right", "bottom")


def open(spec: recipe.Data) -> Dataset:
    """The folder at `spec.path`; labels are sorted. Raises `DataError` naming file and line of what is wrong.

    A picture with a line that is wrong, or that is absent, is left out; more than 5 % of them in a split stop the run.
    """
    root = Path(spec.path)
    if not spec.path or not root.is_dir():
        problem = "no data folder is given" if not spec.path else "no such folder"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a folder with label_2/")

    notes: list[str] = []
    ignored: Counter[str] = Counter()
    entries: dict[str, list[Entry | Wrong]] = {}
    finders: dict[str, Finder] = {}

    for part, top in split_folders(root, notes).items():
        texts, images = folder_named(top, TEXTS), folder_named(top, IMAGES)
        if texts is None:
            notes.append(f"{top} has no {TEXTS[0]}/ and is not read")
            continue
        entries[part] = [_entry(path, ignored) for path in sorted(texts.glob("*.txt"))]
        finders[part] = Finder(top, [images if images is not None else top])

    if not any(entries.values()):
        raise DataError("holds no label files", where=str(root), remedy="expected training/label_2/*.txt")

    if ignored:
        named = ", ".join(f"{count} {name}" for name, count in ignored.items())
        notes.append(f"objects that nobody labelled are left out: {named}")

    labels = sorted({s.label for part in entries.values() for e in part if isinstance(e, Entry) for s in e.shapes})
    return opened(entries, finders, labels, spec, str(root), notes)


def _entry(path: Path, ignored: Counter[str]) -> Entry | Wrong:
    try:
        shapes = []
        for number, line in enumerate(text_of(path).splitlines(), 1):
            words, where = line.split(), f"{path}:{number}"
            if not words:
                continue
            if len(words) not in FIELDS:
                raise Wrong(where, f"has {len(words)} fields, expected {FIELDS[0]}")
            if words[0].lower() in _IGNORED:
                ignored[words[0]] += 1
                continue
            left, top, right, bottom = numbers_of(dict(zip(_CORNERS, words[4:8])), _CORNERS, where)
            shapes.append(Shape(words[0], (left, top, right, bottom), where))
    except Wrong as error:
        return error
    except DataError as error:
        return Wrong(error.where, error.message)
    return Entry(str(path), path.stem, tuple(shapes), stem=path.stem)


FORMAT = Format(
    name="kitti",
    description="Pictures with a text file of boxes each in label_2/, as KITTI and NVIDIA TAO have them.",
    open=open,
    keys=KEYS,
    recognize=recognize_tools.kitti,
)
