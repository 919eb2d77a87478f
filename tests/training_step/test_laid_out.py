"""Weights of a tail in the order in which the training step takes them."""

from __future__ import annotations

import dataclasses

import torch
from test_step import graph_of
from torch import fx, nn

from edgeft.config import target
from edgeft.graph.from_torch import capture_float
from edgeft.quantize.graph import insert
from edgeft.quantize.ranges import calibrate
from edgeft.training_step import cut as cuts
from edgeft.training_step import step as steps
from edgeft.training_step.laid_out import FROM_TORCH, in_real_units, laid_out, merged

PERMUTE = torch.ops.aten.permute.default


def last_block() -> cuts.Cut:
    graph = graph_of("resnet8", (3, 32, 32))
    return cuts.cut(graph, [n for n, _ in graph.module.named_parameters() if n.startswith(("layer3", "fc"))])


def test_convolutions_are_laid_out_and_the_tail_says_the_same() -> None:
    made = last_block()
    laid = laid_out(made, "fc")
    assert list(laid.parameters) == list(made.parameters)
    moved = {n for n, p in laid.parameters.items() if p.shape != made.parameters[n].shape}
    assert moved == {n for n, p in made.parameters.items() if p.dim() == 4} and len(moved) == 3
    for name in moved:
        assert torch.equal(laid.parameters[name], made.parameters[name].permute(FROM_TORCH))
    latent = torch.rand(4, 32, 16, 16)
    with torch.no_grad():
        said, wanted = laid.tail(latent, *laid.parameters.values())[0], made.tail(latent, *made.parameters.values())[0]
    torch.testing.assert_close(said, wanted)


def test_a_classifier_keeps_its_rows_and_a_depthwise_kernel_its_channels() -> None:
    graph = graph_of("ds_cnn", (1, 49, 10))
    names = [n for n, _ in graph.module.named_parameters() if n.startswith(("features.22", "features.25", "fc"))]
    made = cuts.cut(graph, names)
    laid = laid_out(made, "fc")
    assert laid.parameters["fc.weight"].shape == made.parameters["fc.weight"].shape
    for name, value in made.parameters.items():
        depthwise = value.dim() == 4 and value.shape[1] == 1
        turned = value.dim() == 4 and not depthwise
        assert laid.parameters[name].shape == (value.permute(FROM_TORCH).shape if turned else value.shape)


def test_the_step_turns_no_weight_over_but_for_the_gradient_of_an_input() -> None:
    laid = laid_out(last_block(), "fc")
    parameters, latent = list(laid.parameters.values()), torch.rand(4, 32, 16, 16)
    made = steps.build(laid.tail, parameters, [latent], torch.eye(3)[[0, 1, 2, 0]], steps.Learning())
    holders = [n for n in made.module.graph.nodes if n.op == "placeholder"][: len(parameters)]
    turned = [
        (name, user.args[1])
        for name, holder in zip(laid.parameters, holders)
        for user in holder.users
        if user.target is PERMUTE and holder.meta["val"].dim() == 4
    ]
    # of three convolutions one gives the gradient on, to the one before it
    assert turned == [(turned[0][0], [0, 1, 3, 2])], turned


def test_permutations_in_a_row_are_one_or_none() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    there = graph.call_function(PERMUTE, (x, [0, 2, 3, 1]))
    back = graph.call_function(PERMUTE, (there, [0, 3, 1, 2]))
    round_ = graph.call_function(PERMUTE, (back, [1, 0, -1, 2]))
    graph.output((back, round_))
    module = fx.GraphModule(torch.nn.Module(), graph)
    value = torch.rand(2, 3, 4, 5)
    wanted = module(value)
    merged(module)
    module.recompile()
    assert [n.args[1] for n in module.graph.nodes if n.target is PERMUTE] == [[1, 0, 3, 2]]
    assert all(torch.equal(a, b) for a, b in zip(module(value), wanted))


class Scaled(nn.Module):
    """A product of the model's own behind its last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(8, 16), nn.Linear(16, 2)
        self.register_buffer("by", torch.tensor([3.0, 0.5]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.body(x))) * self.by


def test_a_product_of_the_model_is_not_taken_for_a_factor() -> None:
    torch.manual_seed(0)
    graph = insert(capture_float(Scaled().eval(), (torch.randn(4, 8),)), target.load("host").scheme)
    made = cuts.cut(graph, ["head.weight", "head.bias"])
    real = in_real_units(made)
    assert all(torch.equal(real.parameters[name], value) for name, value in made.parameters.items())
    assert sum(node.target is torch.ops.aten.mul.Tensor for node in real.tail.graph.nodes) == 1


def test_the_cut_itself_is_left_as_it_was() -> None:
    made = last_block()
    before = made.tail.code
    laid_out(in_real_units(made), "fc")
    made.tail.recompile()
    assert made.tail.code == before


class Controls(nn.Module):
    """Two controls, of which one is forty times as wide."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(8, 16), nn.Linear(16, 2)
        with torch.no_grad():
            self.head.weight[0] *= 40

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.body(x)))


def test_parameters_are_in_real_units() -> None:
    torch.manual_seed(0)
    net, x = Controls().eval(), torch.randn(64, 8)
    graph = insert(
        dataclasses.replace(capture_float(net, (x,)), apart=True), target.load("rpi5").scheme
    )  # 8 bits, on any machine
    graph.spread_channels(lambda: iter([(x,)]))
    graph.calibrate_weights()
    calibrate(graph.module, lambda: iter([(x,)]))
    made = cuts.cut(graph, ["head.weight", "head.bias"])
    real = in_real_units(made)
    factor = (net.head.weight.detach() / made.parameters["head.weight"]).median(1).values
    assert float(factor.max() / factor.min()) >= 16, "the cut's own are divided"
    torch.testing.assert_close(real.parameters["head.bias"], net.head.bias.detach())
    torch.testing.assert_close(real.parameters["head.weight"], net.head.weight.detach(), rtol=0.02, atol=0.01)
    latent = torch.rand(5, 16)
    said, wanted = (one.tail(latent, *one.parameters.values())[0] for one in (real, made))
    torch.testing.assert_close(said, wanted)
    assert not any(node.target is torch.ops.aten.mul.Tensor for node in real.tail.graph.nodes)
