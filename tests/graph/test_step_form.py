"""A network step by step answers what it does as a whole, from the first frame on; what cannot is refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from quantize_nets import calibrated, seeded, settled
from torch import nn

from edgeft.core.errors import ModelError
from edgeft.graph.from_torch import capture_float
from edgeft.graph.step_form import StepForm, step_form
from edgeft.models.nets.quartznet import QuartzNet

FRAMES, FEATURES = 96, 8


class Causal(nn.Module):
    """Dilated convolutions of one axis: zeros in front of the first, frames cut off behind the second; a way around."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(FEATURES, 6, 3, dilation=2)
        self.second = nn.Conv1d(6, 6, 3, padding=2)
        self.head = nn.Conv1d(12, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.squeeze(1).transpose(1, 2)
        x = torch.relu(self.first(F.pad(x, (4, 0))))
        y = torch.relu(self.second(x)[:, :, :-2])
        return self.head(torch.cat([x, y], 1))


class TwoStrides(nn.Module):
    """Pictures of frames and features, halved in time twice and in features once, with a view in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, (5, 3), (2, 2), (2, 1))
        self.second = nn.Conv2d(6, 6, (4, 3), (2, 1), (1, 1), groups=2)
        self.head = nn.Conv2d(6, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.second(torch.relu(self.first(x))))
        return self.head(x.mean(3, keepdim=True)).view(-1, 5, FRAMES // 4)


class Gated(nn.Module):
    """Squeeze and excite over all frames."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(FEATURES, 6, (3, 1), padding=(1, 0))
        self.gate = nn.Conv2d(6, 6, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x.transpose(1, 3))
        return (x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))).flatten(2)


class Attentive(nn.Module):
    """Every frame looks at all frames."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(FEATURES, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query = self.query(x.squeeze(1))
        return torch.softmax(query @ query.transpose(1, 2), -1) @ query


class Positions(nn.Module):
    """A constant for each frame."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.place = nn.Conv1d(FEATURES, 4, 1), nn.Parameter(torch.randn(1, 4, FRAMES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x.squeeze(1).transpose(1, 2)) + self.place


def streamed(form: StepForm, x: torch.Tensor) -> torch.Tensor:
    """All answers to `x` (1, 1, frames, features) from the first one on."""
    states: Sequence[torch.Tensor] = [torch.zeros(state.shape) for state in form.states]
    answers = []
    for step, chunk in enumerate(x.split(form.chunk, form.input_axis)):
        with torch.no_grad():
            outputs = form.module(chunk, *states)
        answers.append(outputs[0])
        states = [new * (step >= state.warmup) for new, state in zip(outputs[1:], form.states)]
    return torch.cat(answers, form.axis).narrow(form.axis, form.delay, form.frames * len(answers) - form.delay)


NETS = {
    "quartznet": lambda: QuartzNet(5, FEATURES, width=12, blocks=2, dropout=0.0),
    "quartznet of three frames a step": lambda: QuartzNet(5, FEATURES, width=8, blocks=1, kernel=5, stride=3),
    "causal": Causal,
    "two strides": TwoStrides,
}


@pytest.mark.parametrize("chunk", [1, 8])
@pytest.mark.parametrize("name", NETS)
def test_a_stream_has_the_answers_of_the_whole(name: str, chunk: int) -> None:
    net, x = settled(NETS[name]()), seeded(2, 1, FRAMES, FEATURES)
    graph = calibrated(net, (x,))
    form = step_form(graph.module, x, 2, chunk)
    with torch.no_grad():
        whole = graph.module(x[:1])
    got = streamed(form, x[:1])
    frames = got.shape[form.axis]
    assert form.chunk >= chunk and frames > 6 and whole.shape[form.axis] * form.chunk >= FRAMES * form.frames
    assert torch.equal(got, whole.narrow(form.axis, 0, frames))
    assert (form.delay == 0) == (name == "causal")


def test_states_of_frames_before_the_first_one_are_zeros() -> None:
    """A convolution of zeros is not zero: without the warm-up the first answers are wrong, and only those."""
    net, x = settled(NETS["quartznet"]()), seeded(2, 1, FRAMES, FEATURES)
    graph = calibrated(net, (x,))
    form = step_form(graph.module, x, 2, 4)
    cold = replace(form, states=tuple(replace(state, warmup=0) for state in form.states))
    right, wrong = streamed(form, x[:1]), streamed(cold, x[:1])
    assert not torch.equal(right[:, :, :4], wrong[:, :, :4]) and torch.equal(right[:, :, 17:], wrong[:, :, 17:])


def test_a_float_network_has_a_streaming_form_too() -> None:
    net, x = settled(NETS["two strides"]()), seeded(1, 1, FRAMES, FEATURES)
    graph = calibrated(net, (x,))
    graph.set_mode("off")
    got = streamed(step_form(graph.module, x, 2, 4), x)
    with torch.no_grad():
        assert torch.allclose(got, net(x)[:, :, : got.shape[2]], atol=1e-5)


@pytest.mark.parametrize(
    ("net", "layer"), [(Gated, "mean"), (Positions, "a constant for each frame"), (Attentive, "matmul")]
)
def test_what_looks_at_all_frames_is_refused_by_name(net: type[nn.Module], layer: str) -> None:
    x = seeded(1, 1, FRAMES, FEATURES)
    module = capture_float(settled(net()), (x,)).module
    with pytest.raises(ModelError, match=layer) as caught:
        step_form(module, x, 2, 4)
    assert caught.value.where == "export.stream" and "quartznet" in caught.value.remedy
