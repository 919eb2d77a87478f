"""Tables whose rows are in files: the same data set as from memory, and files that are whole or absent."""

from __future__ import annotations

import contextlib
import copy
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError, EdgeftError, SystemFailure
from edgeft.data import checks, packed, samples, stored, table_cache, table_rows
from edgeft.inputs import columns

NUMBER = st.floats(-1e6, 1e6).map(lambda value: f"{value:.4g}")
GERMAN = st.integers(-99_999, 99_999).map(lambda n: f"{n // 10},{abs(n) % 10}")
WORD = st.sampled_from(["red", " green", "blé", "", "NA", "ÿ", 'a "b"', "two\nlines", "1,5"])
DATE = st.dates().map(lambda day: day.strftime("%d.%m.%Y"))
COLUMN = st.sampled_from([NUMBER, GERMAN, WORD, DATE, st.one_of(NUMBER, st.just("")), st.one_of(NUMBER, WORD)])


@st.composite
def tables(draw: st.DrawFn) -> str:
    """The text of a table of up to four columns and a class, and with some broken lines."""
    kinds = draw(st.lists(COLUMN, min_size=1, max_size=4))
    count = draw(st.integers(1, 40))
    targets = draw(st.sampled_from([st.sampled_from(["a", "b"]), st.integers(0, 3).map(str), NUMBER]))
    lines = [";".join([f"c{i}" for i in range(len(kinds))] + ["kind"])]
    for _ in range(count):
        fields = [draw(kind) for kind in kinds] + [draw(targets)]
        lines.append(";".join('"' + f.replace('"', '""') + '"' if '"' in f or "\n" in f else f for f in fields))
        if draw(st.integers(0, 30)) == 0:
            lines.append(draw(st.sampled_from(["", "x;y;z;1;2;3;4", ";" * len(kinds), 'open "quote";b'])))
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines)


def described(path: Path, form: str = "table", **options: Any) -> Any:
    """All that there is to know of a data set, or its error."""
    spec = Data(format=form, path=str(path), label="kind", split=(0.6, 0.2, 0.2), options=options)
    try:
        dataset = data.open(spec)
    except EdgeftError as error:
        return str(error)

    preprocess = columns.configure(None, {}, dataset.facts, print)
    splits = {}
    for name, split in dataset.splits.items():
        raws = [{key: value.tolist() for key, value in split.raw(i).items()} for i in range(len(split))]
        inputs = split.pool.inputs(split.indices, preprocess) if not _unread(split, preprocess) else None
        if inputs is not None:
            one_by_one = [columns.preprocess(split.raw(i), preprocess)["x"][0] for i in range(len(split))]
            np.testing.assert_array_equal(inputs, np.reshape(one_by_one, inputs.shape))
            inputs = inputs.tolist()
        splits[name] = [raws, split.targets.tolist(), list(split.sources()), inputs]
        assert splits[name][2] == [split.source(i) for i in range(len(split))]

    return [splits, dataset.labels, dataset.notes, dataset.facts, data.fingerprint(dataset), calibration(dataset)]


def calibration(dataset: data.Dataset) -> list[int]:
    """Positions of five training rows that are not in the test split; they are those that digests find."""
    train, test = dataset.split("train"), dataset.split("test")
    try:
        chosen = checks.calibration_indices(train, 5, avoid=test).tolist()
    except DataError:
        chosen = []
    with mock.patch.object(checks, "_keyed", return_value=False):
        try:
            assert checks.calibration_indices(train, 5, avoid=test).tolist() == chosen
        except DataError:
            assert not chosen
    return chosen


def _unread(split: data.Split, preprocess: dict) -> bool:
    """Whether a row of a split cannot be read, which is an error either way."""
    errors = []
    for made in (
        lambda: split.pool.inputs(split.indices, preprocess),
        lambda: [columns.preprocess(split.raw(i), preprocess) for i in range(len(split))],
    ):
        try:
            made()
        except DataError as error:
            errors.append(str(error))
    assert len(errors) in (0, 2) and len(set(errors)) < 2
    return bool(errors)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of rows of large tables, which all tables are from here on."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(table_cache, "LARGE", 0)
    return tmp_path / "cache" / "edgeft" / "tables"


@given(text=tables(), block=st.sampled_from([1, 3, 1 << 14]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_in_files_are_the_rows_in_memory(tmp_path: Path, monkeypatch: Any, text: str, block: int) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    form = "table-values" if block == 3 else "table"

    with contextlib.ExitStack() as stack:
        for module in (packed, table_rows, checks, samples):
            stack.enter_context(mock.patch.object(module, "BLOCK", block))
        with mock.patch.object(table_cache, "LARGE", 1 << 60):
            in_memory = described(path, form)
        with mock.patch.object(table_cache, "LARGE", 0):
            assert described(path, form) == in_memory
            assert described(path, form) == in_memory, "what was made is found again"


def test_rows_of_the_test_split_are_never_calibrated_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "BLOCK", 2)
    for name, sizes in (("train", range(8)), ("val", (50, 51)), ("test", (3, 4, 60, 61, 62))):
        lines = ["size,kind", *(f"{size},{'ab'[i % 2]}" for i, size in enumerate(sizes))]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    assert calibration(described_or_raise(tmp_path)) and len(calibration(described_or_raise(tmp_path))) == 5
    train = described_or_raise(tmp_path).split("train")
    assert checks._shared(train, np.arange(8), described_or_raise(tmp_path).split("test")) == {3, 4}


def write(path: Path, count: int = 300) -> Path:
    rng = np.random.default_rng(0)
    sizes = rng.normal(size=count).round(3)
    lines = ["size,colour,kind"]
    lines += [f"{size},{'red' if i % 3 else 'blue'},{'ab'[i % 2]}" for i, size in enumerate(sizes)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_files_are_found_again_by_content_and_by_how_it_is_read(tmp_path: Path, cache: Path) -> None:
    first = described(write(tmp_path / "one.csv"))
    (folder,) = cache.iterdir()
    os.utime(folder, (0, 0))
    second = described(write(tmp_path / "two.csv"))
    assert [folder] == list(cache.iterdir()) and folder.stat().st_mtime > 0
    assert first[3] == second[3] and second[0]["train"][2][0].startswith(str(tmp_path / "two.csv:"))

    described(tmp_path / "one.csv", ignore=("size",))
    described(write(tmp_path / "two.csv", 200))
    assert len(list(cache.iterdir())) == 3
    os.utime(folder, (0, 0))
    described(write(tmp_path / "two.csv", 250))
    assert not folder.exists() and len(list(cache.iterdir())) == 3, "what is not used is removed"


def test_a_broken_folder_is_made_again(tmp_path: Path, cache: Path) -> None:
    first = described(write(tmp_path / "t.csv"))
    (folder,) = cache.iterdir()
    for damage in (lambda: (folder / "inrows").write_bytes(b""), lambda: (folder / "facts.json").unlink()):
        damage()
        assert described(tmp_path / "t.csv") == first and list(cache.iterdir()) == [folder]


def test_two_at_once_do_not_mix(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path / "t.csv", 5000)
    code = (
        "from edgeft import data; from edgeft.config.recipe import Data; from edgeft.data import table_cache\n"
        f"spec = Data(format='table', path={str(path)!r}, label='kind')\n"
        "table_cache.LARGE = 0; print(data.fingerprint(data.open(spec)))"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(2)]
    assert len({process.communicate()[0] for process in running}) == 1 and not any(p.returncode for p in running)
    (folder,) = cache.iterdir()
    assert table_cache.facts(folder)["count"] == 0


@pytest.mark.parametrize("after", [0, 2, 9])
def test_a_full_disk_is_told_and_nothing_stays(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    path, count, append = write(tmp_path / "t.csv"), 0, packed.Writer.append

    def full(self: packed.Writer, rows: Any) -> None:
        nonlocal count
        count += 1
        if count > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(self, rows)

    monkeypatch.setattr(packed.Writer, "append", full)
    monkeypatch.setattr(table_rows, "BLOCK", 50)
    with pytest.raises(SystemFailure, match="large table could not be kept in files: No space left") as error:
        described_or_raise(path)
    assert "XDG_CACHE_HOME" in error.value.remedy and not list(cache.iterdir())


def test_a_table_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, close = write(tmp_path / "t.csv"), packed.Writer.close

    def changed(self: packed.Writer) -> None:
        write(path, 310)
        close(self)

    monkeypatch.setattr(packed.Writer, "close", changed)
    with pytest.raises(DataError, match="changed while it was read"):
        described_or_raise(path)
    assert not list(cache.iterdir())


def described_or_raise(path: Path) -> data.Dataset:
    return data.open(Data(format="table", path=str(path), label="kind"))


def test_an_array_in_a_file_is_read_in_parts_and_by_number(tmp_path: Path) -> None:
    values = np.arange(10_000) * 3
    (tmp_path / "a").write_bytes(values.astype(np.int64).tobytes())
    array = copy.copy(stored.InFile(tmp_path / "a", np.int64))  # as a worker of a loader gets it
    assert len(array) == 10_000 and array.block(9_990, 10_050).tolist() == values[9_990:].tolist()
    for indices in ([], [5], [9_999, 0, 77], list(range(300, 200, -1))):
        assert array.take(np.array(indices, np.int64)).tolist() == values[indices].tolist()

    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(SystemFailure, match="became shorter while it was in use"):
        array.block(0, 1)
