"""A recommender meets a person: their vectors learn in each runtime, without the host half; and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interactions_data import write_ratings
from test_personalize_end_to_end import alone, ask

import edgeft
import edgeft.core.errors
from edgeft.predict import predict

pytestmark = pytest.mark.slow  # what its nets share with others is in the quick tests

TARGETS = ("host", "host-openvino", "host-litert")
ALL = pytest.mark.parametrize("name", TARGETS)


def write(path: Path, user: str, items: list[int], start: int = 0) -> Path:
    lines = [f"{user},i{item},4,{start + at}" for at, item in enumerate(items)]
    path.write_text("\n".join(["userId,movieId,rating,timestamp", *lines]) + "\n")
    return path


def kinds(bundle: Path, user: str, top: int = 10, **options: Any) -> set[int]:
    """Which of the four kinds of items are the best for a user, those that they have among them."""
    (found,) = predict(bundle, [f"{user}:*"], top=top, **options)
    return {int(each["item"][1:]) % 4 for each in found["top"]}


@pytest.fixture(scope="module", params=["neumf", pytest.param("two_tower", marks=pytest.mark.slow)])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Reports by target; users of four kinds, each of which takes its own quarter of the items."""
    for package in ("torch", "onnxruntime", "onnxscript", "openvino", "litert_torch"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    root = tmp_path_factory.mktemp(request.param)
    args = {"neumf": {"factors": 8, "hidden": [16, 8]}, "two_tower": {"factors": 8, "hidden": [8]}}[request.param]
    table = {
        "task": "recommend",
        "name": "people",
        "model": {"name": request.param, "args": args},
        "data": {"format": "ratings", "path": str(write_ratings(root / "ratings.csv"))},
        "train": {"epochs": 20, "lr": 5e-2, "batch_size": 4},
        "quantize": {"method": "ptq", "calibration": "minmax", "embeddings": "int8", "keep_float": ["head"]},
        "export": {"targets": list(TARGETS)},
        "gates": {"max_drop": 0.05, "min_speedup": 0.0, "min_int8_share": 0.0},
        "personalize": {"tail": "user", "steps": 60, "rate": 0.05, "batch_size": 4},
    }
    edgeft.tune(table, root / "run")
    return {report["target"]: report for report in edgeft.export(root / "run", out=root / "bundles")}


@pytest.fixture
def anna(tmp_path: Path) -> Path:
    """A person of the third kind whom the model has never seen."""
    return write(tmp_path / "anna.csv", "anna", [2, 34, 70, 6, 50, 14, 22, 42, 66, 10, 30, 78])


@ALL
def test_export_proves_that_vectors_rank_as_the_model_does(made, name: str) -> None:
    report = made[name]
    assert report["verdict"] == "pass", [g["why"] for g in report["gates"] if g["verdict"] == "fail"]
    found = {g["metric"]: g for g in report["gates"] if g["name"] == "personalize"}
    assert found["agreement"]["quantized"] >= 0.98 and found["agreement"]["n"] == 60
    assert found["training step"]["quantized"] <= 1e-5
    manifest = json.loads((Path(report["path"]) / "manifest.json").read_text())
    trunk = next(g for g in manifest["graphs"] if g["name"] == "trunk")
    assert [one["name"] for one in trunk["inputs"]] == ["items"], "no user goes into the trunk"
    assert {tuple(p["shape"]) for p in manifest["personalize"]["parameters"]} == {(1, 8)}


@ALL
def test_a_board_learns_a_person_whom_the_model_never_saw(made, anna: Path, tmp_path: Path, name: str) -> None:
    bundle = shutil.copytree(made[name]["path"], tmp_path / "board")
    found = alone("personalize", bundle, "--data", anna)
    assert (found["verdict"], found["version"], found["user"]) == ("pass", 1, "anna")
    assert found["new"]["after"] > found["new"]["before"] and found["new"]["n"] == 15 and found["samples"] == 9
    (seen,) = alone("predict", bundle, "anna")["predictions"]
    assert {int(each["item"][1:]) % 4 for each in seen["top"]} == {2} and seen["version"] == 1
    assert kinds(bundle, "u3") == {3}, "what others see has not changed"
    (gate,) = [g for g in alone("verify", bundle)["gates"] if g["name"] == "personalize"]
    assert gate["verdict"] == "pass" and "user anna" in gate["why"] and gate["quantized"] == found["new"]["after"]
    page = (bundle / "state.html").read_text()
    assert "anna" in page and "of no other user anything changed" in page
    assert alone("personalize", bundle, "--rollback")["version"] == 0
    with pytest.raises(edgeft.core.errors.DataError, match="knows no user 'anna'"):
        predict(bundle, ["anna"])


def test_a_known_user_starts_from_their_own_vectors(made, tmp_path: Path) -> None:
    """u0 took items of the first kind; of late they take those of the second."""
    bundle = Path(made["host-litert"]["path"])
    state = tmp_path / "u0.npz"
    late = write(tmp_path / "late.csv", "u0", [1, 33, 69, 5, 49, 13, 21, 41, 65, 9, 29, 77])
    assert kinds(bundle, "u0") == {0}
    found = edgeft.personalize(bundle, late, state=state, steps=200)
    assert found["verdict"] == "pass" and found["new"]["before"] < 0.5
    assert kinds(bundle, "u0", top=5, state=state) == {1} and kinds(bundle, "u0") == {0}
    again = edgeft.personalize(bundle, late, state=state, steps=1, rate=1e-9)
    assert again["verdict"] == "fail" and "no improvement" in again["why"] and again["version"] == 1


def test_scores_of_a_mixed_batch_are_those_of_each_alone(made, anna: Path, tmp_path: Path) -> None:
    from edgeft.personalize import run

    bundle = edgeft.load(shutil.copytree(made["host"]["path"], tmp_path / "board"))
    assert edgeft.personalize(bundle, anna)["verdict"] == "pass"
    own = run.session(bundle)
    assert own is not None and bundle.preprocess["users"] == own.preprocess["users"][:-1]
    items = np.array([f"i{k}" for k in range(40)])
    feeds = [bundle.task.preprocess({"user": u, "items": items}, own.preprocess) for u in ("u5", "anna")]
    both = {key: np.concatenate([one[key] for one in feeds]) for key in feeds[0]}
    (mixed,) = own.session.run(both).values()
    (known,) = bundle.session().run(feeds[0]).values()
    (hers,) = own.session.run(feeds[1]).values()
    assert np.array_equal(mixed[:1], known) and np.array_equal(mixed[1:], hers) and not np.array_equal(hers, known)


def test_a_stream_teaches_as_a_file_does(made, anna: Path, tmp_path: Path) -> None:
    bundle = Path(made["host-litert"]["path"])
    pairs = [tuple(line.split(",")[:2]) for line in anna.read_text().splitlines()[1:]]
    ours = edgeft.personalize(bundle, stream=iter(pairs), state=tmp_path / "a.npz")
    theirs = edgeft.personalize(bundle, anna, state=tmp_path / "b.npz")
    assert ours["verdict"] == "pass" and ours["new"] == theirs["new"] and ours["loss"] == theirs["loss"]
    with pytest.raises(edgeft.core.errors.DataError, match="both ids as text"):
        edgeft.personalize(bundle, stream=[("anna", 7)], state=tmp_path / "c.npz")


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["anna,i2,4,1", "bert,i6,4,2"], "holds 2 users (anna, bert, ...)"),
        (["anna,i2,4,1"], "1 of 1 items of user 'anna' are known"),
        (["anna,x2,4,1", "anna,x6,4,2", "anna,i2,4,3"], "1 of 3 items of user 'anna' are known"),
        (["anna,i2,4,never"], "1 of 1 lines cannot be used"),
        ([f"anna,i{k},4,{k}" for k in range(79)], "took nearly all items"),
    ],
)
def test_ratings_that_cannot_teach_are_refused(made, tmp_path: Path, capfd: Any, lines: list[str], why: str) -> None:
    bundle = shutil.copytree(made["host-litert"]["path"], tmp_path / "board")
    data = tmp_path / "new.csv"
    data.write_text("\n".join(["userId,movieId,rating,timestamp", *lines]) + "\n")
    code, found, _ = ask(capfd, "personalize", bundle, "--data", data)
    assert code == 3 and why in found["message"], found
    assert not (bundle / "state.npz").exists()


def test_a_state_belongs_to_one_user(made, anna: Path, tmp_path: Path, capfd: Any) -> None:
    bundle = shutil.copytree(made["host-litert"]["path"], tmp_path / "board")
    assert ask(capfd, "personalize", bundle, "--data", anna)[0] == 0
    other = write(tmp_path / "bert.csv", "bert", [1, 5, 9, 13, 17])
    code, found, _ = ask(capfd, "personalize", bundle, "--data", other)
    assert code == 2 and "the state is of user 'anna'" in found["message"], found
    code, found, _ = ask(capfd, "personalize", bundle, "--data", anna, "--steps", "0")
    assert code == 2 and "trained in steps" in found["message"]


def test_items_that_the_model_does_not_know_are_told(made, anna: Path, tmp_path: Path) -> None:
    anna.write_text(anna.read_text() + "anna,new-film,5,99\n")
    said: list[str] = []
    edgeft.personalize(made["host-litert"]["path"], anna, state=tmp_path / "s.npz", say=said.append)
    assert any("1 items that the model does not know" in text and "new-film" in text for text in said)


def test_other_tails_and_tasks_are_refused(made, tmp_path: Path) -> None:
    run = Path(made["host"]["path"]).parent.parent / "run"
    with pytest.raises(edgeft.core.errors.RecipeError, match="is not a tail of a recommender"):
        edgeft.export(run, ["host"], tmp_path / "a", overrides=["personalize.tail=head"])
    with pytest.raises(edgeft.core.errors.RecipeError, match="spare_classes"):
        edgeft.export(run, ["host"], tmp_path / "b", overrides=["personalize.spare_classes=2"])


# --- with nothing but numpy, click and a LiteRT interpreter -----------------------------------------------------------


@pytest.mark.board
def test_a_board_learns_a_person_with_numpy_and_one_runtime(people: Path, anna: Path, capfd: Any) -> None:
    code, found, _ = ask(capfd, "personalize", people, "--data", anna)
    assert code == 0 and found["user"] == "anna" and found["new"]["after"] > found["new"]["before"]
    assert kinds(people, "anna") == {2} and kinds(people, "u3") == {3}
    assert ask(capfd, "verify", people)[0] == 0
    assert ask(capfd, "personalize", people, "--rollback")[1]["version"] == 0
