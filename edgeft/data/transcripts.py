"""Recordings with transcripts: `train/ val/ test/` or one folder that is divided here, of format "wav-folder".

Each split folder has a table of its recordings, or another of the layouts in `transcript_sources.py`. Tokens are the
words, or the characters, of the training texts, or those of a model's tokenizer: `data.units`.

A line that cannot be used is named and left out; more than 5 % of them in a split stop the run. Recordings that cannot
be decoded, are too long, or too short for their text are treated alike when a split is first used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..config import recipe
from ..core import files
from ..core.errors import DataError, RecipeError
from ..inputs import sound_file
from ..inputs import text as texts
from ..metrics import ctc
from ..tasks.speech import decoding as speech
from ..tasks.speech import transcript as spoken
from . import left_out
from .folders import MAX_UNREADABLE, SCAN_LIMIT, Scanned, readable
from .formats.wav_folder import SUFFIXES, by_group
from .samples import NAMES, Dataset, Split, complete
from .transcript_sources import Entry, Source, sources

#: more words than this are no list of commands: characters say them all
MAX_WORDS = 5000
#: what a convolutional net for CTC leaves of the frames
SUBSAMPLING = 2


@dataclass(frozen=True)
class Row:
    """A recording: its file, its words, where that is written, its group ("" = none), and its part in seconds.

    An `end` of 0 stands for all of the file. `stored` reads a recording that is no file of its own. `written` is the
    transcript as it stands in the data.
    """

    path: Path
    words: tuple[str, ...]
    where: str
    group: str = ""
    start: float = 0.0
    end: float = 0.0
    stored: Callable[[], dict[str, Any]] | None = None
    written: str = ""

    def read(self) -> dict[str, Any]:
        """The samples and their rate; raises `DataError`."""
        return sound_file.read(self.path) if self.stored is None else self.stored()


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
            raw = row.read()
        except DataError as error:
            error.where = f"{error.where} ({row.where})"
            raise

        if row.end:
            raw["samples"] = raw["samples"][round(row.start * raw["rate"]) : round(row.end * raw["rate"])]

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
    random. Facts: `kind` "sound", `units`, `rate` (the commonest), `longest` in seconds, `most_seconds` where
    the recipe states it. Raises `DataError` naming
    folder, file or line, and `RecipeError` for a `data.pattern`, which has no meaning here.
    """
    root = Path(spec.path)
    if not spec.path or not root.is_dir():
        problem = "no data folder is given" if not spec.path else "no such folder"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a folder of recordings")
    if spec.pattern:
        raise RecipeError("is for recordings that are classes", where="data.pattern", remedy="leave it out")

    notes: list[str] = []
    sources_of = sources(root, spec, notes)
    rows_of = {name: _rows(root, parts, notes) for name, parts in sources_of.items()}
    _unlisted(rows_of, sources_of, notes)

    return dataset(root, rows_of, spec, notes)


def dataset(root: Path, rows_of: Mapping[str, list[Row]], spec: recipe.Data, notes: list[str]) -> Dataset:
    """The data set of recordings by split; raises as `open`."""
    if spec.group and not any(row.group for rows in rows_of.values() for row in rows):
        raise DataError("no line names it", where="data.group", remedy="leave it out, or name a column of speakers")

    labels = _vocabulary(rows_of.get("train") or [row for rows in rows_of.values() for row in rows], spec.units, root)
    values = {**speech.DEFAULTS, **spec.sound}
    all_rows = [row for name in NAMES for row in rows_of.get(name, ())]
    encoded = [spoken.target(row.words, spec.units, labels, row.written) for row in all_rows]
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
        missing = len(splits) < len(NAMES)
        splits, note = complete(splits, spec.split, spec.split_seed, str(root))
        if missing and note and any(row.group for row in all_rows):
            note.append('voices may be in several splits: data.group = "speaker" divides whole speakers')

    notes += note
    return Dataset(
        str(root), labels, _Checked(splits, notes, labels, str(root), "recordings"), notes, _facts(all_rows, spec)
    )


def _vocabulary(rows: list[Row], units: str, root: Path) -> tuple[str, ...]:
    counts = Counter(piece for row in rows for piece in spoken.pieces(row.words, units))
    if not rows or (not counts and units != spoken.TEXT):
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
            rate, count = _length(rows[i])
        except DataError:
            continue
        rates.append(rate)
        longest = max(longest, rows[i].end - rows[i].start or count / rate)

    table: dict[str, Any] = {"kind": "sound", "units": spec.units}
    if spec.sound.get("seconds"):
        table["most_seconds"] = float(spec.sound["seconds"])
    if not rates:
        return table

    known, counts = np.unique(rates, return_counts=True)
    return {**table, "rate": int(known[counts.argmax()]), "longest": longest}


def _length(row: Row) -> tuple[int, int]:
    """Rate and number of samples of a recording."""
    if row.stored is None:
        return sound_file.probe(row.path)
    raw = row.stored()
    return int(raw["rate"]), len(raw["samples"])


# --- rows -------------------------------------------------------------------------------------------------------------


def _rows(root: Path, sources: list[Source], notes: list[str]) -> list[Row]:
    """The usable recordings of one split."""
    rows: list[Row] = []
    listed: dict[tuple[Path, float], str] = {}
    for source in sources:
        faults: list[str] = []
        faulty_lines, usable = 0, 0
        for entry in source.entries():
            try:
                if entry.fault:
                    raise ValueError(entry.fault)
                row = _row(root, source.folder, entry)
                if (row.path, row.start) in listed:
                    first = listed[row.path, row.start]
                    raise ValueError(f"{row.path.name} is listed a second time, after {first}")
            except ValueError as error:
                faults.append(f"{entry.where}: {error}")
                faulty_lines += entry.lines
                continue

            listed[row.path, row.start] = entry.where
            rows.append(row)
            usable += 1
        judge(faults, faulty_lines, usable, source.folder, notes)

    return rows


def _unlisted(rows_of: Mapping[str, list[Row]], sources_of: Mapping[str, list[Source]], notes: list[str]) -> None:
    """Note the recordings in the folders of tables that no split lists."""
    listed = {row.path for rows in rows_of.values() for row in rows}
    tables: dict[Path, list[str]] = {}
    for source in (source for parts in sources_of.values() for source in parts if source.table):
        tables.setdefault(source.folder, []).append(source.table)

    for folder, names in tables.items():
        sounds = [p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
        absent = sorted(set(sounds) - listed)
        if absent:
            notes.append(
                f"{_called(folder)}: {len(absent)} of {len(sounds)} recordings are left out, since "
                f"{' and '.join(names)} {'have' if len(names) > 1 else 'has'} no usable line for them, for example "
                f"{absent[0]}"
            )


def _called(folder: Path) -> str:
    return folder.name or str(folder)


def judge(faults: list[str], lines: int, good: int, folder: Path, notes: list[str]) -> None:
    """Note the faults, which take up so many lines; raise `DataError` where they are too many."""
    if faults:
        where, remedy = str(folder), "correct or remove them"
        part = _called(folder)
        left_out.judge(faults, good, "transcripts", notes, where=where, remedy=remedy, count=lines, part=part)


def _row(root: Path, folder: Path, entry: Entry) -> Row:
    """A usable row; raises `ValueError` saying what is wrong with it."""
    name = entry.values["file"]
    if not isinstance(name, str) or not name.strip():
        raise ValueError("no file is named")

    words = words_of(entry.values["text"])
    path = _file(root, folder, name.strip().replace("\\", "/"), entry.anywhere)
    start, end = float(entry.values.get("start", 0)), float(entry.values.get("end", 0))
    if not (0 <= start < end or start == end == 0):
        raise ValueError(f"its part from {start:g} to {end:g} s is none")

    written = str(entry.values["text"]).strip()
    return Row(path, words, entry.where, str(entry.values.get("group") or ""), start, end, written=written)


def words_of(transcript: Any) -> tuple[str, ...]:
    """The words of a transcript; raises `ValueError` for one that cannot be used."""
    if not isinstance(transcript, str):
        raise ValueError("the text is not a string")

    fault = texts.fault(transcript)
    if fault:
        raise ValueError(fault)

    words = tuple(spoken.words_of(transcript))
    if not words:
        raise ValueError(f"the text {transcript!r} has no words")

    return words


def _file(root: Path, folder: Path, name: str, anywhere: bool) -> Path:
    """The file that a line names: in the folder, or with `anywhere` (the absolute paths of Kaldi and NeMo) where it is.

    Where nothing is at an absolute path, the data may have been moved: its last parts are looked for below `root`.
    """
    inside = PurePosixPath(name)
    if not anywhere and (inside.is_absolute() or ".." in inside.parts):
        raise ValueError(f"{name!r} is not inside the folder")
    if anywhere and inside.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{name!r} is no sound file")

    candidates = [folder / inside]
    if anywhere:
        parts = [part for part in inside.parts if part not in ("/", "..", ".")]
        candidates += [root / PurePosixPath(*parts[i:]) for i in range(len(parts))]

    path = next((candidate for candidate in candidates if files.is_file(candidate)), None)
    if path is None:
        raise ValueError(f"there is no file {inside}")

    return path
