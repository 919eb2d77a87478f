"""Gradual unfreezing and rates by depth: a function of the epoch, the same after a resume, in both stages."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import tune_data
from safetensors.torch import load_file
from torch import nn

from edgeft.config import recipe, target
from edgeft.config.scheme import Scheme
from edgeft.core.errors import RecipeError
from edgeft.graph.from_torch import capture_float
from edgeft.learning.blocks import blocks
from edgeft.models.nets.resnet import ResNet8
from edgeft.quantize.graph import insert
from edgeft.tasks.classify import learning as classify
from edgeft.tune import unfreezing, updates
from edgeft.tune.groups import qat_groups
from edgeft.tune.run import tune

#: the scheme of this machine
HOST = target.load("host").scheme.name
X = (torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)),)


def begun(*settings: str) -> tuple[nn.Module, unfreezing.Learning]:
    net = ResNet8(3)
    return net, unfreezing.begin(net, "fc", recipe.override(recipe.Recipe(), settings), X)


def test_one_block_more_from_the_top_every_so_many_epochs() -> None:
    net, found = begun("train.unfreeze=2")
    pile = [{"fc.weight", "fc.bias"}, *map(set, reversed(blocks(net, "fc")))]
    assert len(pile) == 5
    for epoch in range(1, 14):
        assert found.at(epoch) == set().union(*pile[: 1 + (epoch - 1) // 2]), epoch
    assert found.at(9) == found.names == {n for n, _ in net.named_parameters()}
    assert found.schedule(6) == ["from epoch 1: fc", "from epoch 3: layer3.0", "from epoch 5: layer2.0"]
    assert "train.epochs = 10" in found.notes(6)[1] and len(found.notes(10)) == 1


def test_a_policy_says_which_parameters_of_a_block_are_let_loose() -> None:
    _, found = begun("train.unfreeze=1", "update.policy=last")
    assert [len(step) for step in found.steps] == [2, len([n for n in found.names if n.startswith("layer3")])]
    _, found = begun("train.unfreeze=1", "update.policy=lora")
    assert [sorted(step)[0] for step in found.steps] == [
        "fc.bias", "layer3.0.downsample.0.lora.down", "layer2.0.downsample.0.lora.down",
    ]  # fmt: skip
    with pytest.raises(RecipeError, match="only the head is trainable"):
        begun("train.unfreeze=1", "update.policy=head")


def test_statistics_of_a_frozen_block_stand_still() -> None:
    net, found = begun("train.unfreeze=1")
    updates.apply(net, found.at(2))
    updates.train_mode(net)
    assert not net.bn1.training and not net.layer2[0].bn2.training and net.layer3[0].bn1.training


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tune_data.write(tmp_path_factory.mktemp("data") / "shapes.npz")


def test_what_is_not_yet_let_loose_has_not_moved(data: Path, tmp_path: Path) -> None:
    short = ("quantize.method='none'", "train.weight_decay=0.5")
    tune(tune_data.recipe_for(data, *short, "train.epochs=0"), tmp_path / "start")
    before = load_file(tmp_path / "start" / "float.safetensors")
    made = tune_data.recipe_for(data, *short, "train.epochs=3", "train.unfreeze=1")
    result = tune(made, tmp_path / "run")
    after = load_file(tmp_path / "run" / "float.safetensors")
    moved = {k.split(".")[0] for k in after if not torch.equal(after[k], before[k])}
    assert moved <= {"fc", "layer3", "layer2"}, "neither by decay nor by statistics"
    module = ResNet8(3)
    expected = sum(p.numel() for n, p in module.named_parameters() if n.startswith(("fc", "layer3", "layer2")))
    assert result["updated_parameters"] == expected < result["total_parameters"]
    plan = tune(made, tmp_path / "none", dry_run=True)
    assert plan["updated_parameters"] == expected and plan["unfreezing"][0] == "from epoch 1: fc"


@pytest.mark.parametrize("settings", [("train.unfreeze=1",), ("update.policy='lora'", "update.dropout=0.2")])
def test_a_stopped_run_goes_on_to_the_same_bits(
    settings: tuple[str, ...], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tune_data.recipe_for(data, *settings, "train.epochs=4", "quantize.epochs=1", "train.augment='light'")
    want = tune(made, tmp_path / "whole")
    real, calls = classify.loss, []
    checkpoint = tmp_path / "parts" / "checkpoints" / "float.pt"

    def stops(*args: Any) -> torch.Tensor:
        if checkpoint.exists() and torch.load(checkpoint, weights_only=True)["epoch"] == 2:
            calls.append(1)
        if len(calls) == 2:  # in the middle of the third epoch
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(classify, "LEARNING", dataclasses.replace(classify.LEARNING, loss=stops))
    with pytest.raises(KeyboardInterrupt):
        tune(made, tmp_path / "parts")
    monkeypatch.undo()
    kept = torch.load(checkpoint, weights_only=True)
    assert kept["epoch"] == 2
    assert any(".lora." in name for name in kept["model"]) == ("unfreeze" not in settings[0])
    got = tune(made, tmp_path / "parts", resume=True)
    for name in ("float.safetensors", f"quantized.{HOST}.safetensors"):
        first, second = load_file(tmp_path / "whole" / name), load_file(tmp_path / "parts" / name)
        assert [k for k in first if not torch.equal(first[k], second[k])] == [] and set(first) == set(second)
    for key in ("float", "ptq", "quantized", "steps", "peak_training_bytes", "updated_parameters", "adapted_layers"):
        assert want[key] == got[key], key


def test_rates_by_depth_carry_over_to_the_graph() -> None:
    net = ResNet8(3).eval()
    graph = insert(capture_float(net, X), Scheme())
    updates.apply_to_graph(graph, net, "fc", "full")
    factors = unfreezing.decay_in_graph(graph, net, "fc", 0.5)
    assert factors["layer3.0.conv1.weight"] == 0.5 and factors["conv1.weight"] == 0.5**4
    assert factors["conv1.bias"] == 0.5**4, "the norm's shift, which has no name of its own in the float module"
    assert factors[f"{graph.weight_of['layer1.0.conv2.weight']}.log_scale"] == 0.5**3
    assert "fc.weight" not in factors and not any(n.startswith("act_fq") for n in factors)
    made = qat_groups(graph.module, 1e-3, factors)
    assert sorted({group["lr"] for group in made}) == pytest.approx([1e-3 * 0.5**k for k in (4, 3, 2, 1, 0)])
    held = [id(p) for group in made for p in group["params"]]
    assert len(set(held)) == len(held) == sum(p.requires_grad for p in graph.module.parameters())
    assert unfreezing.decay_in_graph(graph, net, "fc", 1.0) == {}
    plain = qat_groups(graph.module, 1e-3)
    assert [len(group["params"]) for group in plain] == [
        sum(not n.endswith("log_scale") for n, p in graph.module.named_parameters() if p.requires_grad),
        sum(n.endswith("log_scale") for n, p in graph.module.named_parameters() if p.requires_grad),
    ]


def test_frozen_statistics_of_random_weights_are_a_warning() -> None:
    frozen = recipe.Recipe(train=recipe.Train(norm_stats="freeze"))
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    plain = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))

    def warnings_of(module: nn.Module, table: recipe.Recipe, pretrained: bool) -> str:
        head = "3" if len(module) == 4 else "1"
        return " ".join(unfreezing.begin(module, head, table, (), pretrained=pretrained).warnings)

    assert "statistics that were never measured" in warnings_of(net, frozen, pretrained=False)
    assert not warnings_of(net, frozen, pretrained=True)
    assert not warnings_of(plain, frozen, pretrained=False)
    assert not warnings_of(net, recipe.Recipe(), pretrained=False)
