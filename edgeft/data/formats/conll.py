"""Words with a tag each in text files as CoNLL has them: a word and its tag a line, a blank line behind a sentence.

Columns stand between tabs or blanks: the first is the word and the last the tag, unless `data.columns` gives their
numbers (`{ tokens = "1", tags = "3" }`, from 0). Lines "-DOCSTART-" and comments ("# id 7") are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ...config import recipe
from ...core.errors import DataError, RecipeError
from .. import recognize, tagged
from ..delimited import READ_ERRORS, Lines, opened, unpacked_name
from ..record import Format
from ..samples import Dataset, split_named
from ..sniff import encoding_of

#: files of Universal Dependencies: ten columns, of which 1 is the word and 3 its part of speech (UPOS)
UNIVERSAL = ".conllu"
SUFFIXES = (
    *(".conll", ".txt", ".iob", ".iob2", ".bio", ".tsv", ".ner", ".train", ".dev", ".testa", ".testb", ".test"),
    *(".annotated", UNIVERSAL),
)
#: what files of CoNLL 2003 are called beside the usual names of splits
_CALLED = {"testa": "val", "testb": "test"}
_TAG = re.compile(r"O|[BIESLUWM]-\S+")


def open(spec: recipe.Data) -> Dataset:
    """The sentences at `spec.path`, one file or a folder with one a split; see `tagged.dataset`.

    Raises `DataError` naming file and line, `RecipeError` for columns that are no numbers.
    """
    root = Path(spec.path)
    if not spec.path or not root.exists():
        problem = "no file is given" if not spec.path else "no such file or folder"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a file, or a folder of them")

    notes: list[str] = []
    files = _split_files(root, notes) if root.is_dir() else {"train": root}
    universal = any(unpacked_name(path).suffix.lower() == UNIVERSAL for path in files.values())
    places = (_column(spec, "tokens", 1 if universal else 0), _column(spec, "tags", 3 if universal else -1))
    if universal and "tags" not in spec.columns:
        notes.append(f"{root}: the tags are parts of speech (UPOS, column 3 from 0); data.columns names others")

    return tagged.dataset(
        str(root), {name: list(_read(path, places, spec, notes)) for name, path in files.items()}, spec, notes
    )


def _column(spec: recipe.Data, key: str, default: int) -> int:
    value = spec.columns.get(key, str(default))
    if set(spec.columns) - {"tokens", "tags"} or not re.fullmatch(r"-?\d{1,4}", value):
        raise RecipeError(
            f"is {dict(spec.columns)!r}, expected numbers of columns from 0",
            where="data.columns",
            remedy='such as { tokens = "0", tags = "3" }',
        )
    return int(value)


def _split_files(root: Path, notes: list[str]) -> dict[str, Path]:
    """The file of each split, by the last word of its name that is a split's (eng.testa, ner_train.conll)."""
    files: dict[str, Path] = {}
    others = []
    for path in sorted(p for p in root.iterdir() if p.is_file() and not p.name.startswith(".")):
        if unpacked_name(path).suffix.lower() not in SUFFIXES:
            continue
        words = re.split(r"[-_. \d]", path.name)
        name = next((s for word in reversed(words) if (s := _CALLED.get(word.lower()) or split_named(word))), "")
        if name in files:
            raise DataError(
                f"both {files[name].name} and {path.name} are there: which one is meant?",
                where=str(root),
                remedy="keep one file a split in this folder",
            )
        if name:
            files[name] = path
        else:
            others.append(path)

    if not files and len(others) == 1:
        return {"train": others[0]}

    if not files:
        raise DataError(
            "holds no file for train, val or test",
            where=str(root),
            remedy="expected train.conll (or .txt, .bio, .tsv), valid.conll and test.conll, or the path of one file",
        )

    if others:
        shown = ", ".join(path.name for path in others[:5])
        notes.append(f"{root}: {len(others)} file(s) whose names have no split are not read: {shown}")

    return files


def _read(path: Path, places: tuple[int, int], spec: recipe.Data, notes: list[str]) -> Iterator[tagged.Sentence]:
    """The sentences of a file in order."""
    universal = unpacked_name(path).suffix.lower() == UNIVERSAL
    try:
        encoding = encoding_of(path, spec, lambda: opened(path), notes)
        with opened(path) as file:
            lines = Lines(file, encoding)
            rows: list[tuple[int, list[str]]] = []
            for line in lines:
                fields = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
                if universal and (line.startswith("#") or re.match(r"\d+[-.]\d", line)):
                    continue  # comments, words of several tokens, and tokens that were left out of the text
                if line.strip() and not _is_comment(line, fields):
                    rows.append((lines.number, fields))
                elif not line.strip() and rows:
                    yield from _sentence(path, rows, places)
                    rows = []
            if rows:
                yield from _sentence(path, rows, places)
    except READ_ERRORS as error:
        raise DataError(f"cannot be read ({getattr(error, 'strerror', '') or error})", where=str(path)) from error


def _is_comment(line: str, fields: list[str]) -> bool:
    """Whether a line begins with "# " and does not end with a tag: a word may be "#"."""
    return line.startswith("# ") and not _TAG.fullmatch(fields[-1])


def _sentence(path: Path, rows: list[tuple[int, list[str]]], places: tuple[int, int]) -> Iterator[tagged.Sentence]:
    """The sentence of these lines; nothing for the mark of a document."""
    if rows[0][1][0] == "-DOCSTART-":
        rows = rows[1:]
    if not rows:
        return

    width, where = len(rows[0][1]), f"{path}:{rows[0][0]}"
    for number, fields in rows:
        inside = all(-len(fields) <= at < len(fields) for at in places)
        if len(fields) != width or width < 2 or not inside:
            expected = f"{width} columns as the line before it" if len(fields) != width else "a word and a tag"
            yield tagged.Sentence(f"{path}:{number}", problem=f"has {len(fields)} column(s), expected {expected}")
            return

    words, tags = ([fields[at] for _, fields in rows] for at in places)
    yield tagged.Sentence(where, words, tags)


FORMAT = Format(
    name="conll",
    description="Words with a tag each, a line a word and a blank line behind a sentence, as CoNLL has them.",
    open=open,
    keys=("path", "split", "split_seed", "columns", "encoding"),
    recognize=recognize.conll,
)
