"""Forms of code that people write: writes on views, the batch as a number, autocast, randomness, control flow."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from quantize_nets import BRANCH, HOST, calibrated, op_name, seeded, settled
from torch import nn

from edgeft.core.errors import ModelError
from edgeft.graph.captured import Captured
from edgeft.graph.from_torch import capture_float

IMAGES = (seeded(4, 1, 8, 8, seed=1),)


class Around(nn.Module):
    """conv -> body(features, conv) -> mean -> linear."""

    def __init__(self, body: Callable[[torch.Tensor, nn.Module], torch.Tensor]) -> None:
        super().__init__()
        self.stem, self.norm, self.conv = (
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.Conv2d(8, 8, 3, padding=1),
        )
        self.head, self.body = nn.Linear(8, 3), body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(F.relu(self.norm(self.stem(x)), inplace=True), self.conv).mean((2, 3)))


def ops(captured: Captured) -> set[str]:
    return {op_name(n).split(".")[0] for n in captured.module.graph.nodes if n.op == "call_function"}


def relu_on_a_slice(x: torch.Tensor, conv: nn.Module) -> torch.Tensor:
    y = conv(x)
    y[:, :4].relu_()
    y[:, 4:, 0, :] = 0.0
    return y


def temporal_shift(x: torch.Tensor, conv: nn.Module) -> torch.Tensor:
    y = torch.zeros_like(x)
    y[:, :2, :, 1:] = x[:, :2, :, :-1]
    y[:, 2:4, :, :-1] = x[:, 2:4, :, 1:]
    y[:, 4:] = x[:, 4:]
    return conv(y)


def rows_and_columns(x: torch.Tensor, conv: nn.Module) -> torch.Tensor:
    y = conv(x)
    y[:, 0] = y[:, 1]
    y[:, :, 2:5, 3:6] += 1.0
    y[..., -1] = 1.5
    return y


def halves_swapped(x: torch.Tensor, conv: nn.Module) -> torch.Tensor:
    y = torch.empty_like(x)
    y[:, :4] = x[:, 4:]
    y[:, 4:] = x[:, :4]
    return conv(y)


def every_second(x: torch.Tensor, conv: nn.Module) -> torch.Tensor:
    y = x.new_zeros(x.shape[0], 8, 16, 16)
    y[:, :, ::2, ::2] = x
    return conv(y)


def where_negative(x: torch.Tensor, conv: nn.Module) -> torch.Tensor:
    y = conv(x)
    y[y < 0] = 0.1
    return y


def a_constant_mask(x: torch.Tensor, conv: nn.Module) -> torch.Tensor:
    """What Swin does: regions are numbered in a mask that no input decides."""
    mask = x.new_zeros((8, 8))
    mask[:3, :3] = 1
    mask[3:, :] = 2
    return conv(x) * mask


WRITES = [relu_on_a_slice, temporal_shift, rows_and_columns, halves_swapped, every_second, where_negative]


@pytest.mark.parametrize("body", [*WRITES, a_constant_mask])
def test_writes_on_views_are_captured(body: Callable[..., torch.Tensor]) -> None:
    net = settled(Around(body))
    captured = capture_float(net, IMAGES)
    x = seeded(3, 1, 8, 8, seed=2)
    assert captured.dynamic
    with torch.no_grad():
        torch.testing.assert_close(captured.module(x), net(x), rtol=1e-5, atol=1e-5)


def test_writes_of_slices_become_moves_that_are_quantized_like_their_neighbours() -> None:
    for body in (relu_on_a_slice, temporal_shift, halves_swapped):
        graph = calibrated(settled(Around(body)), IMAGES, HOST)
        assert not graph.summary.float_ops, (body.__name__, graph.summary.float_ops)
    assert "slice_scatter" not in ops(capture_float(settled(Around(temporal_shift)), IMAGES))
    assert ops(capture_float(settled(Around(a_constant_mask)), IMAGES)) == {"conv2d", "relu", "mul", "mean", "linear"}


def test_an_in_place_op_on_a_reshape_alone_keeps_the_graph_as_it_was() -> None:
    """Nobody reads the tensor under its first name again: nothing is functionalized, and no name changes."""

    def body(x: torch.Tensor, conv: nn.Module) -> torch.Tensor:
        return conv(F.relu(x.view(x.shape[0], 4, 2, 8, 8), inplace=True).reshape(x.shape))

    captured = capture_float(settled(Around(body)), IMAGES)
    names = [n.name for n in captured.module.graph.nodes if op_name(n).startswith("relu")]
    assert names == ["relu_", "relu__1"]  # "relu" where it is functionalized


class BatchAsNumber(Around):
    def __init__(self) -> None:
        super().__init__(lambda x, conv: conv(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, channels, height, width = (int(size) for size in self.stem(x).shape)
        y = self.stem(x).reshape(rows * channels, height * width).softmax(1).view(rows, channels, height, width)
        return self.head(torch.ones(rows, 8) + self.conv(y).view(rows, 8, -1).mean(-1))


def test_the_batch_as_a_python_number_is_freed() -> None:
    net = settled(BatchAsNumber())
    captured = capture_float(net, IMAGES)
    assert captured.dynamic
    for rows in (1, 3, 7):
        x = seeded(rows, 1, 8, 8, seed=rows)
        with torch.no_grad():
            torch.testing.assert_close(captured.module(x), net(x))
    paths = [n.meta.get("nn_module_stack") for n in captured.module.graph.nodes if op_name(n).startswith("conv2d")]
    assert all(paths)


class LoopOverBatch(Around):
    def __init__(self) -> None:
        super().__init__(lambda x, conv: torch.cat([conv(row[None]) for row in x]))


def test_a_loop_over_the_batch_is_captured_for_one_sample_and_takes_any_number() -> None:
    net = settled(LoopOverBatch())
    captured = capture_float(net, IMAGES)
    assert not captured.dynamic
    x = seeded(3, 1, 8, 8, seed=2)
    with torch.no_grad():
        torch.testing.assert_close(captured.module(x), net(x))
        torch.testing.assert_close(copy.deepcopy(captured.module)(x), net(x))

    graph = calibrated(net, IMAGES, BRANCH)  # over a batch of four
    graph.module(x).square().mean().backward()
    assert graph.module.get_parameter("conv.weight").grad.abs().sum() > 0


def test_autocast_in_forward_is_captured_in_float32() -> None:
    def body(x: torch.Tensor, conv: nn.Module) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = conv(x)
        with torch.autocast("cpu", enabled=False):
            return F.relu(y.float())

    captured = capture_float(settled(Around(body)), IMAGES)
    assert ops(captured) == {"conv2d", "relu", "mean", "linear"}
    with torch.autocast("cpu", dtype=torch.bfloat16):  # the switch works as before afterwards
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype is torch.bfloat16


REFUSED = {
    "F.dropout(x, 0.5)": (lambda x, conv: conv(F.dropout(x, 0.5)), "training=self.training"),
    "torch.randn_like(x)": (lambda x, conv: conv(x + torch.randn_like(x)), "if self.training"),
    "if x.mean() > 0.3": (lambda x, conv: conv(x) if x.mean() > 0.3 else x, "torch.where"),
}


@pytest.mark.parametrize("code", REFUSED)
def test_what_no_graph_can_hold_is_named_with_the_line(code: str, capfd: pytest.CaptureFixture[str]) -> None:
    body, remedy = REFUSED[code]
    with pytest.raises(ModelError) as caught:
        capture_float(settled(Around(body)), IMAGES)
    line = f"{__file__}:{body.__code__.co_firstlineno}: "
    assert line in str(caught.value) and remedy in caught.value.remedy
    assert capfd.readouterr() == ("", "")  # torch's own dump of the graph


def test_dropout_modules_are_no_randomness() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.AlphaDropout(0.5), nn.RReLU(), nn.Linear(4, 2))
    captured = capture_float(settled(net), (seeded(2, 4),))
    assert not {"dropout", "alpha_dropout"} & ops(captured)


def test_a_norm_by_the_statistics_of_its_batch_is_refused_by_name() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))
    with pytest.raises(ModelError, match="without running statistics") as caught:
        capture_float(net.eval(), IMAGES)
    assert caught.value.where == "1" and "track_running_stats=True" in caught.value.remedy


def test_a_module_that_cannot_be_copied_is_named() -> None:
    net = nn.Sequential(nn.Linear(4, 2))
    net.lock = threading.Lock()
    with pytest.raises(ModelError, match="cannot be copied") as caught:
        capture_float(net, (seeded(2, 4),))
    assert "locks" in caught.value.remedy


class Remembering(nn.Module):
    """Adds up what it sees in a buffer; `answers` says whether the next answer depends on it."""

    def __init__(self, answers: bool) -> None:
        super().__init__()
        self.stem, self.head, self.answers = nn.Conv2d(1, 8, 3), nn.Linear(8, 3), answers
        self.register_buffer("seen", torch.zeros(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.stem(x)).mean((2, 3))
        self.seen = 0.9 * self.seen + 0.1 * y.mean(0).detach()
        return self.head(y + self.seen if self.answers else y)


def test_a_buffer_that_the_next_answer_depends_on_is_refused() -> None:
    with pytest.raises(ModelError, match="changes the buffer 'seen'") as caught:
        capture_float(Remembering(True).eval(), IMAGES)
    assert "self.training" in caught.value.remedy
    assert capture_float(Remembering(False).eval(), IMAGES).dynamic


class OwnFilters(nn.Module):
    """As many groups as samples."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.filters = nn.Linear(1, 2), nn.Parameter(torch.randn(2, 8 * 9))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, _, h, w = x.shape
        filters = (self.gate(x.mean((2, 3))).softmax(1) @ self.filters).view(n * 8, 1, 3, 3)
        return F.conv2d(x.reshape(1, n, h, w), filters, padding=1, groups=n).view(n, 8, h, w).mean((2, 3))


def test_a_convolution_with_a_group_a_sample_is_that_of_one_sample() -> None:
    net = OwnFilters().eval()
    graph = calibrated(net, IMAGES, HOST)
    assert not graph.captured.dynamic
    with torch.no_grad():
        torch.testing.assert_close(graph.captured.module(*IMAGES), net(*IMAGES), rtol=1e-5, atol=1e-5)


class Caching(nn.Module):
    """A table that eval mode keeps from call to call, and train() drops, as attention of LeViT does."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.cache = nn.Parameter(torch.arange(4.0)), {}

    def train(self, mode: bool = True) -> Caching:
        super().train(mode)
        if mode:
            self.cache = {}
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            return x * self.table[:2]
        if "rows" not in self.cache:
            self.cache["rows"] = self.table[:2]
        return x * self.cache["rows"]


def test_what_a_forward_has_cached_of_its_weights_is_no_constant_of_the_graph() -> None:
    net, x = Caching().eval(), torch.randn(3, 2)
    with torch.no_grad():
        net(x)
    graph = capture_float(net, (x,)).module
    assert [name for name, _ in graph.named_parameters()] == ["table"]
    assert net.cache, "the caller's module is left as it was"
