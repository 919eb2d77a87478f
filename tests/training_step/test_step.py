"""The training step against torch's own optimizers, as a graph and in the runtimes."""

from __future__ import annotations

import importlib
from pathlib import Path

import builds
import pytest
import torch
import torch.nn.functional as F
from exporting import written
from torch import fx, nn

from edgeft import backends as runtime
from edgeft.bundle import border
from edgeft.config import recipe, target
from edgeft.quantize.graph import QuantizedGraph, prepare
from edgeft.training_step import cut as cuts
from edgeft.training_step import proof as personal_proof
from edgeft.training_step import step as steps
from edgeft.training_step.laid_out import laid_out

RUNTIMES = {
    "onnxruntime": "host",
    "openvino": "host-openvino",
    "litert": "host-litert",
    "executorch": "host-executorch",
}
#: ExecuTorch's exporter is slow
EACH = [pytest.param(name, marks=pytest.mark.slow) if name == "executorch" else name for name in RUNTIMES]


class Head(nn.Module):
    def forward(self, x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor]:
        return (torch.ops.aten.linear.default(x, w, b),)


def linear(classes: int = 3) -> tuple[fx.GraphModule, list[torch.Tensor], torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    parameters = [torch.randn(classes, 8) * 0.3, torch.zeros(classes)]
    x, y = torch.randn(8, 8), torch.randint(0, classes, (8,))
    return fx.symbolic_trace(Head()), parameters, x, F.one_hot(y, classes).float()


def graph_of(name: str, shape: tuple[int, ...]) -> QuantizedGraph:
    """A builtin network with grids that are set and no data behind them."""
    torch.manual_seed(0)
    module = builds.build(recipe.Model(source="builtin", name=name), 3).module
    for layer in module.modules():  # biases that are not zero, so that no norm is that of noise
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.bias, std=0.2)
    graph = prepare(module, (torch.randn(2, *shape),), target.load("host").scheme)
    for fake in graph.activations().values():
        fake.set_range(-3, 3)
    graph.calibrate_weights()
    graph.set_mode("quantize")
    return graph


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("loss", ["cross-entropy", "mse"])
@pytest.mark.parametrize("clip", [0.0, 0.1])
def test_fifty_steps_are_those_of_torch(optimizer: str, loss: str, clip: float) -> None:
    tail, parameters, x, targets = linear()
    learning = steps.Learning(loss, optimizer, clip=clip)
    made = steps.build(tail, parameters, [x], targets, learning)
    theirs = [p.clone().requires_grad_(True) for p in parameters]
    chosen = (
        torch.optim.SGD(theirs, lr=0.05, momentum=learning.momentum)
        if optimizer == "sgd"
        else torch.optim.Adam(theirs, lr=0.05, betas=learning.betas, eps=learning.eps)
    )
    given = [*made.example[:-1], torch.full((1,), 0.05)]
    moved = len(made.outputs) - 1
    for _ in range(50):
        chosen.zero_grad()
        said = F.linear(x, *theirs)
        value = F.mse_loss(said, targets) if loss == "mse" else F.cross_entropy(said, targets)
        value.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(theirs, clip)
        chosen.step()
        found = made.module(*given)
        torch.testing.assert_close(found[-1], value.detach().reshape(1), rtol=1e-4, atol=1e-5)
        given = [*(t.detach() for t in found[:-1]), *given[moved:]]
    for ours, other in zip(given, theirs):
        torch.testing.assert_close(ours, other.detach(), rtol=1e-3, atol=1e-5)


def test_the_errors_of_a_control_are_in_its_own_spread() -> None:
    tail, parameters, x, targets = linear()
    spread = (1.0, 10.0, 100.0)
    found = steps.loss_of(tail(x, *parameters), targets, steps.Learning("mse", spread=spread))
    said = F.linear(x, *parameters)
    torch.testing.assert_close(found, (((said - targets) / torch.tensor(spread)) ** 2).mean())


class Deep(nn.Module):
    """Features behind a layer that learns, then a classifier; the second output is the features."""

    def forward(self, x: torch.Tensor, v: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features = torch.ops.aten.relu.default(torch.ops.aten.linear.default(x, v))
        return torch.ops.aten.linear.default(features, w, b), features


@pytest.mark.parametrize("apart", [1, 40, 400])
def test_ranking_is_the_loss_that_a_recommender_was_trained_by(apart: float) -> None:
    """Of rows with several own items, and of scores that are far apart."""
    from edgeft.tasks.recommend import learning as recommend

    torch.manual_seed(0)
    scores = (torch.randn(5, 12) * apart).requires_grad_(True)
    targets = torch.zeros(5, 12)
    targets[torch.arange(5)[:, None], torch.randint(0, 12, (5, 3))] = 1
    wanted = recommend.loss(scores, targets)
    (of_wanted,) = torch.autograd.grad(wanted, scores)
    found = steps.ranking(scores, targets)
    (of_found,) = torch.autograd.grad(found, scores)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(of_found, of_wanted, rtol=1e-4, atol=1e-6)


def test_prototypes_by_hand() -> None:
    features = torch.tensor([[0.0, 0.0], [2.0, 0.0], [5.0, 4.0]])
    targets = F.one_hot(torch.tensor([0, 0, 2]), 3).float()
    found = steps.nearness(features, targets)
    means = torch.tensor([[1.0, 0.0], [0.0, 0.0], [5.0, 4.0]])
    spread = ((features - features.mean(0)) ** 2).sum(1).mean()
    wanted = -2 * torch.cdist(features, means) ** 2 / spread
    torch.testing.assert_close(found[:, [0, 2]], wanted[:, [0, 2]], rtol=1e-4, atol=1e-5)
    assert (found[:, 1] == -steps.FAR).all(), "the batch has none of that class"


@pytest.mark.parametrize("backend", EACH)
def test_steps_on_prototypes_part_the_classes(tmp_path: Path, backend: str) -> None:
    pytest.importorskip({"litert": "litert_torch"}.get(backend, backend))
    torch.manual_seed(0)
    x, y = torch.randn(12, 8), torch.arange(12) % 3
    targets = F.one_hot(y, 4).float()  # the fourth class is still to come
    parameters = [torch.randn(6, 8) * 0.3, torch.randn(4, 6), torch.zeros(4)]
    learning = steps.Learning("prototype")
    made = steps.build(fx.symbolic_trace(Deep()), parameters, [x], targets, learning)
    ours = parameters[0].clone().requires_grad_(True)
    optimizer = torch.optim.SGD([ours], lr=0.05, momentum=learning.momentum)
    given, moved = [*made.example[:-2], targets, torch.full((1,), 0.05)], len(made.outputs) - 1
    losses = []
    for _ in range(50):
        optimizer.zero_grad()
        features = (x @ ours.T).relu()
        means = torch.stack([features[y == k].mean(0) for k in range(3)])
        spread = ((features - features.mean(0)) ** 2).sum(1).mean().detach()
        loss = F.cross_entropy(-2 * torch.cdist(features, means) ** 2 / spread, y)
        loss.backward()
        optimizer.step()
        found = made.module(*given)
        losses.append(float(found[-1].detach()))
        assert losses[-1] == pytest.approx(float(loss.detach()), rel=1e-3, abs=1e-4)
        given = [*(t.detach() for t in found[:-1]), *given[moved:]]
    assert losses[-1] < 0.5 * losses[0]
    torch.testing.assert_close(given[0], ours.detach(), rtol=1e-2, atol=1e-3)
    assert torch.equal(given[1], parameters[1]) and torch.equal(given[2], parameters[2]), "the classifier is not moved"
    session = in_runtime(tmp_path, backend, made)
    table = recipe.Personalize(rate=0.05, spare_classes=1)
    assert personal_proof.distance(made, learning, session, table, 10, together=True) <= 1e-5


def in_runtime(folder: Path, backend: str, step: steps.Step) -> runtime.Session:
    exporter = importlib.import_module(f"edgeft.backends.{backend}.exporter")
    artifact = written(
        exporter,
        step.module,
        step.example,
        list(step.inputs),
        list(step.outputs),
        folder,
        target=target.load(RUNTIMES[backend]),
        dynamic_batch=False,
        kind="fixed",
    )
    names = {"inputs": [{"name": n} for n in step.inputs], "outputs": [{"name": n} for n in step.outputs]}
    return border.named(runtime.get(backend).load(folder / artifact.file), names, where=str(folder))


TAILS = {
    "a linear head": ("resnet8", (3, 32, 32), ("fc",)),
    "two linear layers": ("mlp", (1, 28, 28), ("layers.2", "head")),
    "depthwise and pointwise convolutions": ("ds_cnn", (1, 49, 10), ("features.22", "features.25", "fc")),
    "convolutions with stride and a shortcut": ("resnet8", (3, 32, 32), ("layer3", "fc")),
    "an inverted residual with relu6": ("mobilenet_v2", (3, 64, 64), ("features.17", "features.18", "classifier")),
}


def built(case: str, optimizer: str = "sgd", clip: float = 0.0) -> tuple[cuts.Cut, steps.Step, steps.Learning]:
    name, shape, layers = TAILS[case]
    graph = graph_of(name, shape)
    made = cuts.cut(graph, [n for n, _ in graph.module.named_parameters() if n.startswith(layers)])
    made = laid_out(made, layers[-1])
    with torch.no_grad():
        latent = made.trunk.module(torch.randn(6, *shape))
    learning = steps.Learning(optimizer=optimizer, clip=clip)
    step = steps.build(made.tail, list(made.parameters.values()), [latent], torch.zeros(6, 3), learning)
    return made, step, learning


@pytest.mark.parametrize("case", TAILS)
def test_gradients_of_a_tail_are_those_of_torch(case: str) -> None:
    made, step, _ = built(case)
    count = len(made.parameters)
    latent, targets = step.example[-3], F.one_hot(torch.arange(6) % 3, 3).float()
    parameters = [p.clone().requires_grad_(True) for p in made.parameters.values()]
    loss = F.cross_entropy(made.tail(latent, *parameters)[0], targets)
    wanted = torch.autograd.grad(loss, parameters)
    found = step.module(*step.example[:-2], targets, torch.ones(1))
    for before, after, gradient in zip(made.parameters.values(), found[:count], wanted):
        torch.testing.assert_close(before - after, gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("backend", EACH)
@pytest.mark.parametrize(
    ("case", "optimizer"),
    [
        ("a linear head", "sgd"),
        ("a linear head", "adam"),
        pytest.param("depthwise and pointwise convolutions", "sgd", marks=pytest.mark.slow),
        ("convolutions with stride and a shortcut", "sgd"),
    ],
)
def test_fifty_steps_in_a_runtime_end_where_torch_ends(tmp_path: Path, backend: str, case: str, optimizer: str) -> None:
    pytest.importorskip({"litert": "litert_torch"}.get(backend, backend))
    _, step, learning = built(case, optimizer, clip=1.0)
    session = in_runtime(tmp_path, backend, step)
    table = recipe.Personalize(optimizer=optimizer, rate=0.01)
    assert personal_proof.distance(step, learning, session, table, 10, together=True) <= 1e-6
    if "shortcut" not in case:  # there one of 8192 values is near enough to zero that rounding decides about its ReLU
        assert personal_proof.distance(step, learning, session, table, 50) <= personal_proof.APART[optimizer]
