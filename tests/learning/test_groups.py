"""Blocks and parameter groups: every parameter once, whatever the network; the head at its rate under every policy."""

from __future__ import annotations

from typing import Any

import builds
import pytest
import text_run
import torch
from draws import draws
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from edgeft import tasks
from edgeft.config import recipe
from edgeft.config.recipe import Update
from edgeft.learning.blocks import blocks, depths
from edgeft.models.nets.recommend import NeuMF, TwoTower
from edgeft.tune import lora, updates


def builtin(name: str, **args: Any) -> tuple[nn.Module, str]:
    made = builds.build(recipe.Model(source="builtin", name=name, args=args), 3)
    return made.module, made.head


def bert() -> tuple[nn.Module, str]:
    return text_run.classifier(3, hidden_size=16, num_hidden_layers=3, num_attention_heads=2), "classifier"


PAIRS = (torch.zeros(2, dtype=torch.int32), torch.zeros(2, 3, dtype=torch.int32))
#: task -> its network, the head's name, inputs
NETS: dict[str, Any] = {
    "classify": lambda: (*builtin("resnet18"), (torch.randn(2, 3, 32, 32),)),
    "keyword": lambda: (*builtin("ds_cnn", width=8, blocks=2), (torch.randn(2, 1, 49, 10),)),
    "text-classify": lambda: (*bert(), (torch.ones(2, 8, dtype=torch.int32), torch.ones(2, 8, dtype=torch.int32))),
    "recommend": lambda: (NeuMF(1, 5, 7, factors=4, hidden=(8, 6, 4)), "head", PAIRS),
    "control": lambda: (*builtin("mlp", size=[4], hidden=[8, 8]), (torch.randn(2, 4),)),
}  # fmt: skip
#: names of the lowest and the highest block's first parameter, and how many there are
PILES = {
    "classify": (9, "conv1.weight", "layer4.1.conv1.weight"),
    "keyword": (5, "features.0.weight", "features.13.weight"),
    "text-classify": (4, "bert.embeddings.word_embeddings.weight", "bert.encoder.layer.2.attention.self.query.weight"),
    "recommend": (4, "gmf_user.weight", "mlp.0.weight"),
    "control": (2, "layers.0.weight", "layers.2.weight"),
}


@pytest.mark.parametrize("task", NETS)
def test_blocks_from_the_input_up(task: str) -> None:
    module, head, _ = NETS[task]()
    found = blocks(module, head)
    count, lowest, highest = PILES[task]
    assert (len(found), found[0][0], found[-1][0]) == (count, lowest, highest)
    held = [name for block in found for name in block]
    assert sorted(held) == sorted(n for n, _ in module.named_parameters() if not n.startswith(f"{head}."))
    depth = depths(module, head)
    assert depth[highest] == 1 and depth[lowest] == count and depth[f"{head}.weight"] == 0
    last = updates.trainable(module, head, "last")
    assert last == {*found[-1], *(n for n in depth if not depth[n])}, "not more of a network that is one flat stack"


def test_a_norm_goes_with_its_layer_and_embeddings_with_each_other() -> None:
    found = blocks(builtin("resnet18")[0], "fc")
    assert found[0] == ("conv1.weight", "bn1.weight", "bn1.bias")
    two = blocks(TwoTower(1, 5, 7), "head")
    assert two[0] == ("user.weight", "item.weight") and two[-1] == ("item_tower.0.weight", "item_tower.0.bias")


def test_a_base_model_beside_its_head_is_no_block() -> None:
    module = text_run.classifier(3, num_hidden_layers=1)
    assert [block[0] for block in blocks(module, "classifier")] == [
        "bert.embeddings.word_embeddings.weight",
        "bert.encoder.layer.0.attention.self.query.weight",
    ]


def test_what_a_container_holds_itself_goes_with_the_block_after_it() -> None:
    class Token(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cls = nn.Parameter(torch.zeros(1, 1, 4))
            self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(2))
            self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, 2)

    assert blocks(Token(), "head") == [
        ("cls", "blocks.0.0.weight", "blocks.0.0.bias"),
        ("blocks.1.0.weight", "blocks.1.0.bias", "norm.weight", "norm.bias"),
    ]


@st.composite
def piles(draw: st.DrawFn, depth: int = 0) -> nn.Module:
    """Some network: stacks of layers, norms and blocks in any order."""
    if depth == 2 or draw(st.booleans()):
        kind = draw(st.sampled_from(["linear", "norm", "embedding", "relu", "shared"]))
        made: dict[str, nn.Module] = {
            "linear": nn.Linear(2, 2), "norm": nn.LayerNorm(2), "embedding": nn.Embedding(3, 2), "relu": nn.ReLU(),
            "shared": SHARED,
        }  # fmt: skip
        return made[kind]
    children = draw(st.lists(piles(depth + 1), max_size=4))
    stack = draw(st.sampled_from([nn.Sequential, nn.ModuleList, None]))
    if stack is not None:
        return nn.ModuleList(children) if stack is nn.ModuleList else nn.Sequential(*children)
    module = nn.Module()
    for number, child in enumerate(children):
        module.add_module(f"part{number}", child)
    if draw(st.booleans()):
        module.register_parameter("token", nn.Parameter(torch.zeros(1, 2)))
    return module


SHARED = nn.Linear(2, 2)


@draws(150)
@given(piles(), st.sampled_from([1.0, 0.5]), st.data())
def test_groups_hold_every_parameter_that_learns_exactly_once(
    body: nn.Module, decay: float, data: st.DataObject
) -> None:
    net = nn.Module()
    net.add_module("body", body)
    net.add_module("head", nn.Linear(2, 2))
    for _, parameter in net.named_parameters():
        parameter.requires_grad_(data.draw(st.booleans()))
    made = tasks.get("classify").learning().groups(net, "head", 1e-3, 1e-2, 0.1, decay)
    held = [id(p) for group in made for p in group["params"]]
    assert len(held) == len(set(held))
    assert set(held) == {id(p) for p in net.parameters() if p.requires_grad}
    assert all(group["weight_decay"] == (0.0 if p.ndim <= 1 else 0.1) for group in made for p in group["params"])
    heads = {id(p) for p in net.head.parameters()}
    for group in made:
        assert all((id(p) in heads) == group["name"].startswith("head") for p in group["params"])
        assert group["lr"] == 1e-2 if group["name"].startswith("head") else group["lr"] <= 1e-3
    SHARED.requires_grad_(True)


@pytest.mark.parametrize("decay", [1.0, 0.5])
@pytest.mark.parametrize("policy", updates.POLICIES)
@pytest.mark.parametrize("task", NETS)
def test_the_head_has_its_own_rate_in_every_task_under_every_policy(task: str, policy: str, decay: float) -> None:
    module, head, x = NETS[task]()
    if policy == "lora":
        lora.add(module, head, Update("lora", rank=2), x)
    names = updates.trainable(module, head, policy)
    updates.apply(module, names)
    made = tasks.get(task).learning().groups(module, head, lr=1e-3, head_lr=2e-2, layer_decay=decay)
    rate = {id(p): group["lr"] for group in made for p in group["params"]}
    depth = depths(module, head)
    found = {name: rate.pop(id(p)) for name, p in module.named_parameters() if id(p) in rate}
    assert not rate and set(found) == names
    for name, lr in found.items():
        assert lr == (2e-2 if name.startswith(f"{head}.") else pytest.approx(1e-3 * decay ** depth[name])), name
    assert found[f"{head}.weight"] == 2e-2
    # a step moves the head, whatever else is frozen
    before = module.get_parameter(f"{head}.weight").detach().clone()
    optimizer = torch.optim.SGD(made)
    module.eval()(*x).square().sum().backward()
    optimizer.step()
    assert not torch.equal(before, module.get_parameter(f"{head}.weight"))
