"""Annotate: which values are quantized, who shares a grid, what stays float."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from quantize_nets import (
    BRANCH,
    IMAGES,
    TOKENS,
    Block,
    Excite,
    Residual,
    calibrated,
    node,
    op_name,
    read_through,
    settled,
    written_through,
)
from torch import nn

from edgeft.config.scheme import GAINS, WEIGHTED, Scheme, SchemeTable
from edgeft.core.errors import ModelError, RecipeError
from edgeft.quantize.graph import prepare


def test_a_residual_net_is_quantized_throughout() -> None:
    graph = calibrated(settled(Residual()), IMAGES)
    assert set(graph.weight_of) == {"stem.weight", "conv1.weight", "conv2.weight", "head.weight"}
    assert graph.summary.float_ops == {}
    # input, three (conv + relu), conv2, add + relu, mean, head: the clamps melt into the op before them
    assert len(graph.activations()) == 7
    for word in ("conv2d", "linear"):
        for one in (n for n in graph.module.graph.nodes if n.op == "call_function" and op_name(n).startswith(word)):
            assert read_through(graph, one) and read_through(graph, one, 1)
    conv = node(graph, "conv2d", 0)
    assert [op_name(u) for u in conv.users] == ["relu.default"], "nothing stands between a convolution and its relu"
    assert written_through(conv) == {"float"}
    assert len(written_through(node(graph, "relu", 0))) == 1


def test_both_operands_of_an_add_are_quantized_or_only_the_branch() -> None:
    net = settled(Residual())
    every, branch = calibrated(net, IMAGES), calibrated(net, IMAGES, BRANCH)
    add = node(every, "add")
    assert read_through(every, add, 0) and read_through(every, add, 1)
    add = node(branch, "add")
    through = [read_through(branch, add, i) for i in (0, 1)]
    assert through[0] is not None, "the skip is quantized"
    assert through[1] is None, "the convolution fuses with the add"
    assert op_name(add.args[1]).startswith("conv2d")
    assert len(branch.activations()) == len(every.activations()) - 1


class Concat(nn.Module):
    """Two convolutions of very different size joined, pooled, reshaped and classified."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Linear(8 * 16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        joined = torch.cat([self.a(x), self.b(x) * self.b(x)], 1)
        return self.head(F.max_pool2d(joined, 2).flatten(1))


def test_concat_pool_and_reshape_share_one_grid() -> None:
    graph = calibrated(settled(Concat()), IMAGES)
    cat = node(graph, "cat")
    inputs = {str(a.target) for a in cat.args[0]}
    assert len(inputs) == 1
    assert (
        inputs
        == written_through(cat)
        == written_through(node(graph, "max_pool2d"))
        == written_through(node(graph, "flatten"))
    )
    mul = node(graph, "mul")
    assert read_through(graph, mul) not in inputs, "the factors keep a grid of their own"


class Joins(nn.Module):
    def __init__(self, first: nn.Module, second: nn.Module, nested: bool = False) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
        self.first, self.second, self.nested = first, second, nested
        self.last = nn.Conv2d(12 if nested else 8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.cat([self.first(self.a(x)), self.second(self.b(x))], 1)
        return self.last(torch.cat([y, self.c(x)], 1) if self.nested else y)


def test_a_relu6_and_a_wider_input_of_a_concat_share_a_grid_without_a_ceiling() -> None:
    graph = calibrated(settled(Joins(nn.ReLU6(), nn.Identity())), (IMAGES[0] * 8,))
    (shared,) = {str(a.target) for a in node(graph, "cat").args[0]}
    assert graph.activations()[shared].ceiling is None
    assert all(a.args[0].op != "call_module" for a in node(graph, "cat").args[0]), "nothing is requantized"


def test_a_fixed_input_of_a_concat_is_requantized() -> None:
    graph = calibrated(settled(Joins(nn.Sigmoid(), nn.Identity())), (IMAGES[0] * 8,))
    cat = node(graph, "cat")
    shared = {str(a.target) for a in cat.args[0]}
    assert len(shared) == 1
    again = cat.args[0][0].args[0]
    assert again.op == "call_module" and str(again.target) not in shared, "its own grid stands before the shared one"
    own, wide = graph.activations()[str(again.target)], graph.activations()[shared.pop()]
    assert own.parameters_of_grid() == (1 / 256, -128)
    assert wide.parameters_of_grid()[0] > own.parameters_of_grid()[0]


def test_equal_constraints_need_no_requantization() -> None:
    graph = calibrated(settled(Joins(nn.Sigmoid(), nn.Sigmoid())), IMAGES)
    cat = node(graph, "cat")
    assert {graph.activations()[str(a.target)].parameters_of_grid() for a in cat.args[0]} == {(1 / 256, -128)}
    assert all(op_name(a.args[0]).startswith("sigmoid") for a in cat.args[0])


@pytest.mark.parametrize("kind", [nn.Sigmoid(), nn.ReLU6()], ids=["sigmoid", "relu6"])
def test_a_constraint_is_not_handed_on_through_nested_concats(kind: nn.Module) -> None:
    x = IMAGES[0] * 8
    net = settled(Joins(kind, kind, nested=True))
    with torch.no_grad():
        net.c.weight.mul_(3)
    graph = calibrated(net, (x,))
    outer = node(graph, "cat", 1)
    (shared,) = {str(a.target) for a in outer.args[0]}
    wide = graph.activations()[shared]
    with torch.no_grad():
        largest = float(net.c(x).max())
    assert not wide.fixed and wide.ceiling is None
    assert wide.parameters_of_grid()[0] * 255 >= largest, "the unconstrained input is not clipped"


class Fixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(torch.softmax(self.b(torch.tanh(self.a(x))), -1))


def test_softmax_and_tanh_have_the_parameters_that_runtimes_prescribe() -> None:
    x = (IMAGES[0][:, 0, 0, :6],)
    scheme = Scheme(ops=(*GAINS, "softmax"))
    graph = calibrated(settled(Fixed()), x, scheme)
    (tanh,), (softmax,) = (written_through(node(graph, w)) for w in ("tanh", "softmax"))
    assert graph.activations()[tanh].parameters_of_grid() == (1 / 128, 0)
    assert graph.activations()[softmax].parameters_of_grid() == (1 / 256, -128)
    symmetric = calibrated(
        settled(Fixed()), x, SchemeTable(activation_symmetric=True, ops=(*GAINS, "softmax")).scheme()
    )
    (softmax,) = written_through(node(symmetric, "softmax"))
    scale, zero = symmetric.activations()[softmax].parameters_of_grid()
    assert (scale, zero) == (pytest.approx(1 / 127), 0)
    plain = calibrated(settled(Fixed()), x)
    assert written_through(node(plain, "softmax")) != {"float"}, "the linear behind it reads it through a grid"
    assert plain.summary.float_ops == {"softmax": 1}


def test_relu6_keeps_its_grid_below_the_ceiling() -> None:
    graph = calibrated(settled(Excite()), (IMAGES[0] * 50,))
    for nth in (0, 1):
        (name,) = written_through(node(graph, "relu6", nth))
        scale, zero = graph.activations()[name].parameters_of_grid()
        assert zero == -128 and 5.9 < scale * 255 <= 6.0
        with torch.no_grad():
            graph.activations()[name].log_scale.add_(3.0)  # as training may
        assert graph.activations()[name].parameters_of_grid()[0] * 255 <= 6.0


def test_squeeze_and_excite_is_integer_throughout() -> None:
    graph = calibrated(settled(Excite()), IMAGES)
    assert len(graph.weight_of) == 6
    assert graph.summary.float_ops == {}
    mul = node(graph, "mul")
    gate = read_through(graph, mul, 1)
    assert gate is not None and graph.activations()[gate].parameters_of_grid() == (1 / 256, -128)
    assert graph.summary.ops["depthwise"] == 1


def test_in_a_transformer_only_the_linears_are_quantized() -> None:
    graph = calibrated(settled(Block()), TOKENS)
    assert set(graph.weight_of) == {f"{n}.weight" for n in ("qkv", "out", "up", "down", "head")}
    assert graph.summary.ops == {"linear": 5, "activation": 1}
    for one in (n for n in graph.module.graph.nodes if n.op == "call_function" and op_name(n).startswith("linear")):
        assert read_through(graph, one) is not None
        assert "float" not in written_through(one), "the converter drops a weight's grid where the output has none"
    (gelu,) = (n for n in graph.module.graph.nodes if op_name(n).startswith("gelu"))
    assert read_through(graph, gelu) and "float" not in written_through(gelu), "it stands between two linears"
    for word in ("layer_norm", "softmax", "matmul", "mean", "add"):
        assert word in graph.summary.float_ops, word
    adds = [n for n in graph.module.graph.nodes if op_name(n).startswith("add")]
    assert len(adds) == 2
    for add in adds:
        assert sum(read_through(graph, add, i) is not None for i in (0, 1)) == 1, "only the linear's own output"


def test_layers_to_keep_float_are_named_by_pattern() -> None:
    net = settled(Residual())
    graph = calibrated(net, IMAGES, keep_float=("conv*", "head"))
    assert set(graph.weight_of) == {"stem.weight"}
    assert graph.summary.float_ops["conv2d"] == 2 and graph.summary.float_ops["linear"] == 1
    with pytest.raises(RecipeError, match=r"'layer9.\*' matches no layer") as caught:
        prepare(net, IMAGES, Scheme(), ("layer9.*",))
    assert "conv1" in caught.value.remedy


def test_a_model_without_a_layer_to_quantize_is_refused() -> None:
    with pytest.raises(ModelError, match="no layer"):
        prepare(settled(Residual()), IMAGES, Scheme(), ("stem", "conv*", "head"))


def test_classes_with_one_scale_per_tensor() -> None:
    graph = calibrated(settled(Excite()), IMAGES, SchemeTable(per_tensor=("linear", "depthwise")).scheme())
    scales = {name: fake.scale().numel() for name, fake in graph.weights().items()}
    assert scales == {
        "expand.weight": 8, "depth.weight": 1, "down.weight": 4, "up.weight": 8, "project.weight": 6, "head.weight": 1,
    }  # fmt: skip
    everywhere = calibrated(settled(Excite()), IMAGES, SchemeTable(per_tensor=WEIGHTED).scheme())
    assert {fake.axis for fake in everywhere.weights().values()} == {None}


class Up(nn.Module):
    """One layer called twice, which keeps its op."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 3, 2, stride=(2, 1), bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.up(F.relu(self.up(x))))


def test_a_transposed_convolution_has_its_scales_on_the_second_axis() -> None:
    graph = calibrated(settled(Up()), IMAGES, Scheme(ops=(*GAINS, "conv_transpose")))
    (fake,) = graph.weights().values()
    assert fake.axis == 1 and fake.scale().numel() == 3


@pytest.mark.parametrize("net, example", [(Residual(), IMAGES), (Excite(), IMAGES), (Block(), TOKENS)])
def test_symmetric_activations_have_zero_point_zero(net: nn.Module, example: tuple[torch.Tensor, ...]) -> None:
    for scheme in (BRANCH, SchemeTable(activation_symmetric=True).scheme()):
        graph = calibrated(settled(net), example, scheme)
        assert {m.parameters_of_grid()[1] for m in graph.activations().values()} == {0}


class Strange(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(torch.erf(self.a(x)))


def test_an_op_that_no_rule_knows_stays_float_and_is_named() -> None:
    graph = calibrated(settled(Strange()), IMAGES)
    assert graph.summary.float_ops == {"erf": 1}
    assert read_through(graph, node(graph, "conv2d", 1)) is not None, "the convolution behind it reads through a grid"
    assert "float" not in written_through(node(graph, "conv2d", 0))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(self.conv(x))


def test_a_reused_weight_has_one_grid_and_each_call_its_own_activations() -> None:
    graph = calibrated(settled(Twice()), IMAGES)
    assert graph.weight_of == {"conv.weight": "weight_fq_0"}
    first, second = (node(graph, "conv2d", i) for i in (0, 1))
    assert read_through(graph, first, 1) == read_through(graph, second, 1) == "weight_fq_0"
    assert len(graph.activations()) == 3


def test_attention_is_integer_where_a_scheme_asks_for_matmul_and_softmax() -> None:
    net = settled(Block())
    usual, whole = (calibrated(net, TOKENS, Scheme(ops=ops)) for ops in (GAINS, (*GAINS, "matmul", "softmax")))
    assert usual.summary.float_ops["matmul"] == 2 and usual.summary.float_ops["div"] == 1
    assert set(whole.summary.float_ops) == {"layer_norm", "add", "mean"}

    graph = whole.module
    product = node(whole, "mul")
    assert read_through(whole, product, 0) and read_through(whole, product, 1), "the factor is a constant with a grid"
    whole.set_mode("off")
    torch.testing.assert_close(graph(*TOKENS), net(*TOKENS))
    whole.set_mode("quantize")
    assert (graph(*TOKENS) - net(*TOKENS)).abs().max() < 0.1 * net(*TOKENS).abs().max()
