"""Tables as the field writes them: delimiters, encodings, no header, classes without samples, files without labels."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError, RecipeError

WORDS = ("no", "yes")


def write(
    path: Path, delimiter: str = ",", n: int = 60, encoding: str = "utf-8", header: str = "", ending: str = "\n"
) -> Data:
    header = header or f"text{delimiter}label"
    rows = [header] * (header != "none") + [f"déjà vu {i}{delimiter}{WORDS[i % 2]}" for i in range(n)]
    content = ending.join([*rows, ""])
    path.write_bytes(content.encode(encoding))
    return Data(format="csv", path=str(path))


def texts(dataset: data.Dataset) -> dict[str, str]:
    return {
        split.raw(i): dataset.labels[split.targets[i]] for split in dataset.splits.values() for i in range(len(split))
    }


EXPECTED = {f"déjà vu {i}": WORDS[i % 2] for i in range(60)}


@pytest.mark.parametrize("delimiter", [";", "|", "\t", "::", ","])
def test_a_delimiter_is_found_and_reported(tmp_path: Path, delimiter: str) -> None:
    dataset = data.open(write(tmp_path / "d.csv", delimiter))
    assert texts(dataset) == EXPECTED
    notes = [note for note in dataset.notes if "data.delimiter" in note]
    assert len(notes) == (delimiter != ","), notes


def test_a_stated_delimiter_is_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("text;label,label\n" + "".join(f"a,{i};{i % 2}\n" for i in range(60)))
    dataset = data.open(Data(format="csv", path=str(tmp_path / "d.csv"), delimiter=";", label="label,label"))
    assert dataset.labels == ("0", "1") and "a,7" in texts(dataset)
    with pytest.raises(RecipeError, match="cannot be 'x'"):
        from edgeft.config import recipe

        recipe.from_table({"data": {"delimiter": "x"}}, "r.toml")


def test_fields_between_semicolons_may_stand_in_quotation_marks(tmp_path: Path) -> None:
    rows = [f'"one; {i} ""two""";{WORDS[i % 2]}' for i in range(60)]
    (tmp_path / "d.csv").write_text("\n".join(["text;label", *rows, ""]))
    assert 'one; 3 "two"' in texts(data.open(Data(format="csv", path=str(tmp_path / "d.csv"))))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_an_encoding_is_found_and_reported(tmp_path: Path, encoding: str, ending: str) -> None:
    dataset = data.open(write(tmp_path / "d.csv", encoding=encoding, ending=ending))
    assert texts(dataset) == EXPECTED
    assert any("data.encoding" in note for note in dataset.notes) == (encoding != "utf-8-sig")


def test_line_feeds_inside_of_two_byte_characters_end_no_line(tmp_path: Path) -> None:
    """U+0A05 and U+050A hold the byte 0A."""
    rows = [f"\u0a05\u050a {i},{WORDS[i % 2]}" for i in range(60)]
    for encoding in ("utf-16-le", "utf-16-be"):
        (tmp_path / "d.csv").write_bytes("\n".join(["\ufefftext,label", *rows, ""]).encode(encoding))
        dataset = data.open(Data(format="csv", path=str(tmp_path / "d.csv")))
        assert len(texts(dataset)) == 60 and "\u0a05\u050a 59" in texts(dataset)


def test_an_alphabet_that_cannot_be_guessed_is_refused_until_it_is_stated(tmp_path: Path) -> None:
    rows = [f"привет мир {i},{WORDS[i % 2]}" for i in range(60)]
    path = tmp_path / "d.csv"
    path.write_bytes("\n".join(["text,label", *rows, ""]).encode("cp1251"))
    with pytest.raises(DataError, match=r"d\.csv:2: is not UTF-8 .* cannot be guessed") as error:
        data.open(Data(format="csv", path=str(path)))
    assert "cp1251" in error.value.remedy
    assert "привет мир 3" in texts(data.open(Data(format="csv", path=str(path), encoding="cp1251")))
    for name, message in (("klingon", "unknown encoding"), ("utf-32", "is not read"), ("rot13", "unknown encoding")):
        with pytest.raises(RecipeError, match=message):
            data.open(Data(format="csv", path=str(path), encoding=name))


def test_some_broken_lines_do_not_change_the_encoding(tmp_path: Path) -> None:
    rows = [f"déjà vu {i},{WORDS[i % 2]}".encode() for i in range(60)]
    rows[5] = b"caf\xe9,yes"
    (tmp_path / "d.csv").write_bytes(b"\n".join([b"text,label", *rows]))
    dataset = data.open(Data(format="csv", path=str(tmp_path / "d.csv")))
    assert len(texts(dataset)) == 59 and any("d.csv:7: " in note and "UTF-8" in note for note in dataset.notes)


def test_a_table_without_a_header_has_columns_by_number(tmp_path: Path) -> None:
    path = tmp_path / "sms.tsv"
    path.write_text("".join(f"{('ham', 'spam')[i % 2]}\tcall me {i}\n" for i in range(60)))
    spec = Data(format="csv", path=str(path), text=("1",), label="0")
    for header in ("auto", "no"):
        dataset = data.open(Data(**{**vars(spec), "header": header}))
        assert len(texts(dataset)) == 60 and texts(dataset)["call me 0"] == "ham"
        assert any("without a header" in note for note in dataset.notes) == (header == "auto")
    assert len(texts(data.open(Data(**{**vars(spec), "header": "yes"})))) == 59
    with pytest.raises(DataError, match="has no column 'text'") as error:
        data.open(Data(format="csv", path=str(path)))
    assert 'data.header = "no"' in error.value.remedy


def test_columns_by_number_where_there_is_a_header(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("id,words,stars\n" + "".join(f"{i},call me {i},{i % 2}\n" for i in range(60)))
    dataset = data.open(Data(format="csv", path=str(path), text=("1",), label="2"))
    assert len(texts(dataset)) == 60 and "words" not in texts(dataset), "the first line has a name where numbers stand"


def test_the_usual_names_of_columns_are_read_and_reported(tmp_path: Path) -> None:
    """As the Stanford sentiment treebank of GLUE and many others have them; two candidates are no guess."""
    path = tmp_path / "train.tsv"
    path.write_text("sentence\tlabel\n" + "".join(f"a film {i}\t{i % 2}\n" for i in range(60)))
    dataset = data.open(Data(format="csv", path=str(path)))
    assert len(texts(dataset)) == 60 and any("'sentence' is read in its place" in note for note in dataset.notes)
    path.write_text("sentence\treview\tlabel\n" + "".join(f"a film {i}\tb\t{i % 2}\n" for i in range(60)))
    with pytest.raises(DataError, match="has no column 'text'"):
        data.open(Data(format="csv", path=str(path)))


def test_a_class_without_samples_in_val_and_test_is_a_warning_that_names_it(tmp_path: Path) -> None:
    for name, labels in (("train", "abc"), ("val", "ab"), ("test", "ab")):
        rows = [f"{name} {i},{labels[i % len(labels)]}" for i in range(30)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *rows]))
    dataset = data.open(Data(format="csv", path=str(tmp_path)))
    for name in ("val", "test"):
        assert any(f"the {name} split has no sample of 'c'" in note for note in data.check(dataset))
        assert len(dataset.split(name)) == 30
    (tmp_path / "train.csv").write_text("text,label\n" + "".join(f"x {i},{'ab'[i % 2]}\n" for i in range(30)))
    (tmp_path / "test.csv").write_text("text,label\n" + "".join(f"y {i},{'abc'[i % 3]}\n" for i in range(30)))
    with pytest.raises(DataError, match="train split has no sample of 'c'"):
        data.open(Data(format="csv", path=str(tmp_path)))


@pytest.mark.parametrize(("count", "lacking"), [(1, ("val", "test")), (2, ("val",)), (3, ())])
def test_a_rare_class_of_one_file_is_learned_from_first(tmp_path: Path, count: int, lacking: tuple[str, ...]) -> None:
    rows = [f"plain {i},{WORDS[i % 2]}" for i in range(60)] + [f"odd {i},rare" for i in range(count)]
    (tmp_path / "d.csv").write_text("\n".join(["text,label", *rows]))
    dataset = data.open(Data(format="csv", path=str(tmp_path / "d.csv")))
    number = dataset.labels.index("rare")
    assert [name for name in dataset.splits if number not in dataset.split(name).targets] == list(lacking)
    for name in lacking:
        assert any(f"the {name} split has no sample of 'rare'" in note for note in dataset.notes)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "masked"])
def test_a_test_file_without_labels_is_left_out_and_a_part_of_train_is_held_out(tmp_path: Path, kind: str) -> None:
    rows = [{"id": i, "text": f"good thing {i}", "label": i % 2} for i in range(40)]
    hidden = [{"id": i, "text": f"other thing {i}"} | ({"label": -1} if kind == "masked" else {}) for i in range(9)]
    for name, content in (("train", rows), ("test", hidden), ("sample_submission", [{"id": 1, "label": 0}])):
        if kind == "jsonl":
            (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, content)))
        else:
            lines = [",".join(content[0]), *(",".join(map(str, row.values())) for row in content)]
            (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    dataset = data.open(Data(format="jsonl" if kind == "jsonl" else "csv", path=str(tmp_path)))
    assert sum(len(dataset.split(name)) for name in dataset.splits) == 40 and len(dataset.splits) == 3
    assert all(words.startswith("good thing") for words in texts(dataset)) and dataset.labels == ("0", "1")
    assert any("test" in note and "left out" in note for note in dataset.notes)
    assert any("not read: sample_submission" in note for note in dataset.notes)


def test_parquet_and_json_arrays(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{"text": f"déjà vu {i}", "label": i % 2, "more": [i]} for i in range(60)]
    names = {"info": {"features": {"label": {"_type": "ClassLabel", "names": list(WORDS)}}}}
    columns = pyarrow.Table.from_pylist(rows).replace_schema_metadata({"huggingface": json.dumps(names)})
    parquet.write_table(columns, tmp_path / "d.parquet")
    dataset = data.open(Data(format="parquet", path=str(tmp_path / "d.parquet")))
    assert texts(dataset) == EXPECTED and dataset.split("test").source(0).startswith(f"{tmp_path}/d.parquet:")
    with pytest.raises(DataError, match="has no column 'sentence'"):
        data.open(Data(format="parquet", path=str(tmp_path / "d.parquet"), text=("sentence",)))
    with pytest.raises(DataError, match="is not a csv file") as error:
        data.open(Data(format="csv", path=str(tmp_path / "d.parquet")))
    assert 'data.format = "parquet"' in error.value.remedy
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        data.open(Data(format="parquet", path=str(tmp_path / "broken.parquet")))

    (tmp_path / "d.json").write_text(
        json.dumps([{"text": row["text"], "label": WORDS[i % 2]} for i, row in enumerate(rows)])
    )
    assert texts(data.open(Data(format="jsonl", path=str(tmp_path / "d.json")))) == EXPECTED
    with gzip.open(tmp_path / "d.jsonl.gz", "wt") as file:
        file.write("\n".join(json.dumps({"text": f"déjà vu {i}", "label": WORDS[i % 2]}) for i in range(60)))
    assert texts(data.open(Data(format="jsonl", path=str(tmp_path / "d.jsonl.gz")))) == EXPECTED


def imdb(root: Path, count: int = 12) -> Data:
    for split in ("train", "test"):
        for label in ("neg", "pos"):
            (root / split / label).mkdir(parents=True)
            for i in range(count):
                (root / split / label / f"{i}_7.txt").write_text(f"{split} {label} film {i}<br />", encoding="utf-8")
    (root / "train" / "unsup").mkdir()
    (root / "train" / "unsup" / "0_0.txt").write_text("a film")
    (root / "train" / "labeledBow.feat").write_text("9 0:9")
    return Data(format="text-folder", path=str(root))


def test_folders_of_texts(tmp_path: Path) -> None:
    spec = imdb(tmp_path / "aclImdb")
    dataset = data.open(spec, "text-classify")
    assert dataset.labels == ("neg", "pos") and len(dataset.split("test")) == 24
    assert len(dataset.split("train")) + len(dataset.split("val")) == 24
    assert texts(dataset)["test pos film 3<br />"] == "pos"
    assert any("unsup" in note and "left out" in note for note in dataset.notes)
    (tmp_path / "aclImdb" / "test" / "pos" / "0_7.txt").write_bytes("caf\xe9".encode("latin-1"))
    (tmp_path / "aclImdb" / "train" / "pos" / "0_7.txt").write_bytes(b"")
    dataset = data.open(spec)
    assert "caf\xe9" in texts(dataset)
    assert any("1 of 24 texts" in note and "0_7.txt: the text is empty" in note for note in dataset.notes)
    for path in (tmp_path / "aclImdb" / "train" / "neg").iterdir():
        path.write_bytes(b"\0\0\0")
    with pytest.raises(DataError, match="of 24 texts cannot be used"):
        data.open(spec)


def test_the_order_of_classes_does_not_depend_on_the_file(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.csv"), write(tmp_path / "b.csv", ";", encoding="utf-16")
    a, b = data.open(first), data.open(second)
    assert a.labels == b.labels and np.array_equal(a.split("test").targets, b.split("test").targets)
