"""Data formats are records: those of edgeft, and those of plug-ins, which a recipe names like any other."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edgeft import data, tasks
from edgeft.config import recipe
from edgeft.core.errors import DataError, InvalidInput, Missing, RecipeError
from edgeft.plugins import DATA_FORMATS

PLUGIN = """
import numpy as np
from edgeft.data import Dataset, Format, Split


class Rows:
    def __init__(self, path):
        self.path, self.rows = path, np.loadtxt(path, dtype=np.float32, ndmin=2)

    def __len__(self):
        return len(self.rows)

    def raw(self, i):
        return self.rows[i]

    def source(self, i):
        return f"{self.path}:{i + 1}"


def read(spec):
    pool = Rows(spec.path)
    at = np.arange(len(pool))
    return Dataset(spec.path, ("a", "b"), {"train": Split("train", pool, at, at % 2)})


FORMAT = Format("columns-of-numbers", "Numbers in columns.", read)
"""


TASKS_OF_A_PLUGIN = """
import dataclasses
from edgeft import tasks

ANY = dataclasses.replace(tasks.get("control"), name="anything", formats=())
ROWS = dataclasses.replace(tasks.get("control"), name="rows", formats=("npz",))
"""


def install(folder: Path, source: str, name: str = "columns-of-numbers", module: str = "columns") -> None:
    """A package as pip leaves it: a module, and a dist-info folder with its entry point."""
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{module}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[edgeft.data]\n{name} = {module}:FORMAT\n")


@pytest.mark.board
def test_every_file_of_the_room_is_a_record_with_a_description_and_keys_of_the_schema() -> None:
    known = {field.name for field in dataclasses.fields(recipe.Data)}
    used: set[str] = set()
    for name in DATA_FORMATS.builtin:
        record = DATA_FORMATS.get(name)
        assert isinstance(record, data.Format) and record.name == name
        assert record.description.endswith(".") and not record.tasks  # the records of tasks name it
        assert set(data.tasks_of(record)) <= set(tasks.BUILTIN)
        assert set(record.keys) <= known
        used |= set(record.keys)
    elsewhere = {"format", "options", "allow_leak"}  # the gate of accuracy reads the last one
    assert known - used - set(data.record.SAMPLE_KEYS) == elsewhere, "each key of [data] is read by something"


def test_a_format_of_a_plug_in_is_named_in_a_recipe_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    np.savetxt(tmp_path / "x.txt", np.arange(12).reshape(6, 2))
    made = recipe.from_table({"data": {"format": "columns-of-numbers", "path": str(tmp_path / "x.txt")}}, "r")
    opened = data.open(made.data, made.task)
    assert opened.split("train").raw(2).tolist() == [4, 5] and opened.notes == []
    with pytest.raises(RecipeError, match="cannot be 'columns-of-number'") as caught:
        recipe.from_table({"data": {"format": "columns-of-number"}}, "r")
    assert "did you mean 'columns-of-numbers'" in caught.value.remedy


def test_a_format_of_a_plug_in_that_cannot_be_used_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "raise RuntimeError('no licence')", "broken-numbers", "broken_numbers")
    with pytest.raises(Missing, match=r"broken_numbers 1\.2 .*RuntimeError: no licence"):
        data.open(recipe.Data(format="broken-numbers"))
    install(tmp_path, "FORMAT = 3", "wrong-numbers", "wrong_numbers")
    with pytest.raises(InvalidInput, match="as int, expected a record of the class Format"):
        data.open(recipe.Data(format="wrong-numbers"))


def test_a_task_takes_its_own_formats_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match="is 'yolo', which the task 'classify' does not take") as caught:
        data.open(recipe.Data(format="yolo", path="x"), "classify")
    assert (
        "classify takes embedded, idx, image-folder, image-table, npz, hf, pictures; yolo is for detect"
        in caught.value.remedy
    )

    install(tmp_path, TASKS_OF_A_PLUGIN, module="plugin_tasks")
    points = "[edgeft.tasks]\nanything = plugin_tasks:ANY\nrows = plugin_tasks:ROWS\n"
    (tmp_path / "plugin_tasks-1.2.dist-info" / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DataError, match="no such folder"):  # a task that lists no format takes any
        data.open(recipe.Data(format="yolo", path="x"), "anything")
    with pytest.raises(DataError, match="no such file"):  # also one of edgeft that it lists
        data.open(recipe.Data(format="npz", path="x"), "rows")
    with pytest.raises(RecipeError, match="which the task 'rows' does not take"):
        data.open(recipe.Data(format="yolo", path="x"), "rows")


def test_keys_that_a_format_does_not_read_are_told(tmp_path: Path) -> None:
    rows = [f"some words {i},{i % 2}" for i in range(30)]
    (tmp_path / "d.csv").write_text("\n".join(["text,label", *rows, ""]))
    spec = recipe.Data(format="csv", path=str(tmp_path / "d.csv"), pattern="{label}_{take}", length=8)
    assert data.open(spec).notes[-1] == "data.pattern is set, and the format 'csv' does not read it"


def test_data_of_a_program_cannot_be_read_again() -> None:
    with pytest.raises(DataError, match="handed over by a program"):
        data.open(recipe.Data(format="dataset"))


def test_the_page_of_formats_lists_every_record() -> None:
    lines = ["| format | tasks | keys of `[data]` | |", "| --- | --- | --- | --- |"]
    for name in sorted(DATA_FORMATS.builtin):
        record = DATA_FORMATS.get(name)
        keys = ", ".join(f"`{key}`" for key in record.keys)
        lines.append(f"| `{name}` | {', '.join(data.tasks_of(record)) or 'any'} | {keys} | {record.description} |")
    page = (Path(__file__).parents[2] / "docs" / "data-formats.md").read_text(encoding="utf-8")
    table = page.split("<!-- formats -->\n")[1].split("<!-- /formats -->")[0]
    assert table == "\n".join(lines) + "\n"
