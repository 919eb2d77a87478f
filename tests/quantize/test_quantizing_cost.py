"""What quantizing costs, counted rather than timed: calls that grow with the graph, and tensors that are held."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from edgeft.config.scheme import Scheme
from edgeft.graph.captured import Captured
from edgeft.graph.from_torch import capture
from edgeft.graph.normalize import normalize
from edgeft.quantize import equalize
from edgeft.quantize.graph import insert
from edgeft.quantize.lower import lower
from edgeft.quantize.parts import calibrate_parts, capture_parts, insert_parts
from edgeft.quantize.ranges import PIECE_BYTES, in_pieces

PICTURES = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))


class PreActivation(nn.Module):
    """Norm, ReLU and convolution beside an addition; the additions reach through the whole net."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(depth))
        self.layers = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(depth))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for norm, layer in zip(self.norms, self.layers):
            x = x + layer(torch.relu(norm(x)))
        return x.mean((2, 3))


class Normed(nn.Module):
    """Convolutions, each with a BatchNorm to fold, and linear layers between BatchNorms of vectors."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU()) for _ in range(depth // 2)),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            *(nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4), nn.ReLU()) for _ in range(depth // 2)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class LeftInFloat(nn.Module):
    """A long chain of sums, of which the last feeds an op without integers: all of them fall back to float."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.first, self.last, self.depth = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), depth

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for _ in range(self.depth):
            x = x + x
        return self.last(torch.cumsum(torch.erf(x * 1e-9), 1)).mean((2, 3))


class Feeds(nn.Module):
    """LayerNorm into linear layers beside additions: a factor a channel on each."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(6) for _ in range(depth))
        self.up, self.down = (nn.ModuleList(nn.Linear(*n) for _ in range(depth)) for n in ((6, 8), (8, 6)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1, 2)
        for norm, up, down in zip(self.norms, self.up, self.down):
            x = x + down(nn.functional.gelu(up(norm(x))))
        return x.mean(1)


def calls(work: Callable[[], Any]) -> int:
    """How many functions `work` calls, built-in ones too, without those of a garbage collection that falls into it."""
    count = 0
    gc.collect()
    gc.disable()

    def note(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


@pytest.mark.parametrize("kind", [PreActivation, Normed, LeftInFloat, Feeds])
def test_twice_the_graph_costs_twice_the_calls(kind: type[nn.Module]) -> None:
    counts = []
    for depth in (6, 12, 24):
        module, dynamic = capture(kind(depth).eval(), [PICTURES])
        captured = Captured(module, (PICTURES[:1],), dynamic, ("x",), ("output",))
        counts.append([calls(lambda module=module: normalize(module))])
        graph = insert(captured, Scheme())
        steps: tuple[Callable[[], Any], ...] = (
            lambda captured=captured: insert(captured, Scheme()),
            lambda graph=graph: equalize.groups(graph),
            lambda graph=graph: lower(graph, "int"),
            lambda graph=graph: lower(graph, "qdq"),
        )
        counts[-1] += [calls(step) for step in steps]
    # of a cost a n + b n^2 + c this is (2 a + 12 b n) / (a + 3 b n): 2 where there is no b, towards 4 where there is
    growth = [(last - second) / (second - first) for first, second, last in zip(*counts)]
    assert max(growth) < 2.05, growth


def held() -> int:
    """Bytes of all tensors that are alive."""
    kinds = (torch.Tensor, nn.Parameter)
    return sum(t.numel() * t.element_size() for t in gc.get_objects() if type(t) in kinds)


@pytest.mark.parametrize("estimator", ["mse", "auto"])
def test_calibration_holds_no_more_after_many_batches_than_after_one(estimator: str) -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(8 * 12 * 12, 4))
    parts = insert_parts(capture_parts(net.eval(), (torch.randn(2, 3, 16, 16),)), Scheme())
    bytes_held: list[int] = []

    def batches() -> Iterator[tuple[torch.Tensor]]:
        for seed in range(5):
            bytes_held.append(held())
            yield (torch.randn(32, 3, 16, 16, generator=torch.Generator().manual_seed(seed)),)

    parts.calibrate_weights("mse")
    calibrate_parts(parts, batches, estimator=estimator, percentile=99.9)
    parts.equalize(batches, lambda: None)
    # the batch that is read and the values of the last layers are all that may be there beside the network
    one_batch = 32 * 3 * 16 * 16 * 4
    assert len(bytes_held) >= 15 and max(bytes_held) <= bytes_held[0] + 3 * one_batch


def test_the_rows_of_large_pictures_go_through_a_few_at_a_time() -> None:
    picture = torch.zeros(1, 3, 224, 224)
    sizes = [piece[0].shape[0] for piece in in_pieces((picture.expand(32, -1, -1, -1),))]
    assert sum(sizes) == 32 and max(sizes) * picture.numel() * 4 <= PIECE_BYTES
    rows = torch.arange(5 * 2**19, dtype=torch.float32).view(5, -1)
    pieces = list(in_pieces((rows, rows[:, :1])))
    assert [torch.cat(parts).equal(whole) for parts, whole in zip(zip(*pieces), (rows, rows[:, :1]))] == [True, True]
    assert len(pieces) == 5, "a row that is larger than a piece is one"


@pytest.mark.parametrize("batch", [(torch.zeros(4, 3),), (torch.zeros(2**20), torch.zeros(3)), (torch.zeros(()),)])
def test_small_batches_and_inputs_of_different_rows_stay_whole(batch: tuple[torch.Tensor, ...]) -> None:
    (piece,) = in_pieces(batch)
    assert len(piece) == len(batch) and all(a is b for a, b in zip(piece, batch))
