"""Words with tags: CoNLL files, JSON lines, Parquet and folders of datasets; what is left out and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeft import data
from edgeft.config import recipe
from edgeft.core.errors import DataError, RecipeError
from edgeft.data.understand import understand

CONLL = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
German JJ B-NP B-MISC
call NN I-NP O

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER
"""
ROWS = [
    {"tokens": ["Anna", "Lee", "slept"], "ner_tags": ["B-PER", "I-PER", "O"]},
    {"tokens": ["In", "Brisk"], "ner_tags": ["O", "B-LOC"]},
] * 5


def opened(path: Path, form: str = "conll", **keys: Any) -> data.Dataset:
    keys = {"split": data.WHOLE, **keys}
    table = {name: keys.pop(name) for name in list(keys) if name == "tag_names"}
    return data.open(recipe.Data(format=form, path=str(path), options=table, **keys), "token-classify")


def written(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def tags(dataset: data.Dataset, i: int = 0, split: str = "train") -> list[str]:
    return [dataset.labels[k] for k in dataset.split(split).targets[i]["tags"]]


def test_conll_2003_has_the_tag_in_the_last_column(tmp_path: Path) -> None:
    dataset = opened(written(tmp_path / "eng.train", CONLL))
    assert dataset.labels == ("O", "B-MISC", "I-MISC", "B-ORG", "I-ORG", "B-PER", "I-PER")
    split = dataset.split("train")
    assert split.raw(0)["text"] == "EU rejects German call" and split.raw(0)["words"].tolist()[2] == [11, 17]
    assert tags(dataset, 0) == ["B-ORG", "O", "B-MISC", "O"] and tags(dataset, 1) == ["B-PER", "I-PER"]
    assert len(split) == 2 and split.source(1) == f"{tmp_path / 'eng.train'}:8"
    chunks = opened(tmp_path / "eng.train", columns={"tokens": "0", "tags": "2"})
    assert tags(chunks) == ["B-NP", "B-VP", "B-NP", "I-NP"]


@pytest.mark.parametrize(
    "names", [("eng.train", "eng.testa", "eng.testb"), ("ner_train.conll", "ner_dev.conll", "ner_test.conll")]
)
def test_a_folder_has_a_file_a_split(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        written(tmp_path / name, CONLL)
    written(tmp_path / "notes.txt", "nothing")
    dataset = opened(tmp_path)
    assert list(dataset.splits) == ["train", "val", "test"] and "notes.txt" in " ".join(dataset.notes)
    written(tmp_path / "more_train.txt", CONLL)
    with pytest.raises(DataError, match="which one is meant"):
        opened(tmp_path)


def test_comments_tabs_and_other_schemes(tmp_path: Path) -> None:
    content = "# id 7 domain=x\n#\tO\nAnna\tS-PER\nNew\tB-LOC\nYork\tE-LOC\n\nAnna\tO\n"
    dataset = opened(written(tmp_path / "a.bio", content))
    assert dataset.split("train").raw(0)["text"] == "# Anna New York"
    assert tags(dataset) == ["O", "B-PER", "B-LOC", "I-LOC"]
    assert any("read as IOB2" in note for note in dataset.notes)


def test_broken_sentences_are_named_and_too_many_stop(tmp_path: Path) -> None:
    good = "Anna B-PER\nslept O\n\n" * 30
    dataset = opened(written(tmp_path / "a.conll", good + "Anna B-PER\nalone\n\n" + good))
    assert len(dataset.split("train")) == 60
    assert any("a.conll:92: has 1 column(s), expected 2 columns" in note for note in dataset.notes), dataset.notes
    with pytest.raises(DataError, match=r"1 of 1 sentences cannot be used: .*1 column"):
        opened(written(tmp_path / "b.conll", "Anna\nslept\n"))
    with pytest.raises(DataError, match="no word has another tag than O"):
        opened(written(tmp_path / "c.conll", "Anna O\n"))
    with pytest.raises(DataError, match="holds no sentences"):
        opened(written(tmp_path / "d.conll", "\n"))
    with pytest.raises(RecipeError, match="numbers of columns"):
        opened(tmp_path / "a.conll", columns={"tags": "ner"})
    with pytest.raises(DataError, match="no such file"):
        opened(tmp_path / "absent.conll")


def test_a_type_that_training_lacks_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "train.conll", "Anna B-PER\n")
    written(tmp_path / "test.conll", "Brisk B-LOC\n")
    with pytest.raises(DataError, match="train has no entity of the type LOC"):
        opened(tmp_path)


def _jsonl(folder: Path) -> Path:
    return written(folder / "a.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS))


def _array(folder: Path) -> Path:
    return written(folder / "a.json", json.dumps(ROWS))


def _datasets() -> Any:
    return pytest.importorskip("datasets", reason="writes a folder of datasets")


def _numbered() -> Any:
    library = _datasets()
    names = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    features = library.Features(
        {
            "tokens": library.Sequence(library.Value("string")),
            "ner_tags": library.Sequence(library.ClassLabel(names=names)),
        }
    )
    rows = [{**row, "ner_tags": [names.index(tag) for tag in row["ner_tags"]]} for row in ROWS]
    return library.Dataset.from_list(rows, features=features)


def _parquet(folder: Path) -> Path:
    _numbered().to_parquet(str(folder / "a.parquet"))
    return folder / "a.parquet"


def _saved(folder: Path) -> Path:
    library = _datasets()
    library.DatasetDict({"train": _numbered(), "test": _numbered()}).save_to_disk(str(folder / "saved"))
    return folder / "saved"


@pytest.mark.parametrize("make", [_jsonl, _array, _parquet, _saved])
def test_lists_of_words_and_tags(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    dataset = opened(make(tmp_path), "tokens")
    assert dataset.labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER") and len(dataset.split("train")) == len(ROWS)
    assert tags(dataset) == ["B-PER", "I-PER", "O"] and dataset.split("train").raw(1)["text"] == "In Brisk"


def test_numbers_without_names_need_them(tmp_path: Path) -> None:
    rows = [{"words": ["Anna", "slept"], "labels": [1, 0]}] * 4
    path = written(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"data\.tag_names"):
        opened(path, "tokens")
    assert tags(opened(path, "tokens", tag_names=("O", "B-PER"))) == ["B-PER", "O"]
    with pytest.raises(DataError, match="none of the numbers 0 to 0"):
        opened(path, "tokens", tag_names=("O",))
    with pytest.raises(DataError, match="has no column 'ner'"):
        opened(path, "tokens", columns={"tags": "ner"})


def test_unequal_lists_and_other_rows_are_counted(tmp_path: Path) -> None:
    rows = [*ROWS * 5, {"tokens": ["Anna"], "ner_tags": ["O", "O"]}, {"tokens": "Anna", "ner_tags": ["O"]}]
    dataset = opened(written(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows)), "tokens")
    assert any("2 of 52 sentences" in note and "1 words and 2 tags" in note for note in dataset.notes), dataset.notes
    with pytest.raises(DataError, match=r"is no \.jsonl"):
        opened(written(tmp_path / "a.csv", "x"), "tokens")


def test_data_check_recognizes_both(tmp_path: Path) -> None:
    for path, form in ((written(tmp_path / "one" / "train.txt", CONLL), "conll"), (_jsonl(tmp_path), "tokens")):
        seen = understand(path if form == "tokens" else path.parent)
        assert (seen.task, seen.data.format) == ("token-classify", form)
    prose = written(tmp_path / "b.txt", "B-side O\nis a word\n")
    with pytest.raises(DataError):
        understand(prose)


def test_tags_without_prefixes_are_recognized_by_the_ending_of_their_file(tmp_path: Path) -> None:
    text = "Anna NOUN\nsleeps VERB\n\nOslo NOUN\nis VERB\n\n"
    understood = understand(written(tmp_path / "a.conll", text * 5))
    assert (understood.data.format, understood.task) == ("conll", "token-classify")
    with pytest.raises(DataError, match="no data that a format recognizes"):
        understand(written(tmp_path / "a.txt", text * 5))
