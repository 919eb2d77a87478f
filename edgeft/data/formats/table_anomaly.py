"""Rows of numbers and categories, of which training sees the normal ones alone, in a .csv or .tsv."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...config import recipe
from ...config.data_keys import option
from ...core.errors import DataError, nearest
from .. import columns_table, recognize_columns
from ..record import Format
from ..samples import NAMES, Dataset, Split, complete, fractions, stratified, together
from ..table_rows import Table

LABELS = ("normal", "anomaly")


@dataclass(frozen=True)
class Keys(columns_table.Keys):
    normal: str = option("normal", "the value of data.label that rows without a fault have; every other one is a fault")
    false_alarms: float = option(
        0.05, "share of normal rows that may be called anomalies: it sets the threshold of a bundle", low=0.0, high=0.5
    )


def open(spec: recipe.Data) -> Dataset:
    """See `columns_table`; targets float32 (N, 1) are 0 (normal) and 1 (anomaly).

    Training rows are normal: the anomalies of a table that is divided here go to val and test, those of a train file
    are left out.
    """
    keys = spec.options if isinstance(spec.options, Keys) else Keys()

    def targets(tables: dict[str, Table]) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
        values = {text for table in tables.values() for text in table.different[0]}
        if keys.normal not in values:
            raise DataError(
                f"no row has the value {keys.normal!r} of data.normal in the column {spec.label!r}",
                where=spec.path,
                remedy=nearest(keys.normal, sorted(values)),
            )

        return LABELS, {
            name: table.each(lambda text: text != keys.normal, np.float32)[:, None] for name, table in tables.items()
        }

    def divide(splits: dict[str, Split], labels: tuple[str, ...]) -> tuple[dict[str, Split], list[str]]:
        return _normal_to_train(splits, spec)

    return columns_table.open_with(spec, targets, divide)


def _normal_to_train(splits: dict[str, Split], spec: recipe.Data) -> tuple[dict[str, Split], list[str]]:
    train = splits.get("train")
    if train is None:
        return {name: splits[name] for name in NAMES if name in splits}, []

    normal, faults = (np.flatnonzero(train.targets[:, 0] == kind) for kind in (0, 1))
    missing = [name for name in ("val", "test") if name not in splits]
    if not missing or tuple(spec.split) == (1.0, 0.0, 0.0):
        note = [f"train: {len(faults)} anomalies are left out, since training sees normal rows alone"]
        return {**splits, "train": train.subset(normal, "train")}, note * bool(len(faults))
    if not len(faults) and "test" in missing:
        raise DataError("has no anomaly: nothing could be measured", where=spec.path, remedy="add rows with faults")

    completed, notes = complete(
        {**splits, "train": train.subset(normal, "train")}, spec.split, spec.split_seed, spec.path
    )
    shares = dict(zip(NAMES, fractions(spec.split)))
    total = sum(shares[name] for name in missing)
    parts = stratified(np.ones(len(faults), np.int64), [shares[name] / total for name in missing], spec.split_seed)
    parts, _ = together(train.subset(faults), parts)

    for name, part in zip(missing, parts):
        kept = completed[name]
        indices = np.concatenate([kept.indices, train.indices[faults[part]]])
        targets = np.concatenate([kept.targets, np.ones((len(part), 1), np.float32)])
        completed[name] = Split(name, train.pool, indices, targets)

    return completed, [*notes, f"the {len(faults)} anomalies are divided over {' and '.join(missing)}"]


FORMAT = Format(
    name="table-anomaly",
    description="Rows of numbers and categories, of which training sees the normal ones alone, in a .csv or .tsv.",
    open=open,
    keys=("path", "split", "split_seed", "label", "delimiter", "encoding", "quoting", "header"),
    options=Keys,
    recognize=recognize_columns.table_anomaly,
    wants="--set data.label=NAME --set data.normal=VALUE say which column marks normal rows, and how (rows with faults "
    "are needed too, for the measure)",
)
