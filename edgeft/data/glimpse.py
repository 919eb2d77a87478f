"""A first look at a path: the names of its files and the beginning of a few, by which formats recognize their data."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..core import strict_json
from ..core.npy import BROKEN
from .samples import split_named

#: files that are looked at: of one folder, in all, and how many folders deep
MOST_OF_FOLDER, MOST, DEEPEST = 400, 20_000, 5
#: bytes that are read of a file
HEAD = 65_536


@dataclass(frozen=True)
class Glimpse:
    """What stands at `path`: the file itself, or the files below a folder (relative, sorted, hidden ones left out).

    `label` is the column that the user says is predicted, "" where that is to be recognized.
    """

    path: Path
    files: tuple[PurePosixPath, ...]
    label: str = ""

    @property
    def folder(self) -> bool:
        """Whether `path` is a folder."""
        return self.path.is_dir()

    @cached_property
    def folders(self) -> dict[str, set[str]]:
        """{folder ("" is the path itself): endings of its files, in lower case and without .gz}."""
        endings: dict[str, set[str]] = {}
        for file in self.files:
            parent = "" if str(file.parent) == "." else str(file.parent)
            endings.setdefault(parent, set()).add(ending(file))
        return endings

    def named(self, pattern: str) -> list[PurePosixPath]:
        """The files whose path matches the regular expression from start to end, in any case."""
        return [file for file in self.files if re.fullmatch(pattern, str(file), re.IGNORECASE)]

    def head(self, file: PurePosixPath | None = None) -> str:
        """The first `HEAD` bytes of a file as text (of a .gz unpacked), "" where they cannot be read."""
        place = self.path if file is None or not self.folder else self.path / file
        try:
            with gzip.open(place) if place.suffix.lower() == ".gz" else place.open("rb") as stream:
                content = stream.read(HEAD)
        except (OSError, EOFError, ValueError):
            return ""

        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return content[: len(content) // 2 * 2].decode("utf-16", "replace")
        return content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")

    def tail(self, file: PurePosixPath) -> str:
        """The last `HEAD` bytes of a file as text, "" where they cannot be read."""
        try:
            with (self.path / file).open("rb") as stream:
                stream.seek(max(0, stream.seek(0, os.SEEK_END) - HEAD))
                return stream.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def rows(self, file: PurePosixPath | None = None, most: int = 50) -> list[list[str]]:
        """The first rows of a delimited text, by the delimiter that its first line has most of."""
        lines = self.head(file).split("\n")
        first = lines[0]
        delimiter = max(("\t", ",", ";", "|"), key=first.count)
        if not first.count(delimiter):
            return []

        whole = "\n".join(lines[:most])
        try:
            lines_of_text = io.StringIO(whole)
            if delimiter == "\t":
                rows = list(csv.reader(lines_of_text, delimiter=delimiter, quoting=csv.QUOTE_NONE))
            else:
                rows = list(csv.reader(lines_of_text, delimiter=delimiter))
            return [row for row in rows if row]
        except csv.Error:
            return []

    def objects(self, file: PurePosixPath | None = None, most: int = 20) -> list[Mapping[str, Any]]:
        """The first JSON objects of a file that has one a line, or one array of them."""
        head = self.head(file)
        if head.lstrip().startswith("["):
            return _of_array(head, most)

        objects: list[Mapping[str, Any]] = []
        for line in head.split("\n")[:most]:
            try:
                value = strict_json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                objects.append(value)

        return objects

    def members(self) -> frozenset[str]:
        """The names of the arrays in an .npz file."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                return frozenset(name.removesuffix(".npy") for name in archive.namelist())
        except BROKEN:
            return frozenset()


def _of_array(text: str, most: int) -> list[Mapping[str, Any]]:
    """The first objects of a JSON array that may be cut off."""
    objects: list[Mapping[str, Any]] = []
    decoder, at = json.JSONDecoder(), text.index("[") + 1
    while len(objects) < most:
        at += len(text[at:]) - len(text[at:].lstrip(" \t\r\n,"))
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        if isinstance(value, dict):
            objects.append(value)

    return objects


def array_kind(path: Path, member: str) -> str:
    """The kind of numbers ("i", "u", "b", "f") of an array in an .npz file, "" where its header cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{member}.npy") as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            return str(read(stream)[2].kind)
    except Exception:  # numpy's reader of headers raises errors of any type on broken files
        return ""


def ending(file: PurePosixPath | Path) -> str:
    """The suffix of a file in lower case, a .gz left aside."""
    bare = file.with_suffix("") if file.suffix.lower() == ".gz" else file
    return bare.suffix.lower()


def split_of(file: PurePosixPath) -> str:
    """The split that the first word of a file's name says, or ""."""
    return split_named(re.split(r"[-_. ]", file.name)[0])


def glimpse(path: Path, label: str = "") -> Glimpse:
    """Look at `path`; of a large folder a part."""
    if not path.is_dir():
        return Glimpse(path, (PurePosixPath(path.name),), label)
    return Glimpse(path, tuple(_files(path)), label)


def _files(root: Path) -> Iterator[PurePosixPath]:
    count = 0
    for place, folders, names in os.walk(root, followlinks=True):
        relative = Path(place).relative_to(root)
        deep = len(relative.parts) >= DEEPEST
        folders[:] = [] if deep else sorted(f for f in folders if not f.startswith((".", "__")))
        for name in sorted(n for n in names if not n.startswith("."))[:MOST_OF_FOLDER]:
            yield PurePosixPath((relative / name).as_posix())
            count += 1
            if count >= MOST:
                return
