"""Sparse updates: patterns of layers, shares of channels, and channels that stay to the bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import tune_data  # noqa: F401  one thread
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from edgeft.config.scheme import Scheme
from edgeft.core.errors import RecipeError
from edgeft.graph.from_torch import capture_float
from edgeft.models.nets.efficientnet_lite import EfficientNetLite0
from edgeft.models.nets.resnet import ResNet20
from edgeft.quantize.graph import insert
from edgeft.quantize.ranges import calibrate
from edgeft.tune import sparse, updates
from edgeft.tune.fit import Stage, fit
from edgeft.tune.frugal import Frugal
from edgeft.tune.groups import qat_groups


def test_patterns_name_layers_and_what_holds_them() -> None:
    net = ResNet20(4)
    plan = sparse.plan(net, ["layer3", "layer2.*.bn1"], {"layer3.0": 0.5, "layer3.0.conv2": 1.0})
    assert plan.has_bias("layer3.2.bn2") and plan.has_bias("layer2.1.bn1") and not plan.has_bias("layer2.1.bn2")
    assert plan.weights == {"layer3.0.conv1": 0.5, "layer3.0.conv2": 1.0}, "the later pattern has the last word"
    assert set(plan.channels) == {"layer3.0.conv1"}
    axis, at = plan.channels["layer3.0.conv1"]
    sizes = net.layer3[0].conv1.weight.detach().flatten(2).norm(dim=2).norm(dim=0)
    assert axis == 1 and set(at) == set(sizes.topk(len(sizes) // 2).indices.tolist())
    names = plan.names(n for n, _ in net.named_parameters())
    assert "layer3.0.conv1.weight" in names and "layer3.1.bn1.bias" in names and "layer3.1.bn1.weight" not in names


@pytest.mark.parametrize(
    "biases, weights, message, remedy",
    [
        (["layer4"], {}, "no layer 'layer4'", "layer3"),
        ([], {"bn1": 1.0}, "no convolution or linear layer 'bn1'", "conv1"),
        ([], {"layer3": 0.0}, "must be above 0", ""),
        ([], {"layer3": 1.5}, "at most 1", ""),
    ],
)
def test_what_fits_nothing_is_refused(biases: list[str], weights: dict[str, float], message: str, remedy: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        sparse.plan(ResNet20(4), biases, weights)
    assert remedy in caught.value.remedy


def test_groups_learn_as_a_whole() -> None:
    net = nn.Sequential(nn.Conv2d(8, 8, 1, groups=2), nn.Conv2d(8, 8, 3, groups=8))
    with pytest.raises(RecipeError, match="groups of channels"):
        sparse.plan(net, [], {"0": 0.5})
    assert sparse.plan(net, [], {"0": 1.0, "1": 0.5}).channels["1"][0] == 0, "a depthwise layer's own channels"


@given(st.floats(0.01, 1.0), st.integers(1, 40))
def test_a_share_is_at_least_one_channel(share: float, channels: int) -> None:
    axis, at = sparse.channels(nn.Linear(channels, 2), share)
    assert axis == 1 and len(at) == max(1, round(share * channels)) and list(at) == sorted(set(at))


def test_last_n_is_the_last_blocks() -> None:
    net = ResNet20(4)
    two = updates.trainable(net, "linear", "last:2")
    assert updates.trainable(net, "linear", "last:1") == updates.trainable(net, "linear", "last") < two
    assert {n.split(".")[1] for n in two if n.startswith("layer3.")} == {"1", "2"}
    with pytest.raises(RecipeError, match="blocks below its head"):
        updates.trainable(net, "linear", "last:40")
    with pytest.raises(RecipeError, match="unknown update policy"):
        updates.trainable(net, "linear", "last:x")


def trained(module: nn.Module, groups: list[dict[str, Any]], x: torch.Tensor, path: Any, norm_stats: str) -> None:
    """Four steps of AdamW with weight decay, as `tune` does them."""

    def loss_of(model: nn.Module, batch: Any) -> torch.Tensor:
        with Frugal():
            return nn.functional.cross_entropy(model(batch), torch.arange(len(batch)) % 4)

    scores = iter(range(9))
    fit(
        module,
        Stage("some", 2, groups, "constant", "adamw", norm_stats=norm_stats),
        batches=lambda _epoch: [x[:4], x[4:]],
        loss_of=loss_of,
        validate=lambda: float(next(scores)),
        accelerator=Accelerator(),
        state_file=path,
    )


@pytest.mark.parametrize(
    "kind, head, conv",
    [(ResNet20, "linear", "layer3.1.conv1"), (EfficientNetLite0, "_fc", "_blocks.9._depthwise_conv")],
)
def test_channels_that_do_not_learn_stay_to_the_bit(kind: Any, head: str, conv: str, tmp_path: Any) -> None:
    torch.manual_seed(0)
    net, x = kind(4), torch.randn(8, 3, 32, 32)
    with torch.no_grad():
        net.train()(x)
    net.eval()
    plan = sparse.plan(net, [], {conv: 0.25})
    axis, at = plan.channels[conv]
    still = [i for i in range(net.get_submodule(conv).weight.shape[axis]) if i not in at]
    learns = updates.trainable(net, head, "sparse", plan)
    updates.apply(net, learns)
    sparse.mark(net, plan)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    groups = [{"params": [p for p in net.parameters() if p.requires_grad], "lr": 0.01, "weight_decay": 0.1}]
    trained(net, groups, x, tmp_path / "float.pt", "freeze")
    moved = {k for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == learns
    name = f"{conv}.weight"
    change = (net.state_dict()[name] - before[name]).transpose(0, axis).flatten(1).abs().amax(1)
    assert (change[list(at)] > 0).all() and (change[still] == 0).all()

    graph = insert(capture_float(net, (x[:2],)), Scheme())
    graph.calibrate_weights()
    calibrate(graph.module, lambda: [(x,)], estimator="minmax")
    learns = updates.apply_to_graph(graph, net, head, "sparse", (), plan)
    assert name in learns and f"{graph.weight_of[name]}.log_scale" not in learns
    assert not any(n.startswith("act_fq_") for n in learns), "the grids of activations stay"
    before = {k: v.clone() for k, v in graph.module.state_dict().items()}
    fake = graph.module.get_submodule(graph.weight_of[name])
    integers = fake.integer(before[name])
    trained(graph.module, qat_groups(graph.module, 0.01), x, tmp_path / "qat.pt", "")
    after = graph.module.state_dict()
    assert {k for k in after if not torch.equal(after[k], before[k])} <= learns
    change = (fake.integer(after[name]) != integers).transpose(0, axis).flatten(1).any(1)
    assert change.any() and not change[still].any()


def test_a_plan_of_one_graph_of_several() -> None:
    plan = sparse.Plan(("encoder.norm",), {"encoder.a": 0.5, "decoder.b": 1.0}, {"encoder.a": (1, (0,))})
    own = plan.under("encoder")
    assert own.biases == ("norm",) and own.weights == {"a": 0.5} and own.channels == {"a": (1, (0,))}
