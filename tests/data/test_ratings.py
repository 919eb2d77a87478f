"""Ratings: reading, leave-one-out by time, rows that leak nothing, and what can be wrong with a file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from interactions_data import write_ratings

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError, RecipeError
from edgeft.data.interactions import Histories, Rows, unseen


def spec(path: Path, **changed: object) -> Data:
    return Data(format="ratings", path=str(path), **changed)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> data.Dataset:
    return data.open(spec(write_ratings(tmp_path_factory.mktemp("ratings") / "ratings.csv")))


def history(path: str, user: str) -> list[str]:
    rows = [line.split(",") for line in Path(path).read_text().splitlines()[1:]]
    return [row[1] for row in sorted((r for r in rows if r[0] == user), key=lambda r: int(r[3]))]


def test_the_last_is_the_test_and_the_one_before_it_validation(made) -> None:
    for name, back in (("val", -2), ("test", -1)):
        split = made.split(name)
        assert len(split) == 60 and split.classes is None
        for i in range(len(split)):
            raw, (true, rank, number) = split.raw(i), split.targets[i]
            taken = history(made.name, raw["user"])
            assert raw["items"][true] == taken[back] == made.labels[number]
            assert len(set(raw["items"])) == made.facts["candidates"] == 80 - 14 + 1
            assert set(raw["items"]) & set(taken) == {taken[back]}, "negatives were never taken"
            assert 0 <= rank < made.facts["candidates"]


def test_nothing_held_back_is_learned_and_its_absence_tells_nothing(made) -> None:
    rows, held, seen_as_negative = made.split("train").pool, {}, 0
    for user in range(60):
        held[user] = {int(k) for k in rows.histories.all(user)[-2:]}
    learned: dict[int, set[int]] = {user: set() for user in range(60)}
    for row in range(len(made.split("train"))):
        user, items, own = rows.learned(row, 0, 1)
        assert len(np.unique(items)) == len(items) == made.facts["candidates"]
        learned[user] |= set(items[own == 1].tolist())
        assert not held[user] & set(items[own == 1].tolist())
        assert not set(rows.histories.learned(user).tolist()) & set(items[own == 0].tolist())
        seen_as_negative += bool(held[user] & set(items[own == 0].tolist()))
    assert all(learned[u] == set(rows.histories.learned(u).tolist()) for u in learned), "everything else is"
    assert seen_as_negative > 0, "what is held out may be drawn as a negative, as in the field nobody knows it"


def test_the_place_of_the_true_item_is_drawn(made) -> None:
    places = np.concatenate([made.split(name).targets[:, 0] for name in ("val", "test")])
    assert len(np.unique(places)) > 30 and abs(places.mean() / (made.facts["candidates"] - 1) - 0.5) < 0.12


def test_rows_are_the_same_every_time_and_other_for_another_seed(made) -> None:
    again, other = data.open(spec(Path(made.name))), data.open(spec(Path(made.name), split_seed=1))
    assert data.fingerprint(made) == data.fingerprint(again)
    raws = [d.split("test").raw(3)["items"].tolist() for d in (made, again, other)]
    assert raws[0] == raws[1] != raws[2]
    rows = made.split("train").pool
    one, two = (rows.learned(0, 0, epoch)[1].tolist() for epoch in (1, 2))
    assert one != two and one == rows.learned(0, 0, 1)[1].tolist()


def test_popularity_counts_what_is_learned_only(tmp_path) -> None:
    starts, items = np.array([0, 4, 8]), np.array([0, 1, 2, 3, 0, 4, 3, 2], np.int32)
    histories = Histories(starts, items, np.arange(8), 60)
    assert histories.popularity()[:5].tolist() == [2, 1, 0, 0, 1]
    rows = Rows("x", ["a", "b"], [str(i) for i in range(60)], histories, 50, 0)
    true, rank, number = rows.targets(2)[0]
    candidates = rows.judged(0, 2)[0]
    counts = histories.popularity()[candidates]
    assert number == 3 == candidates[true]
    assert rank == (counts > 0).sum() + (counts[:true] == 0).sum(), "of equals the earlier comes first"


def test_unseen_numbers_are_free_different_and_all_possible() -> None:
    rng, own = np.random.default_rng(0), np.array([0, 3, 3, 9])
    drawn = [unseen(10, own, 4, rng) for _ in range(200)]
    assert all(len(set(d.tolist())) == 4 and not set(d.tolist()) & {0, 3, 9} for d in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=10)
    assert counts[[0, 3, 9]].tolist() == [0, 0, 0] and counts[[1, 2, 4, 5, 6, 7, 8]].min() > 80
    assert sorted(unseen(10, own, 7, rng).tolist()) == [1, 2, 4, 5, 6, 7, 8]


def test_the_tab_separated_form_without_a_header_and_its_titles(tmp_path, made) -> None:
    lines = [line.split(",") for line in Path(made.name).read_text().splitlines()[1:]]
    (tmp_path / "u.data").write_text("\n".join("\t".join([u[1:], i[1:], r, t]) for u, i, r, t in lines))
    (tmp_path / "u.item").write_bytes("\n".join(f"{i}|Café {i // 2}|01-Jan-1995" for i in range(80)).encode("latin-1"))
    opened = data.open(spec(tmp_path))
    assert sum(map(len, opened.splits.values())) == sum(map(len, made.splits.values()))
    assert opened.labels[0].startswith("Café ") and len(set(opened.labels)) == 80, "ids tell equal titles apart"


def test_columns_titles_quotes_and_repeats(tmp_path, made) -> None:
    lines = [line.split(",") for line in Path(made.name).read_text().splitlines()[1:]]
    text = ['when,"who",extra,what', *(f'{t},"{u}, the",x,{i}' for u, i, _, t in lines)]
    user, item = lines[0][0], lines[0][1]  # the first interaction of this user, once more and later than all others
    (tmp_path / "log.csv").write_text("\n".join([*text, f'9999,"{user}, the",x,{item}']), encoding="utf-8-sig")
    titles = ["movieId,title,genres", *(f'i{i},"Film, {i} (1995)",Drama' for i in range(79))]
    (tmp_path / "movies.csv").write_text("\n".join(titles))
    columns = {"user": "who", "item": "what", "time": "when"}
    opened = data.open(spec(tmp_path / "log.csv", columns=columns))
    split = opened.split("test")
    assert split.raw(0)["user"] == f"{user}, the" and split.raw(0)["items"][split.targets[0, 0]] == item
    assert split.source(0).endswith(f"log.csv:{len(text) + 1}")
    assert f"Film, {item[1:]} (1995)" in opened.labels or item == "i79"
    assert any("1 lines repeat" in n for n in opened.notes) and any("1 items have no title" in n for n in opened.notes)


def broken(tmp_path: Path, made: data.Dataset, lines: list[bytes]) -> Data:
    """With a byte order mark: UTF-8 whatever its lines hold."""
    content = b"\xef\xbb\xbf" + Path(made.name).read_bytes() + b"\n".join(lines) + b"\n"
    (tmp_path / "ratings.csv").write_bytes(content)
    return spec(tmp_path / "ratings.csv")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"u1,i2", "has 2 columns"),
        (b"u1,i2,good,5", "the rating 'good' is not a number"),
        (b"u1,i2,nan,5", "the rating 'nan' is not a number"),
        (b"u1,i2,3,yesterday", "the time 'yesterday' is not a number"),
        (b"\xff\xfe,i2,3,4", "is not UTF-8"),
        (b",i2,3,4", "no user or item id"),
        (b"u\x1b[2J,i2,3,4", "no user or item id"),
        (b'"u1,i2,3,4', "unexpected end of data"),
    ],
)
def test_a_few_broken_lines_are_left_out_and_many_stop_the_run(tmp_path, made, line, why) -> None:
    opened = data.open(broken(tmp_path, made, [line]))
    (note,) = [n for n in opened.notes if "left out" in n]
    assert "1 of 841 lines cannot be used" in note and "ratings.csv:842: " in note
    with pytest.raises(DataError, match=rf"lines cannot be used, the first: .*ratings\.csv:842: .*{why}"):
        data.open(broken(tmp_path, made, [line] * 60))


def test_users_with_few_interactions_are_left_out_and_named(tmp_path, made) -> None:
    """As many as there may be: their lines are not broken. `min_interactions` asks for more of them."""
    opened = data.open(broken(tmp_path, made, [b"rare%d,i2,3,4" % i for i in range(60)]))
    (note,) = [n for n in opened.notes if "left out" in n]
    assert note.startswith("60 of 120 user(s) have fewer than 3 interactions") and "60 of 900" in note
    assert "ratings.csv:842" in note and opened.facts["users"] == made.facts["users"]
    longer = [b"longer%d,i%d,3,%d" % (i % 2, i, i) for i in range(40)]
    opened = data.open(Data(**{**vars(broken(tmp_path, made, longer)), "min_interactions": 15}))
    assert opened.facts["users"] == ["longer0", "longer1"]
    with pytest.raises(DataError, match="no user has 21 interactions or more"):
        data.open(Data(**{**vars(broken(tmp_path, made, longer)), "min_interactions": 21}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a,b,c\n1,2,3\n", r"ratings.csv:1: has neither a header with userId"),
        ("userId,movieId,rating,timestamp\n", "holds no ratings"),
        ("userId,movieId,rating,timestamp\n1,2,3,4\n1,3,3,5\n", "no user has 3 interactions or more"),
    ],
)
def test_files_that_are_none(tmp_path, text, message) -> None:
    (tmp_path / "ratings.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        data.open(spec(tmp_path))


def test_what_is_asked_for_in_vain_is_named(tmp_path, made) -> None:
    path = Path(made.name)
    with pytest.raises(DataError, match=r"ratings\.csv:1: has no column 'stamp' for the time\n.*data\.columns\.time"):
        data.open(spec(path, columns={"time": "stamp"}))
    with pytest.raises(RecipeError, match=r"unknown column 'usr'\n.*'user'"):
        data.open(spec(path, columns={"usr": "userId"}))
    for named in ("", str(tmp_path), str(tmp_path / "absent.csv")):
        with pytest.raises(DataError, match=r"no ratings are given|no such file"):
            data.open(Data(format="ratings", path=named))
    with pytest.raises(DataError, match="no list of 21 candidates can be drawn"):
        data.open(spec(write_ratings(tmp_path / "few.csv", items=24, each=5)))


def test_movielens_is_read_as_it_is_known() -> None:
    root = Path(os.environ.get("EDGEFT_DATA", "/absent")) / "06_recommendation" / "ml-latest-small"
    if not root.is_dir():
        pytest.skip("EDGEFT_DATA does not name the folder with 06_recommendation")
    opened = data.open(spec(root))
    assert len(opened.labels) == 9066 and len(opened.split("test")) == 671 and opened.facts["candidates"] == 100
    assert any("100004 interactions" in note for note in opened.notes) and "Toy Story (1995)" in opened.labels
