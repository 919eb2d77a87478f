"""Where transcripts stand: the layouts in which recordings come with texts, each as entries of one kind.

metadata.csv, transcripts.tsv, *.jsonl    tables with the columns `file` and `text` (or those of `data.columns`)
a .txt beside every recording
LibriSpeech   */ID.trans.txt of lines "ID TEXT"; split folders train-clean-100, dev-other, ... are joined
LJSpeech      metadata.csv of "id|text|normalized text" without a header, and wavs/
Common Voice  train.tsv, dev.tsv, test.tsv (or validated.tsv alone), and clips/
Kaldi         wav.scp and text, with segments and utt2spk where they are there
NeMo          *manifest*.json of objects with audio_filepath, duration, text
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..config import recipe
from ..core import files, strict_json
from ..core.errors import DataError, RecipeError, nearest
from .delimited import Lines, Oddities, quoting_hint
from .folders import folders, split_folders
from .formats.wav_folder import SUFFIXES
from .samples import NAMES, split_named
from .sniff import Table, encoding_of, examine

TABLES = tuple(f"{stem}.{kind}" for stem in ("metadata", "transcripts") for kind in ("csv", "tsv", "jsonl"))
#: what the columns may be called where the recipe does not say
COLUMNS = {
    "file": ("file", "file_name", "path", "audio", "wav", "audio_filepath"),
    "text": ("text", "transcription", "transcript", "sentence", "normalized_text"),
}
#: how a column of speakers may be called beside the name that `data.group` has
_SPEAKERS = ("speaker", "speaker_id", "client_id")


@dataclass(frozen=True)
class Entry:
    """One transcript: its place, {file, text, group, start, end}, what is wrong with it or "", its lines.

    `file` is looked for in the folder of its source; with `anywhere` it may be an absolute path.
    """

    where: str
    values: Mapping[str, Any]
    fault: str = ""
    lines: int = 1
    anywhere: bool = False


@dataclass(frozen=True)
class Source:
    """Transcripts of one split: the folder of the recordings, the table's name ("" without any), and the entries."""

    folder: Path
    table: str
    entries: Callable[[], Iterator[Entry]]


def sources(root: Path, spec: recipe.Data, notes: list[str]) -> dict[str, list[Source]]:
    """{split: where its transcripts stand}; raises `DataError` for a folder without any."""
    manifests = _manifests(root, notes)
    if manifests:
        return {split: [_nemo(root, path, spec)] for split, path in manifests.items()}

    if (root / "clips").is_dir():
        tables = _common_voice(root, notes)
        if tables:
            return {split: [_table_of(root, path, spec, notes, "clips")] for split, path in tables.items()}

    parts = _split_folders(root, notes)
    return {split: [_of_folder(folder, spec, notes) for folder in parts[split]] for split in parts}


def _split_folders(root: Path, notes: list[str]) -> dict[str, list[Path]]:
    """The folders of each split; several where their names only begin with the split's (train-clean-100)."""
    joined: dict[str, list[Path]] = {}
    for folder in folders(root):
        name = split_named(re.split(r"[-_.]", folder.name)[0])
        if name:
            joined.setdefault(name, []).append(folder)

    if joined and not any(split_named(folder.name) for parts in joined.values() for folder in parts):
        for name, parts in joined.items():
            notes.append(f"{name}: {', '.join(f'{folder.name}/' for folder in parts)}")
        return {name: joined[name] for name in NAMES if name in joined}

    return {name: [folder] for name, folder in split_folders(root, notes).items()}


def _of_folder(folder: Path, spec: recipe.Data, notes: list[str]) -> Source:
    tables = [folder / name for name in TABLES if (folder / name).is_file()]
    if len(tables) > 1:
        raise DataError(
            f"both {tables[0].name} and {tables[1].name} are there: which one is meant?",
            where=str(folder),
            remedy="keep one table in this folder",
        )

    if tables:
        return _table_of(folder, tables[0], spec, notes)
    if (folder / "wav.scp").is_file() and (folder / "text").is_file():
        return Source(folder, "text", lambda: _kaldi(folder))

    lists = sorted(folder.rglob("*.trans.txt"))
    if lists:
        return Source(folder, "*.trans.txt", lambda: _librispeech(folder, lists))

    sounds = [p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    if not any(path.with_suffix(".txt").is_file() for path in sounds):
        raise DataError(
            "holds no transcripts",
            where=str(folder),
            remedy=f"expected {TABLES[0]} with the columns file and text, a .txt beside every recording, or the files "
            "of LibriSpeech, LJSpeech, Common Voice, Kaldi or NeMo",
        )

    if spec.group:
        raise RecipeError("names a column, and there is no table", where="data.group", remedy="leave it out")

    return Source(folder, "", lambda: _beside(folder, sorted(sounds)))


# --- tables -----------------------------------------------------------------------------------------------------------


def _table_of(folder: Path, path: Path, spec: recipe.Data, notes: list[str], inside: str = "") -> Source:
    """The table at `path`, whose files stand in `inside` of the folder."""
    try:
        if path.suffix.lower() == ".jsonl":
            encoding = encoding_of(path, spec, lambda: path.open("rb"), notes)
            return Source(folder, path.name, lambda: _objects(path, encoding, spec))

        first = next(_text_lines(path), ("", ""))[1]
        if not spec.columns and "|" in first and _ljspeech_sound(folder, first.partition("|")[0]):
            return Source(folder, path.name, lambda: _ljspeech(folder, path))

        expected = [(spec.columns[key],) if key in spec.columns else known for key, known in COLUMNS.items()]
        table = examine(path, spec, expected)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=str(path)) from error

    notes += table.notes
    return Source(folder, path.name, lambda: _records(path, table, spec, notes, inside))


def _records(path: Path, table: Table, spec: recipe.Data, notes: list[str], inside: str) -> Iterator[Entry]:
    """The entries of a table, one a record; after the last one `notes` tells what is odd about the whole."""
    head = list(table.names)
    at = {key: head.index(name) for key, name in _columns(head, f"{path}:1", spec).items()}
    oddities = Oddities(path, table.dialect, len(head))

    with path.open("rb") as file:
        for record in table.records(file):
            if not record.fields and not record.problem:
                continue

            where, fault = f"{path}:{record.first}", record.fault(len(head))
            if record.problem:
                fault = f"is not a line of a table ({record.problem}){record.span}"

            if fault:
                yield Entry(where, {}, fault, record.lines)
                continue

            oddities.look(record)
            values = {key: record.fields[i] for key, i in at.items()}
            if inside and values["file"].strip():
                values["file"] = f"{inside}/{values['file'].strip()}"
            yield Entry(where, values, "", record.lines)

    notes += oddities.notes()


def _objects(path: Path, encoding: str, spec: recipe.Data, anywhere: bool = False) -> Iterator[Entry]:
    names: dict[str, str] = {}
    with path.open("rb") as file:
        lines = Lines(file, encoding)
        for line in lines:
            where = f"{path}:{lines.number}"
            if not line.strip():
                continue

            try:
                values = strict_json.loads(line)
            except (ValueError, RecursionError) as error:
                yield Entry(where, {}, f"is not JSON ({error or 'nested too deeply'})")
                continue

            if not isinstance(values, dict):
                yield Entry(where, {}, "is not a JSON object")
                continue

            names = names or _columns(list(values), where, spec)
            absent = [name for name in names.values() if name not in values]
            fault = f"has no {absent[0]!r}" if absent else ""
            content = {key: values.get(name) for key, name in names.items()}
            if isinstance(values.get("offset"), (int, float)) and isinstance(values.get("duration"), (int, float)):
                content |= {"start": values["offset"], "end": values["offset"] + values["duration"]}

            yield Entry(where, content, fault, anywhere=anywhere)


def _columns(head: list[str], where: str, spec: recipe.Data) -> dict[str, str]:
    """The file's own names of the columns that are read."""
    for key in spec.columns:
        if key not in COLUMNS:
            raise RecipeError(f"unknown column {key!r}", where="data.columns", remedy=nearest(key, COLUMNS))

    expected = {key: (spec.columns[key],) if key in spec.columns else known for key, known in COLUMNS.items()}
    if spec.group:
        expected["group"] = (spec.group, *(_SPEAKERS if spec.group in _SPEAKERS else ()))

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


# --- layouts ----------------------------------------------------------------------------------------------------------


def _text_lines(path: Path) -> Iterator[tuple[str, str]]:
    """(place, text) of each line that is not blank; bytes that are no UTF-8 become what no text may hold."""
    try:
        with path.open("rb") as file:
            lines = Lines(file)
            for line in lines:
                if line.strip():
                    yield f"{path}:{lines.number}", line.strip()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=str(path)) from error


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


def _librispeech(folder: Path, lists: list[Path]) -> Iterator[Entry]:
    for path in lists:
        for where, line in _text_lines(path):
            name, _, words = line.partition(" ")
            if "/" in name or not name:
                yield Entry(where, {"file": name, "text": words}, f"{name!r} is no name of a sound")
                continue
            named = [path.parent / f"{name}{suffix}" for suffix in SUFFIXES]
            sound = next(filter(files.is_file, named), path.parent / f"{name}.flac")
            speaker = name.partition("-")[0]
            yield Entry(where, {"file": sound.relative_to(folder).as_posix(), "text": words, "group": speaker})


def _ljspeech_sound(folder: Path, name: str) -> str:
    """The file that a line of LJSpeech's table names, or "" where there is none."""
    candidates = [f"{inner}{name}{suffix}" for inner in ("wavs/", "") for suffix in (".wav", "", ".flac")]
    return next((c for c in candidates if (folder / c).is_file()), "")


def _ljspeech(folder: Path, path: Path) -> Iterator[Entry]:
    """Lines of "id|text|normalized text"; the last one counts, where it is not empty."""
    for where, line in _text_lines(path):
        name, *texts = line.split("|")
        sound = _ljspeech_sound(folder, name) or f"wavs/{name}.wav"
        text = next((words for words in reversed(texts[:2]) if words.strip()), "")
        fault = "" if texts else "has no '|' between a file's name and its text"
        yield Entry(where, {"file": sound, "text": text, "group": ""}, fault)


def _common_voice(root: Path, notes: list[str]) -> dict[str, Path]:
    """The tables of the splits, else the validated recordings as a whole."""
    tables = {split: root / f"{name}.tsv" for split, name in (("train", "train"), ("val", "dev"), ("test", "test"))}
    present = {split: path for split, path in tables.items() if path.is_file()}
    validated = root / "validated.tsv"
    if "train" in present or not validated.is_file():
        return present

    notes.append(f"{root}: there is no train.tsv: {validated.name} is divided")
    return {"train": validated}


def _manifests(root: Path, notes: list[str]) -> dict[str, Path]:
    """The NeMo manifests in a folder by split: JSON lines that name an audio_filepath."""
    by_split: dict[str, Path] = {}
    paths = [p for p in sorted(root.iterdir()) if p.suffix.lower() in (".json", ".jsonl") and p.name not in TABLES]
    named = []

    for path in paths:
        try:
            first = next((line for _, line in islice(_text_lines(path), 1)), "")
            if isinstance(row := strict_json.loads(first), dict) and "audio_filepath" in row:
                named.append(path)
        except (ValueError, RecursionError):
            continue

    for path in named:
        words = re.split(r"[-_. ]", path.stem)
        split = next((name for word in words if (name := split_named(word))), "")
        split = split or ("train" if len(named) == 1 else "")
        if not split or split in by_split:
            notes.append(f"{path}: a manifest that is not read, since its name has no split or one that is taken")
            continue
        by_split[split] = path

    return by_split


def _nemo(root: Path, path: Path, spec: recipe.Data) -> Source:
    return Source(root, path.name, lambda: _objects(path, "utf-8", spec, anywhere=True))


def _kaldi(folder: Path) -> Iterator[Entry]:
    """`text` with the files of `wav.scp`; commands there are not run. `segments` cut utterances out of recordings."""
    files = {name: line for _, (name, line) in _pairs(folder / "wav.scp")}
    speakers = {name: line for _, (name, line) in _pairs(folder / "utt2spk")} if (folder / "utt2spk").is_file() else {}
    parts: dict[str, list[str]] = {}
    if (folder / "segments").is_file():
        parts = {name: line.split() for _, (name, line) in _pairs(folder / "segments")}

    for where, (name, words) in _pairs(folder / "text"):
        recording, *times = parts.get(name, [name])
        values: dict[str, Any] = {"file": files.get(recording, ""), "text": words, "group": speakers.get(name, "")}
        fault = "" if recording in files else f"wav.scp has no recording {recording!r}"
        if values["file"].endswith("|"):
            fault = "wav.scp has a command, which is not run: write its sound into a file"

        if parts and not fault:
            try:
                values["start"], values["end"] = (float(time) for time in times)
            except ValueError:
                fault = f"segments has no line 'utterance recording start end' for {name!r}"

        yield Entry(where, values, fault, anywhere=True)


def _pairs(path: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    for where, line in _text_lines(path):
        name, _, rest = line.partition(" ")
        yield where, (name, rest.strip())
