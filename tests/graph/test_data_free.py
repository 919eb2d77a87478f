"""Values that do not depend on the data: computed once, held in float, and broadcast without `expand_as`."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="graphs are torch")

from quantize_nets import Gate, Positions, calibrated, op_name, seeded, settled  # noqa: E402
from torch import nn  # noqa: E402

from edgeft.graph.captured import Captured  # noqa: E402
from edgeft.graph.from_torch import capture_float  # noqa: E402

IMAGES = seeded(3, 3, 16, 16)


class Table(nn.Module):
    """A table that is repeated for each sample and meets the data in a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(16, 5)
        self.register_buffer("table", seeded(1, 8, 4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.head(torch.cat([x, self.table.repeat(len(x), 1, 1, 1) * 2], 1).mean((2, 3)))


def ops(captured: Captured) -> set[str]:
    return {op_name(n).split(".")[0] for n in captured.module.graph.nodes if n.op == "call_function"}


@pytest.mark.parametrize("net", [Positions(), Positions(project=False), Table(), Gate()])
def test_the_graph_computes_the_same_for_every_batch(net: nn.Module) -> None:
    captured = capture_float(settled(net), (IMAGES[:2],))
    assert captured.dynamic
    for count in (1, 3):
        with torch.no_grad():
            torch.testing.assert_close(captured.module(IMAGES[:count]), net(IMAGES[:count]))


def test_positions_become_a_constant_and_the_layer_that_reads_them_stays_float() -> None:
    net = settled(Positions())
    assert ops(capture_float(net, (IMAGES,))) <= {
        "conv2d", "sym_size", "reshape", "flatten", "transpose", "add", "layer_norm", "mean", "linear",
    }  # fmt: skip
    graph = calibrated(net, (IMAGES,))
    assert set(graph.weight_of) == {"stem.weight", "head.weight"} and graph.summary.float_ops["conv2d"] == 1


def test_the_learned_layer_of_a_constant_is_still_trained() -> None:
    graph = calibrated(settled(Positions()), (IMAGES,))
    graph.module(IMAGES).square().mean().backward()
    assert graph.module.get_parameter("project.weight").grad.abs().sum() > 0


def test_a_constant_that_needs_a_row_a_sample_gets_it() -> None:
    assert {"cat", "expand"} <= ops(capture_float(settled(Table()), (IMAGES,)))


def test_expand_as_in_front_of_a_product_is_dropped_and_all_is_quantized() -> None:
    graph = calibrated(settled(Gate()), (IMAGES,))
    assert not graph.summary.float_ops and not {"expand_as", "expand"} & ops(graph.captured)
