"""Files of interactions as the field writes them: each is read as the same interactions."""

from __future__ import annotations

import datetime
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from interactions_data import write_ratings

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, str, int]]:
    path = write_ratings(tmp_path_factory.mktemp("ratings") / "ratings.csv")
    cells = [line.split(",") for line in path.read_text().splitlines()[1:]]
    return [(user, item, rating, 978_300_000 + int(time)) for user, item, rating, time in cells]


def iso(time: int) -> str:
    return datetime.datetime.fromtimestamp(time, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def joined(delimiter: str, header: str, rows: list[tuple[object, ...]]) -> str:
    return "\n".join([*([header] if header else []), *(delimiter.join(map(str, row)) for row in rows), ""])


FORMS = {
    "ratings.dat": lambda rows: joined("::", "", rows),  # MovieLens 1M
    "u.data": lambda rows: joined("\t", "", rows),  # MovieLens 100k
    "rating.csv": lambda rows: joined(  # MovieLens 20M of Kaggle
        ",", '"userId","movieId","rating","timestamp"', [(u, i, r, f'"{iso(t)}"') for u, i, r, t in rows]
    ),
    "ml.inter": lambda rows: joined("\t", "user_id:token\titem_id:token\trating:float\ttimestamp:float", rows),
    "reviews.csv": lambda rows: joined(",", "user_id,parent_asin,rating,timestamp", rows),  # Amazon 2023
    "books.csv": lambda rows: joined(";", '"User-ID";"ISBN";"Book-Rating";"date"', rows),
    "Electronics.json": lambda rows: "\n".join(  # Amazon 2014
        json.dumps({"reviewerID": u, "asin": i, "overall": float(r), "unixReviewTime": t, "helpful": [0, 0]})
        for u, i, r, t in rows
    ),
    "yelp_academic_dataset_review.json": lambda rows: "\n".join(
        json.dumps({"review_id": "x", "user_id": u, "business_id": i, "stars": float(r), "text": "é", "date": iso(t)})
        for u, i, r, t in rows
    ),
    "goodreads.json": lambda rows: "\n".join(
        json.dumps(
            {
                "user_id": u,
                "book_id": i,
                "rating": int(r),
                "date_added": datetime.datetime.fromtimestamp(t, datetime.timezone.utc).strftime(
                    "%a %b %d %H:%M:%S %z %Y"
                ),
            }
        )
        for u, i, r, t in rows
    ),
}


def same(first: data.Dataset, second: data.Dataset) -> None:
    assert first.facts["users"] == second.facts["users"] and first.facts["items"] == second.facts["items"]
    a, b = first.split("train").pool.histories, second.split("train").pool.histories
    assert np.array_equal(a.items, b.items) and np.array_equal(a.starts, b.starts)
    assert not any("lines left out" in note for note in second.notes)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str, int]]) -> data.Dataset:
    path = tmp_path_factory.mktemp("plain") / "ratings.csv"
    path.write_text(joined(",", "userId,movieId,rating,timestamp", rows))
    return data.open(Data(format="ratings", path=str(path)))


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("packed", [False, True])
def test_files_of_the_field(tmp_path: Path, rows: list, expected: data.Dataset, name: str, packed: bool) -> None:
    content = FORMS[name](rows).encode()
    path = tmp_path / (name + ".gz" * packed)
    path.write_bytes(gzip.compress(content) if packed else content)
    same(expected, data.open(Data(format="ratings", path=str(tmp_path))))
    same(expected, data.open(Data(format="ratings", path=str(path))))


def test_parquet(tmp_path: Path, rows: list, expected: data.Dataset) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    names = ("user_id", "item_id", "rating", "timestamp")
    table = [dict(zip(names, (u, i, float(r), datetime.datetime.fromtimestamp(t)))) for u, i, r, t in rows]
    parquet.write_table(pyarrow.Table.from_pylist(table), tmp_path / "log.parquet")
    same(expected, data.open(Data(format="ratings", path=str(tmp_path))))


def test_columns_by_number_as_of_last_fm(tmp_path: Path, rows: list, expected: data.Dataset) -> None:
    """Users, times, artists and tracks, without a header (Last.FM 1K); and plays without a time (360K)."""
    path = tmp_path / "userid-timestamp-artid-artname.tsv"
    stamps = [(u, iso(t).replace(" ", "T") + "Z", i, 'the "Band', "", "song") for u, i, _, t in rows]
    path.write_text(joined("\t", "", stamps))
    columns = {"user": "0", "time": "1", "item": "2"}
    same(expected, data.open(Data(format="ratings", path=str(path), columns=columns)))
    with pytest.raises(DataError, match="has neither a header with userId") as error:
        data.open(Data(format="ratings", path=str(path)))
    assert 'data.header = "no"' in error.value.remedy

    path = tmp_path / "usersha1-artmbid-artname-plays.tsv"
    path.write_text(joined("\t", "", [(u, i, "the Band", r) for u, i, r, _ in rows]))
    plays = data.open(Data(format="ratings", path=str(path), columns={"user": "0", "item": "1", "rating": "3"}))
    assert plays.facts["users"] == expected.facts["users"]


@pytest.mark.parametrize("header", ["userId,movieId,rating", "userID\tartistID\tweight", ""])
def test_without_times_the_held_out_interactions_are_drawn_by_seed(tmp_path: Path, rows: list, header: str) -> None:
    delimiter = "\t" if "\t" in header else ","
    path = tmp_path / "user_artists.dat"
    path.write_text(joined(delimiter, header, [row[:3] for row in rows]))
    spec = Data(format="ratings", path=str(tmp_path))
    first, again = data.open(spec), data.open(spec)
    other = data.open(Data(format="ratings", path=str(path), split_seed=1))
    assert any("no column of times" in note and "data.split_seed = 0" in note for note in first.notes)
    targets = [d.split("test").targets[:, 2].tolist() for d in (first, again, other)]
    assert targets[0] == targets[1] != targets[2]
    last = {user: item for user, item, _, _ in rows}
    drawn = [first.facts["items"][number] for number in targets[0]]
    assert drawn != [last[user] for user in first.facts["users"]], "not the last line of each user"


def test_titles_of_movielens_1m(tmp_path: Path, rows: list) -> None:
    (tmp_path / "ratings.dat").write_text(FORMS["ratings.dat"](rows))
    titles = "".join(f"i{i}::Café, {i} (1995)::Drama\n" for i in range(80))
    (tmp_path / "movies.dat").write_bytes(titles.encode("latin-1"))
    assert "Café, 7 (1995)" in data.open(Data(format="ratings", path=str(tmp_path))).labels


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"reviewerID": "a", "asin": "b"}\n[1]\n',
            r"1 of 2 lines cannot be used: .*r\.json:2: is not a JSON object",
        ),
        ('{"who": "a", "asin": "b"}\n', r"\.json:1: has no column 'userId' for the user"),
        ("[1, 2", "is not a readable JSON array"),
        ("[1, 2]", "2 of 2 lines cannot be used, the first: .*: is not a JSON object"),
    ],
)
def test_json_that_is_none(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(DataError, match=message):
        data.open(Data(format="ratings", path=str(tmp_path / "r.json")))
