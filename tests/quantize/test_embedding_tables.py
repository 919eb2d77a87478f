"""Tables of embeddings: which are int8, how they learn, and that their lowered form computes the same to the bit."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from quantize_nets import calibrated, settled
from torch import nn

from edgeft.config.scheme import WEIGHTED, Scheme, SchemeTable
from edgeft.core.errors import ModelError, RecipeError
from edgeft.graph.nodes import aten, attribute
from edgeft.quantize.graph import QuantizedGraph
from edgeft.quantize.lower import integer_weights, lower

INT8 = SchemeTable(embeddings="int8").scheme()
NUMBERS = (torch.tensor([[0, 3, 7, 3], [9, 1, 2, 0]], dtype=torch.int32),)


class Tokens(nn.Module):
    """Words by number, positions by constant numbers, and a layer behind both."""

    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(10, 6), nn.Embedding(4, 6)
        self.out = nn.Linear(6, 10)
        if tied:
            self.out.weight = self.words.weight

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        places = self.places(torch.arange(4))
        return self.out(torch.tanh(self.words(numbers) + places))


def graph_of(scheme: Scheme, keep_float: Sequence[str] = (), tied: bool = False) -> QuantizedGraph:
    torch.manual_seed(0)
    return calibrated(settled(Tokens(tied)) if not tied else Tokens(True).eval(), NUMBERS, scheme, keep_float)


def test_a_table_stays_float_unless_it_is_asked_for() -> None:
    assert set(graph_of(Scheme()).weights()) == {"out.weight"}
    graph = graph_of(INT8)
    assert set(graph.weights()) == {"out.weight", "words.weight"}, "constant numbers are folded, so no int8 is left"
    assert graph.summary.ops["embedding"] == 1 and graph.summary.float_ops["embedding"] == 1
    assert graph.weights()["words.weight"].axis == 0 and graph.weights()["words.weight"].scale().shape == (10,)


def test_a_table_can_be_kept_float_by_name() -> None:
    assert set(graph_of(INT8, ["words"]).weights()) == {"out.weight"}
    with pytest.raises(RecipeError, match="matches no layer"):
        graph_of(INT8, ["word"])


def test_tables_alone_are_a_quantized_model_and_a_model_without_any_is_none() -> None:
    assert set(graph_of(INT8, ["out"]).weights()) == {"words.weight"}
    with pytest.raises(ModelError, match="no layer of this model") as refused:
        graph_of(SchemeTable().scheme(), ["out"])
    assert "out stay float by the recipe: set quantize.keep_float = []" in refused.value.remedy
    assert graph_of(SchemeTable().scheme()).weights(), "the remedy works"


def test_where_linear_layers_have_one_scale_a_table_has_one() -> None:
    (scale,) = (
        graph_of(SchemeTable(embeddings="int8", per_tensor=WEIGHTED).scheme()).weights()["words.weight"].scale().shape
    )
    assert scale == 1


@pytest.mark.parametrize("tied", [False, True], ids=["own", "tied"])
@pytest.mark.parametrize("per_tensor", [(), WEIGHTED], ids=["rows", "one_scale"])
@pytest.mark.parametrize("form", ["int", "qdq"])
def test_the_lowered_graph_is_the_trained_one_to_the_bit(form: str, per_tensor: tuple[str, ...], tied: bool) -> None:
    graph = graph_of(SchemeTable(embeddings="int8", per_tensor=per_tensor).scheme(), tied=tied)
    lowered = lower(graph, form)
    with torch.no_grad():
        assert torch.equal(lowered(*NUMBERS), graph.module(*NUMBERS))
    lookups = [n for n in lowered.graph.nodes if n.target is aten.embedding.default and n.args[1].op == "placeholder"]
    tables = [attribute(lowered, str(n.args[0].target)) for n in lookups]
    (table,) = [t for t in tables if t.dtype == torch.int8]
    held = [w.data for w in integer_weights(graph) if w.data.shape == (10, 6)]
    assert abs(table).max() == 127 and any((table.numpy() == data).all() for data in held)
    assert len(tables) == (1 if per_tensor else 2), "scales are looked up where every row has its own"
    floats = {n for n, t in (*lowered.named_parameters(), *lowered.named_buffers()) if t.is_floating_point()}
    assert tied or "words.weight" not in floats, "the float table is gone"


def test_a_table_has_8_bits_also_where_weights_have_7() -> None:
    graph = graph_of(SchemeTable(embeddings="int8", weight_bits=7).scheme())
    largest = {w.name: abs(w.data.astype(int)).max() for w in integer_weights(graph)}
    assert largest == {"words.weight": 127, "out.weight": 63}


def test_a_table_learns_through_the_lookup() -> None:
    graph = graph_of(INT8)
    fake = graph.weights()["words.weight"]
    loss = graph.module(*NUMBERS).square().sum()
    loss.backward()
    seen = sorted(set(NUMBERS[0].flatten().tolist()))
    rows = attribute(graph.module, "words.weight").grad.abs().sum(1)
    others = [row for row in range(len(rows)) if row not in seen]
    assert (rows[seen] > 0).all() and (rows[others] == 0).all(), "rows that nobody looked up stay"
    assert (fake.log_scale.grad[seen] != 0).all() and (fake.log_scale.grad[others] == 0).all()


def test_what_is_recorded_names_it() -> None:
    assert INT8.name == "affine-int8_embeddings" and INT8.as_dict()["embeddings"] == "int8"
