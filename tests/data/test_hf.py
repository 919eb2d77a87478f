"""Folders of Hugging Face's datasets: save_to_disk, repositories of Parquet files, and what is matched in them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sounds
from PIL import Image

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError, Missing

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

CLASSES = {"_type": "ClassLabel", "names": ["no", "yes"]}
TEXT = {"text": {"_type": "Value", "dtype": "string"}, "label": CLASSES}


def of(path: Path, **keys: Any) -> Data:
    return Data(format="hf", path=str(path), **keys)


def table(rows: list[dict[str, Any]], features: dict[str, Any]) -> Any:
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pyarrow.Table.from_pylist(rows).replace_schema_metadata(metadata)


def save(folder: Path, splits: dict[str, list[dict[str, Any]]], features: dict[str, Any]) -> Path:
    """As `DatasetDict.save_to_disk` does; every split in two files."""
    folder.mkdir(exist_ok=True)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
    for name, rows in splits.items():
        (folder / name).mkdir()
        names = []
        for at, part in enumerate((rows[: len(rows) // 2], rows[len(rows) // 2 :])):
            content = table(part, features)
            names.append({"filename": f"data-{at:05}-of-00002.arrow"})
            with pyarrow.ipc.new_stream(str(folder / name / names[-1]["filename"]), content.schema) as stream:
                stream.write_table(content)
        (folder / name / "state.json").write_text(json.dumps({"_data_files": names, "_split": name}))
        (folder / name / "dataset_info.json").write_text(json.dumps({"features": features}))
    return folder


def reviews(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"text": f"film {first + i}", "label": i % 2} for i in range(count)]


def answers(dataset: data.Dataset) -> dict[Any, str]:
    return {s.raw(i): dataset.labels[s.targets[i]] for s in dataset.splits.values() for i in range(len(s))}


def test_texts_that_were_saved_to_disk(tmp_path: Path) -> None:
    """IMDB's form: test without validation, and unlabelled texts in a split of their own."""
    hidden = [{"text": f"film {i}", "label": -1} for i in range(200, 210)]
    save(tmp_path / "imdb", {"train": reviews(40), "test": reviews(10, 100), "unsupervised": hidden}, TEXT)
    dataset = data.open(of(tmp_path / "imdb"), "text-classify")
    assert dataset.labels == ("no", "yes") and len(dataset.split("test")) == 10
    assert len(dataset.split("train")) + len(dataset.split("val")) == 40
    assert answers(dataset)["film 3"] == "yes" and answers(dataset)["film 100"] == "no"
    assert any("not read: unsupervised" in note for note in dataset.notes)


def test_a_hidden_test_split_is_left_out(tmp_path: Path) -> None:
    """GLUE's form: sentences, and labels of -1 in test."""
    features = {"sentence": TEXT["text"], "label": CLASSES}
    rows = [{"sentence": row["text"], "label": row["label"]} for row in reviews(40)]
    splits = {"train": rows, "validation": rows[:6], "test": [{**row, "label": -1} for row in rows[:8]]}
    dataset = data.open(of(save(tmp_path / "sst2", splits, features)))
    assert {name: len(dataset.split(name)) for name in ("val",)} == {"val": 6}
    assert sum(len(dataset.split(name)) for name in ("train", "test")) == 40
    assert any("test" in note and "left out" in note for note in dataset.notes)


@pytest.mark.parametrize("readme", [False, True])
def test_parquet_files_of_a_repository(tmp_path: Path, readme: bool) -> None:
    (tmp_path / "data").mkdir()
    for name, rows in (("train", reviews(40)), ("test", reviews(10, 100))):
        for at in range(2):
            file = tmp_path / "data" / f"{'ab'[name == 'test'] if readme else name}-0000{at}-of-00002.parquet"
            parquet.write_table(table(rows[at::2], TEXT), file)
    if readme:
        head = "configs:\n- config_name: default\n  data_files:\n"
        head += "  - split: train\n    path: data/a-*\n  - split: test\n    path:\n    - data/b-*\n"
        (tmp_path / "README.md").write_text(f"---\nlicense: mit\n{head}---\n# Reviews\n")
    dataset = data.open(of(tmp_path))
    assert len(dataset.split("test")) == 10 and answers(dataset)["film 103"] == "yes"


def picture(value: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    rng = np.random.default_rng(value)
    Image.fromarray(rng.integers(0, 255, (8, 9, 3), np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def test_pictures(tmp_path: Path) -> None:
    features = {"image": {"_type": "Image"}, "fine": CLASSES}
    rows = [{"image": {"bytes": picture(i), "path": f"{i}.png"}, "fine": i % 2} for i in range(60)]
    rows[4]["image"]["bytes"] = b"no picture"
    dataset = data.open(of(save(tmp_path / "cifar", {"train": rows}, features), split=(0.6, 0.2, 0.2)), "classify")
    assert dataset.labels == ("no", "yes") and any("'fine' is read in its place" in note for note in dataset.notes)
    total = sum(len(dataset.split(name)) for name in dataset.splits)
    assert total == 59 and dataset.split("train").raw(0).shape == (8, 9, 3)
    split = dataset.split("train")
    number = int(split.source(0).rpartition(":")[2]) - 1
    expected = np.asarray(Image.open(io.BytesIO(picture(number))))
    assert np.array_equal(split.raw(0), expected) and split.targets[0] == number % 2
    assert any(
        "train:5: not readable as an image" in note and "/tmp" not in note.partition("image (")[2]
        for note in dataset.notes
    )


def test_sounds(tmp_path: Path) -> None:
    features = {"file": {"_type": "Value"}, "audio": {"_type": "Audio"}, "label": CLASSES}
    rows = []
    for i in range(24):
        wav = sounds.write(tmp_path / f"{i}.wav", sounds.clip("tone", np.random.default_rng(i)), 8000)
        rows.append({"file": "x", "audio": {"bytes": wav.read_bytes(), "path": None}, "label": i % 2})
    dataset = data.open(of(save(tmp_path / "kws", {"train": rows}, features)), "keyword")
    assert dataset.facts == {"kind": "sound", "rate": 8000, "seconds": 0.5} and dataset.labels == ("no", "yes")
    assert dataset.split("test").raw(0)["samples"].shape == (4000,)


def test_translations(tmp_path: Path) -> None:
    features = {"translation": {"_type": "Translation", "languages": ["de", "en"]}}
    rows = [{"translation": {"en": f"a dog {i}", "de": f"ein Hund {i}"}} for i in range(40)]
    folder = save(tmp_path / "wmt", {"train": rows, "validation": rows[:4], "test": rows[:5]}, features)
    dataset = data.open(of(folder, pairs={"source": "en", "target": "de"}), "translate")
    split = dataset.split("train")
    assert len(split) == 40 and (split.raw(3), split.targets[3]) == ("a dog 3", "ein Hund 3")
    with pytest.raises(DataError, match="40 of 40 pairs cannot be used"):
        data.open(of(folder, pairs={"source": "en", "target": "fr"}))


def test_what_is_no_such_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="holds no table of Hugging Face's datasets"):
        data.open(of(tmp_path))
    folder = save(tmp_path / "a", {"train": reviews(20)}, TEXT)
    with pytest.raises(DataError, match="has no column 'texts'") as error:
        data.open(of(folder, text=("texts",)))
    assert "'text'" in error.value.remedy
    with monkeypatch.context() as patch:
        patch.setitem(__import__("sys").modules, "pyarrow", None)
        with pytest.raises(Missing, match=r"\[hf\]"):
            data.open(of(folder))
    (folder / "train" / "data-00001-of-00002.arrow").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"data-00001-of-00002\.arrow: is not a readable Arrow file"):
        data.open(of(folder))
    (folder / "train" / "state.json").write_text("{")
    with pytest.raises(DataError, match=r"state\.json: is not readable"):
        data.open(of(folder))


@pytest.mark.slow
def test_what_the_library_writes(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    columns = {"text": [row["text"] for row in reviews(40)], "label": [row["label"] for row in reviews(40)]}
    content = datasets.Dataset.from_dict(columns, features=features)
    datasets.DatasetDict({"train": content, "test": content.select(range(8))}).save_to_disk(str(tmp_path / "d"))
    dataset = data.open(of(tmp_path / "d"))
    assert len(dataset.split("test")) == 8 and answers(dataset)["film 3"] == "yes"
    content.to_parquet(str(tmp_path / "train-00000-of-00001.parquet"))
    assert answers(data.open(of(tmp_path)))["film 3"] == "yes"


# -- recordings with transcripts ---------------------------------------------------------------------------------------
SPOKEN = {"audio": {"_type": "Audio", "sampling_rate": 8000}, "sentence": {"_type": "Value", "dtype": "string"}}


def spoken(count: int, tmp_path: Path) -> list[dict[str, Any]]:
    rng, rows = np.random.default_rng(0), []
    for i in range(count):
        file = sounds.write(tmp_path / "clip.wav", sounds.clip("tone", rng, seconds=1.0))
        content = {"bytes": Path(file or tmp_path / "clip.wav").read_bytes(), "path": f"{i}.wav"}
        rows.append({"audio": content, "sentence": ("Go left", "go right")[i % 2], "client_id": f"voice{i % 4}"})
    return rows


def test_recordings_with_transcripts(tmp_path: Path) -> None:
    rows = spoken(20, tmp_path)
    save(tmp_path / "d", {"train": rows}, SPOKEN)
    dataset = data.open(of(tmp_path / "d", units="words"), "speech")
    assert dataset.labels == ("go", "left", "right")
    assert dataset.facts["kind"] == "sound" and dataset.facts["rate"] == 8000 and dataset.facts["longest"] == 1.0
    split = dataset.split("train")
    assert sum(len(dataset.split(name)) for name in dataset.splits) == 20
    assert split.raw(0)["samples"].shape == (8000,)
    assert dataset.labels[split.targets[0]["tokens"][0] - 1] == "go"
    assert any("'sentence' is read in its place" in note for note in dataset.notes)

    whole = data.open(of(tmp_path / "d", units="words", group="client_id"), "speech")
    voices = {name: {pool_row(whole, name, i) for i in range(len(whole.split(name)))} for name in whole.splits}
    assert sum(map(len, voices.values())) == 4, "a voice is in one split alone"


def pool_row(dataset: data.Dataset, name: str, i: int) -> str:
    split = dataset.split(name)
    return split.pool.rows[int(split.indices[i])].group  # type: ignore[attr-defined,no-any-return]


def test_rows_without_words_are_left_out_and_many_stop(tmp_path: Path) -> None:
    rows = spoken(40, tmp_path)
    rows[3]["sentence"] = None
    save(tmp_path / "few", {"train": rows}, SPOKEN)
    dataset = data.open(of(tmp_path / "few", units="characters"), "speech")
    assert any("1 of 40 transcripts cannot be used" in note for note in dataset.notes)
    save(tmp_path / "many", {"train": [{**row, "sentence": " "} for row in rows[:5]]}, SPOKEN)
    with pytest.raises(DataError, match="5 of 5 transcripts cannot be used"):
        data.open(of(tmp_path / "many", units="words"), "speech")
    save(tmp_path / "other", {"train": [{"audio": row["audio"], "x": "a"} for row in rows[:5]]}, SPOKEN)
    with pytest.raises(DataError, match="has no column 'text'") as refused:
        data.open(of(tmp_path / "other", units="words"), "speech")
    assert "data.text" in refused.value.remedy


def test_what_a_folder_of_datasets_is_for_is_known_by_its_columns(tmp_path: Path) -> None:
    from edgeft.data.understand import understand

    save(tmp_path / "spoken", {"train": spoken(4, tmp_path)}, SPOKEN)
    understood = understand(tmp_path / "spoken")
    assert (understood.data.format, understood.task, understood.keys) == ("hf", "speech", {"units": "characters"})

    classes = {"_type": "Sequence", "feature": {"_type": "ClassLabel", "names": ["O", "B-LOC"]}}
    words = {"tokens": {"_type": "Sequence", "feature": {"_type": "Value", "dtype": "string"}}, "ner_tags": classes}
    rows = [{"tokens": ["in", "Rome"], "ner_tags": [0, 1]}] * 4
    save(tmp_path / "words", {"train": rows}, words)
    assert understand(tmp_path / "words").task == "token-classify"

    (tmp_path / "shards").mkdir()
    parquet.write_table(table(rows, words), tmp_path / "shards" / "train-00000-of-00001.parquet")
    assert understand(tmp_path / "shards").data.format == "tokens"
