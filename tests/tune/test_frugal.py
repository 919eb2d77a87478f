"""What the frugal backward passes compute is what torch computes; what they keep is less."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import builds
import pytest
import torch
import torch.nn.functional as F
from draws import draws
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from edgeft.config import recipe, target
from edgeft.quantize.graph import prepare
from edgeft.quantize.packed import pack, unpack
from edgeft.tune import updates
from edgeft.tune.frugal import Frugal
from edgeft.tune.memory import SavedBytes


def both(run: Callable[[], torch.Tensor], *learn: torch.Tensor) -> tuple[int, int]:
    """Equal values and gradients with and without; the bytes kept by torch and by us."""
    found, kept = [], []
    for frugal in (False, True):
        with Frugal() if frugal else contextlib.nullcontext(), SavedBytes([]) as saved:
            said = run()
        weights = torch.randn(said.shape, generator=torch.Generator().manual_seed(0)).to(said)
        found.append((said, *torch.autograd.grad((said * weights).sum(), learn)))
        kept.append(saved.total)
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    return kept[0], kept[1]


@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_a_mask_comes_back_as_it_was(bits: list[bool]) -> None:
    mask = torch.tensor(bits)
    packed = pack(mask)
    assert packed.dtype == torch.uint8 and packed.numel() == -(-len(bits) // 8)
    assert torch.equal(unpack(packed, mask).bool(), mask)


@draws(40)
@given(
    groups=st.sampled_from([1, 2, 4]),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    learns=st.tuples(st.booleans(), st.booleans(), st.booleans()).filter(any),
)
def test_convolutions(
    groups: int, kernel: int, stride: int, padding: int, dilation: int, learns: tuple[bool, bool, bool]
) -> None:
    torch.manual_seed(0)
    x, w, b = torch.randn(2, 4, 9, 8), torch.randn(8, 4 // groups, kernel, kernel), torch.randn(8)
    given = [t.double().requires_grad_(on) for t, on in zip((x, w, b), learns)]
    both(lambda: F.conv2d(*given, stride, padding, dilation, groups), *(t for t in given if t.requires_grad))


@pytest.mark.parametrize(
    "learns", [(True, False, False), (False, True, True), (True, True, True), (False, False, True)]
)
@pytest.mark.parametrize("shape", [(5, 6), (2, 3, 6)])
def test_linear_layers(shape: tuple[int, ...], learns: tuple[bool, bool, bool]) -> None:
    torch.manual_seed(0)
    given = [
        t.double().requires_grad_(on) for t, on in zip((torch.randn(shape), torch.randn(4, 6), torch.randn(4)), learns)
    ]
    both(lambda: F.linear(*given), *(t for t in given if t.requires_grad))


@pytest.mark.parametrize("inplace", [False, True])
def test_clamps_keep_a_bit_an_element(inplace: bool) -> None:
    torch.manual_seed(0)
    x = (4 * torch.randn(3, 40)).double()
    x[0, :5] = 0.0
    x[0, 5:9] = 6.0
    x.requires_grad_()
    for op in (
        lambda v: F.relu(v, inplace),
        lambda v: F.relu6(v, inplace),
        lambda v: F.hardtanh(v, -1.0, 1.0, inplace),
    ):
        plain, ours = both(lambda op=op: op(x + 0), x)  # type: ignore[misc]
        assert ours == 15 and plain >= 8 * 120


@pytest.mark.parametrize(
    "learns", [(True, False, False), (True, True, True), (False, True, False), (True, False, True)]
)
def test_norms_with_frozen_statistics(learns: tuple[bool, bool, bool]) -> None:
    torch.manual_seed(0)
    x, w, b = (
        t.double().requires_grad_(on) for t, on in zip((torch.randn(4, 3, 5, 5), torch.rand(3), torch.randn(3)), learns)
    )
    mean, var = torch.randn(3).double(), (torch.rand(3) + 0.5).double()
    both(lambda: F.batch_norm(x, mean, var, w, b, False), *(t for t in (x, w, b) if t.requires_grad))


@pytest.mark.parametrize("policy", ["bias", "norm", "last", "head"])
@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize(
    ("name", "shape"), [("resnet8", (3, 32, 32)), ("ds_cnn", (1, 49, 10)), ("mobilenet_v2", (3, 64, 64))]
)
def test_a_network_has_the_same_gradients_for_less(
    name: str, shape: tuple[int, ...], quantized: bool, policy: str
) -> None:
    torch.manual_seed(0)
    made = builds.build(recipe.Model(source="builtin", name=name), 4)
    module = made.module
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    if quantized:
        graph = prepare(module, (torch.randn(2, *shape),), target.load("host").scheme)
        for fake in graph.activations().values():
            fake.set_range(-3, 3)
        graph.calibrate_weights()
        graph.set_mode("quantize")
        updates.apply_to_graph(graph, module, made.head, policy)
        module = graph.module
    else:
        updates.apply(module, updates.trainable(module, made.head, policy))
        updates.train_mode(module, freeze=True)
    x, y = torch.randn(8, *shape), torch.arange(8) % 4
    found, kept = [], []
    for frugal in (False, True):
        module.zero_grad()
        with Frugal() if frugal else contextlib.nullcontext(), SavedBytes(module.parameters()) as saved:
            loss = F.cross_entropy(module(x), y)
        loss.backward()
        found.append({n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None})
        kept.append(saved.total)
    assert set(found[0]) == set(found[1]) != set()
    for key, gradient in found[0].items():
        torch.testing.assert_close(found[1][key], gradient, rtol=1e-3, atol=1e-5 * float(gradient.abs().max()) + 1e-8)
    assert kept[1] <= kept[0]
    if policy == "bias":
        assert kept[0] > (30 if not quantized else 1.5) * kept[1]
