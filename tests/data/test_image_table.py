"""Pictures with a table of labels: Kaggle's, one-hot of Roboflow, metadata of Hugging Face; wrong rows are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError

PIL = pytest.importorskip("PIL.Image", reason="pictures are read by pillow")
NAMES = ("cat", "dog", "owl")


def draw(folder: Path, count: int = 24, start: int = 0) -> list[tuple[str, str]]:
    """Pictures whose gray says their class; [(file, label)]."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(start, start + count):
        kind = i % 3
        noise = np.random.default_rng(i).integers(0, 20, (8, 8)).astype(np.uint8)
        PIL.fromarray(noise + np.uint8(60 * kind + 30)).save(folder / f"p{i}.png")
        rows.append((f"p{i}.png", NAMES[kind]))
    return rows


def opened(path: Path, **keys: object) -> data.Dataset:
    return data.open(Data(format="image-table", path=str(path), **keys), "classify")  # type: ignore[arg-type]


def right(dataset: data.Dataset) -> bool:
    """Whether each label is what the picture shows."""
    return all(
        dataset.labels[target] == NAMES[(int(raw.mean()) - 30) // 60]
        for part in dataset.splits
        for raw, target in dataset.split(part)
    )


def counts(dataset: data.Dataset) -> dict[str, int]:
    return {part: len(dataset.split(part)) for part in dataset.splits}


def test_a_table_of_ids_without_endings(tmp_path: Path) -> None:
    rows = draw(tmp_path / "images")
    lines = [f"{name[:-4]};{label}" for name, label in rows]
    (tmp_path / "train.csv").write_text("image_id;diagnosis\n" + "\n".join(lines))
    (tmp_path / "sample_submission.csv").write_text("image_id;diagnosis\n")
    dataset = opened(tmp_path)
    assert sum(counts(dataset).values()) == 24 and dataset.labels == NAMES and right(dataset)
    assert any("sample_submission.csv" in note for note in dataset.notes)


def test_a_column_of_splits_and_a_column_of_the_recipe(tmp_path: Path) -> None:
    rows = draw(tmp_path)
    parts = ["Train"] * 12 + ["valid"] * 6 + ["test"] * 6
    lines = [f"{name},{label},x,{part}" for (name, label), part in zip(rows, parts)]
    (tmp_path / "all.csv").write_text("path,kind,label,split\n" + "\n".join(lines))
    dataset = opened(tmp_path / "all.csv", label="kind")
    assert counts(dataset) == {"train": 12, "val": 6, "test": 6} and right(dataset)
    with pytest.raises(DataError, match=r"did you mean 'kind'"):
        opened(tmp_path / "all.csv", label="kinds")


@pytest.mark.parametrize("form", ["one-hot", "metadata"])
def test_a_table_in_each_split_folder(tmp_path: Path, form: str) -> None:
    start = 0
    for part, count in (("train", 12), ("valid", 6), ("test", 6)):
        rows = draw(tmp_path / part, count, start)
        start += count
        if form == "one-hot":
            lines = [f"{name}, {', '.join(str(int(label == known)) for known in NAMES)}" for name, label in rows]
            (tmp_path / part / "_classes.csv").write_text("filename, cat, dog, owl\n" + "\n".join(lines))
        else:
            lines = [f"{name},{label}" for name, label in rows]
            (tmp_path / part / "metadata.csv").write_text("file_name,label\n" + "\n".join(lines))
    dataset = opened(tmp_path)
    assert counts(dataset) == {"train": 12, "val": 6, "test": 6} and dataset.labels == NAMES and right(dataset)


def test_rows_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    rows = draw(tmp_path, 60)
    lines = [f"{name},{label}" for name, label in rows]
    table = tmp_path / "labels.csv"
    table.write_text("file,label\n" + "\n".join([*lines[:59], "absent.png,cat"]))
    (note,) = [note for note in opened(tmp_path).notes if "rows cannot be used" in note]
    assert f"1 of 60 rows cannot be used: {table}:61: the picture 'absent.png'" in note
    table.write_text("file,label\n" + "\n".join([*lines[:30], *[f"{name}," for name, _ in rows[30:]]]))
    with pytest.raises(DataError, match="30 of 60 rows") as caught:
        opened(tmp_path)
    assert caught.value.where == f"{table}:32"
    table.write_text("file,cat,dog\n" + "\n".join(f"{name},1,1" for name, _ in rows))
    with pytest.raises(DataError, match="has 2 classes"):
        opened(tmp_path)


def test_tables_that_are_something_else(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no table"):
        opened(tmp_path)
    draw(tmp_path, 3)
    (tmp_path / "a.csv").write_text("width,height\n1,2\n")
    with pytest.raises(DataError, match="no column of files"):
        opened(tmp_path)
    (tmp_path / "a.csv").write_text("file,width,height\np0.png,640,480\n")
    with pytest.raises(DataError, match="not 0 and 1"):
        opened(tmp_path)
