from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_step import graph_of
from torch import nn

from edgeft.config import target
from edgeft.core.errors import ModelError
from edgeft.quantize.graph import prepare
from edgeft.quantize.lower import lower
from edgeft.training_step import cut as cuts


def parameters(graph, *layers: str) -> list[str]:
    return [n for n, _ in graph.module.named_parameters() if n.startswith(layers)]


@pytest.mark.parametrize("layers", [("fc",), ("layer3", "fc"), ("layer2", "layer3", "fc")])
def test_trunk_and_tail_say_what_the_graph_says(layers: tuple[str, ...]) -> None:
    graph = graph_of("resnet8", (3, 32, 32))
    made = cuts.cut(graph, parameters(graph, *layers))
    x = torch.randn(5, 3, 32, 32)
    with torch.no_grad():
        latent = made.trunk.module(x)
        said, wanted = made.tail(latent, *made.parameters.values())[0], graph.module(x)
    step = graph.output_steps()["output"]
    assert float((said - wanted).abs().max()) <= 3 * step  # activations behind the cut are not rounded
    (only,) = made.latents
    assert only.scale is not None
    steps = latent / only.scale
    assert float((steps - steps.round()).abs().max()) < 1e-3  # what crosses the cut is on its grid


def test_parameters_start_as_what_the_integers_stand_for() -> None:
    graph = graph_of("resnet8", (3, 32, 32))
    made = cuts.cut(graph, ["fc.weight", "fc.bias"])
    integers = {w.name: w for w in graph_weights(graph)}["fc.weight"]
    stands_for = integers.data.astype("float32") * integers.scale.reshape(-1, 1)
    torch.testing.assert_close(made.parameters["fc.weight"], torch.from_numpy(stands_for))
    assert set(made.parameters) == {"fc.weight", "fc.bias"}


def graph_weights(graph):
    from edgeft.quantize.lower import integer_weights

    return integer_weights(graph)


def test_the_trunk_is_lowered_to_the_very_integers_of_the_graph() -> None:
    graph = graph_of("resnet8", (3, 32, 32))
    made = cuts.cut(graph, ["fc.weight", "fc.bias"])
    whole = {w.name: w for w in graph_weights(graph)}
    trunk = {w.name: w for w in graph_weights(made.trunk)}
    assert set(whole) - set(trunk) == {"fc.weight"}
    assert all((trunk[name].data == whole[name].data).all() for name in trunk)
    x = torch.randn(2, 3, 32, 32)
    for form in ("int", "qdq"):
        assert torch.equal(lower(made.trunk, form)(x), made.trunk.module(x))


def test_cutting_leaves_the_graph_as_it_was() -> None:
    graph = graph_of("resnet8", (3, 32, 32))
    x = torch.randn(2, 3, 32, 32)
    before = graph.module(x)
    cuts.cut(graph, parameters(graph, "layer3", "fc"))
    assert torch.equal(graph.module(x), before)


def test_a_tail_that_reaches_the_input_is_refused() -> None:
    graph = graph_of("resnet8", (3, 32, 32))
    with pytest.raises(ModelError, match="no layer is left") as caught:
        cuts.cut(graph, [n for n, _ in graph.module.named_parameters() if "fq" not in n])
    assert "head" in caught.value.remedy


def test_a_tail_without_parameters_is_refused() -> None:
    with pytest.raises(ModelError, match="has parameters"):
        cuts.cut(graph_of("resnet8", (3, 32, 32)), ["absent.weight"])


class Two(nn.Module):
    """A skip connection around the tail's first layer, and an output that does not depend on the tail."""

    def __init__(self, both: bool) -> None:
        super().__init__()
        self.first, self.second, self.head, self.both = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3), both

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        low = self.first(x)
        x = torch.relu(low)
        said = self.head(x + torch.relu(self.second(x)))
        return (said, low) if self.both else said


def quantized(module: nn.Module):
    graph = prepare(module, (torch.randn(2, 8),), target.load("host").scheme)
    for fake in graph.activations().values():
        fake.set_range(-4, 4)
    graph.calibrate_weights()
    graph.set_mode("quantize")
    return graph


def test_a_skip_connection_crosses_the_cut_with_its_branch() -> None:
    torch.manual_seed(0)
    graph = quantized(Two(both=False))
    made = cuts.cut(graph, parameters(graph, "second", "head"))
    x = torch.randn(4, 8)
    with torch.no_grad():
        latents = made.trunk.module(x)
        latents = latents if isinstance(latents, tuple) else (latents,)
        said = made.tail(*latents, *made.parameters.values())[0]
        wanted = graph.module(x)
    assert float((said - wanted).abs().max()) <= 4 * graph.output_steps()["output"]


def test_the_last_layer_of_a_text_encoder(tmp_path: Path) -> None:
    """The residual goes around the layer and, with a factor a channel, into it: one latent on its grid is both."""
    pytest.importorskip("transformers")
    import text_run

    torch.manual_seed(0)
    module = text_run.classifier()
    module.classifier.weight.data *= 20  # logits of many steps
    ids = torch.randint(4, 30, (3, text_run.LENGTH))
    mask = torch.ones_like(ids)
    mask[:, 10:] = 0
    graph = prepare(module, (ids, mask), target.load("host").scheme)
    for fake in graph.activations().values():
        if not fake.fixed:
            fake.set_range(-6, 6)
    graph.calibrate_weights()
    graph.set_mode("quantize")
    assert graph.spreads
    for spread in graph.spreads:
        factor = graph.module.get_submodule(spread.outside).factor
        factor.copy_(2.0 ** torch.randint(-1, 2, factor.shape))
    made = cuts.cut(graph, parameters(graph, "bert.encoder.layer.1", "classifier"))
    with torch.no_grad():
        latents = made.trunk.module(ids, mask)
        said, wanted = made.tail(*latents, *made.parameters.values())[0], graph.module(ids, mask)
    hidden = [one for one, value in zip(made.latents, latents) if tuple(value.shape[1:]) == (text_run.LENGTH, 32)]
    assert len(hidden) == 1 and hidden[0].scale is not None
    assert float((said - wanted).abs().max()) <= 0.1 * float(wanted.abs().max())


def test_an_output_that_the_tail_does_not_make_is_refused() -> None:
    torch.manual_seed(0)
    graph = quantized(Two(both=True))
    with pytest.raises(ModelError, match="do not depend on the tail"):
        cuts.cut(graph, parameters(graph, "second", "head"))
