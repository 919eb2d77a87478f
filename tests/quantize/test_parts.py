"""Models of several graphs: captured, quantized and named by part, as one module."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from quantize_nets import HOST, seeded, settled
from torch import nn

from edgeft.core.errors import ModelError, RecipeError
from edgeft.learning.parts import Part, TorchSession
from edgeft.quantize.parts import MAIN, CapturedParts, QuantizedParts, calibrate_parts, capture_parts, insert_parts

ROWS = seeded(16, 4)
WEIGHTS = {f"{part}.{layer}.weight" for part in ("first", "second") for layer in ("inner", "outer")}


class Block(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(4, hidden), nn.Linear(hidden, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(torch.relu(self.inner(x)))


class Two(nn.Module):
    """Two parts, joined by more than calling one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Block(6), Block(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - self.second(self.first(x).clamp(min=-1.0))


def part(output: str) -> Part:
    return Part((ROWS[:2],), ("x",), (output,))


PARTS = {"first": part("between"), "second": part("after")}


def captured(net: nn.Module | None = None) -> CapturedParts:
    return capture_parts(net or settled(Two()), (ROWS[:2],), PARTS)


def calibrated(keep_float: tuple[str, ...] = ()) -> QuantizedParts:
    made = insert_parts(captured(), HOST, keep_float)
    calibrate_parts(made, lambda: [(ROWS,)], estimator="minmax", percentile=99.9)
    return made


def test_each_part_is_a_graph_and_together_they_are_the_model() -> None:
    net = settled(Two())
    found = captured(net)
    assert not found.single and list(found.graphs) == ["first", "second"]
    assert [graph.input_names for graph in found.graphs.values()] == [("x",), ("x",)]
    assert [graph.output_names for graph in found.graphs.values()] == [("between",), ("after",)]
    with torch.no_grad():
        assert torch.allclose(found.module(ROWS), net(ROWS), atol=1e-6)
    assert isinstance(net.first, Block) and found.module.first is found.graphs["first"].module, "the caller's own stays"


def test_a_model_without_parts_is_one_graph_with_plain_names() -> None:
    found = capture_parts(settled(Block(6)), (ROWS[:2],))
    assert found.single and list(found.graphs) == [MAIN]
    assert set(insert_parts(found, HOST, ["outer"]).weights()) == {"inner.weight"}


def test_weights_and_activations_are_named_by_part_and_close_to_float() -> None:
    made = calibrated()
    assert set(made.weights()) == set(made.weight_of) == WEIGHTS
    assert {name.split(".")[0] for name in made.activations()} == {"first", "second"}
    modules = dict(made.module.named_modules())
    assert all(modules[fake] is made.weights()[weight] for weight, fake in made.weight_of.items())
    with torch.no_grad():
        want, got = made.captured.module(ROWS), made.module(ROWS)
        error = float((want - got).abs().max())
        assert 0 < error < 0.05 * float(want.abs().max())
        made.set_mode("off")
        assert torch.allclose(made.module(ROWS), want, atol=1e-6)


def test_every_integer_weight_is_the_float_one_in_steps() -> None:
    made = calibrated()
    floats = dict(settled(Two()).named_parameters())
    found = {weight.name: weight for weight in made.integer_weights()}
    assert set(found) == WEIGHTS
    for name, weight in found.items():
        want = floats[name].detach().numpy()
        assert weight.data.shape == want.shape and weight.data.dtype == np.int8
        assert weight.axis is not None
        steps = weight.scale.reshape([-1 if k == weight.axis else 1 for k in range(want.ndim)])
        assert np.abs(weight.data * steps - want).max() <= 0.5001 * steps.max()


def test_the_state_of_one_is_that_of_another() -> None:
    made = calibrated()
    state = {name: value.clone() for name, value in made.module.state_dict().items()}
    other = insert_parts(captured(), HOST)
    other.set_mode("quantize")
    with torch.no_grad():
        want = made.module(ROWS)
        assert not torch.equal(other.module(ROWS), want), "ranges were never seen here"
        other.module.load_state_dict(state)
        assert torch.equal(other.module(ROWS), want)
        # what is trained as a whole is what each graph holds, so that it is exported
        between = other.graphs["first"].module(ROWS)
        assert torch.equal(ROWS - other.graphs["second"].module(between.clamp(min=-1.0)), want)
    for one, two in zip(made.integer_weights(), other.integer_weights()):
        assert np.array_equal(one.data, two.data) and np.array_equal(one.scale, two.scale)


def test_keep_float_names_layers_of_one_part() -> None:
    assert set(insert_parts(captured(), HOST, ["first.outer"]).weights()) == WEIGHTS - {"first.outer.weight"}
    both = ["first.inner", "second.*r"]
    with pytest.raises(ModelError, match="no layer"):  # a graph of which nothing would be integer
        insert_parts(captured(), HOST, both)


@pytest.mark.parametrize("pattern", ["outer", "third.outer", "firstborn.inner"])
def test_keep_float_that_names_no_part_is_refused(pattern: str) -> None:
    with pytest.raises(RecipeError, match="names no part") as caught:
        insert_parts(captured(), HOST, [pattern])
    assert pattern in caught.value.message and caught.value.remedy == "begin it with 'first.' or 'second.'"


def test_a_parameter_outside_of_all_parts_is_refused() -> None:
    net = settled(Two())
    net.gain = nn.Parameter(torch.ones(4))
    with pytest.raises(ModelError, match="'gain' is in none of the parts first, second"):
        captured(net)


def test_a_part_that_takes_something_else_is_refused() -> None:
    parts = {**PARTS, "second": Part((ROWS[:2],), ("y",), ("after",))}
    with pytest.raises(ModelError, match="takes x, not y") as caught:
        capture_parts(settled(Two()), (ROWS[:2],), parts)
    assert caught.value.where == "second"


def test_a_part_is_asked_as_a_runtime_is() -> None:
    net = settled(Two())
    session = TorchSession(net.first, PARTS["first"])
    assert [tensor.name for tensor in session.outputs] == ["between"]
    said = session.run({"x": ROWS.numpy()})
    with torch.no_grad():
        assert list(said) == ["between"] and np.array_equal(said["between"], net.first(ROWS).numpy())
