"""Outlier channels: one factor a channel where a float op reads or writes the other side of a quantized value.

A transformer writes values a hundred times the usual size into a few fixed channels of its residual stream, and one
scale for all channels then leaves a handful of steps for the rest (Bondarenko et al., "Understanding and overcoming the
challenges of efficient transformer quantization", 2021, whose per-embedding scales this amounts to). Such a value is
divided by a factor a channel before it is rounded, the linear layer beside it takes the factor into its weights (as in
SmoothQuant, Xiao et al. 2023), and a float multiplication makes up for it on the float side:

    residual add:           x + W y          ->  x + f * Q((W / f) y)       rows of W, and the bias
    outputs of their own:   W y + b          ->  f * Q((W / f) y + (b - c) / f) + c      rows of W, and the bias
    norm into a linear:     W Q(norm(x))     ->  (W f) Q(norm(x) / f)       columns of W

The second is for outputs that mean different things (`Captured.apart`), such as a steering angle and a throttle: one
grid for both would leave the narrower one a few steps. Each is taken by its range around its middle c, which a throttle
between 0.6 and 0.8 has far from zero.

The integer ops stay what they were: the runtimes see a linear layer with other weights and one elementwise float
product. Factors are powers of two, so no bit of a weight is lost and the float network stays the same function. The
parameters themselves are not touched: `Factor` and `WeightFakeQuant` apply the factors, `lower` folds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import fx, nn

from ..graph.nodes import LINEAR, aten, attribute
from .annotate import Annotation, Site
from .ranges import in_pieces, reduced

#: a factor is at most 2^this either way
LARGEST = 12
Batches = Callable[[], Iterable[tuple[torch.Tensor, ...]]]


class Factor(nn.Module):
    """Times one power of two a channel (the last axis); `shifted`: plus a constant a channel."""

    def __init__(self, channels: int, shifted: bool = False) -> None:
        super().__init__()
        self.register_buffer("factor", torch.ones(channels))
        self.register_buffer("shift", torch.zeros(channels) if shifted else None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scaled = x * self.factor
        return scaled if self.shift is None else scaled + self.shift


@dataclass(frozen=True)
class Spread:
    """A value with a factor a channel.

    `fake` is its fake-quantize module, `outside` the `Factor` on the float side, `bias` the one behind the bias (""
    where there is none). `weights` are the linear layers' weights by name. `rows`: the value is a layer's output, whose
    rows are divided; else it is the input of all `weights`, whose columns are multiplied. `said`: it is handed out.
    """

    fake: str
    outside: str
    weights: tuple[str, ...]
    bias: str
    rows: bool
    said: bool = False


def residual(site: Site, plan: Annotation) -> bool:
    """Is this the output of a linear layer that only float additions read?"""
    node = site.node
    return (
        node in plan.selected
        and node.target in LINEAR
        and bool(node.users)
        and all(u.target is aten.add.Tensor and u not in plan.selected for u in node.users)
    )


def said(site: Site, plan: Annotation) -> bool:
    """Are these several values of a linear layer that the graph hands out, and nothing else reads?"""
    node = site.node
    return (
        node in plan.selected
        and node.target in LINEAR
        and node.meta["val"].shape[-1] > 1
        and bool(node.users)
        and all(user.op == "output" for user in node.users)
    )


def norm_into_linear(site: Site) -> bool:
    """Is this a LayerNorm's value on its way into linear layers alone?"""
    return (
        site.node.target is aten.layer_norm.default
        and bool(site.users)
        and all(u.target in LINEAR for u in site.users or ())
    )


def ranges(
    module: fx.GraphModule, spreads: Iterable[Spread], batches: Batches, enclosing: nn.Module | None = None
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """{fake: (lowest, highest) of each channel} over all processes' `batches`, with every fake-quantize module off.

    `enclosing` is what takes the batches where `module` is only a part of it.
    """
    spreads = list(spreads)
    range_of = {s.fake: torch.full_like(getattr(module, s.outside).factor, -torch.inf).repeat(2, 1) for s in spreads}

    def note(name: str, value: torch.Tensor) -> None:
        rows = value.flatten(0, -2)
        range_of[name] = torch.maximum(range_of[name], torch.stack([(-rows).amax(0), rows.amax(0)]))

    watch(module, range_of, note, batches, enclosing)
    everywhere = {n: torch.from_numpy(reduced(t.numpy(force=True), "max")).to(t) for n, t in range_of.items()}
    return {n: (-negated, highest) for n, (negated, highest) in everywhere.items()}


def watch(
    module: fx.GraphModule,
    names: Iterable[str],
    note: Callable[[str, torch.Tensor], None],
    batches: Batches,
    enclosing: nn.Module | None = None,
) -> None:
    """Run `batches` through `enclosing` (None: `module`) and give `note` what the fake-quantize modules `names` of
    `module` hand on, by name."""

    def hook(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, value: note(name, value.detach())

    handles = [getattr(module, name).register_forward_hook(hook(name)) for name in sorted(names)]
    try:
        with torch.no_grad():
            for batch in batches():
                for piece in in_pieces(batch):
                    (enclosing or module)(*piece)
    finally:
        for handle in handles:
            handle.remove()


def factors(top: torch.Tensor, weight_top: torch.Tensor | None = None, nearest: bool = False) -> torch.Tensor:
    """Powers of two, float32 (C,): what a channel of the largest magnitude `top` (C,) is divided by.

    All channels come near their median, none above it unless `nearest` lets them: where few channels count alike, the
    nearest power costs none of them more than half a bit. With `weight_top` (C,), the largest weight a column, the
    weights take half of the burden (the square root, SmoothQuant's alpha of 0.5). A silent channel keeps a factor of 1.
    """

    def level(values: torch.Tensor) -> torch.Tensor:
        values = values.float()
        return (values / values.median().clamp(min=1e-12)).log2()

    alone = level(top).round() if nearest else level(top).ceil()
    exponent = alone if weight_top is None else ((level(top) - level(weight_top)) / 2).round()
    usable = torch.isfinite(exponent) & (top > 0)
    return torch.exp2(torch.where(usable, exponent, 0.0).clamp(-LARGEST, LARGEST))


def spread(
    module: fx.GraphModule,
    spreads: Iterable[Spread],
    fakes: dict[str, nn.Module],
    batches: Batches,
    enclosing: nn.Module | None = None,
) -> None:
    """Set all factors by what the float network gives on `batches`; `fakes` are the weights' modules by weight name.

    `enclosing` is what takes the batches where `module` is only a part of it.

    The factors must be 1 before, and every fake-quantize module off; weights and activations are calibrated after it.
    """
    spreads = list(spreads)
    range_of = ranges(module, spreads, batches, enclosing)
    with torch.no_grad():
        for site in spreads:
            columns = None
            if not site.rows:
                columns = torch.stack([attribute(module, name).abs().amax(0) for name in site.weights]).amax(0)
            low, high = range_of[site.fake]
            outside = getattr(module, site.outside)
            middle = torch.zeros_like(low) if outside.shift is None else (low + high) / 2
            factor = factors(torch.maximum(high - middle, middle - low), columns, nearest=site.said)
            outside.factor.copy_(factor if site.rows else 1 / factor)
            if site.bias:
                getattr(module, site.bias).factor.copy_(1 / factor)
            if outside.shift is not None:
                outside.shift.copy_(middle)
                getattr(module, site.bias).shift.copy_(-middle / factor)
            for name in site.weights:
                into = fakes[name].row_factor if site.rows else fakes[name].column_factor
                into.copy_((1 / factor)[:, None] if site.rows else factor[None])
