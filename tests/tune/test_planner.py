"""The search under a budget, against trying out everything; contributions by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
import tune_data  # noqa: F401  one thread
from draws import draws
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from edgeft.tune import auto, cost, planner, sparse
from edgeft.tune.planner import SHARES, Choice, Costs, Problem, Unit

LOSS = "adamw"


def problem_from(gains: list[float], sizes: list[int], biases: list[float]) -> Problem:
    """Contributions that fall off with the share, bytes that add up, and masks from the lowest bias up."""
    units = tuple(
        Unit(f"l{i}", "", b, {s: g * s**0.5 for s in SHARES[1:]}) for i, (g, b) in enumerate(zip(gains, biases))
    )

    def bytes_of(choice: Choice) -> int:
        lowest = min([choice.first, *(i for i, s in enumerate(choice.shares) if s)])
        return 10 * (len(units) - lowest) + sum(round(s * size) for s, size in zip(choice.shares, sizes))

    return Problem(units, bytes_of)


def best_of_all(problem: Problem, budget: int) -> float:
    count = len(problem.units)
    every = (Choice(f, s) for f in range(count + 1) for s in itertools.product(SHARES, repeat=count))
    return max(problem.gain(c) for c in every if problem.bytes_of(c) <= budget)


@draws(25)
@given(
    st.lists(st.tuples(st.floats(0, 10), st.integers(1, 400), st.floats(0, 1)), min_size=1, max_size=4),
    st.integers(0, 900),
)
def test_the_search_finds_nearly_the_best_there_is(parts: list[tuple[float, int, float]], budget: int) -> None:
    problem = problem_from(*map(list, zip(*parts)))  # type: ignore[arg-type]
    found = planner.search(problem, budget)
    assert problem.bytes_of(found) <= budget
    assert problem.gain(found) >= problem.gain(planner.greedy(problem, budget)) - 1e-12
    assert problem.gain(found) >= 0.97 * best_of_all(problem, budget) - 1e-12


def test_the_search_is_a_function_of_its_seed() -> None:
    problem = problem_from([3, 1, 4, 1, 5, 9, 2, 6], [40, 30, 90, 10, 200, 310, 20, 130], [0.1] * 8)
    assert planner.search(problem, 300, seed=3) == planner.search(problem, 300, seed=3)
    assert planner.only_biases(problem, 45) == Choice(4, (0.0,) * 8)
    assert planner.only_biases(problem, 5) == problem.nothing


def test_one_layer_with_most_of_the_gradient_takes_it_all_only_as_a_sum() -> None:
    """Nine layers of equal size, one of which has a hundred times the gradient and four times the bytes."""
    problem = problem_from([100.0] + [1.0] * 8, [400] + [100] * 8, [0.0] * 9)
    budget = 90 + 400

    def learn(units: tuple[Unit, ...]) -> set[int]:
        found = planner.search(Problem(units, problem.bytes_of), budget)
        return {at for at, share in enumerate(found.shares) if share}

    assert learn(problem.units) == {0}
    assert len(learn(planner.levelled(problem.units))) >= 4
    assert learn(planner.even(problem.units)) == set(range(9)), "an eighth of every layer fits"


def test_readings_keep_names_and_order() -> None:
    units = problem_from([5.0, 0.0, 2.0], [1, 1, 1], [0.3, 0.0, 0.1]).units
    for reading in (planner.levelled, planner.even):
        found = reading(units)
        assert [u.layer for u in found] == [u.layer for u in units]
        for unit in found:
            gains = [unit.gains[share] for share in SHARES[1:]]
            assert gains == sorted(gains), "more of a layer is never worth less"
    assert planner.levelled(()) == () == planner.even(())


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_contributions_are_those_of_the_gradient(optimizer: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)
    ).eval()
    batches = [torch.randn(5, 2, 3, 3) for _ in range(2)]

    def loss(x: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(net(x), torch.arange(5) % 3)

    trace = cost.record(net, lambda m: F.cross_entropy(m(batches[0]), torch.arange(5) % 3))
    pairs = planner.units(net, trace, "4")
    assert pairs == [("0", "1")], "the head is no unit, and a norm goes with the layer before it"
    (unit,) = planner.contributions(net, pairs, map(loss, batches), optimizer)
    weight, bias = torch.autograd.grad((loss(batches[0]) + loss(batches[1])) / 2, (net[0].weight, net[1].bias))
    size = (lambda g: g.abs()) if optimizer == "adamw" else (lambda g: g**2)
    assert unit.gains[1.0] == pytest.approx(float(size(weight).sum()), rel=1e-5)
    assert unit.bias_gain == pytest.approx(float(size(bias).sum()), rel=1e-5)
    _, (at,) = sparse.channels(net[0], 0.5)
    assert unit.gains[0.5] == pytest.approx(float(size(weight)[:, at].sum()), rel=1e-5)


def test_a_row_of_the_table_is_what_leaving_it_out_would_save() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    x = torch.randn(16, 8)
    trace = cost.record(net, lambda m: m(x).sum())
    numels = {n: p.numel() for n, p in net.named_parameters()}
    costs = Costs([(trace, lambda plan: {"4.weight", "4.bias"} | plan.names(numels))], numels, "4", 2)
    plan = sparse.plan(net, ["2"], {"2": 0.5})
    rows = planner.table(planner.units(net, trace, "4"), plan, costs)
    assert [row["layer"] for row in rows] == ["0", "2"]
    assert rows[0]["values"] == 0 and rows[0]["bytes"] == 0
    assert rows[1]["bytes"] == 16 * 8 * 4 // 2 + 16 * 64 + 16 * 8, "half its input, all its weights, its biases"
    assert costs.of(sparse.Plan()) == 16 * 8 * 4 + 16 * (2 * 8 + 2)


@pytest.mark.parametrize(
    "text, count", [("64MiB", 64 << 20), ("1.5 KB", 1500), ("2GiB", 2 << 30), ("800 B", 800), ("3MB", 3_000_000)]
)
def test_sizes(text: str, count: int) -> None:
    assert auto.size_of(text) == count
