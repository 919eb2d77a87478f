"""The account of what a step keeps, against what autograd's own hooks see it keep."""

from __future__ import annotations

import contextlib

import builds
import pytest
import torch
import torch.nn.functional as F
import tune_data  # noqa: F401  one thread
from torch import nn

from edgeft.config import recipe, target
from edgeft.quantize.graph import QuantizedGraph, prepare
from edgeft.tune import cost, sparse, updates
from edgeft.tune.frugal import Frugal
from edgeft.tune.memory import SavedBytes

SHAPES = {
    "ds_cnn": (1, 49, 10),
    "resnet8": (3, 32, 32),
    "resnet20": (3, 32, 32),
    "resnet18": (3, 64, 64),
    "mobilenet_v2": (3, 64, 64),
    "efficientnet_lite0": (3, 64, 64),
    "mlp": (1, 28, 28),
}
POLICIES = ("full", "head", "last", "bias", "norm", "sparse")


def plan_for(module: nn.Module, head: str) -> sparse.Plan:
    """The upper half of the layers, by turns whole, half and a quarter of the channels; biases of the upper third."""
    layers = [n for n, m in module.named_modules() if isinstance(m, sparse.LAYERS) and sparse.splits(m) and n != head]
    upper = layers[len(layers) // 2 :]
    norms = [n for n, m in module.named_modules() if isinstance(m, nn.BatchNorm2d)]
    weights = {n: (1.0, 0.5, 0.25)[i % 3] for i, n in enumerate(upper)}
    return sparse.plan(module, [*layers[-len(layers) // 3 :], *norms[-len(norms) // 3 :]], weights)


def quantized(module: nn.Module, x: torch.Tensor) -> QuantizedGraph:
    graph = prepare(module, (x[:2],), target.load("host").scheme)
    for fake in graph.activations().values():
        fake.set_range(-3, 3)
    graph.calibrate_weights()
    graph.set_mode("quantize")
    return graph


#: two large nets, whose blocks resnet18 and ds_cnn have in small
LARGE = [pytest.param(name, marks=pytest.mark.slow) for name in ("mobilenet_v2", "efficientnet_lite0")]


@pytest.mark.parametrize("stage", ["float", "quantized"])
@pytest.mark.parametrize(
    "name", [*(name for name in SHAPES if name not in ("mobilenet_v2", "efficientnet_lite0")), *LARGE]
)
def test_what_is_said_is_what_a_step_keeps(name: str, stage: str) -> None:
    torch.manual_seed(0)
    made = builds.build(recipe.Model(source="builtin", name=name), 4)
    x, y = torch.randn(4, *SHAPES[name]), torch.arange(4) % 4
    for policy in POLICIES:
        module = builds.build(recipe.Model(source="builtin", name=name), 4).module.eval()
        plan = plan_for(module, made.head) if policy == "sparse" else None
        shares = {f"{layer}.weight": share for layer, share in plan.weights.items()} if plan else {}
        if stage == "quantized":
            graph = quantized(module, x)
            learns = updates.apply_to_graph(graph, module, made.head, policy, (), plan)
            module = graph.module
        else:
            learns = updates.trainable(module, made.head, policy, plan)
            updates.apply(module, learns)
            if plan:
                sparse.mark(module, plan)
            updates.train_mode(module, freeze=policy != "full")
        trace = cost.record(module, lambda m: F.cross_entropy(m(x), y))
        assert not [call for call in trace.calls if call.kind == "unknown"]
        said = trace.saved(learns, shares, frugal=policy != "full")
        with Frugal() if policy != "full" else contextlib.nullcontext(), SavedBytes(module.parameters()) as seen:
            F.cross_entropy(module(x), y)
        assert said == pytest.approx(seen.total, rel=0.03, abs=300), (name, stage, policy)


def test_an_op_that_nobody_knows_is_taken_to_keep_all() -> None:
    module = nn.Linear(4, 4)
    x = torch.randn(8, 4)
    trace = cost.record(module, lambda m: torch.special.erf(m(x)).sum())
    assert [c.kind for c in trace.calls] == ["weighted", "unknown", "nothing"]
    assert trace.saved({"weight"}) == 3 * 8 * 4 * 4, "the layer's input, and what goes in and out of erf"


def test_nothing_below_the_first_parameter_that_learns_is_kept() -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    x = torch.randn(16, 8)
    trace = cost.record(module, lambda m: m(x).sum())
    assert trace.saved({"4.bias"}) == 0
    assert trace.saved({"4.weight"}) == 16 * 8 * 4, "its input"
    assert trace.saved({"2.bias"}) == 16 * 8 // 8, "a bit an element of the ReLU behind it"
    assert trace.saved({"0.bias"}) == 2 * 16 * 8 // 8
    assert trace.saved({"2.weight"}, {"2.weight": 0.25}) == 16 * 8 + 16 * 8 // 8, "a quarter of its input, and the mask"
    assert trace.saved(()) == 0
