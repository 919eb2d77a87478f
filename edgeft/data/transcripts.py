"""Recordings with transcripts: `train/ val/ test/` or one folder that is divided here, of format "wav-folder".

Each split folder has a table of its recordings, `metadata` or `transcripts` as .csv, .tsv or .jsonl, with the columns
`file` and `text` (or those that `data.columns` names), or beside every recording a .txt with what is said. Tokens are
the words, or the characters, of the training texts: `data.units`.

A line that cannot be used is named and left out; more than 5 % of them in a split stop the run. Recordings that cannot
be decoded, are too long, or too short for their text are treated alike when a split is first used.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..config import recipe
from ..core.errors import DataError, RecipeError, nearest
from ..inputs import sound_file
from ..inputs import text as texts
from ..metrics import ctc
from ..tasks.speech import decoding as speech
from .delimited import Lines, Oddities, parted, quoting_hint, records
from .folders import MAX_UNREADABLE, SCAN_LIMIT, Scanned, readable, split_folders
from .formats.wav_folder import SUFFIXES, by_group
from .samples import NAMES, Dataset, Split, complete

TABLES = tuple(f"{stem}.{kind}" for stem in ("metadata", "transcripts") for kind in ("csv", "tsv", "jsonl"))
#: what the columns may be called where the recipe does not say
COLUMNS = {
    "file": ("file", "file_name", "path", "audio", "wav"),
    "text": ("text", "transcription", "transcript", "sentence"),
}
#: more words than this are no list of commands: characters say them all
MAX_WORDS = 5000
#: what a convolutional net for CTC leaves of the frames
SUBSAMPLING = 2


@dataclass(frozen=True)
class Row:
    """A recording: its file, its words, where that is written, and its group ("" = none)."""

    path: Path
    words: tuple[str, ...]
    where: str
    group: str = ""


class Recordings:
    """A pool of recordings that can be what their transcripts say: at most `seconds` long, and long enough for them."""

    def __init__(self, rows: list[Row], needed: list[int], seconds: float, frame: float) -> None:
        self.rows, self.needed, self.seconds, self.frame = rows, needed, seconds, frame

    def __len__(self) -> int:
        return len(self.rows)

    def source(self, i: int) -> str:
        return str(self.rows[i].path)

    def raw(self, i: int) -> dict[str, Any]:
        row = self.rows[i]
        try:
            raw = sound_file.read(row.path)
        except DataError as error:
            error.where = f"{error.where} ({row.where})"
            raise
        long = len(raw["samples"]) / raw["rate"]
        if self.seconds and long > self.seconds:
            raise DataError(
                f"{row.path.name} is {long:.2f} s long, more than data.sound.seconds = {self.seconds:g}",
                where=row.where,
            )
        if long < self.needed[i] * self.frame:
            raise DataError(
                f"the text needs {self.needed[i]} frames of {1000 * self.frame:g} ms, and {row.path.name} is "
                f"{long:.2f} s long: is it the text of another recording?",
                where=row.where,
            )
        return raw


class _Checked(Scanned):
    """Splits whose recordings are decoded once at first use; they have no classes to count."""

    def __getitem__(self, name: str) -> Split:
        if name not in self._done:
            split = readable(self._splits[name], self._notes, self._what)
            if not len(split):
                raise DataError(f"the {name} split is empty", where=self._where)
            self._done[name] = split
        return self._done[name]


def open(spec: recipe.Data) -> Dataset:
    """The recordings at `spec.path` with their transcripts; labels are the tokens of the training texts, sorted.

    A missing val or test split is taken out of train: by whole groups where `spec.group` names a column, else at
    random. Facts: `kind` "sound", `units`, `rate` (the commonest), `longest` in seconds. Raises `DataError` naming
    folder, file or line, and `RecipeError` for a `data.pattern`, which has no meaning here.
    """
    root = Path(spec.path)
    if not spec.path or not root.is_dir():
        problem = "no data folder is given" if not spec.path else "no such folder"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a folder of recordings")
    if spec.pattern:
        raise RecipeError("is for recordings that are classes", where="data.pattern", remedy="leave it out")
    notes: list[str] = []
    rows_of = {name: _rows(folder, spec, notes) for name, folder in split_folders(root, notes).items()}
    labels = _vocabulary(rows_of.get("train") or [row for rows in rows_of.values() for row in rows], spec.units, root)
    values = {**speech.DEFAULTS, **spec.sound}
    all_rows = [row for name in NAMES for row in rows_of.get(name, ())]
    encoded = [speech.target(row.words, spec.units, labels) for row in all_rows]
    targets = np.empty(len(all_rows), object)
    targets[:] = encoded
    needed = [ctc.frames_needed(target["tokens"].tolist()) for target in encoded]
    pool = Recordings(all_rows, needed, float(values["seconds"]), float(values["hop"]) * SUBSAMPLING)
    splits, start = {}, 0
    for name in (n for n in NAMES if n in rows_of):
        at = np.arange(start, start + len(rows_of[name]))
        splits[name] = Split(name, pool, at, targets[at])
        start += len(at)
        _unknown(splits[name], pool, notes)
    if spec.group:
        splits, note = by_group(splits, np.array([row.group for row in all_rows]), spec, str(root))
    else:
        splits, note = complete(splits, spec.split, spec.split_seed, str(root))
    notes += note
    return Dataset(
        str(root), labels, _Checked(splits, notes, labels, str(root), "recordings"), notes, _facts(all_rows, spec)
    )


def _vocabulary(rows: list[Row], units: str, root: Path) -> tuple[str, ...]:
    counts = Counter(piece for row in rows for piece in speech.pieces(row.words, units))
    if not counts:
        raise DataError("holds no transcripts that can be used", where=str(root))
    if units == "words" and len(counts) > MAX_WORDS:
        raise DataError(
            f"the texts have {len(counts)} different words, too many for one output each",
            where=str(root),
            remedy='set data.units = "characters"',
        )
    return tuple(sorted(counts.keys() | ({" "} if units == "characters" else set())))


def _unknown(split: Split, pool: Recordings, notes: list[str]) -> None:
    """Note, or refuse, texts that hold tokens which no training text has."""
    strange = [i for i, target in enumerate(split.targets) if (target["tokens"] < 0).any()]
    if not strange:
        return
    row = pool.rows[int(split.indices[strange[0]])]
    message = (
        f"{len(strange)} of {len(split)} texts hold what no training text has, for example {' '.join(row.words)!r}"
    )
    if len(strange) > MAX_UNREADABLE * len(split):
        raise DataError(
            f"{split.name}: {message}",
            where=row.where,
            remedy="give training texts with these words, or spell all splits alike",
        )
    notes.append(f"{split.name}: {message} ({row.where}); they count as errors")


def _facts(rows: list[Row], spec: recipe.Data) -> dict[str, Any]:
    """From the headers of the files; one that cannot be read is reported when its split is used."""
    rates, longest = [], 0.0
    for i in np.unique(np.linspace(0, len(rows) - 1, min(len(rows), SCAN_LIMIT)).astype(int)):
        try:
            rate, count = sound_file.probe(rows[i].path)
        except DataError:
            continue
        rates.append(rate)
        longest = max(longest, count / rate)
    if not rates:
        return {"kind": "sound", "units": spec.units}
    known, counts = np.unique(rates, return_counts=True)
    return {"kind": "sound", "units": spec.units, "rate": int(known[counts.argmax()]), "longest": longest}


# --- tables and texts -------------------------------------------------------------------------------------------------


def _rows(folder: Path, spec: recipe.Data, notes: list[str]) -> list[Row]:
    """The usable recordings of one split's folder, as its table or its texts have them."""
    sounds = {p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")}
    tables = [folder / name for name in TABLES if (folder / name).is_file()]
    if len(tables) > 1:
        raise DataError(
            f"both {tables[0].name} and {tables[1].name} are there: which one is meant?",
            where=str(folder),
            remedy="keep one table in this folder",
        )
    if not tables and not any(path.with_suffix(".txt").is_file() for path in sounds):
        raise DataError(
            "holds no transcripts",
            where=str(folder),
            remedy=f"expected {TABLES[0]} with the columns file and text, or a .txt beside every recording",
        )
    if spec.group and not tables:
        raise RecipeError("names a column, and there is no table", where="data.group", remedy="leave it out")
    rows: list[Row] = []
    faults: list[str] = []
    faulty_lines = 0
    listed: dict[Path, str] = {}
    entries = _table(tables[0], spec, notes) if tables else _beside(folder, sorted(sounds))
    for entry in entries:
        try:
            if entry.fault:
                raise ValueError(entry.fault)
            row = _row(folder, entry.where, entry.values)
            if row.path in listed:
                raise ValueError(f"{row.path.name} is listed a second time, after {listed[row.path]}")
        except ValueError as error:
            faults.append(f"{entry.where}: {error}")
            faulty_lines += entry.lines
            continue
        listed[row.path] = entry.where
        rows.append(row)
    _judge(faults, faulty_lines, len(rows), folder, notes)
    unlisted = sorted(sounds - set(listed)) if tables else []
    if unlisted:
        notes.append(
            f"{_called(folder)}: {len(unlisted)} of {len(sounds)} recordings are left out, since {tables[0].name} has "
            f"no usable line for them, for example {unlisted[0]}"
        )
    return rows


def _called(folder: Path) -> str:
    return folder.name or str(folder)


def _judge(faults: list[str], lines: int, good: int, folder: Path, notes: list[str]) -> None:
    """Note the faults, which take up so many lines; raise `DataError` where they are too many."""
    if not faults:
        return
    named = "; ".join(faults[:5]) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
    problem = f"{lines} of {lines + good} transcripts cannot be used: {named}"
    if lines > MAX_UNREADABLE * (lines + good):
        remedy = f"correct or remove them; up to {MAX_UNREADABLE:.0%} are skipped with a warning"
        raise DataError(problem, where=str(folder), remedy=remedy)
    notes.append(f"{_called(folder)}: skipped: {problem}")


def _row(folder: Path, where: str, values: Mapping[str, Any]) -> Row:
    """A usable row; raises `ValueError` saying what is wrong with it."""
    name, transcript = values["file"], values["text"]
    if not isinstance(name, str) or not name.strip():
        raise ValueError("no file is named")
    if not isinstance(transcript, str):
        raise ValueError("the text is not a string")
    fault = texts.fault(transcript)
    if fault:
        raise ValueError(fault)
    words = tuple(speech.words_of(transcript))
    if not words:
        raise ValueError(f"the text {transcript!r} has no words")
    inside = PurePosixPath(name.strip().replace("\\", "/"))
    if inside.is_absolute() or ".." in inside.parts:
        raise ValueError(f"{name!r} is not inside the folder")
    path = folder / inside
    if not path.is_file():
        raise ValueError(f"there is no file {inside}")
    return Row(path, words, where, str(values.get("group", "")))


@dataclass(frozen=True)
class Entry:
    """One line of a table or one text file: its place, {file, text, group}, what is wrong with it or "", its lines."""

    where: str
    values: Mapping[str, Any]
    fault: str = ""
    lines: int = 1


def _beside(folder: Path, sounds: list[Path]) -> Iterator[Entry]:
    for path in sounds:
        beside = path.with_suffix(".txt")
        values = {"file": path.relative_to(folder).as_posix(), "text": ""}
        if not beside.is_file():
            yield Entry(str(path), values, f"there is no {beside.name} beside it")
            continue
        try:
            values["text"] = beside.read_bytes().decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            yield Entry(str(beside), values, f"is not readable as UTF-8 text ({error})")
            continue
        yield Entry(str(beside), values)


def _table(path: Path, spec: recipe.Data, notes: list[str]) -> Iterator[Entry]:
    """The entries of a table, one a record; after the last one `notes` tells what is odd about the whole."""
    try:
        with path.open("rb") as file:
            lines = Lines(file)
            if path.suffix == ".jsonl":
                yield from _objects(lines, path, spec)
            else:
                yield from _records(lines, path, spec, notes)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=str(path)) from error


def _records(lines: Lines, path: Path, spec: recipe.Data, notes: list[str]) -> Iterator[Entry]:
    form = parted("\t" if path.suffix.lower() == ".tsv" else ",", spec.quoting)
    entries = records(lines, form)
    header = next(entries, None)
    if header is None:
        raise DataError("is empty", where=str(path))
    if header.problem:
        raise DataError(f"the header cannot be read ({header.problem})", where=f"{path}:1")
    head = [name.strip() for name in header.fields]
    at = {key: head.index(name) for key, name in _columns(head, f"{path}:1", spec).items()}
    oddities = Oddities(path, form, len(head))
    for record in entries:
        if not record.fields and not record.problem:
            continue
        where, fault = f"{path}:{record.first}", record.fault(len(head))
        if record.problem:
            fault = f"is not a line of a table ({record.problem}){record.span}"
        if fault:
            yield Entry(where, {}, fault, record.lines)
            continue
        oddities.look(record)
        yield Entry(where, {key: record.fields[i] for key, i in at.items()}, "", record.lines)
    notes += oddities.notes()


def _objects(lines: Lines, path: Path, spec: recipe.Data) -> Iterator[Entry]:
    names: dict[str, str] = {}
    for line in lines:
        where = f"{path}:{lines.number}"
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Entry(where, {}, f"is not JSON ({error or 'nested too deeply'})")
            continue
        if not isinstance(values, dict):
            yield Entry(where, {}, "is not a JSON object")
            continue
        names = names or _columns(list(values), where, spec)
        absent = [name for name in names.values() if name not in values]
        fault = f"has no {absent[0]!r}" if absent else ""
        yield Entry(where, {key: values.get(name) for key, name in names.items()}, fault)


def _columns(head: list[str], where: str, spec: recipe.Data) -> dict[str, str]:
    """The file's own names of the columns that are read."""
    for key in spec.columns:
        if key not in COLUMNS:
            raise RecipeError(f"unknown column {key!r}", where="data.columns", remedy=nearest(key, COLUMNS))
    expected = {key: (spec.columns[key],) if key in spec.columns else known for key, known in COLUMNS.items()}
    if spec.group:
        expected["group"] = (spec.group,)
    matching = {key: [name for name in names if name in head] for key, names in expected.items()}
    for key, names in matching.items():
        if not names or head.count(names[0]) > 1:
            problem = f"has no column {expected[key][0]!r}" if not names else f"has twice the column {names[0]!r}"
            raise DataError(
                f"{problem}, only {', '.join(map(repr, head[:8]))}",
                where=where,
                remedy=quoting_hint(expected[key][0], head)
                or 'name its columns: data.columns = { file = "...", text = "..." }',
            )
    return {key: names[0] for key, names in matching.items()}
