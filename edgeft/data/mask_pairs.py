"""Which mask belongs to which picture: by the same name, or by what stands before or behind the picture's name.

`a.jpg` has `a.png`, `a_mask.png`, `mask_a.png`; `x_leftImg8bit.png` of Cityscapes has `x_gtFine_labelIds.png`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..core.errors import DataError
from . import pictures
from .folders import MAX_UNREADABLE

IMAGES = ("images", "image", "imgs", "JPEGImages", "leftImg8bit")
MASKS = ("labels", "masks", "annotations", "SegmentationClass", "gtFine", "gtCoarse", "mask", "label")
#: what is put behind a split's name for its folder of masks (`train_labels` of CamVid, `trainannot` of SegNet)
BESIDE = ("_labels", "_masks", "_mask", "_annot", "annot", "_gt")
#: ends of picture names that masks do not share, and ends of masks that count first where a picture has several
_PICTURE_ENDS = ("_leftImg8bit", "_image", "_img", "_sat", "-image", "-img")
_PREFERRED = ("_labelTrainIds", "_labelIds", "_mask", "_label", "_L")
#: pictures by which the pattern of names is found
_LOOKED_AT = 200


def stems(folder: Path, unread: pictures.Unread, beside: Iterable[str] = ()) -> dict[str, Path]:
    """Picture files below `folder` by their path within it, without suffix; raises `DataError` for one name twice."""
    path_of: dict[str, Path] = {}
    for path in pictures.walk(folder, unread, tuple(beside)):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in path_of:
            raise DataError(f"and {path_of[stem].name} have one name", where=str(path), remedy="keep one of them")
        path_of[stem] = path
    return path_of


def pairs(
    images: Mapping[str, Path], masks: Mapping[str, Path], name: str, notes: list[str], partial: bool = False
) -> list[tuple[Path, Path]]:
    """(picture, mask) of the split `name`, in the order of the pictures' names.

    `partial`: pictures without a mask are usual (Pascal VOC); else more than 5 % of them raise `DataError`.
    """
    mask_of = {stem: masks[stem] for stem in images if stem in masks}
    if len(mask_of) < (1 - MAX_UNREADABLE) * len(images) and not (partial and mask_of):
        by_pattern, pattern = _by_pattern(images, masks)
        if len(by_pattern) > len(mask_of):
            mask_of = by_pattern
            notes.append(f"{name}: masks are found by names of the form {pattern}")

    lacking = [path for stem, path in images.items() if stem not in mask_of]
    if lacking:
        named = ", ".join(str(path) for path in lacking[:5]) + (f" and {len(lacking) - 5} more" if lacking[5:] else "")
        share = len(lacking) / len(images)
        if share > MAX_UNREADABLE and not (partial and mask_of):
            raise DataError(
                f"{name}: {len(lacking)} of {len(images)} pictures ({share:.0%}) have no mask: {named}",
                where=str(lacking[0]),
                remedy="a mask has the name of its picture, with the same prefix or suffix everywhere; see data.masks",
            )
        notes.append(f"{name}: left out {len(lacking)} pictures that have no mask: {named}")

    unused = len(masks) - len(set(mask_of.values()))
    if unused and len(mask_of) == len(images) and not lacking:
        notes.append(f"{name}: {unused} masks belong to no picture and are not read")

    return [(path, mask_of[stem]) for stem, path in sorted(images.items()) if stem in mask_of]


def masks_among(root: Path, paths: Sequence[Path]) -> dict[Path, Path]:
    """{mask: folder that it lies in} of the files below `root` that are masks of others of them by their names.

    `masks/` beside `images/`, at any depth; `train_labels/` beside `train/`; `a_mask.png` beside `a.jpg`.
    """
    within = {path: path.relative_to(root) for path in paths}
    folders = {inner.parent.as_posix().lower() for inner in within.values()}
    stems_in = {(inner.parent, inner.stem) for inner in within.values()}
    of_masks = {folder for folder in {inner.parent for inner in within.values()} if _beside_pictures(folder, folders)}
    ends = tuple(end for end in _PREFERRED if end != "_L")

    def is_mask(inner: Path) -> bool:
        bare = next((inner.stem.removesuffix(end) for end in ends if inner.stem.endswith(end)), "")
        return inner.parent in of_masks or bool(bare and (inner.parent, bare) in stems_in)

    return {path: path.parent for path, inner in within.items() if is_mask(inner)}


def _beside_pictures(folder: Path, folders: Iterable[str]) -> bool:
    """Whether one part of the path names masks, and the same path with a name of pictures there is one of `folders`."""
    for i, part in enumerate(folder.parts):
        names = [part[: -len(end)] for end in BESIDE if part.lower().endswith(end)]
        names += IMAGES if part.lower() in {name.lower() for name in MASKS} else ()
        if any(Path(*folder.parts[:i], name, *folder.parts[i + 1 :]).as_posix().lower() in folders for name in names):
            return True
    return False


def _by_pattern(images: Mapping[str, Path], masks: Mapping[str, Path]) -> tuple[dict[str, Path], str]:
    """{picture: mask} by the commonest prefix and suffix of masks, and that pattern for people."""
    end = next((e for e in _PICTURE_ENDS if images and all(stem.endswith(e) for stem in images)), "")
    bare = {stem: stem.removesuffix(end) for stem in images}
    names = [os.path.split(stem) for stem in masks]
    counts: Counter[tuple[str, str]] = Counter()

    for stem in sorted(bare.values())[:_LOOKED_AT]:
        folder, base = os.path.split(stem)
        for mask_folder, mask_base in names:
            if mask_folder == folder and base in mask_base:
                before, _, behind = mask_base.partition(base)
                counts[before, behind] += 1

    if not counts:
        return {}, ""

    most = max(counts.values())
    usual = [affix for affix, count in counts.items() if count == most]

    def rank(affix: tuple[str, str]) -> tuple[int, int, str]:
        preferred = next((i for i, e in enumerate(_PREFERRED) if affix[1].endswith(e)), len(_PREFERRED))
        return preferred, len(affix[0]) + len(affix[1]), "".join(affix)

    ranked = sorted(usual, key=rank)
    if len(ranked) > 1 and rank(ranked[0])[0] == len(_PREFERRED):
        shown = " or ".join(f"{before}NAME{behind}" for before, behind in ranked[:3])
        raise DataError(
            f"pictures have several masks: {shown}", where=str(next(iter(masks.values()))), remedy="keep one of them"
        )

    before, behind = ranked[0]
    mask_of = {}
    for stem, short in bare.items():
        folder, base = os.path.split(short)
        path = masks.get(os.path.join(folder, f"{before}{base}{behind}").replace(os.sep, "/"))
        if path is not None:
            mask_of[stem] = path

    return mask_of, re.sub(r"\s", "_", f"{before}NAME{behind}")
