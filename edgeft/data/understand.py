"""From a path to a recipe's [data]: which format and task it holds, recognized by the records of the formats."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import recipe
from ..core.errors import DataError, EdgeftError
from ..plugins import DATA_FORMATS, TASKS
from .folders import innermost
from .glimpse import Glimpse, ending, glimpse
from .recognize import PICTURES, SOUNDS
from .record import Recognized

#: files that hold data in a form that is not opened, and what to do with them
_OTHERS = {
    (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar"): "an archive: unpack it, and name the "
    "folder",
    (
        ".tfrecord",
        ".tfrecords",
        ".tfrec",
        ".record",
    ): "a TFRecord, which TensorFlow alone reads: write its "
    "pictures into a folder for each class (or its rows into a .csv) with tf.data.TFRecordDataset",
    (
        ".lmdb",
        ".mdb",
        ".rec",
        ".bag",
        ".mat",
    ): "a container of another program: write what it holds as files in folders, as .npz or as .csv",
    (".xlsx", ".xls", ".ods"): "a spreadsheet: save the sheet as CSV in UTF-8, and name that file",
    (".pkl", ".pickle", ".pt", ".pth", ".joblib"): "a pickle, which may run code and is not opened: save the arrays "
    "as .npz, or the rows as CSV",
}


@dataclass(frozen=True)
class Understood:
    """The task and the [data] of a path, `why` in words, and the other formats that it looks like."""

    task: str
    data: recipe.Data
    why: str = ""
    others: tuple[str, ...] = ()
    keys: Mapping[str, Any] = field(default_factory=dict)


def understand(path: Path, task: str = "", format_name: str = "", label: str = "") -> Understood:
    """What `path` holds. `task`, `format_name` and `label` (a column), where not "", are the user's word for it.

    Raises `DataError` where the path is absent or no format recognizes it, `UsageError` for an unknown name.
    """
    if not path.exists():
        raise DataError("no such file or folder", where=str(path), remedy="name a folder or file of data")

    if task:
        TASKS.get(task)

    path = innermost(path)
    candidates = _candidates(path, task, format_name, label)
    if not candidates:
        view = glimpse(path, label)
        formats = [name for name in _names(task) if DATA_FORMATS.get(name).recognize is not None]
        if _columns_in_words(view, task):
            formats = [name for name in formats if DATA_FORMATS.get(name).wants] or formats

        next_step = (
            f"name the format with --format ({', '.join(formats)})"
            + ("" if task else ", and the task")
            + f", or write a recipe with `edgeft init {task or 'TASK'}` and set its [data]"
        )
        if not view.files or _is_empty_file(view):
            next_step = "put the data there, or name another file or folder"
        raise DataError(
            "holds no data that a format recognizes" + (f" for the task {task}" if task else ""),
            where=str(path),
            remedy=seen(view, task) + next_step,
        )

    name, sign = max(candidates.items(), key=lambda item: item[1].certainty)
    # a plain [data] with the keys that were recognized; the reader checks them
    spec = dataclasses.replace(recipe.Data(format=name, path=str(path), options=dict(sign.options)), **sign.keys)
    others = tuple(other for other, further_sign in candidates.items() if other != name)
    keys = {**sign.keys, **sign.options}

    return Understood(task or _task_of(name, sign), spec, sign.why, others, keys)


def stated_label(overrides: Sequence[str]) -> str:
    """The column that "data.label=NAME" among settings of the command line names, or ""."""
    return next(
        (value for setting in overrides for key, _, value in [setting.partition("=")] if key.strip() == "data.label"),
        "",
    )


def _columns_in_words(view: Glimpse, task: str) -> str:
    """The columns of a table that no format recognizes, and which options name those that a format wants; or ""."""
    tables = [file for file in view.files if ending(file) in (".csv", ".tsv")]
    first = view.head(tables[0] if view.folder else None).lstrip() if tables else ""
    if first.startswith(("#", "%")) and "\n" in first:
        line = first.split("\n", 1)[0].strip()[:40]
        return f"{tables[0].name} begins with {line!r}: take comment lines out, so that the first line is the header; "

    rows = view.rows(tables[0] if view.folder else None, most=2) if tables else []
    if not rows:
        return ""

    names = [name.strip() for name in rows[0]]
    twice = sorted({name for name in names if names.count(name) > 1} | ({""} & set(names)))
    shown = ", ".join(map(repr, names[:8])) + (" ..." if names[8:] else "")

    if twice:
        wants = "must name every column, each by a name of its own, and it has"
        return f"the first line of {tables[0].name} {wants} {shown}; "

    columns = f"{tables[0].name} has the columns {shown}"
    if view.label and view.label not in names:
        return f"{columns}, and none called {view.label!r}; "

    if view.label:
        at = names.index(view.label)
        values = {row[at].strip() for row in view.rows(tables[0] if view.folder else None, most=200)[1:] if row[at:]}
        if len(values) == 1:
            return f"{columns}, and each row that was looked at has {values.pop()!r} in {view.label!r}; "

    wanted = [form.wants for name in _names(task) if (form := DATA_FORMATS.get(name)).wants] if task else []
    return f"{columns}: {wanted[0] if wanted else '--set data.label=NAME says which of them is predicted'}; "


def _is_empty_file(view: Glimpse) -> bool:
    return len(view.files) == 1 and not (view.path / view.files[0] if view.folder else view.path).stat().st_size


def seen(view: Glimpse, task: str = "") -> str:
    """What lies at a path that no format recognizes, and what would make it known: a sentence with a semicolon.

    `task` is the one that the data are for, "" where any may be.
    """
    if not view.files:
        return "it holds no file; "

    first = view.files[0]
    if _is_empty_file(view):
        return f"{first.name} is empty; "

    kind = next((what for endings, what in _OTHERS.items() if first.name.lower().endswith(endings)), "")
    shards = [file for file in view.files if any(file.name.lower().endswith(e) for known in _OTHERS for e in known)]
    if kind and len(shards) == len(view.files):
        return f"{first.name} is {kind}; "

    pictures = sorted({str(file.parent) for file in view.files if ending(file) in PICTURES})
    sounds = sorted({str(file.parent) for file in view.files if ending(file) in SOUNDS})
    for folders_of, what in ((pictures, "pictures"), (sounds, "sounds")):
        if len(folders_of) == 1:
            place = "this folder" if folders_of[0] == "." else f"one folder, {folders_of[0]}/"
            return (
                f"it holds {what} in {place}, and nothing that says what they show: classes need a folder each, or a "
                "table of files and labels; "
            )

    return _columns_in_words(view, task)


def _names(task: str) -> list[str]:
    """The formats that may be recognized, those of `task` where one is named."""
    formats = TASKS.get(task).formats if task else ()
    return [name for name in DATA_FORMATS.names() if not formats or name in formats]


def _candidates(path: Path, task: str, format_name: str, label: str) -> dict[str, Recognized]:
    """{format: what it recognizes}; a format that the user names is taken whether it recognizes the path or not."""
    view = glimpse(path, label)
    if format_name:
        form = DATA_FORMATS.get(format_name)
        sign = form.recognize(view) if form.recognize is not None else None
        return {format_name: sign or Recognized("as stated by --format", 1)}

    candidates = {}
    for name in _names(task):
        try:
            form = DATA_FORMATS.get(name)
        except EdgeftError:  # a plug-in that does not import recognizes nothing
            continue
        sign = form.recognize(view) if form.recognize is not None else None
        if sign is not None:
            candidates[name] = sign

    return candidates


def _task_of(format_name: str, sign: Recognized) -> str:
    """The first task that takes a format and suits what was recognized."""
    listing = [name for name in TASKS.names() if format_name in TASKS.get(name).formats]
    tagged = [name for name in listing if sign.hub_tag and TASKS.get(name).hub_tag == sign.hub_tag]
    suiting = [name for name in listing if (suits := TASKS.get(name).suits) is None or suits(sign.keys)]
    names: list[str] = [*tagged, *suiting, *listing, *DATA_FORMATS.get(format_name).tasks, recipe.default_task()]
    return names[0]
