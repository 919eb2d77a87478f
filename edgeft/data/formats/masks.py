"""Pictures with label masks: folders of images, and beside them folders of masks with the same file names.

`train/images/a.jpg` with `train/labels/a.png`, likewise `val/` and `test/`; `images/train/` with `labels/train/`; or
`images/` and `labels/` alone, divided by `split`. A mask has one channel of label ids, palette indices, or colours
that the class file states. Nothing but file names is kept in memory: a mask is read when it is looked at
(`tasks.mask.MaskFile`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...config import recipe
from ...core.errors import DataError, RecipeError, nearest
from ...inputs import mask
from ..folders import MAX_UNREADABLE, Scanned, folder_named, folders, readable, split_folders
from ..picture_size import typical
from ..record import Format
from ..samples import Dataset, Split, complete
from .image_folder import SUFFIXES, Files

IMAGES, MASKS = ("images", "image"), ("labels", "masks", "annotations")
CLASSES = ("classes.txt", "labels.txt", "label_colors.txt")
KEYS = ("images", "labels", "classes", "void")
_COLOUR_LAST = re.compile(r"(.+?)[\s,;:]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})")
_COLOUR_FIRST = re.compile(r"(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,;:]+(.+)")


@dataclass(frozen=True)
class Layout:
    """The recipe's `data.masks`, checked: names of the folders, the class file or names, ids or names of void."""

    images: tuple[str, ...]
    labels: tuple[str, ...]
    classes: tuple[str, ...] | str
    void: tuple[int | str, ...]


def layout(table: Mapping[str, Any]) -> Layout:
    """Raises `RecipeError` for an unknown key or a value of another type."""
    for key in table:
        if key not in KEYS:
            raise RecipeError(f"unknown key {key!r}", where="data.masks", remedy=nearest(key, KEYS))

    def fail(key: str, expected: str) -> RecipeError:
        return RecipeError(f"is {table[key]!r}, expected {expected}", where=f"data.masks.{key}")

    folders = []
    for key, usual in (("images", IMAGES), ("labels", MASKS)):
        value = table.get(key, usual)
        if value is not usual and not (isinstance(value, str) and value):
            raise fail(key, "the name of a folder")
        folders.append((value,) if isinstance(value, str) else usual)
    names = table.get("classes", "")
    if not isinstance(names, str):
        if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) and n for n in names):
            raise fail("classes", "the name of a file, or a list of names in the order of the label ids")
        names = tuple(names)
    void = table.get("void", mask.VOID)
    void = tuple(void) if isinstance(void, (list, tuple)) else (void,)
    if not all(isinstance(v, str) or (type(v) is int and 0 <= v <= 255) for v in void):
        raise fail("void", "a class name or a label id 0..255, or a list of them")
    return Layout(folders[0], folders[1], names, void)


def open(spec: recipe.Data) -> Dataset:
    """The folders at `spec.path`, with `spec.masks` as `layout` has it; labels are the classes that are not void.

    Raises `DataError` naming the folder or file: absent, empty, pictures without a mask (more than 5 %; fewer are left
    out with a note), and, when a split is first used, more than 5 % of samples with a truncated file, a mask of another
    size than its picture, or a label id or colour without a class. `RecipeError` for void that is no class.
    """
    root, expected_layout = Path(spec.path), layout(spec.masks)
    if not spec.path or not root.is_dir():
        problem = "no data folder is given" if not spec.path else "no such folder"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a folder of images and masks")
    labels, meaning = _classes(root, expected_layout)
    notes: list[str] = []
    paths: list[str] = []
    targets: list[mask.MaskFile] = []
    ranges: dict[str, range] = {}
    for name, (images, masks) in _split_folders(root, expected_layout, notes).items():
        pairs = _pairs(images, masks, name, notes)
        ranges[name] = range(len(paths), len(paths) + len(pairs))
        paths += [picture.relative_to(root).as_posix() for picture, _ in pairs]
        targets += [mask.MaskFile(str(path), meaning) for _, path in pairs]
    pool, target_paths = Files(root, paths), np.empty(len(targets), object)
    for i, target in enumerate(targets):
        target_paths[i] = target
    splits = {
        name: Split(name, pool, np.array(at, np.int64), target_paths[at.start : at.stop]) for name, at in ranges.items()
    }
    splits, divided = complete(splits, spec.split, spec.split_seed, str(root))
    notes += divided
    size = typical(
        [root / paths[i] for i in (splits["train"] if "train" in splits else next(iter(splits.values()))).indices]
    )
    facts = {"picture_size": size} if size else {}
    return Dataset(str(root), labels, Looked(splits, notes, labels, str(root)), notes, facts)


class Looked(Scanned):
    """Splits whose pictures and masks are looked at once, at first use; how many pixels each class has is counted."""

    def __getitem__(self, name: str) -> Split:
        if name not in self._done:
            counts: list[np.ndarray] = []

            def look(split: Split, i: int) -> None:
                classes = np.asarray(split.targets[i])
                shape = split.raw(i).shape[:2]
                if classes.shape != shape:
                    raise DataError(
                        f"the mask has {classes.shape[0]}x{classes.shape[1]} pixels, its picture "
                        f"{split.source(i)} {shape[0]}x{shape[1]} (height x width)",
                        where=split.targets[i].path,
                        remedy="store both in the same size",
                    )
                counts.append(np.bincount(classes.ravel(), minlength=256))

            split = readable(self._splits[name], self._notes, "pictures with masks", look)
            if not len(split):
                raise DataError(f"the {name} split is empty", where=self._where)
            self._judge(name, np.sum(counts, axis=0) if counts else np.zeros(256, np.int64))
            self._done[name] = split
        return self._done[name]

    def _judge(self, name: str, counts: np.ndarray) -> None:
        if not counts.any():  # too many to have been looked at
            return
        if not counts[: mask.VOID].any():
            raise DataError(f"every pixel of the {name} split is void", where=self._where)
        absent = [label for label, count in zip(self._labels, counts) if not count]
        if absent:
            self._notes.append(f"{name}: no pixel is {', '.join(absent)}")


def _split_folders(root: Path, expected_layout: Layout, notes: list[str]) -> dict[str, tuple[Path, Path]]:
    """{split: (folder of pictures, folder of masks)}, whether the splits stand above these folders or in them."""
    tops = split_folders(root, notes)
    if tops != {"train": root}:
        return {
            name: (_folder(top, expected_layout.images), _folder(top, expected_layout.labels))
            for name, top in tops.items()
        }
    images, masks = _folder(root, expected_layout.images), _folder(root, expected_layout.labels)
    pictures_of, masks_of = split_folders(images, notes), split_folders(masks)
    if pictures_of == {"train": images}:
        return {"train": (images, masks)}
    if masks_of == {"train": masks}:
        return {name: (folder, masks) for name, folder in pictures_of.items()}
    for name in set(pictures_of) - set(masks_of):
        if name == "train":
            raise DataError(f"has no masks of {pictures_of[name]}", where=str(masks), remedy="see data.masks")
        notes.append(f"{pictures_of[name]} is left out: {masks} holds no masks of it")
    return {name: (pictures_of[name], masks_of[name]) for name in pictures_of if name in masks_of}


def _pairs(images: Path, labels: Path, name: str, notes: list[str]) -> list[tuple[Path, Path]]:
    """(picture, mask) of one split, by name without suffix."""
    pictures, masks = _files(images), _files(labels)
    if not pictures:
        raise DataError("holds no pictures", where=str(images), remedy=f"readable: {', '.join(SUFFIXES)}")
    lacking = [path for stem, path in pictures.items() if stem not in masks]
    if lacking:
        named = ", ".join(str(path) for path in lacking[:5]) + (f" and {len(lacking) - 5} more" if lacking[5:] else "")
        share = len(lacking) / len(pictures)
        if share > MAX_UNREADABLE:
            raise DataError(
                f"{name}: {len(lacking)} of {len(pictures)} pictures ({share:.0%}) have no mask: {named}",
                where=str(lacking[0]),
                remedy="a mask has the name of its picture, up to the suffix; see data.masks",
            )
        notes.append(f"{name}: left out {len(lacking)} pictures that have no mask: {named}")
    return [(path, masks[stem]) for stem, path in sorted(pictures.items()) if stem in masks]


def _folder(folder: Path, names: tuple[str, ...]) -> Path:
    named = folder_named(folder, names)
    if named is None:
        names_in_folder = [path.name for path in folders(folder)]
        raise DataError(
            f"has no folder {' or '.join(f'{name}/' for name in names)}"
            + (f", only {', '.join(names_in_folder)}" * bool(names_in_folder)),
            where=str(folder),
            remedy='say which it is: masks = { images = "...", labels = "..." } in [data]',
        )
    return named


def _files(folder: Path) -> dict[str, Path]:
    """Image files at any depth by their path within the folder, without suffix."""
    path_of: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith(".") or not path.is_file():
            continue
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in path_of:
            raise DataError(f"and {path_of[stem].name} have one name", where=str(path), remedy="keep one of them")
        path_of[stem] = path
    return path_of


def _classes(root: Path, expected_layout: Layout) -> tuple[tuple[str, ...], mask.Meaning]:
    """Labels of the classes that are not void, and what label ids and colours mean."""
    if isinstance(expected_layout.classes, str):
        names, colours, where = _class_file(root, expected_layout.classes)
    else:
        names, colours, where = list(expected_layout.classes), {}, "data.masks.classes"
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise DataError(f"names the class {twice!r} twice", where=where)
    void = set()
    for entry in expected_layout.void:
        if isinstance(entry, str) and entry not in names:
            raise RecipeError(
                f"{entry!r} is not a class of {where}", where="data.masks.void", remedy=nearest(entry, names)
            )
        void.add(names.index(entry) if isinstance(entry, str) else entry)
    labels = tuple(name for i, name in enumerate(names) if i not in void)
    if len(labels) < 2 or len(labels) > mask.VOID or len(names) > 256:
        raise DataError(f"{len(labels)} classes that are not void, expected 2 to {mask.VOID}", where=where)
    ids = [-1] * 256
    for i in void:
        ids[i] = mask.VOID
    for number, i in enumerate(i for i in range(len(names)) if i not in void):
        ids[i] = number
    return labels, mask.Meaning(tuple(ids), tuple((*c, ids[i]) for i, c in sorted(colours.items())))


def _class_file(root: Path, name: str) -> tuple[list[str], dict[int, tuple[int, int, int]], str]:
    """Names in the order of the label ids, and the colours of those that have one."""
    known = [path for candidate in ((name,) if name else CLASSES) if (path := root / candidate).is_file()]
    if not known:
        raise DataError(
            f"has no class file {name or ' or '.join(CLASSES)}",
            where=str(root),
            remedy="one class a line in the order of the label ids (name, or name r g b), or data.masks.classes",
        )
    names: list[str] = []
    colours: dict[int, tuple[int, int, int]] = {}
    try:
        lines = known[0].read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read as text ({error})", where=str(known[0])) from error
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        last, first = _COLOUR_LAST.fullmatch(line), _COLOUR_FIRST.fullmatch(line)
        class_file = last or first
        if class_file:
            parts = class_file.groups() if last else (class_file.group(4), *class_file.groups()[:3])
            colour = tuple(int(v) for v in parts[1:])
            if max(colour) > 255:
                raise DataError(f"{line!r} has a colour beyond 255", where=f"{known[0]}:{number}")
            if colour in colours.values():
                raise DataError(f"{line!r} has the colour of another class", where=f"{known[0]}:{number}")
            colours[len(names)] = (colour[0], colour[1], colour[2])
        names.append(parts[0] if class_file else line)
    if colours and len(colours) < len(names):
        without = next(names[i] for i in range(len(names)) if i not in colours)
        raise DataError(f"some classes have a colour and {without!r} has none", where=str(known[0]))
    return names, colours, str(known[0])


FORMAT = Format(
    name="masks",
    description="Pictures with a mask of class numbers or colours each.",
    open=open,
    keys=("path", "split", "split_seed", "masks"),
)
