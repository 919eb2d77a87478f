"""Data: a format opens to a `Dataset` of lazy splits; numpy, and pillow where images are decoded.

    record.py         what is known of a format; formats/ has a file each
    samples.py        splits and how they are divided; folders.py, delimited.py, boxes.py what several formats share
    table.py          texts with a class: csv (or tab-separated) and JSON lines
    tagged.py         sentences whose words have a tag each; located.py finds the tokens of those words
    transcripts.py    sounds with transcripts, of the format "wav-folder"
    interactions.py   rows of ratings
    data_yaml.py      the data.yaml of YOLO's format
    glimpse.py        a first look at a path; recognize.py, by which formats know their data; understand.py asks them
    overview.py       what was understood of data, as JSON values
    similar.py        near duplicates of pictures; similar_sounds.py those of sounds

`open(spec)` finds the format among those of edgeft and of plug-ins (`edgeft.plugins.DATA_FORMATS`, entry-point group
`edgeft.data`); `checks.py` says whether the data can be trusted.
"""

from __future__ import annotations

import dataclasses

from ..config import recipe
from ..core.errors import RecipeError, UsageError
from ..core.files import user_path
from ..plugins import DATA_FORMATS, TASKS
from . import label_names
from .again import in_another_format, source
from .checks import (
    Findings,
    calibration_indices,
    check,
    examine,
    extreme_rows,
    fingerprint,
    overlap,
    require_disjoint,
)
from .located import located, located_data, relabelled
from .record import Format
from .samples import WHOLE, Dataset, Split
from .windowed import windowed, windowed_data

__all__ = [
    "WHOLE",
    "Dataset",
    "Findings",
    "Format",
    "Split",
    "calibration_indices",
    "check",
    "examine",
    "extreme_rows",
    "fingerprint",
    "in_another_format",
    "located",
    "located_data",
    "open",
    "overlap",
    "relabelled",
    "require_disjoint",
    "source",
    "tasks_of",
    "windowed",
    "windowed_data",
]


def open(spec: recipe.Data, task: str = "") -> Dataset:
    """The data set that `spec` names, for `task`; its notes name the keys that are set and that the format ignores.

    Raises `RecipeError` for an unknown format (with the nearest one) and for one that the task does not take,
    `DataError` for data that is absent or cannot be used, and `Missing` where a package that is needed is absent.
    """
    try:
        form = DATA_FORMATS.get(spec.format)
    except UsageError as error:
        raise RecipeError(error.message, where="data.format", remedy=error.remedy) from error

    takers, formats = tasks_of(form), TASKS.get(task).formats if task else ()
    if takers and formats and task not in takers and form.name not in formats:
        raise RecipeError(
            f"is {form.name!r}, which the task {task!r} does not take",
            where="data.format",
            remedy=f"{task} takes {', '.join(formats)}; {form.name} is for {', '.join(takers)}",
        )

    spec = dataclasses.replace(spec, path=str(user_path(spec.path))) if spec.path else spec
    dataset: Dataset = form.open(form.with_options(spec))
    if task and TASKS.get(task).answer == "class":
        label_names.refuse_combined(dataset.labels, dataset.name)

    unread = form.unread(spec)
    if unread:
        keys = ", ".join(f"data.{key}" for key in unread)
        dataset.notes.append(f"{keys} is set, and the format {form.name!r} does not read it")

    return dataset


def tasks_of(form: Format) -> tuple[str, ...]:
    """The tasks that take a format: those of edgeft whose record lists it, and those that its own record names.

    Without any the format is taken by every task.
    """
    listing = {name for name in TASKS.builtin if form.name in TASKS.get(name).formats}
    return tuple(sorted(listing | set(form.tasks)))
