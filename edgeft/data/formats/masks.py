"""Pictures with label masks: folders of images, and beside them folders of masks with the same file names.

`train/images/a.jpg` with `train/labels/a.png`, likewise `val/` and `test/`; `images/train/` with `labels/train/`;
`images/` and `labels/` alone, divided by `split`; the folders of Cityscapes, Pascal VOC, ADE20K and CamVid. Masks may
have a common prefix or suffix (`a_mask.png`). A mask has one channel of label ids, a palette, or colours that the
class file states (`mask_classes.py`). Nothing but file names is kept in memory: a mask is read when it is looked at
(`inputs.mask.MaskFile`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...config import recipe
from ...core.errors import DataError, RecipeError, nearest
from ...inputs import mask, picture_file
from .. import mask_classes, mask_pairs, mask_values, pictures, recognize
from ..annotations import text_of
from ..folders import SCAN_LIMIT, folder_named, folders, split_folders
from ..mask_scan import Looked
from ..record import Format
from ..samples import NAMES, Dataset, Split, complete, split_named

#: endings of other files that lie among masks
OTHERS = (".json", ".txt", ".xml")
KEYS = ("images", "labels", "classes", "void")
#: masks that are looked at for what their ids are
LOOKED_AT = 200


@dataclass(frozen=True)
class Layout:
    """The recipe's `data.masks`, checked: names of the folders, the class file or names, ids or names of void."""

    images: tuple[str, ...]
    labels: tuple[str, ...]
    classes: tuple[str, ...] | str
    void: tuple[int | str, ...]
    void_stated: bool = False


def layout(table: Mapping[str, Any]) -> Layout:
    """Raises `RecipeError` for an unknown key or a value of another type."""
    for key in table:
        if key not in KEYS:
            raise RecipeError(f"unknown key {key!r}", where="data.masks", remedy=nearest(key, KEYS))

    def fail(key: str, expected: str) -> RecipeError:
        return RecipeError(f"is {table[key]!r}, expected {expected}", where=f"data.masks.{key}")

    folders = []
    for key, usual in (("images", mask_pairs.IMAGES), ("labels", mask_pairs.MASKS)):
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

    return Layout(folders[0], folders[1], names, void, "void" in table)


def open(spec: recipe.Data) -> Dataset:
    """The folders at `spec.path`, with `spec.masks` as `layout` has it; labels are the classes that are not void.

    Raises `DataError` naming the folder or file: absent, empty, pictures without a mask (more than 5 %; fewer are left
    out with a note), and, when a split is first used, more than 5 % of samples with a truncated file, a mask of another
    size than its picture, or a label id or colour without a class, or a class without a pixel in train. `RecipeError`
    for void that is no class.
    """
    root, expected_layout = Path(spec.path), layout(spec.masks)
    if not spec.path or not root.is_dir():
        problem = "no data folder is given" if not spec.path else "no such folder"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a folder of images and masks")

    root = _innermost(root)
    notes: list[str] = []
    unread = pictures.Unread()
    pairs_of = _pairs(root, expected_layout, notes, unread)
    pairs = [pair for part in pairs_of.values() for pair in part]
    labels, meaning = _classes(root, expected_layout, [path for _, path in pairs], notes)
    notes += unread.notes()
    paths = [picture for picture, _ in pairs]
    settings = pictures.reading(spec, paths, notes)
    orientations = _orientations(pairs, settings, notes)
    targets = np.empty(len(pairs), object)
    for i, (_, path) in enumerate(pairs):
        targets[i] = mask.MaskFile(str(path), meaning, orientations.get(i, 1))

    pool, splits, start = pictures.Files(paths, settings), {}, 0
    for name, part in pairs_of.items():
        at = np.arange(start, start + len(part))
        splits[name] = Split(name, pool, at, targets[at])
        start += len(part)

    splits, divided = complete(splits, spec.split, spec.split_seed, str(root))
    notes += divided
    train = splits.get("train", next(iter(splits.values())))
    facts = pictures.facts(settings, [paths[i] for i in train.indices])

    return Dataset(str(root), labels, Looked(splits, notes, labels, str(root)), notes, facts)


def _innermost(root: Path) -> Path:
    """The folder of Pascal VOC within `VOCdevkit/VOC2012`; `root` itself for anything else."""
    for _ in range(2):
        inner = [path for path in folders(root) if path.name.startswith("VOC")]
        if len(inner) != 1 or folder_named(root, mask_pairs.IMAGES):
            break
        root = inner[0]
    return root


def _orientations(pairs: Sequence[tuple[Path, Path]], settings: Mapping[str, Any], notes: list[str]) -> dict[int, int]:
    """{position: orientation} of pictures that EXIF turns while their mask has the size of the stored pixels."""
    turned: dict[int, int] = {}
    for i, (picture, path) in enumerate(pairs[:SCAN_LIMIT]):
        try:
            header = picture_file.header(picture, settings)
            if header.orientation > 1 and picture_file.header(path).size == header.stored != header.size:
                turned[i] = header.orientation
        except DataError:
            continue  # told when the split is read

    if turned:
        notes.append(
            f"{len(turned)} pictures are turned by their EXIF orientation while their masks are those of the stored "
            f"pixels, for example {pairs[next(iter(turned))][0]}: the masks were turned along"
        )

    return turned


def _pairs(
    root: Path, expected_layout: Layout, notes: list[str], unread: pictures.Unread
) -> dict[str, list[tuple[Path, Path]]]:
    """{split: (picture, mask)} by the folders of the splits, or by the lists of Pascal VOC."""
    lists = _lists(root)
    places = _split_folders(root, expected_layout, notes)
    pairs_of = {}

    for name, (images, masks) in places.items():
        images_by_stem = mask_pairs.stems(images, unread)
        if not images_by_stem:
            raise DataError(
                "holds no pictures", where=str(images), remedy=f"readable: {', '.join(picture_file.SUFFIXES)}"
            )
        by_stem = mask_pairs.stems(masks, unread, OTHERS)
        if lists and set(places) == {"train"}:
            for part, stems in lists.items():
                named = {stem: images_by_stem[stem] for stem in stems if stem in images_by_stem}
                absent = [stem for stem in stems if stem not in images_by_stem]
                if absent:
                    notes.append(f"{part}: {len(absent)} pictures of ImageSets do not exist, such as {absent[0]}")
                if not named:
                    raise DataError(f"the list of {part} names no picture", where=str(root / "ImageSets"))
                listed_masks = {stem: by_stem[stem] for stem in named if stem in by_stem}
                pairs_of[part] = mask_pairs.pairs(named, listed_masks or by_stem, part, notes)
            unlisted = len(set(images_by_stem) - {stem for stems in lists.values() for stem in stems})
            if unlisted:
                notes.append(f"{unlisted} pictures are in no list of ImageSets/Segmentation and are not read")
        else:
            partial = masks.name == "SegmentationClass"
            pairs_of[name] = mask_pairs.pairs(images_by_stem, by_stem, name, notes, partial)

    return {name: pairs_of[name] for name in NAMES if name in pairs_of}


def _lists(root: Path) -> dict[str, list[str]]:
    """{split: names of pictures} of `ImageSets/Segmentation/*.txt`; trainval counts where there is no train."""
    folder = root / "ImageSets" / "Segmentation"
    stems: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.txt")) if folder.is_dir() else []:
        split = split_named(path.stem)
        if split or path.stem == "trainval":
            stems[split or "trainval"] = [line.split()[0] for line in text_of(path).splitlines() if line.strip()]
    whole = stems.pop("trainval", [])
    return stems if "train" in stems or not whole else {"train": whole, **stems}


def _split_folders(root: Path, expected_layout: Layout, notes: list[str]) -> dict[str, tuple[Path, Path]]:
    """{split: (folder of pictures, folder of masks)}, whether the splits stand above these folders or in them."""
    tops = split_folders(root)
    if tops != {"train": root}:
        beside = {
            name: folder_named(root, [f"{top.name}{end}" for end in mask_pairs.BESIDE]) for name, top in tops.items()
        }
        inner = {name: folder_named(top, expected_layout.images) for name, top in tops.items()}
        if all(beside.values()) and not any(inner.values()):
            return {name: (top, masks) for name, top in tops.items() if (masks := beside[name]) is not None}
        split_folders(root, notes)
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


def _classes(
    root: Path, expected_layout: Layout, paths: Sequence[Path], notes: list[str]
) -> tuple[tuple[str, ...], mask.Meaning]:
    """Labels of the classes that are not void, and what label ids and colours mean."""
    classes = _stated(root, expected_layout, paths, notes)
    names, where = list(classes.names), classes.where
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise DataError(f"names the class {twice!r} twice", where=where)

    void = set()
    for entry in (*expected_layout.void, *classes.void):
        if isinstance(entry, str) and entry not in names:
            raise RecipeError(
                f"{entry!r} is not a class of {where}", where="data.masks.void", remedy=nearest(entry, names)
            )
        void.add(names.index(entry) if isinstance(entry, str) else entry)

    if not expected_layout.void_stated and len(names) == 256:
        void.discard(mask.VOID)  # the class file names id 255

    labels = tuple(name for i, name in enumerate(names) if i not in void or classes.by_id)
    if len(labels) < 2 or len(labels) > mask.VOID or len(names) > 256:
        raise DataError(f"{len(labels)} classes that are not void, expected 2 to {mask.VOID}", where=where)

    ids = [mask.VOID if classes.by_id else -1] * 256
    for i in void:
        ids[i] = mask.VOID

    positions = classes.by_id or {i: i for i in range(len(names))}
    for id_, position in positions.items():
        if id_ not in void:
            ids[id_] = labels.index(names[position])

    if not classes.colours and not expected_layout.void_stated and len(labels) == 2 and _two_valued(paths):
        notes.append(f"masks hold 0 and 255 alone: 255 is {labels[1]!r}, not void")
        ids = [0, *[-1] * 254, 1]

    meaning = mask.Meaning(tuple(ids), tuple((*c, ids[i]) for i, c in sorted(classes.colours.items())))
    mask_values.check(classes, meaning, paths)
    return labels, meaning


def _stated(root: Path, expected_layout: Layout, paths: Sequence[Path], notes: list[str]) -> mask_classes.Classes:
    """The classes of the recipe, of a class file, or of the data set whose folders these are."""
    if not isinstance(expected_layout.classes, str):
        return mask_classes.Classes(expected_layout.classes, "data.masks.classes")

    classes = mask_classes.read(root, expected_layout.classes)
    if classes is None and not expected_layout.classes and paths:
        above = {parent.name for parent in paths[0].parents}
        kind = next((name for name in ("gtFine", "gtCoarse", "SegmentationClass") if name in above), "")
        classes = mask_classes.of_layout(kind, "TrainIds" in paths[0].stem)
        if classes is not None:
            notes.append(f"there is no class file, and {kind}/ is there: {classes.where} are taken")

    if classes is None:
        values = mask_values.look(paths)
        named = expected_layout.classes or " or ".join(mask_classes.FILES)
        hold = f", and its masks hold {values.words}" if values.words else ""
        raise DataError(f"has no class file {named}{hold}", where=str(root), remedy=values.remedy)

    return classes


def _two_valued(paths: Sequence[Path]) -> bool:
    """Whether masks hold 0 and 255 and nothing else, of those that are looked at."""
    values: set[int] = set()
    for i in np.unique(np.linspace(0, len(paths) - 1, min(len(paths), LOOKED_AT)).astype(int)) if paths else []:
        try:
            ids = mask.stored(paths[int(i)]).ids()
        except DataError:
            continue
        if ids is None or not (values := values | set(np.unique(ids).tolist())) <= {0, mask.VOID}:
            return False

    return mask.VOID in values


FORMAT = Format(
    name="masks",
    description="Pictures with a mask of class numbers or colours each.",
    open=open,
    keys=(*pictures.KEYS, "masks"),
    recognize=recognize.masks,
)
