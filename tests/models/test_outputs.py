"""Models of several outputs, of another number of them, and with weights that are no numbers."""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from edgeft import models
from edgeft.core.errors import ModelError, RecipeError
from edgeft.graph.from_torch import capture_float
from edgeft.models import heads, outputs

EXAMPLE = (torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0)),)
Pair = namedtuple("Pair", ["logits", "features"])


@dataclasses.dataclass
class Record:
    logits: torch.Tensor
    features: torch.Tensor


class Several(nn.Module):
    """A classifier that hands its features on, in the form that `pack` makes; in training with an auxiliary head."""

    def __init__(self, pack: Callable[..., Any], classes: int = 3) -> None:
        super().__init__()
        self.conv, self.norm, self.pack = nn.Conv2d(1, 8, 3, 2), nn.BatchNorm2d(8), pack
        self.fc, self.aux = nn.Linear(8, classes), nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> Any:
        features = self.norm(self.conv(x)).mean((2, 3))
        return self.pack(self, self.fc(features), features)


FORMS: dict[str, tuple[Callable[..., Any], str]] = {
    "dict": (lambda _, y, f: {"logits": y, "features": f}, "logits"),
    "tuple": (lambda _, y, f: (y, f), "0"),
    "list in a dict": (lambda _, y, f: {"features": [f, f], "logits": y}, "logits"),
    "named tuple": (lambda _, y, f: Pair(y, f), "logits"),
    "dataclass": (lambda _, y, f: Record(y, f), "logits"),
}


@pytest.mark.parametrize("form", FORMS)
def test_several_outputs_are_named_and_one_is_chosen(form: str) -> None:
    pack, name = FORMS[form]
    net = Several(pack).eval()
    with pytest.raises(RecipeError) as caught:
        outputs.select(net, EXAMPLE, "", 3)
    assert caught.value.where == "model.output" and f'model.output = "{name}"' in caught.value.remedy
    assert "features" in caught.value.message or form == "tuple"

    chosen, notes = outputs.select(net, EXAMPLE, name, 3)
    assert not notes and chosen(*EXAMPLE).shape == (2, 3)
    assert not isinstance(net(*EXAMPLE), torch.Tensor), "the caller's module is left as it was"
    captured = capture_float(chosen, EXAMPLE)
    torch.testing.assert_close(captured.module(*EXAMPLE), chosen(*EXAMPLE), rtol=1e-4, atol=1e-5)
    with pytest.raises(RecipeError, match="no output 'logit'"):
        outputs.select(net, EXAMPLE, "logit", 3)


def test_an_output_that_stands_alone_needs_no_name() -> None:
    chosen, _ = outputs.select(Several(lambda _, y, f: {"logits": y}).eval(), EXAMPLE, "", 3)
    assert chosen(*EXAMPLE).shape == (2, 3)


def test_auxiliary_outputs_in_training_are_left_out_with_a_note() -> None:
    net = Several(lambda net, y, f: (y, net.aux(f)) if net.training else y).eval()
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    chosen, notes = outputs.select(net, EXAMPLE, "", 3)
    assert notes == ("in training the model has the outputs 0, 1: 0 is trained",)
    torch.testing.assert_close(chosen.eval()(*EXAMPLE), net(*EXAMPLE))
    assert chosen.train()(*EXAMPLE).shape == (2, 3)
    net.eval()
    chosen, _ = outputs.select(net, EXAMPLE, "", 3)
    assert not net.training and not net.norm.training
    assert all(buffer.shape == before[name].shape for name, buffer in net.named_buffers())


def test_looking_at_the_outputs_in_training_teaches_the_norms_nothing() -> None:
    net = Several(lambda net, y, f: y).eval()
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    assert outputs.select(net, EXAMPLE, "", 3) == (net, ())
    assert all(torch.equal(buffer, before[name]) for name, buffer in net.named_buffers())


def test_another_number_of_outputs_is_refused() -> None:
    with pytest.raises(ModelError, match=r"\(2, 1000\) for 2 samples, and the task needs \(2, 3\)"):
        outputs.select(Several(lambda _, y, f: y, classes=1000).eval(), EXAMPLE, "", 3)
    with pytest.raises(ModelError, match="without a tensor"):
        outputs.select(Several(lambda _, y, f: None).eval(), EXAMPLE, "", 3)


class Gated(nn.Module):
    """The head has ten outputs; a gate, which comes later in the module's list, has as many as there are labels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc, self.gate = nn.Conv2d(1, 8, 3, 2), nn.Linear(8, 10), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x).mean((2, 3))
        share = self.gate(y).softmax(-1)
        return self.fc(y * share[:, :1] + y.square() * share[:, 1:])


def test_the_head_is_the_layer_that_makes_the_output() -> None:
    net = Gated()
    assert heads.of_output(net, EXAMPLE[0]) == "fc" and heads.find(net, 2) == "gate"
    built = models.from_module(net, 2, spec={"size": 28})
    assert built.head == "fc" and built.module(*EXAMPLE).shape == (2, 2) and "had 10 outputs" in built.notes[0]


def test_a_module_for_gray_pictures_and_one_of_half_precision_are_taken_as_they_are() -> None:
    built = models.from_module(Gated().half(), 2)
    assert built.spec["channels"] == 1 and len(built.spec["mean"]) == 1
    assert {p.dtype for p in built.module.parameters()} == {torch.float32} and "torch.float16" in built.notes[0]


def test_weights_that_are_not_finite_are_named() -> None:
    net = Gated()
    with torch.no_grad():
        net.gate.bias[1] = float("nan")
    with pytest.raises(ModelError, match="not finite") as caught:
        outputs.check_finite(net)
    assert caught.value.where == "gate.bias"
