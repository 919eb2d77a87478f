"""Pictures that a finished model is quantized with: in a flat folder without labels, or in folders of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...config import recipe
from ...config.data_keys import option
from ...core.errors import DataError
from ...inputs.picture_file import SUFFIXES
from .. import mask_pairs, pictures
from ..folders import Scanned, split_folders
from ..record import Format
from ..samples import Dataset, Split, complete


@dataclass(frozen=True)
class Keys:
    """The keys of [data] that this format has beside the common ones."""

    classes: int = option(0, "how many classes the model has; 0 = as many as there are class folders or names", low=0)
    names: str = option("", "file with the name of each class, a line each, in the order of the model's outputs")


def open(spec: recipe.Data) -> Dataset:
    """The pictures below `spec.path`, of whatever class; without labels their targets are NaN.

    Masks of other pictures (`mask_pairs.masks_among`) are not read. Pictures have labels where every one of them lies
    in a folder that is named as a class (`names`), or where there are as many folders as classes. A class without a
    picture is no fault. Splits are drawn at random where the folder has none. Raises `DataError` for a folder that is
    absent or has no pictures, and where the number of classes is not known.
    """
    root = Path(spec.path)
    if not spec.path or not root.is_dir():
        problem = "no such folder" if not root.exists() else "is a file, not a folder"
        raise DataError(problem, where=str(root), remedy="name a folder of pictures")

    keys = spec.options if isinstance(spec.options, Keys) else Keys(**spec.options)
    notes: list[str] = []
    unread = pictures.Unread()
    tops = split_folders(root, notes)
    paths_of = {name: _pictures(folder, unread, notes) for name, folder in tops.items()}
    paths = [path for found in paths_of.values() for path in found]
    if not paths:
        raise DataError("holds no pictures", where=str(root), remedy=f"readable: {', '.join(SUFFIXES)}")

    folders = [_class_folder(path, tops[name]) for name, found in paths_of.items() for path in found]
    labels = _labels(keys, sorted(set(folders) - {""}), root)
    targets = _targets(folders, labels, keys)
    labelled = targets.dtype.kind == "i"

    if not labelled:
        classes = f" of the model's {len(labels)} classes" if len(labels) > 1 else ""
        notes.append(f"the {len(paths)} pictures have no labels{classes}")

    settings = pictures.reading(spec, paths, notes)
    pool, splits, start = pictures.Files(paths, settings), {}, 0
    for name, found in paths_of.items():
        at = np.arange(start, start + len(found))
        splits[name], start = Split(name, pool, at, targets[at]), start + len(found)

    splits, divided = complete(splits, spec.split, spec.split_seed, str(root))
    notes += [*unread.notes(), *divided]
    scanned = Scanned(splits, notes, labels, str(root), every_class=False)
    facts = {**pictures.facts(settings, paths), **({} if labelled else {"unlabelled": True})}

    return Dataset(str(root), labels, scanned, notes, facts)


def _pictures(folder: Path, unread: pictures.Unread, notes: list[str]) -> list[Path]:
    """The pictures below `folder` but for those that are masks of others, which a note names."""
    paths = pictures.walk(folder, unread)
    masks = mask_pairs.masks_among(folder, paths)
    if masks:
        places = sorted({f"{place}/" for place in masks.values()})
        more = f" and {len(places) - 3} more" if places[3:] else ""
        notes.append(
            f"{len(masks)} files in {', '.join(places[:3])}{more} are not read, since they are masks of other pictures "
            "by their names"
        )

    return [path for path in paths if path not in masks]


def _class_folder(path: Path, top: Path) -> str:
    """The folder directly in `top` that a picture lies in, "" where it lies in none."""
    parts = path.relative_to(top).parts
    return parts[0] if len(parts) > 1 else ""


def _labels(keys: Keys, folders: Sequence[str], root: Path) -> tuple[str, ...]:
    """The names of the model's classes: those of the file, those of the folders where there are as many, or numbers."""
    if keys.names:
        labels = _names(Path(keys.names))
        if keys.classes and len(labels) != keys.classes:
            raise DataError(f"names {len(labels)} classes, and the model has {keys.classes}", where=keys.names)
        return labels

    if len(folders) > 1 and keys.classes in (0, len(folders)):
        return tuple(folders)

    if not keys.classes:
        raise DataError(
            "has no class folders, so that the number of classes is not known",
            where=str(root),
            remedy="set data.classes, or data.names to a file with a name a line",
        )

    return tuple(str(number) for number in range(keys.classes))


def _names(path: Path) -> tuple[str, ...]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read ({error})", where=str(path), remedy="a text file, one name a line") from error
    names = tuple(line for line in lines if line)
    if len(set(names)) < max(2, len(names)):
        raise DataError("has fewer than two names, or one of them twice", where=str(path))
    return names


def _targets(folders: Sequence[str], labels: Sequence[str], keys: Keys) -> np.ndarray:
    """The class of each picture, int64 (N,), or NaN, float64 (N,), where they have none."""
    number_of = {label: number for number, label in enumerate(labels)}
    named = set(folders)
    if "" in named or not named <= set(number_of) or not (keys.names or len(named) == len(labels)):
        return np.full(len(folders), np.nan)
    return np.asarray([number_of[name] for name in folders], np.int64)


FORMAT = Format(
    name="pictures",
    description="Pictures to quantize a finished classifier with: a flat folder without labels, or folders of classes.",
    open=open,
    keys=pictures.KEYS,
    family="pictures",
    options=Keys,
)
