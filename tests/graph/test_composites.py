"""Operators that are written as others: they compute the same, and no converter meets the ones that it gets wrong."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from odd_nets import Apply, conv
from quantize_nets import op_name, seeded, settled
from torch import nn

from edgeft.graph.from_torch import capture_float


class SharedHeads(nn.Module):
    """Four heads of queries over two of keys and values; or over one."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads, self.query, self.rest, self.head = (
            heads,
            nn.Linear(6, 16),
            nn.Linear(6, 8 * heads),
            nn.Linear(16, 3),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = self.query(x).unflatten(2, (4, 4)).transpose(1, 2)
        k, v = self.rest(x).unflatten(2, (2 * self.heads, 4)).transpose(1, 2).chunk(2, 1)
        return self.head(F.scaled_dot_product_attention(q, k, v, enable_gqa=True).transpose(1, 2).flatten(2).mean(1))


class Prototypes(nn.Module):
    """Distances to learned vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.vectors = nn.Linear(6, 8), nn.Parameter(torch.randn(5, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -torch.cdist(self.layer(x.mean(1)), self.vectors)


class Chosen(nn.Module):
    """One-hot vectors of the strongest channel."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = conv(3, 8), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        strongest = F.one_hot(self.stem(x).argmax(1), 8)
        return self.head(strongest.float().mean((1, 2))) + strongest.sum()


TOKENS, PICTURES = seeded(3, 7, 6, seed=1), seeded(3, 3, 6, 5, seed=1)
NETS = {
    "two of four heads": (SharedHeads(2), TOKENS),
    "one of four heads": (SharedHeads(1), TOKENS),
    "prototypes": (Prototypes(), TOKENS),
    "minima": (nn.Sequential(conv(3, 8), Apply(lambda x: torch.cat([x.amin((2, 3)), x.amin(3).amin(2)], 1))), PICTURES),
    "one-hot": (Chosen(), PICTURES[:1]),
    "repeated": (
        nn.Sequential(conv(3, 8), Apply(lambda x: x.repeat_interleave(3, -1).repeat_interleave(2, 1))),
        PICTURES,
    ),
}


@pytest.mark.parametrize("kind", NETS)
def test_an_operator_is_written_as_others_that_compute_the_same(kind: str) -> None:
    net, example = NETS[kind]
    captured = capture_float(settled(net), (example,))
    nodes = [node for node in captured.module.graph.nodes if node.op == "call_function"]
    names = {op_name(node).split(".")[0] for node in nodes}
    assert not names & {"amin", "repeat_interleave", "cdist", "_cdist_forward", "one_hot"}
    assert not any("enable_gqa" in node.kwargs for node in nodes)
    with torch.no_grad():
        torch.testing.assert_close(captured.module(example), net(example), rtol=1e-5, atol=1e-5)


class Masked(nn.Module):
    """torch's attention with weights, which adds a mask of minus infinity; or a mask of the caller's own."""

    def __init__(self, own: bool) -> None:
        super().__init__()
        self.into, self.mix, self.head = nn.Linear(6, 8), nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)
        mask = torch.ones(7, 7).triu(1).bool()
        self.register_buffer("mask", torch.zeros(7, 7).masked_fill(mask, float("-inf")) if own else mask)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.into(x)
        return self.head(self.mix(x, x, x, attn_mask=self.mask)[0].mean(1))


@pytest.mark.parametrize("own", [True, False])
def test_masks_of_attention_become_finite(own: bool) -> None:
    net = settled(Masked(own)) if not own else Masked(own).eval()
    captured = capture_float(net, (TOKENS,))
    numbers = [a for n in captured.module.graph.nodes for a in n.args if isinstance(a, float)]
    held = [value for value in captured.module.state_dict().values() if value.is_floating_point()]
    assert all(number > -1e5 for number in numbers) and all(bool((value > -1e5).all()) for value in held)
    with torch.no_grad():
        torch.testing.assert_close(captured.module(TOKENS), net(TOKENS), rtol=1e-5, atol=1e-5)


def test_infinity_that_is_no_mask_stays() -> None:
    net = nn.Sequential(conv(3, 8), Apply(lambda x: x.masked_fill(x < 0, float("-inf")).amax((2, 3)).clamp(min=-1e9)))
    captured = capture_float(settled(net), (PICTURES,))
    assert any(a == float("-inf") for n in captured.module.graph.nodes for a in n.args if isinstance(a, float))
