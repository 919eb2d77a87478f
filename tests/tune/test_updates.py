"""Update policies: the right names learn, and what is frozen stays so to the bit through both stages."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import tune_data  # noqa: F401  one thread
from accelerate import Accelerator
from torch import nn

from edgeft.config.scheme import Scheme
from edgeft.core.errors import RecipeError
from edgeft.graph.captured import Captured
from edgeft.graph.from_torch import capture_float
from edgeft.graph.nodes import attribute
from edgeft.models.nets.efficientnet_lite import EfficientNetLite0
from edgeft.models.nets.mobilenet import MobileNetV2
from edgeft.models.nets.resnet import ResNet20
from edgeft.quantize.graph import QuantizedGraph, insert
from edgeft.quantize.lower import integer_weights
from edgeft.quantize.ranges import calibrate
from edgeft.tune import updates
from edgeft.tune.fit import Stage, fit
from edgeft.tune.groups import qat_groups

NETS = {
    "resnet20": (ResNet20, "linear"),
    "mobilenet_v2": (MobileNetV2, "classifier.1"),
    "efficientnet_lite0": (EfficientNetLite0, "_fc"),
}
LAST = {"resnet20": ("layer3.2.",), "mobilenet_v2": ("features.18.",), "efficientnet_lite0": ("_conv_head.", "_bn1.")}


def norm_parameters(net: nn.Module, leaf: str = "") -> set[str]:
    return {
        f"{name}.{p}"
        for name, m in net.named_modules()
        if isinstance(m, nn.BatchNorm2d)
        for p, _ in m.named_parameters(recurse=False)
        if p.endswith(leaf)
    }


@pytest.mark.parametrize("name", NETS)
def test_which_parameters_learn(name: str) -> None:
    kind, head = NETS[name]
    net = kind(4)
    every = {n for n, _ in net.named_parameters()}
    of_head = {f"{head}.weight", f"{head}.bias"}
    assert updates.trainable(net, head, "full") == every
    assert updates.trainable(net, head, "head") == of_head
    last = updates.trainable(net, head, "last")
    assert last == of_head | {n for n in every if n.startswith(LAST[name])}
    assert any(n in norm_parameters(net) for n in last), "the block's norms learn with it"
    assert updates.trainable(net, head, "norm") == of_head | norm_parameters(net)
    bias = updates.trainable(net, head, "bias")
    assert bias == of_head | {n for n in every if n.endswith(".bias")}
    assert norm_parameters(net, "bias") <= bias


def test_an_unknown_policy_is_answered_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="haed") as caught:
        updates.trainable(ResNet20(4), "linear", "haed")
    assert "'head'" in caught.value.remedy


def test_a_network_without_a_head_cannot_train_it() -> None:
    with pytest.raises(RecipeError, match="no head"):
        updates.trainable(nn.Linear(2, 2), "", "head")
    assert updates.trainable(nn.Linear(2, 2), "", "bias") == {"bias"}


def test_a_frozen_norm_keeps_its_statistics() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4, affine=False), nn.Linear(4, 2))
    )
    updates.apply(net, {"2.1.weight"})
    updates.train_mode(net)
    assert net.training and not net[1].training
    assert net[2][0].training, "a norm without parameters goes with its block"
    updates.apply(net, {"0.weight"})
    updates.train_mode(net)
    assert not net[1].training and not net[2][0].training
    updates.apply(net, {n for n, _ in net.named_parameters()})
    updates.train_mode(net, freeze=True)
    assert net[2].training and not net[1].training and not net[2][0].training


class Fixture:
    """A net at 32 pixels with its graph: captured once, since that takes the longest."""

    def __init__(self, name: str) -> None:
        torch.manual_seed(0)
        kind, self.head = NETS[name]
        self.net = kind(4)
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(6, 3, 32, 32, generator=generator)
        with torch.no_grad():  # statistics of these samples, so that the head sees something
            for _ in range(20):
                self.net.train()(self.x)
        self.net.eval()
        self.y = torch.arange(6) % 4
        self.captured: Captured = capture_float(self.net, (self.x[:2],))
        self.start = {k: v.clone() for k, v in self.net.state_dict().items()}

    def train(self, module: nn.Module, groups: list[dict[str, Any]], tmp_path: Any, norm_stats: str) -> None:
        """Two steps by the real loop, with every epoch kept."""
        stage = Stage("some", 1, groups, "constant", "sgd", norm_stats=norm_stats)
        scores = iter(range(9))
        fit(
            module,
            stage,
            batches=lambda _epoch: [(self.x[:3], self.y[:3]), (self.x[3:], self.y[3:])],
            loss_of=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
            validate=lambda: float(next(scores)),
            accelerator=Accelerator(),
            state_file=tmp_path / f"{id(module)}-{len(list(tmp_path.iterdir()))}.pt",
        )


_made: dict[str, Fixture] = {}


@pytest.fixture(params=NETS)
def case(request: pytest.FixtureRequest) -> Fixture:
    if request.param not in _made:
        _made[request.param] = Fixture(request.param)
    return _made[request.param]


def everything(graph: QuantizedGraph) -> dict[str, torch.Tensor]:
    """State, integer weights and scales by name."""
    state = {k: v.clone() for k, v in graph.module.state_dict().items()}
    for one in integer_weights(graph):
        state[f"int8 {one.name}"] = torch.from_numpy(one.data.copy())
        state[f"scale {one.name}"] = torch.from_numpy(one.scale.copy())
    return state


@pytest.mark.parametrize("policy", ["head", "last", "bias", "norm"])
def test_what_is_frozen_stays_bit_identical_in_both_stages(case: Fixture, policy: str, tmp_path: Any) -> None:
    net = case.net
    net.load_state_dict(case.start)
    learns = updates.trainable(net, case.head, policy)
    updates.apply(net, learns)
    owners = {n.rpartition(".")[0] for n in learns}
    case.train(net, [{"params": [p for p in net.parameters() if p.requires_grad], "lr": 0.05}], tmp_path, "update")
    moved = {k for k, v in net.state_dict().items() if not torch.equal(v, case.start[k])}
    assert {f"{case.head}.weight", f"{case.head}.bias"} <= moved
    statistics = {k for k in moved if k.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")}
    assert moved - statistics <= learns
    assert {k.rpartition(".")[0] for k in statistics} <= owners, "a frozen norm keeps its statistics"
    assert bool(statistics) == (policy != "head")

    graph = insert(case.captured, Scheme())
    calibrate(graph.module, lambda: [(case.x,)], estimator="minmax")
    learns = updates.apply_to_graph(graph, net, case.head, policy)
    before = everything(graph)
    case.train(graph.module, qat_groups(graph.module, 0.02), tmp_path, "")
    after = everything(graph)
    moved = {k for k in after if not torch.equal(after[k], before[k])}
    frozen_weights = {n for n, fq in graph.weight_of.items() if n not in learns}
    for name in frozen_weights:
        assert not moved & {name, f"int8 {name}", f"scale {name}", f"{graph.weight_of[name]}.log_scale"}, name
    assert {k for k in moved if not k.startswith(("int8 ", "scale "))} <= learns
    assert f"int8 {case.head}.weight" in moved or f"scale {case.head}.weight" in moved
    if policy in ("head", "last"):
        own = (case.head, *LAST[next(k for k, v in NETS.items() if v[1] == case.head)])
        assert all(n.startswith(("act_fq", "weight_fq", *own)) for n in learns)
    if policy == "head":
        assert len(frozen_weights) == len(graph.weight_of) - 1
        # the head's weight, bias and scale, and the grid of the output behind it
        assert len(learns) == 4, learns
    assert torch.isfinite(attribute(graph.module, f"{case.head}.weight")).all()


def test_under_the_full_policy_every_weight_and_scale_learns() -> None:
    net = ResNet20(4).eval()
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    graph = insert(capture_float(net, (x,)), Scheme())
    calibrate(graph.module, lambda: [(x,)], estimator="minmax")
    learns = updates.apply_to_graph(graph, net, "linear", "full")
    names = {n for n, _ in graph.module.named_parameters()}
    # the grid in front of the first layer learns too: the layer's own output depends on nothing before it
    assert names - learns <= {"act_fq_0.log_scale"}


def test_a_convolution_with_a_bias_of_its_own_learns_its_norm_under_the_norm_policy() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(4 * 16, 3)
    ).eval()
    graph = insert(capture_float(net, (torch.randn(2, 3, 4, 4),)), Scheme())
    learns = updates.apply_to_graph(graph, net, "4", "norm")
    assert "0.bias" in learns, "its norm's shift is in it"
    assert "2.bias" not in learns and "0.weight" not in learns
