"""What cannot be streamed is refused by `tune --dry-run`, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from quantize_nets import seeded, settled
from torch import nn

from edgeft import tasks
from edgeft.config import target
from edgeft.config.recipe import Export, Recipe
from edgeft.config.target import Target
from edgeft.core.errors import ModelError, RecipeError
from edgeft.models.nets.quartznet import QuartzNet
from edgeft.quantize.parts import CapturedParts, capture_parts
from edgeft.session import streaming

SPEC: dict[str, Any] = {"kind": "sound", "rate": 8000, "hop": 160, "level_floor": 0.0, "layout": "NCHW"}
TARGETS = [target.load(name) for name in ("host", "host-openvino", "host-litert")]


@pytest.fixture(scope="module")
def captured() -> CapturedParts:
    net: nn.Module = settled(QuartzNet(4, 8, width=8, blocks=1))
    return capture_parts(net, (seeded(2, 1, 60, 8),))


def check(
    captured: CapturedParts,
    task: str = "speech",
    targets: Sequence[Target] = TARGETS,
    seconds: float = 0.08,
    **spec: Any,
) -> None:
    recipe = replace(Recipe(), task=task, export=Export(stream=seconds))
    streaming.check(recipe, tasks.get(task), {**SPEC, **spec}, captured, targets)


def test_the_builtin_network_passes_for_three_runtimes(captured: CapturedParts) -> None:
    check(captured)
    assert streaming.chunk_of(replace(Recipe(), export=Export(stream=0.001)), SPEC) == 1


def test_what_has_no_stream_is_refused(captured: CapturedParts) -> None:
    for changed, message in (
        ({"task": "keyword"}, "the task keyword has no streaming graph, speech has"),
        ({"kind": "waveform"}, "streams are of features of sounds"),
        ({"level_floor": 1e-3}, "does not know the loudest frame"),
        ({"targets": [target.load("rpi5-executorch")]}, "runs ExecuTorch"),
        ({"targets": [target.load("jetson-nano-gpu")]}, "no streaming graph is compiled"),
    ):
        with pytest.raises(RecipeError, match=message) as caught:
            check(captured, **changed)  # type: ignore[arg-type]
        assert caught.value.where == "export.stream" and caught.value.remedy


def test_a_window_shorter_than_the_look_ahead_is_refused(captured: CapturedParts) -> None:
    with pytest.raises(ModelError, match="an answer waits for"):
        check(captured, seconds=0.5)


def test_a_layer_over_all_frames_is_refused_by_its_name() -> None:
    class Squeezed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.excite = nn.Conv2d(1, 1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x * self.excite(x.mean((2, 3), keepdim=True))).transpose(1, 3).flatten(2)

    with pytest.raises(ModelError, match="mean of the layer"):
        check(capture_parts(settled(Squeezed()), (seeded(2, 1, 60, 8),)))
