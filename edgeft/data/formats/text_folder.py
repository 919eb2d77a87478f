"""Folders of text files: train/CLASS/*.txt, val/ and test/, or class folders that are divided here (as IMDB has them).

A class folder of train that a given test split has not, and that is called `unsup`, holds unlabelled texts (IMDB) and
is left out. Every file is one text.
"""

from __future__ import annotations

from pathlib import Path

from ...config import recipe
from ...core.errors import DataError
from ...inputs import text
from .. import left_out, recognize, table
from ..delimited import MARKS
from ..folders import classes_by_split
from ..record import Format
from ..samples import Dataset
from ..sniff import WESTERN, stated_encoding

SUFFIXES = (".txt", ".text")
#: bytes of one text
MAX_BYTES = 1 << 22
_UNLABELLED = ("unsup", "unlabeled", "unlabelled")


class Files:
    """A pool of text files, read when they are asked for."""

    def __init__(self, files: list[Path], encoding: str) -> None:
        self.files, self.encoding = files, encoding

    def __len__(self) -> int:
        return len(self.files)

    def raw(self, i: int) -> str:
        return read(self.files[i], self.encoding)

    def source(self, i: int) -> str:
        return str(self.files[i])


def read(path: Path, encoding: str = "") -> str:
    """The text of a file, without blanks around it; raises `DataError` for one that is too long, empty or no text.

    Without an encoding a byte order mark decides, then UTF-8, then Windows-1252.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=str(path)) from error

    if len(content) > MAX_BYTES:
        raise DataError(f"is larger than {MAX_BYTES} bytes: no single text", where=str(path))

    mark, marked = next(((mark, name) for mark, name in MARKS if content.startswith(mark)), (b"", ""))
    for name in (encoding or marked or "utf-8", *([] if encoding or marked else [WESTERN])):
        try:
            words = content.removeprefix(mark).decode(name).strip()
            break
        except UnicodeError:
            continue
    else:
        raise DataError("is not text in UTF-8 or Windows-1252", where=str(path), remedy="set data.encoding")

    fault = text.fault(words)
    if fault:
        raise DataError(fault, where=str(path))

    return words


def open(spec: recipe.Data) -> Dataset:
    """The texts below `spec.path`; labels are the sorted names of the class folders.

    Raises `DataError` for a folder that is absent or holds no texts, and where more than 5 % of them cannot be read.
    """
    root = Path(spec.path)
    if not spec.path or not root.is_dir():
        problem = "no data folder is given" if not spec.path else "no such folder"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a folder of class folders")

    encoding = stated_encoding(spec.encoding) if spec.encoding else ""
    notes: list[str] = []
    by_split = classes_by_split(root, notes)

    for split, classes in by_split.items():
        for name in [name for name in classes if name.lower() in _UNLABELLED]:
            notes.append(f"{classes[name]}: holds texts without a class: left out")
            del by_split[split][name]

    tables = {split: _texts(root, split, classes, encoding, notes) for split, classes in by_split.items()}
    if not any(labels for _, labels in tables.values()):
        raise DataError("holds no texts", where=str(root), remedy="expected train/CLASS/*.txt or CLASS/*.txt")

    return table.dataset(str(root), tables, spec, notes)


def _texts(
    root: Path, split: str, classes: dict[str, Path], encoding: str, notes: list[str]
) -> tuple[Files, list[str]]:
    """The readable texts of a split and their classes."""
    files, labels, bad = [], [], []
    others = 0
    for label, folder in sorted(classes.items()):
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
            if path.suffix.lower() not in SUFFIXES:
                others += 1
                continue
            try:
                read(path, encoding)
            except DataError as error:
                bad.append(f"{path}: {error.message}")
                continue
            files.append(path)
            labels.append(label)

    if others:
        notes.append(f"{split}: {others} files are no texts ({', '.join(SUFFIXES)}) and are left out")
    if bad:
        remedy = "repair or remove them, or set data.encoding"
        left_out.judge(bad, len(files), "texts", notes, where=str(root), remedy=remedy, part=split)

    return Files(files, encoding), labels


FORMAT = Format(
    name="text-folder",
    description="Texts of classes in folders, a file each: train/CLASS/*.txt, val/ and test/, or class folders.",
    open=open,
    keys=("path", "split", "split_seed", "encoding"),
    recognize=recognize.text_folder,
)
