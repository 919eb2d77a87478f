"""The user of a recommender becomes a vector: the same scores, no user among the inputs, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgeft.config import target
from edgeft.core.errors import ModelError
from edgeft.models.nets.recommend import NeuMF, TwoTower
from edgeft.quantize.graph import QuantizedGraph, prepare
from edgeft.training_step import cut as cuts
from edgeft.training_step import user_vectors

USERS, ITEMS = 6, 9


class Counted(nn.Module):
    """The user's number itself is part of the score."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item, self.head = nn.Embedding(USERS, 4), nn.Embedding(ITEMS, 4), nn.Linear(4, 1)

    def forward(self, user: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        pair = self.user(user).unsqueeze(1) * self.item(items)
        return self.head(pair).squeeze(-1) + user.unsqueeze(1).float()


def example(rows: int = 2, candidates: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    numbers = torch.arange(rows * candidates, dtype=torch.int32).reshape(rows, candidates) % ITEMS
    return torch.arange(rows, dtype=torch.int32), numbers


def graph_of(module: nn.Module) -> QuantizedGraph:
    for table in module.modules():
        if isinstance(table, nn.Embedding):
            nn.init.normal_(table.weight)
    graph = prepare(module, example(), target.load("host").scheme)
    for fake in graph.activations().values():
        fake.set_range(-3, 3)
    graph.calibrate_weights()
    graph.set_mode("quantize")
    return graph


NETS = {
    "neumf": lambda: NeuMF(1, USERS, ITEMS, factors=4, hidden=[8, 4]),
    "two_tower": lambda: TwoTower(1, USERS, ITEMS, factors=4, hidden=[6, 4]),
}


@pytest.mark.parametrize("net", NETS)
def test_a_vector_out_of_the_table_scores_as_the_user_does(net: str) -> None:
    torch.manual_seed(0)
    graph = graph_of(NETS[net]())
    users, items = example()
    with torch.no_grad():
        wanted = graph.module.eval()(users, items)
    opened, tables = user_vectors.opened(graph, "user")
    assert opened.captured.input_names == ("items",) and {t.shape[0] for t in tables.values()} == {USERS}
    for row in range(len(users)):
        for name, table in tables.items():
            getattr(opened.module, name).copy_(table[row : row + 1])
        with torch.no_grad():
            said = opened.module.eval()(items[row : row + 1])
        assert torch.allclose(said, wanted[row : row + 1], atol=1e-6)
    assert "user" in graph.captured.input_names, "the graph itself is left as it was"


@pytest.mark.parametrize("net", NETS)
def test_the_vector_learns_and_not_what_is_computed_of_it(net: str) -> None:
    torch.manual_seed(0)
    opened, tables = user_vectors.opened(graph_of(NETS[net]()), "user")
    made = cuts.cut(opened, tables, tables)
    assert {name: tuple(p.shape) for name, p in made.parameters.items()} == dict.fromkeys(tables, (1, 4))
    assert made.trunk.captured.input_names == ("items",)
    for name, value in made.parameters.items():
        assert torch.allclose(value, tables[name].mean(0, keepdim=True)), "a stranger is the mean of all"


def test_a_number_that_is_read_otherwise_is_refused() -> None:
    with pytest.raises(ModelError, match="the user's number goes into"):
        user_vectors.opened(graph_of(Counted()), "user")
