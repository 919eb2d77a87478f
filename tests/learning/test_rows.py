"""Batches of rows that are made together are those that are made one by one, in a resumed epoch as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from accelerate import Accelerator, skip_first_batches

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError
from edgeft.data import table_cache
from edgeft.inputs import columns
from edgeft.learning import tensors
from edgeft.tasks.tabular.learning import loader, predict


@pytest.fixture(params=["in memory", "in files"])
def dataset(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> data.Dataset:
    """A table of numbers with gaps, of dates and of categories, whose test split has a value that cannot be read."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(table_cache, "LARGE", 0 if request.param == "in files" else 1 << 60)
    rng = np.random.default_rng(0)
    for name, count in (("train", 50), ("val", 20), ("test", 20)):
        lines = ["size,width,day,colour,kind"]
        for i in range(count):
            width = "" if i % 5 == 0 else f"{rng.normal():.3f}"
            day = f"2023-{1 + i % 12:02d}-{1 + i % 28:02d}"
            lines.append(f"{rng.normal() * 1e4:.2f},{width},{day},{'red' if i % 3 else 'blue'},{'ab'[i % 2]}")
        if name == "test":
            lines.append("large,1,2023-01-01,red,a")
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return data.open(Data(format="table", path=str(tmp_path), label="kind"))


def epoch(split: data.Split, spec: dict, *, workers: int = 0, number: int = 1) -> list:
    batches = loader(split, spec, 8, augment="light", seed=3, workers=workers, shuffle=True)
    batches.set_epoch(number)
    return list(batches)


def same(first: list, second: list) -> bool:
    assert len(first) == len(second)
    return all(torch.equal(a[0][0], b[0][0]) and torch.equal(a[1], b[1]) for a, b in zip(first, second))


def test_an_epoch_is_the_one_of_rows_one_by_one(dataset: data.Dataset) -> None:
    spec, train = columns.configure(None, {}, dataset.facts, print), dataset.split("train")
    made = epoch(train, spec)
    with mock.patch("edgeft.tasks.tabular.learning.rows.source", tensors.source):
        one_by_one = epoch(train, spec)
    assert same(made, one_by_one) and not same(made, epoch(train, spec, number=2))
    assert same(made, epoch(train, spec, workers=2))


def test_an_epoch_goes_on_in_the_middle(dataset: data.Dataset) -> None:
    spec, train = columns.configure(None, {}, dataset.facts, print), dataset.split("train")
    batches = Accelerator(cpu=True).prepare(loader(train, spec, 8, augment="light", seed=3, shuffle=True))
    batches.set_epoch(2)
    whole = [(tuple(x.clone() for x in inputs), targets) for inputs, targets in batches]
    batches.set_epoch(2)
    assert same(whole[3:], list(skip_first_batches(batches, 3)))


def test_a_value_that_cannot_be_read_is_told_when_it_is_asked_for(dataset: data.Dataset) -> None:
    spec = columns.configure(None, {}, dataset.facts, print)
    net = torch.nn.Linear(columns.width(spec["columns"]), 2)
    assert len(predict(net, dataset.split("val"), spec)) == 20
    with pytest.raises(DataError, match="'large' in the column 'size' is no finite number"):
        predict(net, dataset.split("test"), spec)


def test_another_pool_is_read_one_by_one(dataset: data.Dataset) -> None:
    class Listed:
        targets = np.zeros(3, np.int64)

        def __len__(self) -> int:
            return 3

        def raw(self, i: int) -> Any:
            return dataset.split("train").raw(i)

    spec = columns.configure(None, {}, dataset.facts, print)
    (batch,) = loader(Listed(), spec, 8)  # type: ignore[arg-type]
    expected = dataset.split("train").pool.inputs(dataset.split("train").indices[:3], spec)  # type: ignore[attr-defined]
    assert np.array_equal(batch[0][0].numpy(), expected)
