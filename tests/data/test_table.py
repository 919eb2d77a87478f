"""Tables of texts: csv and JSON lines, quoted line breaks, splits, and everything that can be wrong with a line."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError


def lines(n: int = 60, start: int = 0) -> list[str]:
    return [f"{start + i},review number {start + i},{('no', 'yes')[i % 2]}" for i in range(n)]


def table(path: Path, rows: list[str], header: str = "id,text,label", name: str = "reviews.csv") -> Data:
    (path / name).write_bytes("\n".join([header, *rows]).encode("utf-8", "surrogateescape") + b"\n")
    return Data(format="csv", path=str(path / name))


def texts(made: data.Dataset) -> dict[str, str]:
    return {split.raw(i): made.labels[split.targets[i]] for split in made.splits.values() for i in range(len(split))}


def test_one_file_is_divided_by_class_with_the_seed(tmp_path: Path) -> None:
    spec = table(tmp_path, lines())
    made = data.open(spec)
    assert made.labels == ("no", "yes") and list(made.splits) == ["train", "val", "test"]
    assert texts(made) == {f"review number {i}": ("no", "yes")[i % 2] for i in range(60)}
    split = made.split("test")
    assert split.classes is not None and 0 < split.classes.mean() < 1
    number = int(split.raw(0).split()[-1])
    assert split.source(0) == f"{spec.path}:{number + 2}"
    assert data.fingerprint(made) == data.fingerprint(data.open(spec))
    again = data.open(Data(format="csv", path=spec.path, split_seed=1))
    assert [again.split("test").raw(i) for i in range(8)] != [split.raw(i) for i in range(8)]


def test_quotes_line_breaks_and_several_columns(tmp_path: Path) -> None:
    rows = [f'1,"Title, {i}","It said ""wow""\r\nand {i} more",{i % 3}' for i in range(30)]
    spec = table(tmp_path, rows, "id,title,body,stars")
    made = data.open(Data(format="csv", path=spec.path, text=("title", "body"), label="stars"))
    assert made.labels == ("0", "1", "2")
    assert 'Title, 4 It said "wow"\r\nand 4 more' in texts(made)
    assert any(made.split("train").source(i).endswith(":4") for i in range(3)), "lines of the file, not records"


def test_a_mark_at_the_start_tabs_and_blank_lines(tmp_path: Path) -> None:
    rows = [line.replace(",", "\t") for line in lines()]
    rows[10:10] = ["", ""]
    spec = table(tmp_path, rows, "\ufeffid\ttext\tlabel", "reviews.tsv")
    assert len(texts(data.open(spec))) == 60


def test_numbers_are_classes_in_the_order_of_numbers(tmp_path: Path) -> None:
    rows = [f"{i},words {i},{('10', '2', '2.0', '-1')[i % 4]}" for i in range(60)]
    assert data.open(table(tmp_path, rows)).labels == ("-1", "2", "10")


def test_json_lines(tmp_path: Path) -> None:
    rows = [{"text": f"größe {i}", "label": i % 2, "other": None} for i in range(40)]
    path = tmp_path / "reviews.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=i % 2 == 0) for i, row in enumerate(rows)))
    made = data.open(Data(format="jsonl", path=str(path)))
    assert made.labels == ("0", "1") and texts(made)["größe 7"] == "1"


def test_a_folder_with_a_file_a_split(tmp_path: Path) -> None:
    table(tmp_path, lines(40), name="shop_train.csv")
    table(tmp_path, lines(10, 100), name="shop_test.csv")
    (tmp_path / "notes.txt").write_text("not a table")
    made = data.open(Data(format="csv", path=str(tmp_path)))
    assert len(made.split("test")) == 10 and len(made.split("train")) + len(made.split("val")) == 40
    assert made.split("test").raw(0) == "review number 100"
    table(tmp_path, lines(10), name="train.csv")
    with pytest.raises(DataError, match=r"both shop_train\.csv and train\.csv"):
        data.open(Data(format="csv", path=str(tmp_path)))


def test_the_same_text_in_two_splits_is_a_leak(tmp_path: Path) -> None:
    table(tmp_path, lines(40), name="train.csv")
    table(tmp_path, [*lines(9, 100), "7,review number 7,yes"], name="test.csv")
    warnings = data.check(data.open(Data(format="csv", path=str(tmp_path))))
    assert any("leak: 1 of 10 test samples" in line and "test.csv:11" in line for line in warnings)


def test_the_same_words_in_two_splits_may_be_a_leak(tmp_path: Path) -> None:
    from edgeft.data.similar import plain_words

    table(tmp_path, [*lines(40), "8,:-) !!,yes"], name="train.csv")
    table(tmp_path, [*lines(9, 100), "7,  REVIEW - number 7!,yes", "8,?!,no"], name="test.csv")
    warnings = data.check(data.open(Data(format="csv", path=str(tmp_path))))
    (found,) = [line for line in warnings if "leak" in line]
    assert found.startswith("possible leak: 1 of 11 test texts") and "test.csv:11" in found
    assert plain_words("\uff26abric\u2019s\n FINE.") == plain_words("fabric s fine"), "forms of letters are unified"
    assert plain_words("?!") == ""


BAD = {
    "7,half a row": "2 fields where the header has 3",
    "7,one,too,many": "4 fields where the header has 3",
    "7,   ,yes": "the text is empty",
    "7,words,": "the label is empty",
    "7,caf\udce9,yes": "not UTF-8",
    "7,nu\0ll,yes": "null character",
    '7,"quoted"wrong,yes': "expected after",
    "7,words,\x07": "is not a line of plain text",
}


@pytest.mark.parametrize(("row", "message"), BAD.items())
def test_a_bad_row_is_named_and_left_out_and_many_stop_the_run(tmp_path: Path, row: str, message: str) -> None:
    """In a file that is UTF-8, as its last line shows."""
    made = data.open(table(tmp_path, [*lines(40), row, *lines(39, 40), "79,café,yes"]))
    assert len(texts(made)) == 80
    assert any("1 of 81 lines cannot be used: " in n and "reviews.csv:42: " in n and message in n for n in made.notes)
    with pytest.raises(DataError, match=r"10 of 90 lines cannot be used, the first: .*reviews\.csv:42: "):
        data.open(table(tmp_path, [*lines(40), *[row] * 10, *lines(39, 40), "79,café,yes"]))


def test_an_open_quote_costs_the_lines_that_it_swallows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"41 of 81 lines cannot be used.*:42: "):
        data.open(table(tmp_path, [*lines(40), '7,"never closed,yes', *lines(40, 40)]))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{not json", "broken JSON"),
        ("[1, 2]", "not an object"),
        ('{"text": "words"}', "has no 'label'"),
        ('{"text": 3, "label": 1}', "'text' is not text"),
        ('{"text": "words", "label": [1]}', "neither a name nor a number"),
        ('{"text": "\\ud800", "label": 1}', "not valid Unicode"),
        ("[" * 100_000, "broken JSON"),
    ],
)
def test_a_bad_line_of_json(tmp_path: Path, row: str, message: str) -> None:
    good = [json.dumps({"text": f"words {i}", "label": i % 2}) for i in range(60)]
    (tmp_path / "r.jsonl").write_text("\n".join([*good[:30], row, *good[30:]]))
    made = data.open(Data(format="jsonl", path=str(tmp_path / "r.jsonl")))
    assert any("r.jsonl:31: " in note and message in note for note in made.notes) and len(texts(made)) == 60


def test_what_is_no_such_table(tmp_path: Path) -> None:
    spec = table(tmp_path, lines())
    with pytest.raises(DataError, match=r"reviews\.csv:1: has no column 'lable'") as error:
        data.open(Data(format="csv", path=spec.path, label="lable"))
    assert "'label'" in error.value.remedy
    with pytest.raises(DataError, match="is not a jsonl file") as error:
        data.open(Data(format="jsonl", path=spec.path))
    assert '"csv"' in error.value.remedy
    with pytest.raises(DataError, match="twice the column 'text'"):
        data.open(table(tmp_path, lines(), "text,text,label"))
    with pytest.raises(DataError, match="these are no classes"):
        data.open(table(tmp_path, [f"{i},words {i},{i / 7}" for i in range(3000)]))
    with pytest.raises(DataError, match="only one class"):
        data.open(table(tmp_path, [f"{i},words {i},yes" for i in range(30)]))
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "nothing").mkdir()
    for path in ("empty.csv", "nothing", "absent.csv"):
        with pytest.raises(DataError, match=r"is empty|holds no csv|no such"):
            data.open(Data(format="csv", path=str(tmp_path / path)))
    with pytest.raises(DataError, match="no table is given"):
        data.open(Data(format="csv"))


def test_a_file_that_changes_while_it_is_read_is_an_error_not_another_text(tmp_path: Path) -> None:
    spec = table(tmp_path, lines())
    split = data.open(spec).split("test")
    Path(spec.path).write_text("id,text,label\n")
    with pytest.raises(DataError, match=r"changed while it was in use"):
        split.raw(0)


def test_memory_does_not_grow_with_the_texts(tmp_path: Path) -> None:
    long = "x" * 20_000
    spec = table(tmp_path, [f"{i},{i} {long},{i % 2}" for i in range(400)])
    tracemalloc.start()
    try:
        made = data.open(spec)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000, "the file has 8 MB"
    finally:
        tracemalloc.stop()
    assert len(made.split("train").raw(0)) > 20_000


def test_labels_are_taken_as_they_are_written(tmp_path: Path) -> None:
    rows = [f"{i},words {i},{('01', '1', '001', '1.0')[i % 4]}" for i in range(60)]
    made = data.open(table(tmp_path, rows))
    assert made.labels == ("001", "01", "1")
    assert texts(made)["words 3"] == "1" and texts(made)["words 4"] == "01"


@pytest.mark.parametrize("missing", ["nan", "NaN", "NULL", "None", "N/A", "<NA>"])
def test_missing_values_are_no_class_and_no_text(tmp_path: Path, missing: str) -> None:
    """As many as there may be: they are not broken lines."""
    rows = [f"{i},words {i},{('0.0', '1.0', missing)[i % 3]}" for i in range(60)]
    rows[3] = f"3,{missing},1.0"
    made = data.open(table(tmp_path, rows))
    assert made.labels == ("0", "1") and len(texts(made)) == 39
    (note,) = [note for note in made.notes if "missing value" in note]
    assert "21 record(s)" in note and f"reviews.csv:4: 'label' is '{missing}'" in note


def test_missing_values_of_json(tmp_path: Path) -> None:
    rows = [json.dumps({"text": f"words {i}", "label": (1, 0, None, "nan")[i % 4]}) for i in range(60)]
    (tmp_path / "r.jsonl").write_text("\n".join(rows))
    made = data.open(Data(format="jsonl", path=str(tmp_path / "r.jsonl")))
    assert made.labels == ("0", "1") and any("30 record(s) with a missing value" in note for note in made.notes)
