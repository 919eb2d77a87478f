"""Queries, each with a passage that answers it: a table, JSON lines or Parquet with a column each.

Samples are the texts: every query, and every different passage once. A target is (number of the passage, 1 for a query
or 0 for the passage itself). Passages are divided into splits, and queries go with theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...config import recipe
from ...core.errors import DataError, RecipeError, nearest
from .. import columnar, recognize
from ..delimited import opened, unpacked_name
from ..record import Format
from ..samples import NAMES, Dataset, Split, complete, split_named
from ..sniff import encoding_of, examine
from ..table_records import Layout, first_names
from .pairs import Pairs, read

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", *columnar.PARQUET)
#: how the columns may be called where the recipe does not say
COLUMNS = recognize.PAIR_COLUMNS


@dataclass
class Texts:
    """A pool of texts, and where each stands."""

    texts: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.texts)

    def raw(self, i: int) -> str:
        return self.texts[i]

    def source(self, i: int) -> str:
        return self.places[i]


def open(spec: recipe.Data) -> Dataset:
    """The pairs at `spec.path`, one file, which is divided by passages, or a folder with one a split.

    Raises `DataError` naming file and line: a column that is missing, too many pairs that cannot be used, a split with
    fewer than two passages. `RecipeError` for an unknown key of `data.columns`.
    """
    root = Path(spec.path)
    if not spec.path or not root.exists():
        problem = "no pairs are given" if not spec.path else "no such file or folder"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a table of queries")

    unknown = sorted(set(spec.columns) - set(COLUMNS))
    if unknown:
        raise RecipeError(f"unknown key {unknown[0]!r}", where="data.columns", remedy=nearest(unknown[0], COLUMNS))

    notes: list[str] = []
    files = _split_files(root, notes) if root.is_dir() else {"train": root}
    numbers: dict[str, int] = {}  # of every different passage
    pairs_of: dict[str, Pairs] = {}

    for name in (name for name in NAMES if name in files):
        columns = _columns(files[name], spec, notes)
        pairs_of[name] = read([(files[name],)], columns, spec, notes)
        for passage in pairs_of[name].targets:
            numbers.setdefault(passage, len(numbers))

    splits, note = complete({k: _passages(k, pairs, numbers) for k, pairs in pairs_of.items()}, spec.split,
                            spec.split_seed, str(root))  # fmt: skip
    pool, texts_of = Texts(), {}

    for name, part in splits.items():
        source = pairs_of[name] if name in pairs_of else pairs_of["train"]
        texts_of[name] = _texts(name, source, {int(i) for i in part.indices}, numbers, pool)
        passages = int((texts_of[name].targets[:, 1] == 0).sum())
        if passages < 2:
            problem = f"the {name} split has {passages} passage(s): there is nothing to search"
            raise DataError(problem, where=str(root), remedy="give more pairs with different passages")

    return Dataset(str(root), (), texts_of, [*notes, *note])


def _split_files(root: Path, notes: list[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    others = []
    for path in sorted(p for p in root.iterdir() if p.is_file() and not p.name.startswith(".")):
        if unpacked_name(path).suffix.lower() not in SUFFIXES:
            continue
        words = unpacked_name(path).stem.replace("_", "-").replace(".", "-").split("-")
        name = next((split for word in words if (split := split_named(word))), "")
        if name in files:
            problem = f"both {files[name].name} and {path.name} are there: which one is meant?"
            raise DataError(problem, where=str(root), remedy="keep one file a split in this folder")
        if name:
            files[name] = path
        else:
            others.append(path)

    if not files and len(others) == 1:
        return {"train": others[0]}

    if not files:
        problem = "holds no table for train, val or test"
        raise DataError(problem, where=str(root), remedy="expected train.csv, val.csv and test.csv, or give one file")
    if others:
        notes.append(f"{root}: file(s) whose names have no split are not read: {', '.join(p.name for p in others[:5])}")

    return files


def _columns(path: Path, spec: recipe.Data, notes: list[str]) -> tuple[str, str]:
    """The columns of queries and passages: those of `data.columns`, else the first usual name of each."""
    suffix = unpacked_name(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError("is no table of pairs", where=str(path), remedy=f"expected {', '.join(SUFFIXES)}")

    asked = tuple(spec.columns.get(key, "") for key in COLUMNS)
    if all(asked):
        return asked[0], asked[1]

    try:
        names = _names(path, suffix, spec, notes)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=str(path)) from error

    chosen = [own or next((n for n in usual if n in names), "") for own, usual in zip(asked, COLUMNS.values())]
    for key, name in zip(COLUMNS, chosen):
        if not name:
            raise DataError(
                f"has no column {' or '.join(map(repr, COLUMNS[key][:4]))}",
                where=str(path),
                remedy=f'it has {", ".join(names[:8])}: name it, data.columns = {{ {key} = "..." }}',
            )

    return chosen[0], chosen[1]


def _names(path: Path, suffix: str, spec: recipe.Data, notes: list[str]) -> Sequence[str]:
    """The names of the columns of a file."""
    if suffix in columnar.PARQUET:
        return columnar.parquet_columns(path)
    if suffix in (".csv", ".tsv"):
        return examine(path, spec, list(COLUMNS.values())).names
    encoding = encoding_of(path, spec, lambda: opened(path), notes)
    return first_names(path, Layout("json" if columnar.starts_with_array(path) else "jsonl", (), "", encoding))


def _passages(name: str, pairs: Pairs, numbers: dict[str, int]) -> Split:
    """The different passages of a file as samples, so that they are divided and not their queries."""
    at = np.array(sorted({numbers[passage] for passage in pairs.targets}), np.int64)
    targets = np.empty(len(at), object)
    return Split(name, pairs, at, targets)


def _texts(name: str, pairs: Pairs, chosen: set[int], numbers: dict[str, int], pool: Texts) -> Split:
    """The queries of the passages `chosen`, appended to `pool`, and each passage behind its first query."""
    start, seen = len(pool), set()
    targets: list[tuple[int, int]] = []
    for i, (query, passage) in enumerate(zip(pairs.sources, pairs.targets)):
        number = numbers[passage]
        if number not in chosen:
            continue
        texts = [(query, 1)] if number in seen else [(query, 1), (passage, 0)]
        seen.add(number)
        for words, is_query in texts:
            pool.texts.append(words)
            pool.places.append(pairs.source(i))
            targets.append((number, is_query))

    table = np.array(targets, np.int64).reshape(-1, 2)
    return Split(name, pool, np.arange(start, len(pool)), table)


FORMAT = Format(
    name="text-pairs",
    description="Queries, each with a passage that answers it: a table, JSON lines or Parquet with a column each.",
    open=open,
    keys=("path", "split", "split_seed", "columns", "delimiter", "encoding", "quoting", "header"),
    recognize=recognize.text_pairs,
    wants="--format text-pairs --set data.columns.query=NAME --set data.columns.passage=NAME say which hold texts that "
    "belong together (rows of texts that do not, by a score or a label, have to be taken out before)",
)
