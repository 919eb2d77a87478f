"""Recordings with transcripts in folders of Hugging Face's `datasets`: a column of sounds and one of texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import recipe
from ..core.errors import DataError, nearest
from . import transcripts
from .hf_tables import Rows
from .samples import Dataset, Pool

#: how data sets call their transcripts where the recipe does not say
TEXTS = ("sentence", "transcription", "transcript", "normalized_text", "raw_transcription", "normalized", "utterance")
#: and whose recordings they are
GROUPS = ("speaker_id", "client_id", "speaker")


def opened(
    root: Path, rows_of: Mapping[str, Rows], pools: Mapping[str, Pool], spec: recipe.Data, notes: list[str]
) -> Dataset:
    """The data set of the recordings `pools` by split; raises `DataError` naming the column or row.

    A row without a usable text is left out with a note; more than 5 % of them stop the run.
    """
    recordings = {split: _rows(rows, pools[split], spec, notes) for split, rows in rows_of.items()}
    return transcripts.dataset(root, recordings, spec, notes)


def _rows(rows: Rows, pool: Pool, spec: recipe.Data, notes: list[str]) -> list[transcripts.Row]:
    names = [str(name) for name in rows.table.column_names]
    text, group = _text(rows, names, spec, notes), _group(rows, names, spec)
    values = rows.table[text].to_pylist()
    groups = rows.table[group].to_pylist() if group else [""] * len(values)

    usable, faults = [], list[str]()
    for i, (transcript, speaker) in enumerate(zip(values, groups)):
        where = pool.source(i)
        try:
            words = transcripts.words_of(transcript)
        except ValueError as error:
            faults.append(f"{where}: {error}")
            continue
        name = Path(f"{rows.where}:{i + 1}")
        usable.append(
            transcripts.Row(name, words, where, str(speaker or ""), stored=_reader(pool, i), written=transcript.strip())
        )

    transcripts.judge(faults, len(faults), len(usable), Path(rows.where), notes)
    return usable


def _reader(pool: Pool, i: int) -> Any:
    return lambda: pool.raw(i)


def _text(rows: Rows, names: list[str], spec: recipe.Data, notes: list[str]) -> str:
    """The column of transcripts: that of the recipe, else one of a usual name."""
    if len(spec.text) == 1 and spec.text[0] in names:
        return spec.text[0]
    usual = [name for name in TEXTS if name in names]
    if spec.text != recipe.Data().text or not usual:
        asked = spec.text[0] if spec.text else ""
        raise DataError(f"has no column {asked!r}", where=rows.where, remedy=f"set data.text; {nearest(asked, names)}")
    notes.append(f"{rows.where}: has no column 'text': {usual[0]!r} is read in its place")
    return usual[0]


def _group(rows: Rows, names: list[str], spec: recipe.Data) -> str:
    """The column of `data.group`, else one of speakers, "" without any."""
    if spec.group and spec.group not in names and spec.group != "speaker":
        raise DataError(f"has no column {spec.group!r}", where=rows.where, remedy=nearest(spec.group, names))
    return spec.group if spec.group in names else next((name for name in GROUPS if name in names), "")
