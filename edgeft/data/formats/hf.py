"""Folders of Hugging Face's `datasets` (`hf_tables.py`), offline: pictures, sounds or texts with a class, translations.

Columns are matched by their features: the first `Image` or `Audio`, or the texts that `data.text` names; the class is
`data.label`, else the only `ClassLabel`; with `data.units` sounds have transcripts (`hf_speech.py`). Sentence pairs are
a `translation` with the languages of [data.pairs], or a column each. Pictures and sounds stand in the tables as files
or as bytes, and are decoded like any others.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...config import recipe
from ...core.errors import DataError, nearest
from ...inputs import picture_file, sound_file
from ...inputs import text as texts
from .. import hf_speech, hf_tables, left_out, pictures, recognize_tools, sound_facts, table
from ..columnar import named_classes
from ..folders import Scanned
from ..record import Format
from ..samples import NAMES, Dataset, Split, complete, require_classes
from ..table_records import Texts, label_of
from . import pairs

#: suffixes of the bytes of a file by how they begin
_SUFFIX = {b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg", b"ID3": ".mp3"}


class Files:
    """A pool of pictures or sounds in a column: {"bytes", "path"} of each, decoded on demand by `decode`."""

    def __init__(self, rows: hf_tables.Rows, column: str, decode: Callable[[Path], Any]) -> None:
        self.rows, self.column, self.decode = rows, column, decode

    def __len__(self) -> int:
        return len(self.rows.table)

    def source(self, i: int) -> str:
        return f"{self.rows.where}:{i + 1}"

    def raw(self, i: int) -> Any:
        value = self.rows.table[self.column][i].as_py() or {}
        content, name = value.get("bytes"), str(value.get("path") or "")
        try:
            if content is None:
                return self.decode(Path(self.rows.where) / Path(name).name if name else Path(self.rows.where))
            suffix = next((kind for start, kind in _SUFFIX.items() if content.startswith(start)), Path(name).suffix)
            with tempfile.NamedTemporaryFile(suffix=suffix or ".png") as file:
                file.write(content)
                file.flush()
                return self._decoded(file.name)
        except DataError as error:
            error.where = self.source(i)
            raise

    def _decoded(self, name: str) -> Any:
        try:
            return self.decode(Path(name))
        except DataError as error:
            error.message = error.message.replace(name, f"the bytes in {self.column!r}")
            raise


class Joined:
    """Several pools as one."""

    def __init__(self, pools: list[Any]) -> None:
        self.pools, self.ends = pools, np.cumsum([len(pool) for pool in pools])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def _at(self, i: int) -> tuple[Any, int]:
        which = int(np.searchsorted(self.ends, i, side="right"))
        return self.pools[which], i - (int(self.ends[which - 1]) if which else 0)

    def raw(self, i: int) -> Any:
        pool, at = self._at(i)
        return pool.raw(at)

    def source(self, i: int) -> str:
        pool, at = self._at(i)
        return str(pool.source(at))


def open(spec: recipe.Data) -> Dataset:
    """The data set in the folder `spec.path`.

    Raises `DataError` naming folder, column and row of what is wrong, `Missing` where pyarrow is absent.
    """
    root = Path(spec.path)
    if not spec.path or not root.is_dir():
        problem = "no data folder is given" if not spec.path else "no such folder"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a folder of datasets")

    notes: list[str] = []
    splits = hf_tables.splits_of(root, notes)
    first = next(iter(splits.values()))

    for kind in ("Image", "Audio"):
        column = next((name for name, f in first.features.items() if _type(f) == kind), "")
        if column and kind == "Audio" and spec.units:
            pools = {split: Files(rows, column, sound_file.read) for split, rows in splits.items()}
            return hf_speech.opened(root, splits, pools, spec, notes)
        if column:
            return _files(root, splits, (kind, column), spec, notes)

    names = list(first.table.column_names)
    asked = str(spec.pairs.get("source", "")), str(spec.pairs.get("target", ""))
    if "translation" in names or (all(asked) and set(asked) <= set(names)):
        return _pairs(root, splits, spec, notes)

    return table.dataset(str(root), {split: _texts(rows, spec, notes) for split, rows in splits.items()}, spec, notes)


def _type(feature: Any) -> str:
    return str(feature.get("_type", "")) if isinstance(feature, dict) else ""


def _label_column(rows: hf_tables.Rows, spec: recipe.Data, notes: list[str]) -> str:
    names = [str(name) for name in rows.table.column_names]
    if spec.label in names:
        return spec.label
    classes = [name for name in names if _type(rows.features.get(name)) == "ClassLabel"]
    if len(classes) == 1 and spec.label == recipe.Data().label:
        notes.append(f"{rows.where}: has no column {spec.label!r}: {classes[0]!r} is read in its place")
        return classes[0]
    raise DataError(f"has no column {spec.label!r}", where=rows.where, remedy=nearest(spec.label, names))


def _labels(rows: hf_tables.Rows, column: str) -> list[str | None]:
    """The name of each row's class; None where it has none."""
    feature = rows.features.get(column)
    classes = feature.get("names", []) if isinstance(feature, dict) and _type(feature) == "ClassLabel" else []
    names = {column: [str(name) for name in classes]} if classes else {}
    values = [named_classes({column: value}, names)[column] for value in rows.table[column].to_pylist()]
    try:
        return [None if value is None else label_of(value) for value in values]
    except ValueError as error:
        raise DataError(f"{column!r}: {error}", where=rows.where, remedy="set data.label") from error


def _files(
    root: Path,
    rows_of: dict[str, hf_tables.Rows],
    content: tuple[str, str],
    spec: recipe.Data,
    notes: list[str],
) -> Dataset:
    """Pictures or sounds ("Image" or "Audio" in the column `content` names) with a class each."""
    kind, column = content
    settings = {"max_pixels": spec.max_pixels, **({"value_range": list(spec.value_range)} if spec.value_range else {})}
    picture = kind == "Image"
    decode = (lambda path: picture_file.read(path, settings)) if picture else sound_file.read
    names = {split: _labels(rows, _label_column(rows, spec, notes)) for split, rows in rows_of.items()}

    for split in [s for s in rows_of if s != "train" and not any(names[s])]:
        notes.append(f"{split}: no row has a class: it is left out, since nothing says what is right")
        rows_of = {name: rows for name, rows in rows_of.items() if name != split}

    labels = tuple(sorted({name for split in rows_of for name in names[split] if name is not None}))
    number = {name: i for i, name in enumerate(labels)}
    pool = Joined([Files(rows, column, decode) for rows in rows_of.values()])
    splits, start = {}, 0

    for split, rows in rows_of.items():
        at = [i for i, name in enumerate(names[split]) if name is not None]
        if len(at) < len(rows.table):
            notes.append(f"{split}: {len(rows.table) - len(at)} rows without a class are left out")
        targets = np.array([number[name] for name in names[split] if name is not None], np.int64)
        splits[split] = Split(split, pool, np.asarray(at, np.int64) + start, targets)
        start += len(rows.table)

    splits = {name: splits[name] for name in NAMES if name in splits}
    notes += require_classes(splits, labels, str(root), spec.split)
    splits, divided = complete(splits, spec.split, spec.split_seed, str(root), labels)
    notes += divided
    what = "images" if picture else "sounds"
    facts = pictures.facts(settings) if picture else sound_facts.of_decoded(splits)

    return Dataset(str(root), labels, Scanned(splits, notes, labels, str(root), what, spec.split), notes, facts)


def _texts(rows: hf_tables.Rows, spec: recipe.Data, notes: list[str]) -> tuple[Texts, list[str]]:
    """The texts of a split and their classes; rows without either are left out."""
    names = list(rows.table.column_names)
    columns = list(spec.text)
    if spec.text == recipe.Data().text and columns[0] not in names:
        usual = [name for name in table.TEXTS if name in names]
        if len(usual) == 1:
            notes.append(f"{rows.where}: has no column {columns[0]!r}: {usual[0]!r} is read in its place")
            columns = usual

    for column in columns:
        if column not in names:
            raise DataError(f"has no column {column!r}", where=rows.where, remedy=nearest(column, names))

    labels = _labels(rows, _label_column(rows, spec, notes))
    if not any(label is not None for label in labels):
        labels = ["-1"] * len(labels)  # as GLUE's hidden test splits have them

    pool, used, bad = Texts(rows.where, [], array("q")), [], []
    for i, parts in enumerate(zip(*(rows.table[column].to_pylist() for column in columns))):
        label = labels[i]
        words = " ".join(str(part).strip() for part in parts if part is not None)
        fault = texts.fault(words) or ("it has no class" if label is None else "")
        if fault or label is None:
            bad.append(f"{rows.where}:{i + 1}: {fault}")
            continue
        pool.texts.append(words)
        pool.lines.append(i + 1)
        used.append(label)

    if bad:
        notes.append(f"{len(bad)} of {len(labels)} rows left out, the first: {bad[0]}")

    return pool, used


def _pairs(root: Path, rows_of: dict[str, hf_tables.Rows], spec: recipe.Data, notes: list[str]) -> Dataset:
    """Sentence pairs: a `translation` of languages, or a column each."""
    source, target = str(spec.pairs.get("source", "")), str(spec.pairs.get("target", ""))
    splits = {}
    for split, rows in rows_of.items():
        pool, bad = pairs.Pairs([rows.where]), []
        for i, row in enumerate(rows.table.to_pylist()):
            nested = row.get("translation") or row
            words = [str(nested.get(name) or "") if isinstance(nested, dict) else "" for name in (source, target)]
            fault = next((f for w in words if (f := texts.fault(w))), "")
            if fault:
                bad.append(f"{rows.where}:{i + 1}: {fault}")
            else:
                pool.add(words[0].strip(), words[1].strip(), i + 1, 0)
        if bad:
            remedy = "name the languages in [data.pairs]"
            left_out.judge(bad, len(pool), "pairs", notes, where=rows.where, remedy=remedy)
        targets = np.empty(len(pool), object)
        targets[:] = pool.targets
        splits[split] = Split(split, pool, np.arange(len(pool)), targets)

    splits, note = complete(splits, spec.split, spec.split_seed, str(root))
    return Dataset(str(root), (), splits, [*notes, *note], {"source": source, "target": target})


FORMAT = Format(
    name="hf",
    description="A folder of Hugging Face's datasets (save_to_disk, or Parquet files), offline (extra hf).",
    open=open,
    keys=("path", "split", "split_seed", "text", "label", "pairs", "units", "group", "value_range", "max_pixels"),
    recognize=recognize_tools.hf,
)
