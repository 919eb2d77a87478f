"""Sentence pairs: two parallel texts a split (train.en and train.de, plain or .gz), or a table with two columns.

`data.pairs.source` and `data.pairs.target` are the endings of the files, or the names of the columns. A file's name
begins with its split's (train.en, test_2016_flickr.de.gz, val.csv); one table alone is divided by the recipe's seed. A
pair that cannot be used is left out and counted by its line; more than 5 % of them stop the run.
"""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...config import recipe
from ...core.errors import DataError, nearest
from ...inputs import text
from ...tasks.translate import decoding as translate
from ..delimited import Lines, Oddities, parted, quoting_hint, records
from ..record import Format
from ..samples import NAMES, Dataset, Split, complete, split_named

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")
#: a share of unusable pairs above this stops the run
MAX_BAD = 0.05
#: characters of a sentence: a longer one is a document
MAX_CHARACTERS = 2000
#: bytes of one unpacked file
MAX_BYTES = 1 << 30


@dataclass
class Pairs:
    """The usable pairs of one split: `sources` are raw samples, `targets` what they are translated to."""

    path: str
    sources: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.sources)

    def raw(self, i: int) -> str:
        return self.sources[i]

    def source(self, i: int) -> str:
        return f"{self.path}:{self.lines[i]}"

    def add(self, source: str, target: str, line: int) -> None:
        self.sources.append(source)
        self.targets.append(target)
        self.lines.append(line)


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
        files_of = _split_files(root, source, target)
    elif _table(root):
        files_of = {"train": (root,)}
    else:
        raise DataError("is not a table of pairs", where=str(root), remedy=f"expected {', '.join(TABLES)}, or a folder")
    splits = {}
    for name in NAMES:
        if name in files_of:
            pool = _read(files_of[name], source, target, spec.quoting, notes)
            targets = np.empty(len(pool), object)
            targets[:] = pool.targets
            splits[name] = Split(name, pool, np.arange(len(pool)), targets)
    splits, note = complete(splits, spec.split, spec.split_seed, str(root))
    return Dataset(str(root), (), splits, [*notes, *note], {"source": source, "target": target})


def _bare(path: Path) -> Path:
    """The name without .gz."""
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path


def _table(path: Path) -> bool:
    return _bare(path).suffix.lower() in TABLES


def _split_of(path: Path) -> str:
    return split_named(re.split(r"[-_. ]", path.name)[0])


def _split_files(root: Path, source: str, target: str) -> dict[str, tuple[Path, ...]]:
    """The files of each split: (source, target) texts, or (table,)."""
    files_of: dict[str, dict[str, Path]] = {}
    kinds = set()
    for path in sorted(root.iterdir()):
        kind = "table" if _table(path) else _bare(path).suffix.lstrip(".")
        kinds.add(kind)
        name = _split_of(path)
        if not name or path.name.startswith(".") or kind not in ("table", source, target):
            continue
        known = files_of.setdefault(name, {})
        if kind in known:
            raise DataError(
                f"both {known[kind].name} and {path.name} are there: which one is meant?",
                where=str(root),
                remedy="keep one file a split in this folder",
            )
        known[kind] = path
    files: dict[str, tuple[Path, ...]] = {}
    for name, known in files_of.items():
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
                remedy=f"expected {known[texts[0]].name.split('.')[0]}.{lacking}; the endings are those of data.pairs",
            )
        files[name] = (known["table"],) if "table" in known else (known[source], known[target])
    if not files:
        shown = nearest(source, kinds - {""}) if kinds - {""} else ""
        raise DataError(
            f"holds no train.{source} and train.{target}, and no table of pairs",
            where=str(root),
            remedy=f"name the endings of the files in [data.pairs]; {shown}",
        )
    return files


def _read(files: tuple[Path, ...], source: str, target: str, quoting: str, notes: list[str]) -> Pairs:
    """The usable pairs of one split; `notes` tells of the others."""
    pool = Pairs(str(files[0]))
    oddities: list[str] = []
    rows = _parallel(*files) if len(files) == 2 else _table_rows(files[0], source, target, quoting, oddities)
    bad, first_problem = 0, ""
    for row in rows:
        problem = f"{row.where[0]}: {row.problem}" if row.problem else ""
        for words, place in zip(row.pair, row.where):
            fault = _fault(words)
            problem = problem or (f"{place}: {fault}{row.span}" if fault else "")
        if problem:
            bad += row.lines
            first_problem = first_problem or problem
        else:
            pool.add(row.pair[0].strip(), row.pair[1].strip(), row.line)

    if bad > MAX_BAD * (bad + len(pool)) or not len(pool):
        problem = (
            f"{bad} of {bad + len(pool)} pairs cannot be used, the first: {first_problem}" if bad else "holds no pairs"
        )
        raise DataError(problem, where=str(files[0]), remedy="correct the file, or check data.path and [data.pairs]")
    if bad:
        notes.append(f"{bad} pair(s) left out, the first: {first_problem}")
    notes += oddities
    return pool


def _fault(words: str) -> str:
    if len(words) > MAX_CHARACTERS:
        return f"{len(words)} characters, more than {MAX_CHARACTERS}: no sentence"
    return text.fault(words)


@dataclass(frozen=True)
class Row:
    """One pair: its line, its two sentences or () where it has a `problem`, the place of each, its lines and span."""

    line: int
    pair: tuple[str, ...]
    where: tuple[str, str]
    problem: str = ""
    lines: int = 1
    span: str = ""


def _content(path: Path) -> bytes:
    """The bytes of a file, unpacked where it is a .gz."""
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, ValueError) as error:  # a damaged .gz raises any of them
        raise DataError(f"cannot be read ({error})", where=str(path)) from error
    except Exception as error:  # zlib.error has no other base
        raise DataError(f"is not a readable .gz ({error})", where=str(path)) from error
    if len(content) > MAX_BYTES:
        raise DataError(f"is larger than {MAX_BYTES} bytes", where=str(path), remedy="divide the file")
    return content


def _lines(path: Path) -> list[str]:
    """The lines of a text; bytes that are no UTF-8 become surrogates, which `text.fault` refuses."""
    decoded = _content(path).removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    lines = decoded.split("\n")  # not splitlines(): U+2028 and others stand inside sentences
    return lines[:-1] if lines and not lines[-1] else lines


def _parallel(first: Path, second: Path) -> Iterator[Row]:
    ours, theirs = _lines(first), _lines(second)
    if len(ours) != len(theirs):
        short, n = (first, len(ours)) if len(ours) < len(theirs) else (second, len(theirs))
        raise DataError(
            f"{first.name} has {len(ours)} lines and {second.name} has {len(theirs)}: they are not parallel",
            where=f"{short}:{n}",
            remedy="line n of one file must be the translation of line n of the other; look for a lost line",
        )
    for i, pair in enumerate(zip(ours, theirs), 1):
        yield Row(i, pair, (f"{first}:{i}", f"{second}:{i}"))


def _table_rows(path: Path, source: str, target: str, quoting: str, oddities: list[str]) -> Iterator[Row]:
    """The pairs of a table; after the last one `oddities` tells what is odd about the whole."""
    if _bare(path).suffix.lower() in (".jsonl", ".ndjson"):
        for i, line in enumerate(_lines(path), 1):
            if line.strip():
                where = f"{path}:{i}"
                values = _object(line, source, target)
                yield (
                    Row(i, values, (where, where)) if isinstance(values, tuple) else Row(i, (), (where, where), values)
                )
        return

    form = parted("\t" if _bare(path).suffix.lower() == ".tsv" else ",", quoting)
    entries = records(Lines(io.BytesIO(_content(path))), form)
    head = next(entries, None)
    if head is None:
        raise DataError("is empty", where=str(path))
    if head.problem:
        raise DataError(f"is not a readable table ({head.problem})", where=f"{path}:1")
    header = [name.strip() for name in head.fields]
    _require(header, (source, target), path)
    columns = header.index(source), header.index(target)
    counted = Oddities(path, form, len(header))
    for record in entries:
        if not record.fields and not record.problem:
            continue
        where, fault = f"{path}:{record.first}", record.fault(len(header))
        pair = () if fault else tuple(record.fields[i] for i in columns)
        if not fault:
            counted.look(record)
        yield Row(record.first, pair, (where, where), fault, record.lines, record.span)
    oddities += counted.notes()


def _require(header: list[str], required: tuple[str, ...], path: Path) -> None:
    for name in required:
        if header.count(name) != 1:
            raise DataError(
                f"has {'twice the' if name in header else 'no'} column {name!r}",
                where=f"{path}:1",
                remedy=f"[data.pairs] names the columns source and target; "
                f"{quoting_hint(name, header) or nearest(name, header)}",
            )


def _object(line: str, source: str, target: str) -> tuple[str, str] | str:
    """The pair of a JSON line, or what is wrong with it."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"broken JSON ({error})"
    if not isinstance(values, dict):
        return "broken JSON (not an object)"
    for name in (source, target):
        if not isinstance(values.get(name), str):
            return f"{name!r} is not text" if name in values else f"has no {name!r}"
    return values[source], values[target]


FORMAT = Format(
    name="pairs",
    description="Sentences with their translations: two parallel texts, or a table.",
    open=open,
    keys=("path", "split", "split_seed", "pairs", "quoting"),
)
