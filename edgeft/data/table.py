"""Texts with a class each: a table (`table_records.py`) that is divided by class with the recipe's seed, or a folder
with one file a split (train.csv, reviews_test.jsonl).

A record that cannot be used is left out and counted by its lines; more than 5 % of them stop the run. A validation or
test file without labels (as competitions hand out) is left out, and a part of train is held out instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..config import recipe
from ..core.errors import DataError, nearest
from ..inputs import text
from . import columnar
from .delimited import opened, quoting_hint, unpacked_name
from .samples import Dataset, Split, complete, require_classes, split_named
from .sniff import Table, encoding_of, examine
from .table_records import Layout, first_names, scan

SUFFIXES = {"csv": (".csv", ".tsv"), "jsonl": (".jsonl", ".ndjson", ".json"), "parquet": columnar.PARQUET}
#: how a table may call its texts and classes where the recipe does not say
TEXTS = ("sentence", "review", "content", "message", "comment", "tweet", "utterance", "question", "title", "body")
LABELS = ("labels", "class", "category", "sentiment", "intent", "target", "polarity", "topic")


def open(spec: recipe.Data) -> Dataset:
    """The table at `spec.path`, by the columns `spec.text` and `spec.label`.

    Labels are the sorted class names; numbers are sorted as numbers. Raises `DataError` naming file and line for a
    column that is missing, too many unusable records, or labels that are no classes.
    """
    root = Path(spec.path)
    if not spec.path or not root.exists():
        problem = "no table is given" if not spec.path else "no such file or folder"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a table or a folder of them")

    notes: list[str] = []
    files = split_files(root, spec.format, notes) if root.is_dir() else {"train": root}
    layouts = {name: _layout(path, spec, notes) for name, path in files.items()}

    for name in [n for n in files if n != "train" and "train" in files and _unlabelled(files[n], layouts[n])]:
        label = layouts[name].label
        notes.append(f"{files[name]}: has no {label!r}: it is left out, since nothing says what is right")
        del files[name]

    tables = {name: scan(path, _placed(path, layouts[name]), notes) for name, path in files.items()}
    return dataset(str(root), tables, spec, notes)


def dataset(
    where: str, tables: Mapping[str, tuple[Any, Sequence[str]]], spec: recipe.Data, notes: list[str]
) -> Dataset:
    """A data set of {split: (pool of texts, label of each)}; a split whose labels are all -1 has none."""
    masked = [name for name, (_, labels) in tables.items() if name != "train" and set(labels) == {"-1"}]
    if "train" in tables and "-1" not in tables["train"][1]:
        for name in masked:
            notes.append(f"{name}: all {len(tables[name][1])} labels are -1, which stands for none: it is left out")
        tables = {name: content for name, content in tables.items() if name not in masked}

    names = _ordered({label for _, labels in tables.values() for label in labels})
    number = {name: i for i, name in enumerate(names)}
    splits: dict[str, Split] = {}

    for name, (pool, labels) in tables.items():
        targets = np.array([number[label] for label in labels], np.int64)
        splits[name] = Split(name, pool, np.arange(len(pool)), targets)

    notes += require_classes(splits, names, where, spec.split)
    splits, note = complete(splits, spec.split, spec.split_seed, where, names)
    return Dataset(where, names, splits, [*notes, *note])


def split_files(root: Path, kind: str, notes: list[str]) -> dict[str, Path]:
    """The file of each split: a word of its name is the split's (reviews_train.csv), the last where there are more."""
    suffixes = SUFFIXES[kind]
    files = [
        path
        for path in sorted(root.iterdir())
        if unpacked_name(path).suffix.lower() in suffixes and not path.name.startswith(".")
    ]
    file_of: dict[str, Path] = {}
    others = []

    for path in files:
        words = re.split(r"[-_. ]", unpacked_name(path).stem)
        name = next((split for word in reversed(words) if (split := split_named(word))), "")
        if name in file_of:
            raise DataError(
                f"both {file_of[name].name} and {path.name} are there: which one is meant?",
                where=str(root),
                remedy="keep one file a split in this folder",
            )
        if name:
            file_of[name] = path
        else:
            others.append(path)

    if not file_of and len(files) == 1:
        return {"train": files[0]}

    if not file_of:
        raise DataError(
            f"holds no {kind} file for train, val or test",
            where=str(root),
            remedy=f"expected train{suffixes[0]} and so on, or give the path of one file",
        )

    if others:
        shown = ", ".join(path.name for path in others[:5])
        notes.append(f"{root}: {len(others)} file(s) whose names have no split are not read: {shown}")

    return file_of


def _layout(path: Path, spec: recipe.Data, notes: list[str]) -> Layout:
    """How a file is to be read; the columns are not looked for yet."""
    suffix = unpacked_name(path).suffix.lower()
    matching_format = next((kind for kind, known in SUFFIXES.items() if suffix in known and kind != spec.format), "")
    if matching_format:
        raise DataError(
            f"is not a {spec.format} file", where=str(path), remedy=f'set data.format = "{matching_format}"'
        )

    try:
        if spec.format == "parquet":
            return Layout(spec.format, *_columns(path, spec, columnar.parquet_columns(path), notes))
        if spec.format == "csv":
            table = examine(path, spec, _aliases(spec))
            notes += table.notes
            return Layout(spec.format, *_columns(path, spec, table.names, notes), table.dialect.encoding, table)
        encoding = encoding_of(path, spec, lambda: opened(path), notes)
        layout = Layout("json" if columnar.starts_with_array(path) else "jsonl", spec.text, spec.label, encoding)
        texts, label = _columns(path, spec, first_names(path, layout), notes)
        return Layout(layout.kind, texts, label, encoding)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=str(path)) from error


def _aliases(spec: recipe.Data) -> list[tuple[str, ...]]:
    """The names that each column may have: those of the recipe, and where it has its default the usual ones too."""
    default = recipe.Data()
    texts = [(name,) for name in spec.text] if spec.text != default.text else [(*default.text, *TEXTS)]
    return [*texts, (spec.label,) if spec.label != default.label else (default.label, *LABELS)]


def _columns(path: Path, spec: recipe.Data, names: Sequence[str], notes: list[str]) -> tuple[tuple[str, ...], str]:
    """The columns to read, (texts, label): those that are asked for, or the only one that has a usual name."""
    columns = []
    for known in _aliases(spec):
        usual = [name for name in known[1:] if name in names]
        if known[0] not in names and len(usual) == 1:
            notes.append(f"{path}: has no column {known[0]!r}: {usual[0]!r} is read in its place")
            columns.append(usual[0])
        else:
            columns.append(known[0])

    return tuple(columns[:-1]), columns[-1]


def _unlabelled(path: Path, layout: Layout) -> bool:
    """Whether a file has the texts that are asked for and no labels."""
    names = first_names(path, layout)
    return layout.label not in names and all(name in names for name in layout.texts)


def _placed(path: Path, layout: Layout) -> Layout:
    """The layout with the places of its columns; raises `DataError` where a table has one not, or twice."""
    if layout.kind == "parquet":
        names = columnar.parquet_columns(path)
        for column in layout.columns:
            if column not in names:
                raise DataError(f"has no column {column!r}", where=str(path), remedy=nearest(column, names))

    if layout.table is None:
        return layout

    names = list(layout.table.names)
    if any(text.fault(name) for name in names if name):
        raise DataError("the header is not UTF-8 text", where=f"{path}:1", remedy="save the table as CSV in UTF-8")

    places = {"": len(names)}
    for column in layout.columns:
        numbered = column not in names and column.isdigit() and int(column) < len(names)
        if not numbered and names.count(column) != 1:
            raise _absent(path, layout.table, column, names)
        places[column] = int(column) if numbered else names.index(column)

    return Layout(layout.kind, layout.texts, layout.label, layout.encoding, layout.table, places)


def _absent(path: Path, table: Table, column: str, names: list[str]) -> DataError:
    problem = "twice the column" if column in names else "no column"
    hint = quoting_hint(column, names) or (nearest(column, names) if names else "")
    if column not in names:
        hint += "; " + table.headerless_hint('data.text = ["1"], data.label = "0"')
        hint += "; `edgeft init --data PATH` writes a recipe with the names of these columns"

    return DataError(
        f"has {problem} {column!r}",
        where=f"{path}:1",
        remedy=f"the first line names the columns, data.text and data.label choose among them; {hint}",
    )


def _ordered(names: set[str]) -> tuple[str, ...]:
    if all(re.fullmatch(r"-?\d+", name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))
