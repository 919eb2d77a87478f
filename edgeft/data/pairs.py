"""Sentence pairs: two parallel texts a split (train.en and train.de, plain or .gz), or a table with two columns.

`data.pairs.source` and `data.pairs.target` are the endings of the files, or the names of the columns. A file's name
begins with its split's (train.en, test_2016_flickr.de.gz, val.csv); one table alone is divided by the recipe's seed. A
pair that cannot be used is left out and counted by its line; more than 5 % of them stop the run.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import recipe
from ..errors import DataError, nearest
from ..tasks import text, translate
from .samples import NAMES, Dataset, Split, complete

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")
SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation", "dev"), "test": ("test", "testing")}
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
        found = _split_files(root, source, target)
    elif _table(root):
        found = {"train": (root,)}
    else:
        raise DataError("is no table of pairs", where=str(root), remedy=f"expected {', '.join(TABLES)}, or a folder")
    splits = {}
    for name in NAMES:
        if name in found:
            pool = _read(found[name], source, target, notes)
            targets = np.empty(len(pool), object)
            targets[:] = pool.targets
            splits[name] = Split(name, pool, np.arange(len(pool)), targets)
    splits, told = complete(splits, spec.split, spec.split_seed, str(root))
    return Dataset(str(root), (), splits, [*notes, *told], {"source": source, "target": target})


def _bare(path: Path) -> Path:
    """The name without .gz."""
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path


def _table(path: Path) -> bool:
    return _bare(path).suffix.lower() in TABLES


def _split_of(path: Path) -> str:
    first = re.split(r"[-_. ]", path.name.lower())[0]
    return next((split for split, words in SPLITS.items() if first in words), "")


def _split_files(root: Path, source: str, target: str) -> dict[str, tuple[Path, ...]]:
    """The files of each split: (source, target) texts, or (table,)."""
    found: dict[str, dict[str, Path]] = {}
    kinds = set()
    for path in sorted(root.iterdir()):
        kind = "table" if _table(path) else _bare(path).suffix.lstrip(".")
        kinds.add(kind)
        name = _split_of(path)
        if not name or path.name.startswith(".") or kind not in ("table", source, target):
            continue
        known = found.setdefault(name, {})
        if kind in known:
            raise DataError(
                f"both {known[kind].name} and {path.name} are there: which one is meant?",
                where=str(root),
                remedy="keep one file a split in this folder",
            )
        known[kind] = path
    files: dict[str, tuple[Path, ...]] = {}
    for name, known in found.items():
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


def _read(files: tuple[Path, ...], source: str, target: str, notes: list[str]) -> Pairs:
    """The usable pairs of one split; `notes` is told of the others."""
    pool = Pairs(str(files[0]))
    rows = _columns(files[0], source, target) if len(files) == 1 else _parallel(files[0], files[1])
    bad, first = 0, ""
    for line, pair, where in rows:
        problem = pair if isinstance(pair, str) else ""
        if not problem:
            for words, place in zip(pair, where):
                problem = problem or (f"{place}: {p}" if (p := _fault(words)) else "")
        else:
            problem = f"{where[0]}: {problem}"
        if problem:
            bad += 1
            first = first or problem
        else:
            pool.add(pair[0].strip(), pair[1].strip(), line)
    if bad > MAX_BAD * (bad + len(pool)) or not len(pool):
        told = f"{bad} of {bad + len(pool)} pairs cannot be used, the first: {first}" if bad else "holds no pairs"
        raise DataError(told, where=str(files[0]), remedy="mend the file, or check data.path and [data.pairs]")
    if bad:
        notes.append(f"{bad} pair(s) left out, the first: {first}")
    return pool


def _fault(words: str) -> str:
    if len(words) > MAX_CHARACTERS:
        return f"{len(words)} characters, more than {MAX_CHARACTERS}: no sentence"
    return text.fault(words)


Rows = Iterator[tuple[int, Any, tuple[str, ...]]]


def _lines(path: Path) -> list[str]:
    """The lines of a text; bytes that are no UTF-8 become surrogates, which `text.fault` refuses."""
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, ValueError) as error:  # a damaged .gz raises any of them
        raise DataError(f"cannot be read ({error})", where=str(path)) from error
    except Exception as error:  # zlib.error has no other base
        raise DataError(f"is no readable .gz ({error})", where=str(path)) from error
    if len(content) > MAX_BYTES:
        raise DataError(f"is larger than {MAX_BYTES} bytes", where=str(path), remedy="divide the file")
    decoded = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    lines = decoded.split("\n")  # not splitlines(): U+2028 and others stand inside sentences
    return lines[:-1] if lines and not lines[-1] else lines


def _parallel(first: Path, second: Path) -> Rows:
    ours, theirs = _lines(first), _lines(second)
    if len(ours) != len(theirs):
        short, n = (first, len(ours)) if len(ours) < len(theirs) else (second, len(theirs))
        raise DataError(
            f"{first.name} has {len(ours)} lines and {second.name} has {len(theirs)}: they are not parallel",
            where=f"{short}:{n}",
            remedy="line n of one file must be the translation of line n of the other; look for a lost line",
        )
    for i, pair in enumerate(zip(ours, theirs), 1):
        yield i, pair, (f"{first}:{i}", f"{second}:{i}")


def _columns(path: Path, source: str, target: str) -> Rows:
    lines, kind = _lines(path), _bare(path).suffix.lower()
    if kind in (".jsonl", ".ndjson"):
        for i, line in enumerate(lines, 1):
            if line.strip():
                where = f"{path}:{i}"
                yield i, _object(line, source, target), (where, where)
        return
    reader = csv.reader(io.StringIO("\n".join(lines), newline=""), delimiter="\t" if kind == ".tsv" else ",")
    header: list[str] | None = None
    try:
        for record in reader:
            where = f"{path}:{reader.line_num}"
            if header is None:
                header = [name.strip() for name in record]
                _require(header, (source, target), path)
            elif record:
                fields = dict(zip(header, record))
                pair: Any = f"{len(record)} fields where the header has {len(header)}"
                yield (
                    reader.line_num,
                    (fields[source], fields[target]) if len(record) == len(header) else pair,
                    (where, where),
                )
    except csv.Error as error:
        raise DataError(f"is no readable table ({error})", where=f"{path}:{reader.line_num}") from error
    if header is None:
        raise DataError("is empty", where=str(path))


def _require(header: list[str], wanted: tuple[str, ...], path: Path) -> None:
    for name in wanted:
        if header.count(name) != 1:
            raise DataError(
                f"has {'twice the' if name in header else 'no'} column {name!r}",
                where=f"{path}:1",
                remedy=f"[data.pairs] names the columns source and target; {nearest(name, header)}",
            )


def _object(line: str, source: str, target: str) -> Any:
    """The pair of a JSON line, or what is wrong with it."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"broken JSON ({error})"
    if not isinstance(values, dict):
        return "broken JSON (not an object)"
    for name in (source, target):
        if not isinstance(values.get(name), str):
            return f"{name!r} is no text" if name in values else f"has no {name!r}"
    return values[source], values[target]
