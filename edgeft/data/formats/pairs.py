"""Sentence pairs: two parallel texts a split (train.en and train.de, plain or .gz), or a table with two columns.

`data.pairs.source` and `data.pairs.target` are the endings of the files, or the names of the columns. A file's name
begins with its split's (train.en, test_2016_flickr.de.gz, val.csv); one table alone is divided by the recipe's seed. A
pair that cannot be used is left out and counted by its line; more than 5 % of them stop the run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...config import recipe
from ...core.errors import DataError, nearest
from ...inputs import text
from ...tasks.translate import decoding as translate
from .. import left_out, recognize_columns
from ..delimited import unpacked_name
from ..pair_files import TABLES, is_table, rows
from ..record import Format
from ..samples import NAMES, Dataset, Split, complete, split_named

#: characters of a sentence: a longer one is a document
MAX_CHARACTERS = 2000


@dataclass
class Pairs:
    """The usable pairs of one split: `sources` are raw samples, `targets` what they are translated to."""

    paths: list[str]
    sources: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)  # which of `paths` a pair comes from

    def __len__(self) -> int:
        return len(self.sources)

    def raw(self, i: int) -> str:
        return self.sources[i]

    def source(self, i: int) -> str:
        return f"{self.paths[self.parts[i]]}:{self.lines[i]}"

    def add(self, source: str, target: str, line: int, part: int) -> None:
        self.sources.append(source)
        self.targets.append(target)
        self.lines.append(line)
        self.parts.append(part)


def open(spec: recipe.Data) -> Dataset:
    """The pairs at `spec.path`, a folder or one table. Targets are texts (object array); there are no labels.

    Raises `DataError` naming file and line: no files for a split, texts of unequal numbers of lines, a column that is
    missing, too many pairs that cannot be used.
    """
    asked = translate.settings(spec)
    root = Path(spec.path)
    if not spec.path or not root.exists():
        problem = "no sentence pairs are given" if not spec.path else "no such file or folder"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a folder of parallel texts")

    notes: list[str] = []
    source, target = asked["source"], asked["target"]
    if root.is_dir():
        files_of = _split_files(root, source, target, notes)
    elif is_table(root):
        files_of = {"train": [(root,)]}
    else:
        raise DataError("is not a table of pairs", where=str(root), remedy=f"expected {', '.join(TABLES)}, or a folder")

    splits = {}
    for name in NAMES:
        if name in files_of:
            pool = read(files_of[name], (source, target), spec, notes)
            targets = np.empty(len(pool), object)
            targets[:] = pool.targets
            splits[name] = Split(name, pool, np.arange(len(pool)), targets)

    splits, note = complete(splits, spec.split, spec.split_seed, str(root))
    return Dataset(str(root), (), splits, [*notes, *note], {"source": source, "target": target})


def _split_of(path: Path) -> str:
    """The split that the first word of a file's name says, or any other of them."""
    words = re.split(r"[-_. ]", path.name)
    return next((split for word in words if (split := split_named(word))), "")


def _split_files(root: Path, source: str, target: str, notes: list[str]) -> dict[str, list[tuple[Path, ...]]]:
    """The files of each split: (source, target) texts, or (table,).

    Where no name has a split (OPUS: Tatoeba.de-en.de), all texts that come in pairs are train.
    """
    files_of: dict[str, dict[str, Path]] = {}
    stems: dict[str, dict[str, Path]] = {}
    kinds = set()

    for path in sorted(root.iterdir()):
        kind = "table" if is_table(path) else unpacked_name(path).suffix.lstrip(".")
        kinds.add(kind)
        name = _split_of(path)
        if path.name.startswith(".") or kind not in ("table", source, target):
            continue
        if not name:
            stems.setdefault(unpacked_name(path).stem, {})[kind] = path
            continue
        known = files_of.setdefault(name, {})
        if kind in known:
            raise DataError(
                f"both {known[kind].name} and {path.name} are there: which one is meant?",
                where=str(root),
                remedy="keep one file a split in this folder",
            )
        known[kind] = path

    files: dict[str, list[tuple[Path, ...]]] = {}
    for name, known in files_of.items():
        files[name] = [_one_form(root, known, source, target)]

    unnamed = [_one_form(root, known, source, target) for known in stems.values()]
    if files and unnamed:
        shown = ", ".join(paths[0].name for paths in unnamed[:3])
        notes.append(f"{root}: files whose names have no split are not read: {shown}")
    elif unnamed:
        files["train"] = unnamed

    if not files:
        shown = nearest(source, kinds - {""}) if kinds - {""} else ""
        raise DataError(
            f"holds no train.{source} and train.{target}, and no table of pairs",
            where=str(root),
            remedy=f"name the endings of the files in [data.pairs]; {shown}",
        )

    return files


def _one_form(root: Path, known: dict[str, Path], source: str, target: str) -> tuple[Path, ...]:
    texts = [kind for kind in (source, target) if kind in known]
    if "table" in known and texts:
        raise DataError(
            f"holds both {known['table'].name} and {known[texts[0]].name}",
            where=str(root),
            remedy="keep a table or two texts a split",
        )

    if len(texts) == 1:
        lacking = target if texts[0] == source else source
        raise DataError(
            f"{known[texts[0]].name} has no translation beside it",
            where=str(root),
            remedy=f"expected {unpacked_name(known[texts[0]]).stem}.{lacking}; the endings are those of data.pairs",
        )

    return (known["table"],) if "table" in known else (known[source], known[target])


def read(parts: list[tuple[Path, ...]], asked: tuple[str, str], spec: recipe.Data, notes: list[str]) -> Pairs:
    """The usable pairs of one split; the others are added to `notes`."""
    files = parts[0]
    pool = Pairs([str(paths[0]) for paths in parts])
    oddities: list[str] = []
    bad, first_problem = 0, ""

    for part, row in ((at, row) for at, paths in enumerate(parts) for row in rows(paths, asked, spec, oddities)):
        problem = f"{row.where[0]}: {row.problem}" if row.problem else ""
        for words, place in zip(row.pair, row.where):
            fault = _fault(words)
            problem = problem or (f"{place}: {fault}{row.span}" if fault else "")
        if problem:
            bad += row.lines
            first_problem = first_problem or problem
        else:
            pool.add(row.pair[0].strip(), row.pair[1].strip(), row.line, part)

    where, remedy = str(files[0]), "correct the file, or check data.path and [data.pairs]"
    left_out.judge([first_problem], len(pool), "pairs", notes, where=where, remedy=remedy, count=bad)
    notes += oddities
    return pool


def _fault(words: str) -> str:
    if len(words) > MAX_CHARACTERS:
        return f"{len(words)} characters, more than {MAX_CHARACTERS}: no sentence"
    return text.fault(words)


FORMAT = Format(
    name="pairs",
    description="Sentences with their translations: two parallel texts (OPUS), a table, JSON lines, Parquet, or TMX.",
    open=open,
    keys=("path", "split", "split_seed", "pairs", "delimiter", "encoding", "quoting", "header"),
    recognize=lambda view: recognize_columns.pairs(view) or recognize_columns.headerless_pairs(view),
)
