"""Sounds with a table of labels, as ESC-50 and UrbanSound8K have them; folds stay whole and wrong rows are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sounds

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError
from edgeft.data.understand import understand

pytest.importorskip("soundfile", reason="sounds are read by soundfile")
FOLDS, EACH = 5, 8


def write_esc(root: Path) -> Path:
    """audio/FOLD-ID-TAKE-CLASS.wav and meta/esc50.csv, in which a class has a number and a name."""
    rng = np.random.default_rng(0)
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for i in range(FOLDS * EACH):
        kind, fold = i % 2, 1 + i // EACH
        name = f"{fold}-{i}-A-{kind}.wav"
        sounds.write(root / "audio" / name, sounds.clip(("tone", "rise")[kind], rng))
        lines.append(f"{name},{fold},{kind},{('dog', 'rain')[kind]},False,{i},A")
    (root / "meta").mkdir()
    (root / "meta" / "esc50.csv").write_text("\n".join(lines))
    return root


def opened(path: Path, **keys: object) -> data.Dataset:
    return data.open(Data(format="sound-table", path=str(path), **keys), "keyword")  # type: ignore[arg-type]


def folds_of(dataset: data.Dataset) -> dict[str, set[str]]:
    splits = {name: dataset.split(name) for name in dataset.splits}
    return {name: {Path(s.source(i)).name[0] for i in range(len(s))} for name, s in splits.items()}


@pytest.mark.parametrize("place", ["", "meta/esc50.csv"])
def test_a_table_beside_a_folder_of_sounds(place: str, tmp_path: Path) -> None:
    dataset = opened(write_esc(tmp_path / "ESC-50") / place)
    assert dataset.labels == ("dog", "rain")
    for name in dataset.splits:
        split = dataset.split(name)
        for i in range(len(split)):
            assert dataset.labels[split.targets[i]] == ("dog", "rain")[int(Path(split.source(i)).stem[-1])]
            assert split.raw(i)["samples"].size
    assert sum(len(dataset.split(name)) for name in dataset.splits) == FOLDS * EACH
    assert dataset.facts["kind"] == "sound" and dataset.facts["rate"]


def test_folds_are_not_divided(tmp_path: Path) -> None:
    dataset = opened(write_esc(tmp_path))
    folds = folds_of(dataset)
    assert set(folds) == {"train", "val", "test"} and sum(map(len, folds.values())) == FOLDS
    assert set.union(*folds.values()) == {"1", "2", "3", "4", "5"}
    assert any("folds are divided whole" in note for note in dataset.notes)
    assert folds_of(opened(tmp_path, split=(1.0, 0.0, 0.0))) == {"train": {"1", "2", "3", "4", "5"}}


def test_it_is_recognized(tmp_path: Path) -> None:
    understood = understand(write_esc(tmp_path))
    assert (understood.data.format, understood.task) == ("sound-table", "keyword")
    assert understood.keys == {"label": "category"}


def test_urban_sounds_lie_in_folders_of_folds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for i in range(20):
        sounds.write(tmp_path / "audio" / f"fold{1 + i // 2}" / f"{i}-3-0-0.wav", sounds.clip("tone", rng))
        lines.append(f"{i}-3-0-0.wav,{i},0.0,0.3,1,{1 + i // 2},{i % 2},{('siren', 'drilling')[i % 2]}")
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "UrbanSound8K.csv").write_text("\n".join(lines))
    dataset = opened(tmp_path)
    assert dataset.labels == ("drilling", "siren")
    assert sum(len(dataset.split(name)) for name in dataset.splits) == 20
    assert understand(tmp_path).data.format == "sound-table"


def test_a_sound_that_is_absent_is_named(tmp_path: Path) -> None:
    table = write_esc(tmp_path) / "meta" / "esc50.csv"
    table.write_text(table.read_text() + "\nabsent.wav,1,0,dog,False,0,A")
    (note,) = [note for note in opened(tmp_path).notes if "cannot be used" in note]
    assert "the sound 'absent.wav' does not exist" in note and "esc50.csv:42" in note
    for path in (tmp_path / "audio").glob("1-*"):
        path.unlink()
    with pytest.raises(DataError, match="rows cannot be used"):
        opened(tmp_path)
