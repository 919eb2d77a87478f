"""Words with a tag each as lists, `tokens` and `ner_tags`: JSON lines, Parquet, or a folder of `datasets`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...config import recipe
from ...config.data_keys import option
from ...core.errors import DataError, nearest
from .. import columnar, hf_tables, recognize, recognize_tools, tagged
from ..delimited import READ_ERRORS, opened, unpacked_name
from ..record import Format
from ..samples import Dataset
from ..sniff import encoding_of
from ..table import SUFFIXES, split_files
from ..table_records import Layout, entries, first_names

#: how the columns may be called where the recipe does not say
COLUMNS = {"tokens": ("tokens", "words"), "tags": ("ner_tags", "tags", "ner", "labels")}
_JSON, _PARQUET = SUFFIXES["jsonl"], columnar.PARQUET


@dataclass(frozen=True)
class Keys:
    tag_names: tuple[str, ...] = option((), "the names of the tags, where the data have their numbers alone")


def open(spec: recipe.Data) -> Dataset:
    """The sentences at `spec.path`: a .jsonl, .json or .parquet, or a folder with one a split or of `datasets`.

    See `tagged.dataset`. Raises `DataError` naming file and line, `Missing` where pyarrow is absent.
    """
    root = Path(spec.path)
    if not spec.path or not root.exists():
        problem = "no data are given" if not spec.path else "no such file or folder"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a .jsonl, .parquet or folder")

    keys = spec.options if isinstance(spec.options, Keys) else Keys()
    notes: list[str] = []
    suffix = unpacked_name(root).suffix.lower()
    parts: dict[str, Iterator[tagged.Sentence]]

    if root.is_dir() and not any(unpacked_name(path).suffix.lower() in _JSON[:2] for path in root.iterdir()):
        parts = {name: _of_rows(rows, spec, keys) for name, rows in hf_tables.splits_of(root, notes).items()}
    elif suffix in _PARQUET:
        parts = {"train": _of_rows(hf_tables.parquet([root]), spec, keys)}
    elif root.is_dir() or suffix in _JSON:
        files = split_files(root, "jsonl", notes) if root.is_dir() else {"train": root}
        parts = {name: _of_json(path, spec, keys, notes) for name, path in files.items()}
    else:
        remedy = 'for CoNLL set data.format = "conll"'
        raise DataError("is no .jsonl, .json or .parquet", where=str(root), remedy=remedy)

    return tagged.dataset(str(root), parts, spec, notes)


def _columns(names: Sequence[str], spec: recipe.Data, where: str) -> tuple[str, str]:
    """The columns of the words and of the tags: those of `data.columns`, else the first usual name of each."""
    chosen = []
    for key, usual in COLUMNS.items():
        asked = spec.columns.get(key, "")
        name = asked if asked in names else "" if asked else next((n for n in usual if n in names), "")
        if not name:
            problem = f"has no column {asked!r}" if asked else f"has no column {' or '.join(map(repr, usual))}"
            shown = f"it has {', '.join(names[:8])}; " if names else ""
            remedy = nearest(asked, names) if asked else f'{shown}name it: data.columns = {{ {key} = "..." }}'
            raise DataError(problem, where=where, remedy=remedy)
        chosen.append(name)

    return chosen[0], chosen[1]


def _of_json(path: Path, spec: recipe.Data, keys: Keys, notes: list[str]) -> Iterator[tagged.Sentence]:
    """The sentences of a file with one JSON object a line, or of one JSON array."""
    try:
        encoding = encoding_of(path, spec, lambda: opened(path), notes)
        layout = Layout("json" if columnar.starts_with_array(path) else "jsonl", (), "", encoding)
        tokens, tags = _columns(first_names(path, layout), spec, str(path))
        for entry in entries(path, layout, notes):
            where = f"{path}:{entry.line}"
            absent = [name for name in (tokens, tags) if name not in entry.values]
            if entry.problem or absent:
                yield tagged.Sentence(where, problem=entry.problem or f"has no {absent[0]!r}")
            else:
                yield _sentence(where, entry.values[tokens], entry.values[tags], keys.tag_names)
    except READ_ERRORS as error:
        raise DataError(f"cannot be read ({getattr(error, 'strerror', '') or error})", where=str(path)) from error


def _of_rows(rows: hf_tables.Rows, spec: recipe.Data, keys: Keys) -> Iterator[tagged.Sentence]:
    """The sentences of a table, its numbers of tags by the names that `datasets` notes of them."""
    tokens, tags = _columns([str(name) for name in rows.table.column_names], spec, rows.where)
    names = keys.tag_names or _names(rows.features.get(tags))
    columns = (rows.table[name].to_pylist() for name in (tokens, tags))
    for number, (row, numbers) in enumerate(zip(*columns), 1):
        yield _sentence(f"{rows.where}:{number}", row, numbers, names)


def _sentence(where: str, words: Any, tags: Any, names: Sequence[str]) -> tagged.Sentence:
    """A sentence whose tags are names, or numbers of `names`."""
    if not isinstance(tags, (list, tuple)):
        return tagged.Sentence(where, problem="the tags are no list")

    if any(type(tag) is int for tag in tags):
        if not names:
            return tagged.Sentence(where, problem="the tags are numbers: name them in data.tag_names")
        if any(type(tag) is not int or not 0 <= tag < len(names) for tag in tags):
            return tagged.Sentence(where, problem=f"a tag is none of the numbers 0 to {len(names) - 1}")
        tags = [names[tag] for tag in tags]

    return tagged.Sentence(where, words, tags)


def _names(feature: Any) -> tuple[str, ...]:
    """The names of the classes of a column of lists, () where it has none."""
    inner = feature.get("feature", feature) if isinstance(feature, Mapping) else feature
    inner = inner[0] if isinstance(inner, list) and inner else inner
    names = inner.get("names") if isinstance(inner, Mapping) else None
    return tuple(str(name) for name in names) if isinstance(names, list) else ()


FORMAT = Format(
    name="tokens",
    description="Words with a tag each as lists (tokens, ner_tags): JSON lines, Parquet, Hugging Face's datasets.",
    open=open,
    keys=("path", "split", "split_seed", "columns", "encoding"),
    recognize=lambda view: recognize.tokens(view) or recognize_tools.hf_tokens(view),
    options=Keys,
)
