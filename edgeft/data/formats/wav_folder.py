"""Folders of sounds: `train/ val/ test/` or one folder that is divided here; the class is a folder or in the file name.

With `data.pattern = "{label}_{speaker}_{take}"` a file's name (without its ending) is taken apart, and any folder depth
will do; a pattern without `{label}` leaves the class to the folders. With `data.group = "speaker"` all files of one
speaker stay together where a split is divided; the word may be any part of the pattern.

A folder without split folders may state its own division as Speech Commands does: `validation_list.txt` and
`testing_list.txt` name files of val and test by their path, one a line, and all others are train.

With `data.units` the recordings have transcripts instead of classes: `transcripts.py` reads them.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...config import recipe
from ...core.errors import DataError, RecipeError, nearest
from ...inputs import sound_file
from .. import recognize, sound_facts
from ..folders import MAX_UNREADABLE, Scanned, classes_by_split, split_folders
from ..record import Format
from ..samples import NAMES, Dataset, Split, complete, fractions, grouped, require_classes

SUFFIXES = (".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au")
_MAX_FIELDS = 8
#: parts of a pattern that say whose recordings files are
PERSONS = ("speaker", "person", "subject", "patient", "user", "session")
LISTS = {"val": "validation_list.txt", "test": "testing_list.txt"}


@dataclass(frozen=True)
class Clip:
    """A file (relative to the root) with its class and its recording's group ("" = none)."""

    path: str
    label: str
    group: str


#: files of sounds that libsndfile does not decode
_PACKED = (".m4a", ".aac", ".wma", ".amr", ".mp4", ".webm")


class Files:
    """A pool of sound files under `root`; holds their paths, and decodes on demand.

    `groups` are the values of the part `group_name` of their names, where splits may share them unintended.
    """

    def __init__(self, root: Path, paths: list[str], group_name: str = "", groups: Sequence[str] = ()) -> None:
        self.root, self.paths = root, paths
        self.group_name, self.groups = group_name, groups

    def group(self, i: int) -> str:
        return self.groups[i] if self.groups else ""

    def __len__(self) -> int:
        return len(self.paths)

    def source(self, i: int) -> str:
        return str(self.root / self.paths[i])

    def raw(self, i: int) -> dict[str, Any]:
        return sound_file.read(self.root / self.paths[i])


def open(spec: recipe.Data) -> Dataset:
    """The sound folder at `spec.path`; labels are sorted.

    A missing val or test split is taken out of train: by whole groups where `spec.group` is set, else by class. Facts:
    `kind` "sound", `rate` (the commonest in train), `seconds` (19 of 20 clips are no longer). Raises `RecipeError` for
    a pattern that cannot be used; `DataError` naming the folder or file for what is absent, empty or of one class, for
    names that do not fit the pattern, and, when a split is first used, for more than 5 % unreadable files.
    """
    if spec.units:
        dataset: Dataset = importlib.import_module("edgeft.data.transcripts").open(spec)
        return dataset

    root = Path(spec.path)
    if not spec.path or not root.is_dir():
        problem = "no such folder" if not root.exists() else "is a file, not a folder"
        problem = problem if spec.path else "no data folder is given"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a folder of sounds")

    pattern = _pattern(spec)
    notes: list[str] = []
    if pattern is not None and "label" in pattern.groupindex:
        places = {name: {"": folder} for name, folder in split_folders(root, notes).items()}
    else:
        places = classes_by_split(root, notes)

    clips = {name: _clips(root, name, folders, pattern, spec, notes) for name, folders in places.items()}
    if list(clips) == ["train"]:
        clips = _divided(root, clips["train"], notes)

    all_clips = [clip for clips_of_class in clips.values() for clip in clips_of_class]
    if not all_clips:
        raise _no_sounds(root)

    labels = tuple(sorted({clip.label for clip in all_clips}))
    number = {label: i for i, label in enumerate(labels)}
    # `by_group` reports a part that the recipe names, the checks of the data one that it does not
    told_apart = "" if spec.group else _person(pattern)
    groups = [clip.group for clip in all_clips] if told_apart else ()
    pool, splits, start = Files(root, [clip.path for clip in all_clips], told_apart, groups), {}, 0

    for name, clips_of_class in clips.items():
        targets = np.array([number[clip.label] for clip in clips_of_class], np.int64)
        splits[name] = Split(name, pool, np.arange(start, start + len(clips_of_class)), targets)
        start += len(clips_of_class)

    notes += require_classes(splits, labels, str(root), spec.split)
    if spec.group:
        splits, more = by_group(splits, np.array([clip.group for clip in all_clips]), spec, str(root))
        more = [*more, *require_classes(splits, labels, str(root), spec.split)]
    else:
        splits, more = complete(splits, spec.split, spec.split_seed, str(root), labels)

    notes += [line for line in more if line not in notes]
    scanned = Scanned(splits, notes, labels, str(root), "sounds", spec.split)
    return Dataset(str(root), labels, scanned, notes, sound_facts.of_files(splits))


def _no_sounds(root: Path) -> DataError:
    """What is wrong with a folder without a sound that can be read."""
    packed = next((path for path in sorted(root.rglob("*")) if path.suffix.lower() in _PACKED), None)
    if packed is not None:
        return DataError(
            f"holds sounds such as {packed.name}, which no package here decodes",
            where=str(root),
            remedy=f"convert them, for example with `ffmpeg -i {packed.name} {packed.stem}.wav`",
        )

    return DataError(
        "holds no sounds",
        where=str(root),
        remedy='expected train/CLASS/*.wav, CLASS/*.wav, or data.pattern = "{label}_{speaker}" for flat folders',
    )


def _pattern(spec: recipe.Data) -> re.Pattern[str] | None:
    """The regular expression of `spec.pattern`, or None without one; every part is as short as it can be."""
    if not spec.pattern:
        if spec.group:
            raise RecipeError("is set without data.pattern", where="data.group", remedy='pattern = "{label}_{speaker}"')
        return None

    parts = re.split(r"\{(\w+)\}", spec.pattern)
    literals, names = parts[::2], parts[1::2]
    wrong = ""

    if not names or any(c in text for text in literals for c in "{}/\\"):
        wrong = "has no {part}" if not names else "has a brace or slash that belongs to no {part}"
    elif not all(literals[1:-1]):
        wrong = "has two parts with nothing between them"
    elif len(set(names)) < len(names) or len(names) > _MAX_FIELDS or any(name[0].isdigit() for name in names):
        wrong = f"must have at most {_MAX_FIELDS} parts, each with a name of its own that starts with a letter"

    if wrong:
        raise RecipeError(
            f"{spec.pattern!r} {wrong}", where="data.pattern", remedy='such as "{label}_{speaker}_{take}"'
        )
    if spec.group and spec.group not in names:
        raise RecipeError(
            f"{spec.group!r} is not a part of data.pattern", where="data.group", remedy=nearest(spec.group, names)
        )

    text = re.escape(literals[0]) + "".join(f"(?P<{n}>.+?){re.escape(t)}" for n, t in zip(names, literals[1:]))
    return re.compile(text)


def _person(pattern: re.Pattern[str] | None) -> str:
    """The part of the pattern that says whose recording a file is, or ""."""
    return next((name for name in PERSONS if pattern is not None and name in pattern.groupindex), "")


def _clips(
    root: Path,
    split: str,
    places: dict[str, Path],
    pattern: re.Pattern[str] | None,
    spec: recipe.Data,
    notes: list[str],
) -> list[Clip]:
    """The sounds below the folders of a split, {label: folder}, by class and path; notes say what was left out."""
    aside = [name for name in places if name.startswith("_")]
    if aside:
        notes.append(f"the folder {aside[0]!r} is taken for no class, since its name starts with '_'")

    clips, strange, unreadable = [], [], []
    for label, place in sorted(places.items()):
        if label.startswith("_"):
            continue
        for path in sorted(p for p in place.rglob("*") if p.is_file() and not p.name.startswith(".")):
            if path.suffix.lower() not in SUFFIXES:
                unreadable.append(path)
                continue
            match = pattern.fullmatch(path.stem) if pattern else None
            if pattern and match is None:
                strange.append(path)
                continue
            parts = match.groupdict() if match else {}
            clip = Clip(
                path.relative_to(root).as_posix(),
                parts.get("label", label),
                parts.get(spec.group or _person(pattern), ""),
            )
            clips.append(clip)

    if unreadable:
        notes.append(f"{split}: {len(unreadable)} files are no sounds, for example {unreadable[0]}")

    if strange:
        text = f"{len(strange)} of {len(strange) + len(clips)} file names do not fit the pattern {spec.pattern!r}"
        if len(strange) > MAX_UNREADABLE * (len(strange) + len(clips)):
            raise DataError(text, where=str(strange[0]), remedy="set data.pattern to what the names have in common")
        notes.append(f"{split}: skipped: {text}, for example {strange[0]}")

    return sorted(clips, key=lambda clip: (clip.label, clip.path))


def _divided(root: Path, clips: list[Clip], notes: list[str]) -> dict[str, list[Clip]]:
    """The clips by the splits that the lists of `root` name; all of them are train where there is no list."""
    homes: dict[str, str] = {}
    for split, name in LISTS.items():
        if not (root / name).is_file():
            continue
        try:
            lines = (root / name).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"is not a readable list of files ({error})", where=str(root / name)) from error
        paths = {line.strip().replace("\\", "/") for line in lines if line.strip()}
        twice = sorted(paths & set(homes))
        if twice:
            raise DataError(f"{twice[0]} is in two splits", where=str(root / name))
        absent = sorted(paths - {clip.path for clip in clips})
        if absent:
            notes.append(f"{name}: {len(absent)} of {len(paths)} files are not there, for example {absent[0]}")
        homes |= dict.fromkeys(paths, split)

    parts = {name: [clip for clip in clips if homes.get(clip.path, "train") == name] for name in NAMES}
    return {name: clips_of_part for name, clips_of_part in parts.items() if clips_of_part or name == "train"}


def by_group(
    splits: dict[str, Split], groups: np.ndarray, spec: recipe.Data, where: str
) -> tuple[dict[str, Split], list[str]]:
    """Take a missing val or test split out of train by whole groups; a note where given splits share groups."""
    share = dict(zip(NAMES, fractions(spec.split)))
    notes = []
    names = list(splits)

    for i, name_of_part in enumerate(names):
        for later_name in names[i + 1 :]:
            first, second = (set(groups[splits[name].indices].tolist()) for name in (name_of_part, later_name))
            if first & second:
                notes.append(
                    f"{len(first & second)} of {len(second)} values of {spec.group!r} in {later_name}/ "
                    f"are also in {name_of_part}/: "
                    f"{later_name} does not measure the accuracy on a new {spec.group}"
                )

    missing = [name for name in ("val", "test") if name not in splits]
    if "train" in splits and missing:
        parts = ["train", *missing]
        train, total = splits["train"], sum(share[name] for name in parts)
        at = grouped(groups[train.indices], [share[name] / total for name in parts], spec.split_seed, where)
        splits = splits | {name: train.subset(positions, name) for name, positions in zip(parts, at)}
        counts = ", ".join(f"{name} {len(splits[name])} ({_listed(groups[splits[name].indices])})" for name in parts)
        notes.append(f"train was divided by whole {spec.group!r} with seed {spec.split_seed} into {counts}")

    return {name: splits[name] for name in NAMES if name in splits}, notes


def _listed(groups: np.ndarray) -> str:
    names = np.unique(groups).tolist()
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


FORMAT = Format(
    name="wav-folder",
    description="Sounds with classes, or with transcripts where data.units is set, in folders.",
    open=open,
    keys=(
        *("path", "split", "split_seed", "pattern", "group", "units", "columns"),
        *("delimiter", "encoding", "quoting", "header"),
    ),
    recognize=recognize.wav_folder,
)
