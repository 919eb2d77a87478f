"""Sentence pairs of one split: two parallel texts, delimited text, JSON lines or an array, Parquet, or TMX.

JSON and Parquet may nest the languages in `translation`, as Hugging Face's data have them. A table without a header has
two columns (WMT), a third with attributions (ManyThings), or ids before each sentence (Tatoeba); which column has which
language its file's name says (news.de-en.tsv), else the first is the source. Columns may be given by number from 0.
"""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ..config import recipe
from ..core import strict_json
from ..core.errors import DataError, nearest
from . import columnar
from .delimited import Lines, Oddities, quoting_hint, unpacked_name
from .sniff import Table, encoding_of, examine

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".tmx", *columnar.PARQUET)
#: bytes of one unpacked file
MAX_BYTES = 1 << 30
_NESTED = "translation"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


@dataclass(frozen=True)
class Row:
    """One pair: its line, its two sentences or () where it has a `problem`, the place of each, its lines and span."""

    line: int
    pair: tuple[str, ...]
    where: tuple[str, str]
    problem: str = ""
    lines: int = 1
    span: str = ""


def is_table(path: Path) -> bool:
    return unpacked_name(path).suffix.lower() in TABLES


def rows(files: tuple[Path, ...], asked: tuple[str, str], spec: recipe.Data, notes: list[str]) -> Iterator[Row]:
    """The pairs of one split, from (source, target) texts or (table,); after the last one `notes` has what is odd."""
    if len(files) == 2:
        return _parallel(files[0], files[1], spec, notes)

    path = files[0]
    suffix = unpacked_name(path).suffix.lower()
    if suffix in columnar.PARQUET:
        return _objects(path, asked, ((number, row) for number, row in columnar.parquet_rows(path)))
    if suffix == ".tmx":
        return _memory(path, asked)

    if suffix in (".jsonl", ".ndjson", ".json"):
        array = columnar.starts_with_array(path)
        return _objects(path, asked, columnar.array_rows(path) if array else _json_lines(path, spec, notes))

    return _table(path, asked, spec, notes)


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


def _lines(path: Path, spec: recipe.Data, notes: list[str]) -> list[str]:
    """The lines of a text; bytes that the encoding does not know become surrogates, which `text.fault` refuses."""
    content = _content(path)
    encoding = encoding_of(path, spec, lambda: io.BytesIO(content), notes)
    # not splitlines(): U+2028 and others stand inside sentences
    return [line.removesuffix("\n") for line in Lines(io.BytesIO(content), encoding)]


def _parallel(first: Path, second: Path, spec: recipe.Data, notes: list[str]) -> Iterator[Row]:
    ours, theirs = _lines(first, spec, notes), _lines(second, spec, notes)
    if len(ours) != len(theirs):
        short, n = (first, len(ours)) if len(ours) < len(theirs) else (second, len(theirs))
        raise DataError(
            f"{first.name} has {len(ours)} lines and {second.name} has {len(theirs)}: they are not parallel",
            where=f"{short}:{n}",
            remedy="line n of one file must be the translation of line n of the other; look for a lost line",
        )

    for i, pair in enumerate(zip(ours, theirs), 1):
        yield Row(i, pair, (f"{first}:{i}", f"{second}:{i}"))


# --- delimited text ---------------------------------------------------------------------------------------------------


def _table(path: Path, asked: tuple[str, str], spec: recipe.Data, notes: list[str]) -> Iterator[Row]:
    content = _content(path)
    table = examine(path, spec, [(name,) for name in asked], lambda: io.BytesIO(content))
    notes += table.notes
    table, columns = _places(path, table, asked, spec, notes)
    width = len(table.names)
    oddities = Oddities(path, table.dialect, width)

    for record in table.records(io.BytesIO(content)):
        if not record.fields and not record.problem:
            continue
        where, fault = f"{path}:{record.first}", record.fault(width)
        pair = () if fault else tuple(record.fields[i] for i in columns)
        if not fault:
            oddities.look(record)
        yield Row(record.first, pair, (where, where), fault, record.lines, record.span)

    notes += oddities.notes()


def _places(
    path: Path, table: Table, asked: tuple[str, str], spec: recipe.Data, notes: list[str]
) -> tuple[Table, tuple[int, int]]:
    """The table, without a header where that is no header, and where the two sentences stand in a record."""
    names = list(table.names)
    if all(name.isdigit() and name not in table.first and int(name) < len(names) for name in asked):
        return table, (int(asked[0]), int(asked[1]))
    if all(names.count(name) == 1 for name in asked):
        return table, (names.index(asked[0]), names.index(asked[1]))

    columns = _headerless(table, spec)
    if columns and not set(asked) & set(table.first):
        order = [re.escape(name) for name in asked]
        turned = re.search(rf"(?<![a-z]){order[1]}[-_]?{order[0]}(?![a-z])", path.name.lower()) is not None
        columns = (columns[1], columns[0]) if turned else columns
        notes.append(
            f"{path}: has no header with {asked[0]!r} and {asked[1]!r}: column {columns[0]} is read as {asked[0]!r} "
            f"and column {columns[1]} as {asked[1]!r}; data.pairs may give the numbers of columns"
        )
        return replace(table, header=False), columns

    name = next(name for name in asked if names.count(name) != 1)
    raise DataError(
        f"has {'twice the' if name in names else 'no'} column {name!r}",
        where=f"{path}:1",
        remedy="[data.pairs] names the columns source and target (their numbers from 0 where there is no header); "
        f"{quoting_hint(name, names) or nearest(name, names)}",
    )


def _headerless(table: Table, spec: recipe.Data) -> tuple[int, int] | None:
    """The columns of the sentences in a table without a header, by its form."""
    first = table.first
    if spec.header == "yes":
        return None
    if len(first) == 2 and (spec.header == "no" or " " in first[0] + first[1]):  # names have no blanks
        return 0, 1
    if len(first) == 3 and (spec.header == "no" or first[2].startswith("CC-BY")):
        return 0, 1
    if len(first) == 4 and first[0].isdigit() and first[2].isdigit():
        return 1, 3

    return None


# --- objects ----------------------------------------------------------------------------------------------------------


def _json_lines(path: Path, spec: recipe.Data, notes: list[str]) -> Iterator[tuple[int, Any]]:
    """(number, value) of each line; the value is a text where the line cannot be parsed."""
    for number, line in enumerate(_lines(path, spec, notes), 1):
        if line.strip():
            try:
                yield number, strict_json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, f"broken JSON ({error})"


def _objects(path: Path, asked: tuple[str, str], values: Iterator[tuple[int, Any]]) -> Iterator[Row]:
    for number, value in values:
        where = f"{path}:{number}"
        pair = _pair(value, asked)
        yield Row(number, pair, (where, where)) if isinstance(pair, tuple) else Row(number, (), (where, where), pair)


def _pair(value: Any, asked: tuple[str, str]) -> tuple[str, str] | str:
    """The pair of an object, or what is wrong with it."""
    if not isinstance(value, Mapping):
        return value if isinstance(value, str) and value.startswith("broken JSON") else "broken JSON (not an object)"

    nested = value.get(_NESTED)
    if isinstance(nested, Mapping) and not all(name in value for name in asked):
        value = nested

    for name in asked:
        if not isinstance(value.get(name), str):
            return f"{name!r} is not text" if name in value else f"has no {name!r}"

    return value[asked[0]], value[asked[1]]


def _memory(path: Path, asked: tuple[str, str]) -> Iterator[Row]:
    """The translation units of a TMX file; "en" is the language of "en-US" too. A unit's number stands for its line."""
    content = _content(path)
    if b"<!ENTITY" in content[: 1 << 16]:
        raise DataError("declares entities, which are not read", where=str(path), remedy="write it without a DTD")

    number = 0
    try:
        for _, unit in ElementTree.iterparse(io.BytesIO(content), events=("end",)):
            if unit.tag != "tu":
                continue

            number += 1
            texts: dict[str, str] = {}
            for variant in unit.iter("tuv"):
                language = str(variant.get(_LANGUAGE) or variant.get("lang") or "").lower()
                segment = variant.find("seg")
                words = "".join(segment.itertext()) if segment is not None else ""
                for name in {language, re.split(r"[-_]", language)[0]}:
                    texts.setdefault(name, words)

            unit.clear()
            where = f"{path}:unit {number}"
            pair = _pair(texts, (asked[0].lower(), asked[1].lower()))
            yield (
                Row(number, pair, (where, where)) if isinstance(pair, tuple) else Row(number, (), (where, where), pair)
            )
    except ElementTree.ParseError as error:
        raise DataError(f"is not readable as TMX ({error})", where=f"{path}:{error.position[0]}") from error
