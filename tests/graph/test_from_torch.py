"""Capture: one functional graph, dynamic batch where the code allows it, the caller's module untouched."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from quantize_nets import IMAGES, Residual, op_name, seeded, settled
from torch import nn

from edgeft.core.errors import ModelError
from edgeft.graph.captured import Captured
from edgeft.graph.from_torch import capture, capture_float


def outputs(captured: Captured, *inputs: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        out = captured.module(*inputs)
    return list(out) if isinstance(out, (tuple, list)) else [out]


def ops(captured: Captured) -> list[str]:
    return [op_name(n) for n in captured.module.graph.nodes if n.op == "call_function"]


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_the_batch_axis_is_dynamic_and_the_graph_computes_what_the_module_does(rows: int) -> None:
    net = settled(Residual())
    captured = capture_float(net, IMAGES)
    x = seeded(rows, 3, 8, 8, seed=5)
    assert captured.dynamic
    assert [tuple(t.shape) for t in captured.example] == [(1, 3, 8, 8)]
    with torch.no_grad():
        torch.testing.assert_close(outputs(captured, x)[0], net(x), rtol=1e-5, atol=1e-5)


class OneByOne(nn.Module):
    """Code that fixes the batch: a Python number taken from it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = [self.linear(x[i]) for i in range(int(x.shape[0]))]
        return torch.stack(rows)


def test_code_that_fixes_the_batch_gives_a_static_graph_of_one_sample() -> None:
    net = settled(OneByOne())
    x = seeded(3, 4)
    captured = capture_float(net, (x,))
    assert not captured.dynamic
    torch.testing.assert_close(outputs(captured, x[:1])[0], net(x[:1]).detach())


class TwoInTwoOut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image, self.vector = nn.Conv2d(3, 4, 3), nn.Linear(5, 4)

    def forward(self, image: torch.Tensor, vector: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.image(image).mean((2, 3))
        y = self.vector(vector)
        return {"sum": x + y, "vector": y}


def test_several_inputs_and_outputs_keep_their_order_and_get_names() -> None:
    net = settled(TwoInTwoOut())
    feeds = (seeded(2, 3, 8, 8), seeded(2, 5))
    captured = capture_float(net, feeds)
    assert captured.input_names == ("image", "vector")
    assert captured.output_names == ("output_0", "output_1")
    want = net(*feeds)
    for got, key in zip(outputs(captured, *feeds), ("sum", "vector")):
        torch.testing.assert_close(got, want[key].detach())


class Reused(nn.Module):
    """One convolution called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(F.relu(self.conv(x)))


def test_a_reused_module_keeps_one_weight() -> None:
    captured = capture_float(settled(Reused()), IMAGES)
    convs = [n for n in captured.module.graph.nodes if op_name(n).startswith("conv2d")]
    assert len(convs) == 2
    assert {n.args[1].target for n in convs} == {"conv.weight"}
    assert [n for n, _ in captured.module.named_parameters()] == ["conv.weight", "conv.bias"]


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.drop = nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        self.relu(y)  # its result is not used: y itself has changed
        z = self.drop(y)
        z += 1
        return F.hardtanh(z * y, 0.0, 6.0, inplace=True)


def test_in_place_ops_become_functional_and_dropout_disappears() -> None:
    net = settled(InPlace())
    captured = capture_float(net, IMAGES)
    assert not [o for o in ops(captured) if "dropout" in o or o.split(".")[0].endswith("_")]
    assert "relu.default" in ops(captured)
    with torch.no_grad():
        torch.testing.assert_close(outputs(captured, *IMAGES)[0], net(IMAGES[0].clone()))


class Decides(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x)
        return y if float(y.sum()) > 0 else -y


def test_control_flow_on_values_is_refused_and_says_what_to_do() -> None:
    with pytest.raises(ModelError) as caught:
        capture(settled(Decides()), (seeded(2, 4),))
    assert "could not capture" in str(caught.value)
    assert "Decides" in str(caught.value)
    assert "control flow" in caught.value.remedy


def test_the_callers_module_is_left_as_it_was() -> None:
    net = Residual().train()
    net.norm1.eval()  # a frozen norm inside a training module
    net.stem.weight.requires_grad_(False)
    before = copy.deepcopy(net.state_dict())
    capture_float(net, IMAGES)
    assert net.training and net.norm.training and not net.norm1.training
    assert not net.stem.weight.requires_grad and net.head.weight.requires_grad
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_training_the_captured_graph_does_not_train_the_callers_module() -> None:
    net = settled(Residual())
    before = net.head.weight.detach().clone()
    captured = capture_float(net, IMAGES)
    with torch.no_grad():
        captured.module.get_parameter("head.weight").add_(1.0)
    assert torch.equal(net.head.weight, before)
