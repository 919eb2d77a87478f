"""Learning to rank: the loss by hand, negatives that depend on seed, epoch and row only, blocks that are learned."""

from __future__ import annotations

import json

import builds
import numpy as np
import pytest
import torch
from interactions_data import write_ratings
from scipy import sparse

from edgeft import data, tasks
from edgeft.config import recipe
from edgeft.core.errors import DataError, RecipeError
from edgeft.models.nets.recommend import EASE, NeuMF, TwoTower
from edgeft.tasks.recommend import item_knn, linear_autoencoder
from edgeft.tasks.recommend import learning as recommend


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> data.Dataset:
    path = write_ratings(tmp_path_factory.mktemp("ratings") / "ratings.csv")
    return data.open(recipe.Data(format="ratings", path=str(path)))


def spec(made: data.Dataset) -> dict[str, object]:
    return tasks.get("recommend").configure(recipe.Data(), {}, made.facts, print)


def textbook(x: np.ndarray, penalty: float) -> np.ndarray:
    """XB as Steck (2019) writes it."""
    inverse = np.linalg.inv(x.T @ x + penalty * np.eye(x.shape[1]))
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return x @ weights


@pytest.mark.parametrize("shape", [(12, 30), (30, 12)], ids=["few users", "few items"])
def test_the_autoencoder_is_that_of_the_paper(shape: tuple[int, int]) -> None:
    x = (np.random.default_rng(0).random(shape) < 0.3).astype(float)
    scores = linear_autoencoder.scores(sparse.csr_matrix(x), 3.0)
    expected = textbook(x, 3.0)
    np.testing.assert_allclose(scores.times(np.eye(shape[1])), expected, atol=1e-10)
    np.testing.assert_allclose(scores.transposed_times(np.eye(shape[0])), expected.T, atol=1e-10)

    users, items = linear_autoencoder.tables(scores, 12)
    np.testing.assert_allclose(users @ items.T, expected, atol=1e-8)
    users, items = linear_autoencoder.tables(scores, 4)
    left, values, right = np.linalg.svd(expected)
    best = (left[:, :4] * values[:4]) @ right[:4]
    np.testing.assert_allclose(users @ items.T, best, atol=1e-6, err_msg="the best approximation of that rank")


def test_of_too_many_items_those_with_most_interactions_are_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_autoencoder, "MOST_INVERTED", 10)
    x = (np.random.default_rng(0).random((30, 14)) < np.linspace(0.1, 0.6, 14)).astype(float)
    solved = np.sort(np.argsort(-x.sum(axis=0), kind="stable")[:10])
    scores = linear_autoencoder.scores(sparse.csr_matrix(x), 3.0).times(np.eye(14))
    np.testing.assert_allclose(scores[:, solved], textbook(x[:, solved], 3.0), atol=1e-10)
    assert not np.delete(scores, solved, axis=1).any()


def test_the_embeddings_of_ease_are_solved_with_the_penalty_that_validates_best(made: data.Dataset) -> None:
    lines: list[str] = []
    module = EASE(1, users=60, items=80, factors=8)
    recommend.initialize(module, made, lines.append)
    tried = {float(line.split()[-1]): float(line.split()[2]) for line in lines}
    assert len(tried) >= 3 and recommend.FIRST_PENALTY in tried
    outputs = {"scores": recommend.predict(module, made.split("val"), spec(made))}
    task = tasks.get("recommend")
    assert task.score(outputs, made.split("val").targets) == pytest.approx(max(tried.values()) / 100, abs=1e-4)
    outputs = {"scores": recommend.predict(module, made.split("test"), spec(made))}
    assert task.score(outputs, made.split("test").targets) > 0.8 > 0.4 > task.chance(made.split("test").targets)

    lines.clear()
    recommend.initialize(EASE(1, users=60, items=80, factors=8, penalty=50.0), made, lines.append)
    assert len(lines) == 1 and lines[0].endswith("penalty of 50")

    trained = NeuMF(1, users=60, items=80)
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    recommend.initialize(trained, made, lines.append)
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())


def test_bundles_hold_what_users_have_unless_the_recipe_says_no(made: data.Dataset) -> None:
    learn = tasks.get("recommend").learn
    lists = json.loads(learn(recipe.Data(), made)["histories"])["items"]
    assert [len(row) for row in lists] == [14] * 60, "what is held out too"
    assert lists[5] == sorted(made.split("train").pool.histories.all(5).tolist())
    assert learn(recipe.Data(options={"histories": False}), made) == {}


def test_the_item_knn_by_hand_and_as_a_baseline(made: data.Dataset) -> None:
    x = sparse.csr_matrix(np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 0]], float))
    scores = item_knn.scores(item_knn.normalized(x), np.array([0, 1]), np.array([2, 3]))
    np.testing.assert_allclose(scores, [0.5 + 0.5, 0], atol=1e-12)
    assert 0.8 < recommend.baselines(made)["item-kNN"] <= 1, "kinds of users are easy to tell"


def test_the_loss_by_hand() -> None:
    assert tasks.get("recommend").learning() is recommend.LEARNING
    scores, own = torch.tensor([[1.0, 0.0, 2.0, -1.0]]), torch.tensor([[1.0, 0.0, 3.0, 0.0]])
    negatives = np.exp(0.0) + np.exp(-1.0)
    wanted = np.average([np.log(1 + negatives / np.exp(s)) for s in (1.0, 2.0)], weights=[1, 3])
    assert float(recommend.loss(scores, own)) == pytest.approx(wanted, rel=1e-6)
    pair = recommend.loss(torch.tensor([[0.3, 0.1]]), torch.tensor([[1.0, 0.0]]))
    assert float(pair) == pytest.approx(np.log(1 + np.exp(-0.2)), rel=1e-6), "with one negative it is BPR"
    scores.requires_grad_(True)
    recommend.loss(scores, own).backward()
    assert bool(torch.isfinite(scores.grad).all()) and float(scores.grad[0, 0]) < 0 < float(scores.grad[0, 1])


def test_distillation_is_least_where_the_teacher_is_met() -> None:
    teacher, own = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    assert float(recommend.distill(teacher + 5, teacher, own)) == pytest.approx(0, abs=1e-6), "only differences rank"
    off = teacher.flip(1)
    assert float(recommend.distill(off, teacher, own)) > 0.1
    mixed = recommend.distill(off, teacher, own, weight=0.25)
    parts = 0.25 * recommend.distill(off, teacher) + 0.75 * recommend.loss(off, own)
    assert float(mixed) == pytest.approx(float(parts), rel=1e-6)


def test_batches_depend_on_seed_and_epoch_only(made) -> None:
    def read(epoch: int, seed: int = 3, workers: int = 0) -> list[torch.Tensor]:
        loader = recommend.loader(made.split("train"), spec(made), 16, seed=seed, shuffle=True, workers=workers)
        loader.set_epoch(epoch)
        return [torch.cat([user[:, None], items, own.view(torch.int32)], 1) for (user, items), own in loader]

    first = read(1)
    assert all(torch.equal(a, b) for a, b in zip(first, read(1, workers=1)))
    assert not torch.equal(first[0], read(2)[0]) and not torch.equal(first[0], read(1, seed=4)[0])


def test_a_negative_is_never_the_users_own(made) -> None:
    rows = made.split("train").pool
    for (users, items), own in recommend.loader(made.split("train"), spec(made), 16):
        assert users.dtype == items.dtype == torch.int32 and own.shape == items.shape
        for user, candidates, mark in zip(users.tolist(), items.numpy(), own.numpy()):
            learned = set(rows.histories.learned(user).tolist())
            assert set(candidates[mark > 0].tolist()) <= learned
            assert set(mark[mark > 0].tolist()) == {float(np.float32(1 / np.sqrt(len(learned))))}
            assert not learned & set(candidates[mark == 0].tolist())


@pytest.mark.parametrize("name", ["neumf", "two_tower"])
def test_blocks_are_learned(made, name) -> None:
    torch.manual_seed(0)
    args = {**recommend.model_args(recipe.Data(), made), "factors": 8, "hidden": [16, 8]}
    built = builds.build(recipe.Model(name=name, args=args), recommend.outputs(made))
    assert built.classes == 1 and isinstance(built.module.get_submodule(built.head), torch.nn.Linear)
    optimizer = torch.optim.Adam(built.module.parameters(), 0.03)
    loader = recommend.loader(made.split("train"), spec(made), 20, seed=0, shuffle=True)
    for epoch in range(25):
        loader.set_epoch(epoch)
        for inputs, own in loader:
            optimizer.zero_grad()
            recommend.loss(built.module(*inputs), own).backward()
            optimizer.step()
    task, split = tasks.get("recommend"), made.split("val")
    said = {"output": np.asarray(recommend.predict(built.module, split, spec(made), 10))}
    assert task.score(said, split.targets) > 0.8 > 0.4 > task.chance(split.targets)


def test_any_number_of_candidates_gives_the_same_score() -> None:
    for net in (NeuMF(1, 4, 30), TwoTower(1, 4, 30)):
        user, items = torch.tensor([1, 2], dtype=torch.int32), torch.arange(24, dtype=torch.int32).reshape(2, 12)
        with torch.no_grad():
            whole, part = net(user, items), net(user, items[:, 3:5])
        assert whole.shape == (2, 12)
        torch.testing.assert_close(whole[:, 3:5], part)


def test_what_gives_nothing_to_learn_and_models_that_do_not_fit(made) -> None:
    with pytest.raises(DataError, match="holds no training interactions"):
        recommend.loader(made.split("test"), spec(made), 4)
    args = {"users": 4, "items": 30}
    with pytest.raises(RecipeError, match="one score an item"):
        builds.build(recipe.Model(name="neumf", args=args), 3)
    for wrong in ({"hidden": [7, 4]}, {"hidden": [7]}, {"hidden": []}, {"channels": 3}, {"width": 3}):
        with pytest.raises(RecipeError, match="cannot be built"):
            builds.build(recipe.Model(name="neumf", args={**args, **wrong}), 1)
    with pytest.raises(RecipeError, match="hidden is empty"):
        builds.build(recipe.Model(name="two_tower", args={**args, "hidden": []}), 1)
