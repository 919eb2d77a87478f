"""Folders of Hugging Face's `datasets`, read offline by pyarrow (extra "hf"): what `save_to_disk` writes, or Parquet.

Splits come from `dataset_dict.json`, from `data_files` in the head of README.md, or from the names of the files
(`data/train-00000-of-00002.parquet`). Nothing is downloaded, and no script of a data set is run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ..core import strict_json
from ..core.errors import DataError, need
from .columnar import PARQUET
from .samples import split_named


@dataclass(frozen=True)
class Rows:
    """The rows of one split: a `pyarrow.Table`, what `datasets` says of each column, and the folder or first file."""

    table: Any
    features: dict[str, Any]
    where: str


def splits_of(root: Path, notes: list[str]) -> dict[str, Rows]:
    """{split: rows}; raises `DataError` for a folder without tables, `Missing` without pyarrow."""
    if (root / "dataset_dict.json").is_file():
        names = _json(root / "dataset_dict.json").get("splits", [])
        folders = {str(name): root / Path(str(name)).name for name in names}
        return _by_split({name: _saved(folder) for name, folder in folders.items()}, root, notes)

    if (root / "state.json").is_file():
        return {"train": _saved(root)}

    files = _stated(root) or _by_name(root, notes)
    if not files:
        raise DataError(
            "holds no table of Hugging Face's datasets",
            where=str(root),
            remedy="expected dataset_dict.json and state.json (save_to_disk), or train-*.parquet",
        )

    return _by_split({name: parquet(paths) for name, paths in files.items()}, root, notes)


def _by_split(tables: dict[str, Rows], root: Path, notes: list[str]) -> dict[str, Rows]:
    by_split: dict[str, Rows] = {}
    others = []
    for name, rows in tables.items():
        split = split_named(name)
        if not split and len(tables) == 1:
            split = "train"
        if not split:
            others.append(name)
        elif split in by_split:
            raise DataError(f"has two splits that are {split}: {', '.join(tables)}", where=str(root))
        else:
            by_split[split] = rows

    if others:
        notes.append(f"{root}: splits that are neither train, validation nor test are not read: {', '.join(others)}")

    return by_split


def _json(path: Path) -> dict[str, Any]:
    try:
        content = strict_json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"is not readable ({error})", where=str(path)) from error
    if not isinstance(content, dict):
        raise DataError("is not a JSON object", where=str(path))
    return content


def _saved(folder: Path) -> Rows:
    """A data set that `save_to_disk` wrote."""
    state = _json(folder / "state.json")
    if state.get("_indices_data_files"):
        raise DataError(
            "selects rows by a list of indices, which is not read",
            where=str(folder / "state.json"),
            remedy="save it after `flatten_indices()`",
        )

    names = [Path(str(entry.get("filename", ""))).name for entry in state.get("_data_files", []) if entry]
    info = folder / "dataset_info.json"
    features = _json(info).get("features") if info.is_file() else None
    library, ipc = need("pyarrow", "hf"), need("pyarrow.ipc", "hf")
    tables = []

    for name in names:
        try:
            tables.append(ipc.open_stream(library.memory_map(str(folder / name))).read_all())
        except Exception as error:  # pyarrow's errors have no common base but Exception
            raise DataError(f"is not a readable Arrow file ({error})", where=str(folder / name)) from error

    return _rows(tables, features, str(folder))


def parquet(paths: list[Path]) -> Rows:
    """The rows of Parquet files with the same columns; raises `DataError`, and `Missing` without pyarrow."""
    library = need("pyarrow.parquet", "hf")
    tables = []
    for path in paths:
        try:
            tables.append(library.read_table(path, memory_map=True))
        except Exception as error:  # as above
            raise DataError(f"is not a readable Parquet file ({error})", where=str(path)) from error
    return _rows(tables, None, str(paths[0]))


def _rows(tables: list[Any], features: Any, where: str) -> Rows:
    if not tables or not sum(len(table) for table in tables):
        raise DataError("holds no rows", where=where)

    if not isinstance(features, dict):
        features = _schema_features(tables[0].schema.metadata)

    try:
        joined = need("pyarrow", "hf").concat_tables(tables)
    except Exception as error:  # as above
        raise DataError(f"its files have different columns ({error})", where=where) from error

    return Rows(joined, features, where)


def _schema_features(metadata: Any) -> dict[str, Any]:
    try:
        features = strict_json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _stated(root: Path) -> dict[str, list[Path]]:
    """The Parquet files that the head of README.md names, by split; {} where it names none."""
    readme = root / "README.md"
    if not readme.is_file():
        return {}

    match = re.match(r"---\n(.*?)\n---", readme.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    if not match:
        return {}

    yaml = need("yaml", "hf")
    try:
        head = yaml.safe_load(match.group(1))
    except yaml.YAMLError as error:
        raise DataError(f"its head is not YAML ({error})", where=str(readme)) from error

    configs = [c for c in (head or {}).get("configs", []) if isinstance(c, dict)] if isinstance(head, dict) else []
    chosen = [c for c in configs if c.get("default") or c.get("config_name") == "default"] or configs
    if len(chosen) > 1:
        shown = ", ".join(str(c.get("config_name")) for c in chosen)
        raise DataError(
            f"has several configurations: {shown}", where=str(readme), remedy="set data.path to the folder of one"
        )

    entries = chosen[0].get("data_files") if chosen else None
    entries = [{"split": "train", "path": entries}] if isinstance(entries, str) else entries or []
    files: dict[str, list[Path]] = {}
    present = sorted(path for path in root.rglob("*") if path.suffix.lower() in PARQUET)

    for entry in (e for e in entries if isinstance(e, dict)):
        patterns = entry.get("path", [])
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            names = [path for path in present if fnmatch(path.relative_to(root).as_posix(), str(pattern))]
            files.setdefault(str(entry.get("split", "train")), []).extend(names)

    return {name: paths for name, paths in files.items() if paths}


def _by_name(root: Path, notes: list[str]) -> dict[str, list[Path]]:
    """The Parquet files of a folder or its data/, by the first word of their names that is a split's."""
    files: dict[str, list[Path]] = {}
    others = []
    for path in sorted(p for folder in (root, root / "data") for p in folder.glob("*") if p.suffix.lower() in PARQUET):
        words = re.split(r"[-_. ]", path.stem)
        name = next((word for word in words if split_named(word)), "")
        if name:
            files.setdefault(name, []).append(path)
        else:
            others.append(path)

    if not files and others:
        return {"train": others}

    if others:
        notes.append(f"{root}: files whose names have no split are not read: {', '.join(p.name for p in others[:5])}")

    return files
