"""Samples of equal content stay in one split where the data are divided here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.data import equal
from edgeft.data.samples import stratified


def contents(dataset: data.Dataset) -> dict[str, set[str]]:
    """{digest of a sample: the splits that it is in}."""
    homes: dict[str, set[str]] = {}
    for name, split in dataset.splits.items():
        for i in range(len(split)):
            homes.setdefault(split.digest(i), set()).add(name)
    return homes


def test_equal_rows_of_a_table_are_in_one_split(tmp_path: Path) -> None:
    rows = [f"{i % 7},{i % 5},{'yes' if i % 7 > 3 else 'no'}" for i in range(140)]
    (tmp_path / "t.csv").write_text("heat,load,fault\n" + "\n".join(rows) + "\n")
    dataset = data.open(Data(format="table", path=str(tmp_path / "t.csv"), label="fault"))
    homes = contents(dataset)
    assert len(homes) == 35 and all(len(names) == 1 for names in homes.values())
    sizes = [len(dataset.split(name)) for name in ("train", "val", "test")]
    assert sum(sizes) == 140 and abs(sizes[0] - 98) <= 8 and min(sizes[1:]) >= 12
    assert all(set(split.classes.tolist()) == {0, 1} for split in dataset.splits.values())  # type: ignore[union-attr]
    assert any("samples of equal content" in note for note in dataset.notes)
    assert not [line for line in data.check(dataset) if "leak" in line]


def test_anomalies_of_equal_content_too(tmp_path: Path) -> None:
    rows = [f"{i % 9}.5,{i % 4},{'normal' if i % 4 else 'fault'}" for i in range(144)]
    (tmp_path / "t.csv").write_text("heat,load,state\n" + "\n".join(rows) + "\n")
    dataset = data.open(Data(format="table-anomaly", path=str(tmp_path / "t.csv"), label="state"))
    assert all(len(names) == 1 for names in contents(dataset).values())


def test_texts_sentence_pairs_and_files(tmp_path: Path) -> None:
    texts = [f"{'good' if i % 2 else 'bad'} film number {i % 30}\t{i % 2}" for i in range(90)]
    (tmp_path / "texts.tsv").write_text("text\tlabel\n" + "\n".join(texts) + "\n")
    pairs = "".join(f"the house {i % 20}\tdas Haus {i % 20}\n" for i in range(60))
    (tmp_path / "pairs.tsv").write_text("en\tde\n" + pairs)
    for i in range(40):
        place = tmp_path / "pictures" / "ab"[i % 2] / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((9, 9, 3), i % 14 * 2 + i % 2, np.uint8)).save(place)

    for spec in (
        Data(format="csv", path=str(tmp_path / "texts.tsv")),
        Data(format="pairs", path=str(tmp_path / "pairs.tsv"), pairs={"source": "en", "target": "de"}),
        Data(format="image-folder", path=str(tmp_path / "pictures")),
    ):
        dataset = data.open(spec)
        assert all(len(names) == 1 for names in contents(dataset).values()), spec.format
        assert set(dataset.splits) == {"train", "val", "test"}
        assert any("samples of equal content" in note for note in dataset.notes), spec.format


def test_data_without_equal_samples_are_divided_as_before(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,label\n" + "".join(f"{i},{i % 3},{i % 2}\n" for i in range(60)))
    dataset = data.open(Data(format="table", path=str(tmp_path / "t.csv")))
    parts = stratified(np.arange(60) % 2, (0.7, 0.15, 0.15), 0)
    assert [split.indices.tolist() for split in dataset.splits.values()] == [part.tolist() for part in parts]
    assert not any("equal content" in note for note in dataset.notes)


def test_too_few_different_samples_are_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,label\n" + "".join(f"1,{i % 2},{i % 2}\n" for i in range(60)))
    dataset = data.open(Data(format="table", path=str(tmp_path / "t.csv")))
    assert any("2 different samples are too few" in note for note in dataset.notes)
    assert any("leak" in line for line in data.check(dataset))


@pytest.mark.parametrize("seed", range(20))
def test_any_division_keeps_every_sample_and_divides_no_content(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(20, 200))
    content, classes = rng.integers(0, rng.integers(4, 2 * count), count), rng.integers(0, 3, count)
    before = stratified(classes, (0.7, 0.15, 0.15), seed)
    after, moved = equal.joined(before, content, classes)
    assert sorted(np.concatenate(after).tolist()) == list(range(count))
    homes = [set(content[at].tolist()) for at in after]
    assert not homes[0] & homes[1] and not homes[0] & homes[2] and not homes[1] & homes[2]
    divided = {c for c in content.tolist() if sum(c in content[at] for at in before) > 1}
    assert moved == sum(c in divided for c in content.tolist())
    for at, old in zip(after, before):
        assert {i for i in old.tolist() if content[i] not in divided} <= set(at.tolist())


def test_parts_of_one_recording_are_no_equal_samples(tmp_path: Path) -> None:
    sound = tmp_path / "long.wav"
    sound.write_bytes(b"RIFF")

    class Parts:
        def __len__(self) -> int:
            return 4

        def raw(self, i: int) -> np.ndarray:
            return np.full((4, 2), i, np.float32)

        def source(self, i: int) -> str:
            return str(sound)

    assert equal.groups(data.Split("train", Parts(), np.arange(4), np.zeros(4))) is None
