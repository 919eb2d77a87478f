"""Low-rank adapters: nothing changes at the start, a merge computes the same, what has no adapter never moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import tune_data
from draws import draws
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

from edgeft.config import target
from edgeft.config.recipe import Update
from edgeft.core.errors import RecipeError
from edgeft.models.nets.efficientnet_lite import EfficientNetLite0
from edgeft.models.nets.resnet import ResNet8
from edgeft.tune import lora, updates
from edgeft.tune.run import tune

#: the scheme of this machine
HOST = target.load("host").scheme.name


class Layers(nn.Module):
    """A linear layer on rows, or a 1x1 convolution on pictures, between others."""

    def __init__(self, kind: str, inputs: int, outputs: int, stride: int, bias: bool) -> None:
        super().__init__()
        self.kind = kind
        if kind == "linear":
            self.layer: nn.Module = nn.Linear(inputs, outputs, bias)
        else:
            self.layer = nn.Conv2d(inputs, outputs, 1, stride, padding=stride - 1, bias=bias)
        self.head = nn.Linear(outputs, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.layer(x))
        return self.head(y if self.kind == "linear" else y.mean((2, 3)))


@st.composite
def cases(draw: st.DrawFn) -> tuple[nn.Module, torch.Tensor, Update]:
    kind = draw(st.sampled_from(["linear", "conv"]))
    inputs, outputs, stride = draw(st.integers(1, 12)), draw(st.integers(1, 12)), draw(st.integers(1, 2))
    torch.manual_seed(draw(st.integers(0, 999)))
    net = Layers(kind, inputs, outputs, stride, draw(st.booleans())).eval()
    x = torch.randn(4, inputs) if kind == "linear" else torch.randn(2, inputs, 5, 4)
    dropout = draw(st.sampled_from([0.0, 0.5]))
    return net, x, Update("lora", rank=draw(st.integers(1, 16)), alpha=draw(st.floats(0.1, 32)), dropout=dropout)


@draws(60)
@given(cases())
def test_a_new_adapter_changes_nothing_and_a_merge_computes_the_same(
    case: tuple[nn.Module, torch.Tensor, Update],
) -> None:
    net, x, update = case
    with torch.no_grad():
        before, names = net(x), list(net.state_dict())
        assert list(lora.add(net, "head", update, (x,), seed=1)) == ["layer"]
        assert torch.equal(net(x), before), "up is zero: to the bit"
        adapter = net.layer.lora
        assert adapter.down.shape[0] == adapter.up.shape[1] <= min(update.rank, *net.layer.weight.shape[:2])
        for parameter in adapter.parameters():
            parameter.copy_(torch.randn_like(parameter) / 3)
        adapted = net(x)
        assert lora.merge(net) == ["layer"]
        merged = net(x)
    assert list(net.state_dict()) == names and not net.layer._forward_hooks
    assert (merged - adapted).abs().max() <= 1e-5 * max(1.0, float(adapted.abs().max()))


def test_an_adapter_that_learned_nothing_leaves_the_weights_to_the_bit() -> None:
    net = ResNet8(3).eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    lora.add(net, "fc", Update("lora"), (torch.randn(2, 3, 32, 32),))
    lora.merge(net)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_dropout_is_on_while_learning_only() -> None:
    net = Layers("linear", 50, 4, 1, True)
    x = torch.ones(2, 50)
    lora.add(net, "head", Update("lora", dropout=0.5), (x,))
    nn.init.ones_(net.layer.lora.up)
    assert not torch.equal(net.train().layer(x), net.layer(x))
    assert torch.equal(net.eval().layer(x), net.layer(x))


def test_which_layers_are_adapted() -> None:
    net = EfficientNetLite0(4)
    x = (torch.randn(1, 3, 32, 32),)
    every = lora.targets(net, "_fc", (), x)
    assert "_conv_head" in every and "_fc" not in every
    assert all(layer.kernel_size == (1, 1) and layer.groups == 1 for layer in every.values())
    assert net._blocks[3]._depthwise_conv not in every.values() and net._conv_stem not in every.values()
    assert set(lora.targets(net, "_fc", ("_blocks.[3-3]", "_conv_h*"), x)) == {
        "_blocks.3._expand_conv", "_blocks.3._project_conv", "_conv_head",
    }  # fmt: skip


def test_what_cannot_be_adapted_is_answered_with_names() -> None:
    x = (torch.randn(1, 3, 32, 32),)
    with pytest.raises(RecipeError, match=r"update.layers: 'layer9' matches no") as caught:
        lora.targets(ResNet8(3), "fc", ("layer9",), x)
    assert "layer3.0.downsample.0" in caught.value.remedy
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(RecipeError, match="has no linear layer or 1x1 convolution") as caught:
        lora.add(plain, "3", Update("lora"), x)
    assert '"norm"' in caught.value.remedy


def test_a_layer_that_does_not_compute_by_its_own_forward_is_left_alone() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.read, self.one, self.two, self.own = (nn.Linear(4, 4) for _ in range(4))
            self.two.weight = self.one.weight
            self.head = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.own(self.two(self.one(nn.functional.linear(x, self.read.weight)))))

    assert list(lora.targets(Shared(), "head", (), (torch.randn(1, 4),))) == ["own"]


def test_only_adapters_and_head_learn() -> None:
    net = ResNet8(3)
    layers = lora.add(net, "fc", Update("lora"), (torch.randn(2, 3, 32, 32),))
    names = updates.trainable(net, "fc", "lora")
    assert names == {"fc.weight", "fc.bias"} | {f"{n}.lora.{own}" for n in layers for own in ("down", "up")}
    lora.merge(net)
    assert updates.trainable(net, "fc", "lora") == {"fc.weight", "fc.bias"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tune_data.write(tmp_path_factory.mktemp("data") / "shapes.npz")


MORE = ("update.policy='lora'", "update.rank=4", "update.dropout=0.1", "train.lr=0.02")


def test_a_run_merges_and_moves_nothing_else(data: Path, tmp_path: Path) -> None:
    """The files are those of any other run; what has no adapter is what it was, to the bit, in both of them."""
    start = tune(tune_data.recipe_for(data, "train.epochs=0", "quantize.method='ptq'"), tmp_path / "start")
    said: list[str] = []
    result = tune(tune_data.recipe_for(data, *MORE, "train.epochs=3"), tmp_path / "run", say=said.append)
    layers = ["layer2.0.downsample.0", "layer3.0.downsample.0"]
    assert result["policy"] == "lora" and result["adapted_layers"] == layers
    assert result["total_parameters"] == start["total_parameters"], "the merged network has no more than before"
    assert result["updated_parameters"] == 4 * (16 + 32) + 4 * (32 + 64) + 195
    assert any(line.startswith("LoRA: 576 parameters on 2 layers") for line in said)
    moving = {f"{n}.weight" for n in layers} | {"fc.weight", "fc.bias"}
    before, after = (load_file(tmp_path / n / "float.safetensors") for n in ("start", "run"))
    assert list(before) == list(after)
    assert {k for k in after if not torch.equal(before[k], after[k])} == moving

    before, after = (load_file(tmp_path / n / f"quantized.{HOST}.safetensors") for n in ("start", "run"))
    assert list(before) == list(after)
    weights = {k for k in after if k.endswith((".weight", ".bias"))}
    norm_in = {f"{n}.bias" for n in layers}  # the folded norm's shift: a constant
    assert {k for k in weights if not torch.equal(before[k], after[k])} <= moving
    assert norm_in <= weights and all(torch.equal(before[k], after[k]) for k in norm_in)
    learned = result["schemes"][HOST]["updated_parameters"]
    assert 195 + 32 + 64 + 3 < learned < 500, "in the second stage the head, scales of three layers, grids after them"


def test_the_merged_weights_stay_in_the_second_stage(data: Path, tmp_path: Path) -> None:
    """What was merged is what is quantized: no weight of a body layer moves under the teacher."""
    tune(tune_data.recipe_for(data, *MORE, "quantize.epochs=3", "quantize.lr=0.01"), tmp_path / "run")
    whole, graph = (load_file(tmp_path / "run" / n) for n in ("float.safetensors", f"quantized.{HOST}.safetensors"))
    scale = whole["layer3.0.downsample.1.weight"] / (whole["layer3.0.downsample.1.running_var"] + 1e-5).sqrt()
    folded = whole["layer3.0.downsample.0.weight"] * scale[:, None, None, None]
    torch.testing.assert_close(graph["layer3.0.downsample.0.weight"], folded)
    assert not torch.equal(graph["fc.weight"], whole["fc.weight"]), "the head goes on learning"


def test_a_dry_run_tells_of_the_adapters(data: Path, tmp_path: Path) -> None:
    plan = tune(tune_data.recipe_for(data, *MORE), tmp_path / "run", dry_run=True)
    assert plan["adapted_layers"] == ["layer2.0.downsample.0", "layer3.0.downsample.0"]
    assert plan["updated_parameters"] == 576 + 195 and "layer3.0.downsample.0.lora.up" in plan["learns"]
    assert plan["moving_bytes"] == (576 + 195) * 16
    ignored: Any = tune(tune_data.recipe_for(data, "update.rank=4"), tmp_path / "run", dry_run=True)
    assert ignored["notes"] == ["warning: update.rank only has an effect under update.policy = 'lora'"]
    assert plan["notes"][0].startswith("warning: update.policy = 'lora' keeps weights that were never trained")
