"""Recommendation: the rank by hand, ties, popularity as the chance level, names, and what may be asked."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeft import tasks
from edgeft.config import recipe
from edgeft.core.errors import BundleError, DataError
from edgeft.tasks.recommend import decoding as recommend

ITEMS = [f"i{k}" for k in range(30)]
LABELS = tuple(f"Film {k}" for k in range(30))
SPEC = {
    "kind": "user-items",
    "candidates": 12,
    "user_input": "user",
    "item_input": "items",
    "users": ["ann", "bob", "7:8"],
    "items": ITEMS,
}


def out(*rows: list[float]) -> dict[str, np.ndarray]:
    return {"output": np.array(rows, np.float32)}


def falling(width: int = 12) -> list[float]:
    return [float(width - k) for k in range(width)]


def test_the_task_is_found_and_configured_from_the_data() -> None:
    assert tasks.get("recommend").configure is recommend.configure
    facts = {"users": ["ann", "bob", "7:8"], "items": ITEMS, "candidates": 12}
    assert recommend.configure(recipe.Data(), {"pretrained": False}, facts, print) == SPEC
    json.dumps(SPEC)


def test_ranks_and_metrics_by_hand() -> None:
    outputs = out(falling(), falling(), falling(), falling())
    targets = np.array([[0, 3, 5], [9, 11, 6], [10, 0, 7], [11, 9, 8]])
    assert recommend.ranks(outputs, targets).tolist() == [0, 9, 10, 11]
    assert recommend.per_sample(outputs, targets).tolist() == [1, 1, 0, 0] and recommend.metric(outputs, targets) == 0.5
    extra = recommend.extra_metrics(outputs, targets)
    assert extra["NDCG@10"] == pytest.approx((1 + 1 / np.log2(11)) / 4)
    assert extra["MRR"] == pytest.approx((1 + 1 / 10 + 1 / 11 + 1 / 12) / 4)
    assert recommend.chance(targets) == 0.75, "popularity would put three of the four among the first ten"
    seen = recommend.per_class(outputs, targets, LABELS)
    assert seen == {"popular items": {"metric": 1 / 3, "n": 3}, "other items": {"metric": 1.0, "n": 1}}


def test_equal_scores_rank_as_they_stand_and_favour_nobody() -> None:
    flat = out([1.0] * 12)
    assert [int(recommend.ranks(flat, np.array([[k, 0, 0]]))[0]) for k in range(12)] == list(range(12))
    hits = [recommend.metric(flat, np.array([[k, 0, 0]])) for k in range(12)]
    assert np.mean(hits) == pytest.approx(10 / 12), "what a model that says nothing deserves"


def test_scores_that_are_not_finite_decide_nothing() -> None:
    outputs = out([float("nan"), *falling(11)], [float("inf"), *falling(11)])
    targets = np.array([[1, 0, 0], [0, 0, 0]])
    assert recommend.per_sample(outputs, targets).tolist() == [0.0, 0.0]
    assert recommend.decisions(outputs).tolist() == [-1, -1] and recommend.margins(outputs).tolist() == [0.0, 0.0]
    assert recommend.decode(outputs, LABELS)[0] == {"label": None, "top": []}
    raw = {"user": "ann", "items": np.array(ITEMS[:12])}
    assert tasks.tell(recommend, out([float("nan")] * 12), raw, SPEC, LABELS)["label"] is None


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.zeros((2, 3), np.int64), "1 outputs for 2 targets"),
        (np.zeros((0, 3), np.int64), "no samples"),
        (np.zeros((1, 2), np.int64), "samples, 3"),
        (np.full((1, 3), -1), "not to be ranked"),
        (np.array([[12, 0, 0]]), "not among its candidates"),
    ],
)
def test_targets_that_do_not_fit_are_refused(targets, message) -> None:
    with pytest.raises(DataError, match=message):
        recommend.metric(out(falling()), targets)


def test_decisions_and_margins() -> None:
    one, other = out([3.0, 1.0, 2.5], [0.0, 1.0, 0.5]), out([3.0, 1.0, 3.5], [0.0, 2.0, 0.5])
    assert recommend.decisions(one).tolist() == [0, 1]
    assert recommend.alike(one, other).tolist() == [False, True]
    assert recommend.margins(one).tolist() == [0.5, 0.5]
    with pytest.raises(BundleError, match="several outputs"):
        recommend.decisions({**one, "more": one["output"]})


def test_a_sample_of_one_row_is_named() -> None:
    raw = {"user": "ann", "items": np.array(ITEMS[10:22])}
    seen = tasks.tell(recommend, out([0.0] * 10 + [2.0, 1.0]), raw, SPEC, LABELS, top=2)
    assert seen["label"] == "Film 20" and seen["score"] == 2.0 and seen["next"] == "Film 21"
    assert seen["top"][1] == {"label": "Film 21", "item": "i21", "score": 1.0}
    json.dumps(seen, allow_nan=False)
    assert recommend.describe(np.array([4, 0, 20]), LABELS) == "Film 20"
    assert recommend.draw(raw, seen) == {"text": "user ann, 12 candidates"}
    with pytest.raises(BundleError, match="2 labels for 30 items"):
        tasks.tell(recommend, out(falling()), raw, SPEC, LABELS[:2])


def test_a_whole_catalogue_takes_several_rows_and_fills_the_last() -> None:
    raw = recommend.read("bob", SPEC)
    feeds = recommend.preprocess(raw, SPEC)
    assert list(feeds) == ["user", "items"] and feeds["user"].tolist() == [1, 1, 1]
    assert feeds["items"].dtype == np.int32 and feeds["items"].shape == (3, 12)
    assert feeds["items"].reshape(-1)[:30].tolist() == list(range(30))
    assert set(feeds["items"].reshape(-1)[30:].tolist()) == {29}
    scores = {"output": (feeds["items"] % 29).astype(np.float32)}
    seen = tasks.tell(recommend, scores, raw, SPEC, LABELS, top=3)
    assert [each["item"] for each in seen["top"]] == ["i28", "i27", "i26"]
    last = tasks.tell(recommend, {"output": feeds["items"].astype(np.float32)}, raw, SPEC, LABELS, top=3)
    assert [each["item"] for each in last["top"]] == ["i29", "i28", "i27"], "what fills the row counts once"


def test_what_may_be_asked(tmp_path) -> None:
    assert recommend.read("ann:i3, i4", SPEC)["items"].tolist() == ["i3", "i4"]
    assert len(recommend.read("7:8", SPEC)["items"]) == 30, "an id may hold a colon"
    asked = tmp_path / "ask.json"
    asked.write_text(json.dumps({"user": "7:8", "items": ["i1", "i2", "i3"], "without": ["i2"]}))
    assert recommend.read(str(asked), SPEC)["items"].tolist() == ["i1", "i3"]
    asked.write_text(json.dumps({"user": "ann", "without": ["i0"]}))
    assert len(recommend.read(str(asked), SPEC)["items"]) == 29


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("eve", "no user 'eve'"),
        ("ann:i3,x", "no item 'x'"),
        ("ann:", "no item ''"),
        ("absent.json", "not readable as JSON"),
        ({"user": 1}, 'is not a JSON object with "user"'),
        ([1], 'is not a JSON object with "user"'),
        ({"user": "ann", "item": []}, "unknown key 'item'\n.*items"),
        ({"user": "ann", "items": "i1"}, "'items' is not a list of ids"),
        ({"user": "ann", "without": ["x"]}, "no item 'x'"),
        ({"user": "ann", "items": ["i1"], "without": ["i1"]}, "no item is left"),
    ],
)
def test_what_may_not_be_asked(tmp_path, asked, message) -> None:
    if not isinstance(asked, str):
        (tmp_path / "ask.json").write_text(json.dumps(asked))
        asked = str(tmp_path / "ask.json")
    with pytest.raises(DataError, match=message):
        recommend.read(asked, SPEC)


def test_what_a_user_has_is_offered_where_it_is_asked_for(tmp_path) -> None:
    path = tmp_path / "histories.json"
    path.write_text(json.dumps({"items": [[0, 4], list(range(30))]}))
    spec = {**SPEC, "files": {"histories": str(path)}}
    (tmp_path / "again.json").write_text(json.dumps({"user": "ann", "again": True}))
    (tmp_path / "new.json").write_text(json.dumps({"user": "ann", "without": ["i1"]}))

    def offered(asked: str) -> list[str]:
        return recommend.read(asked, spec)["items"].tolist()

    assert offered("ann") == [item for item in ITEMS if item not in ("i0", "i4")]
    assert offered("ann:*") == offered(str(tmp_path / "again.json")) == ITEMS
    assert offered("ann:i4,i5") == ["i4", "i5"], "what is named is ranked"
    assert offered(str(tmp_path / "new.json")) == [item for item in ITEMS if item not in ("i0", "i1", "i4")]
    assert offered("7:8") == ITEMS, "of a user whom the file does not have, nothing is known"
    with pytest.raises(DataError, match="no item is left") as caught:
        offered("bob")
    assert "bob:*" in caught.value.remedy


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"items": 3}', '{"items": [[99]]}', '{"items": [["i1"]]}', '{"items": [3]}']
)
def test_a_file_of_histories_that_is_none_is_refused(tmp_path, content) -> None:
    (tmp_path / "histories.json").write_text(content)
    with pytest.raises(BundleError):
        recommend.read("ann", {**SPEC, "files": {"histories": str(tmp_path / "histories.json")}})


def test_an_unknown_id_names_a_few_known_ones_and_not_the_whole_catalogue() -> None:
    spec = SPEC | {"users": [f"user{k}" for k in range(5000)]}
    with pytest.raises(DataError) as caught:
        recommend.read("nobody at all", spec)
    assert len(str(caught.value)) < 300


def test_specs_and_samples_that_cannot_be_followed() -> None:
    raw = {"user": "ann", "items": np.array(["i1"])}
    for changed in ({"kind": "image"}, {"candidates": 0}, {"candidates": True}, {"users": None}, {"items": ["a", "a"]}):
        with pytest.raises(BundleError):
            recommend.preprocess(raw, SPEC | changed)
    for wrong in ("ann", {"user": "ann"}, {"user": "ann", "items": np.array([], "U1")}):
        with pytest.raises(DataError):
            recommend.preprocess(wrong, SPEC)


def test_users_that_the_bundle_never_saw_are_named() -> None:
    recommend.refuse_unseen({"users": ["bob", "ann"]}, SPEC, "ratings.csv")
    with pytest.raises(DataError, match=r"1 of 2 users are new to the bundle, the first: 'cleo'") as caught:
        recommend.refuse_unseen({"users": ["bob", "cleo"]}, SPEC, "ratings.csv")
    assert caught.value.where == "ratings.csv" and "tune again" in caught.value.remedy


def test_targets_are_joined_by_the_items_names() -> None:
    targets = np.array([[4, 1, 0], [5, 2, 2]])
    assert recommend.join(targets, ("a", "b", "c"), ("c", "b", "a"), "x").tolist() == [[4, 1, 2], [5, 2, 0]]
    assert targets[0, 2] == 0, "the caller's own are left as they are"
    with pytest.raises(DataError, match=r"1 item\(s\) that the bundle does not know, the first: 'c'"):
        recommend.join(targets, ("a", "b", "c"), ("a", "b"), "x")
