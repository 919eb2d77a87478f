"""Nets of unusual kinds, each small: what users write and no architecture of a zoo has."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from quantize_nets import settled
from torch import nn

Maker = Callable[[], nn.Module]


def conv(inputs: int, outputs: int, kernel: int = 3, **more: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **more)


def head(inputs: int = 8, outputs: int = 5) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, outputs))


def between(*layers: nn.Module) -> nn.Sequential:
    """Layers from 8 to 8 channels between a stem and a head."""
    return nn.Sequential(conv(3, 8), nn.ReLU(), *layers, head())


class Apply(nn.Module):
    """A function of a tensor as a layer."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


class SharedNorms(nn.Module):
    """One convolution called twice, once with a norm that folds into it: equal integers, different scales."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.layer, self.norm, self.head = conv(3, 8), conv(8, 8), nn.BatchNorm2d(8), head()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(x))
        return self.head(self.layer(F.relu(self.norm(self.layer(x)))))


class Looped(nn.Module):
    """ALBERT: the same linear layers three times over tokens, beside an addition."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down, self.head = (
            nn.LayerNorm(12),
            nn.Linear(12, 24),
            nn.Linear(24, 12),
            nn.Linear(12, 4),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1, 2)
        for _ in range(3):
            x = x + self.down(F.gelu(self.up(self.norm(x))))
        return self.head(x.mean(1))


class Tied(nn.Module):
    """A linear layer and its own transpose behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(F.relu(self.layer(x.mean((1, 2)))), self.layer.weight.t())


class OurNames(nn.Module):
    """Layers with names that the quantized graph gives to its own modules and constants."""

    def __init__(self) -> None:
        super().__init__()
        self.act_fq_0, self.weight_fq_0, self.spread_0, self.head = conv(3, 8), conv(8, 8), conv(8, 8), head()
        self.register_buffer("weight_fq_1_int8", torch.tensor(0.5))
        self.register_buffer("weight_fq_1_scale", torch.tensor(2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.weight_fq_0(F.relu(self.act_fq_0(x * self.weight_fq_1_int8))))
        return self.head(F.relu(self.spread_0(x)) * self.weight_fq_1_scale)


class Unicode(nn.Module):
    """Names in other scripts, with blanks and dashes."""

    def __init__(self) -> None:
        super().__init__()
        for name, inputs in (("größe", 3), ("层", 8), ("a b-c", 8)):
            self.add_module(name, conv(inputs, 8))
        self.head = head()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name in ("größe", "层", "a b-c"):
            x = F.relu(self.get_submodule(name)(x))
        return self.head(x)


class Scales(nn.Module):
    """A residual sum of values a thousand times apart, and a concatenation of three scales."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.large, self.small, self.last, self.head = (
            conv(3, 8),
            conv(8, 8),
            conv(8, 4),
            conv(16, 8),
            head(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(x + 1000 * self.large(x))
        return self.head(self.last(torch.cat([x / 100, x[:, :4], torch.sigmoid(self.small(x))], 1)))


class Pools(nn.Module):
    """Adaptive pools to sizes that divide nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = conv(3, 8), nn.Linear(8 * (9 + 25 + 14), 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(x))
        pools = F.adaptive_avg_pool2d(x, 3), F.adaptive_max_pool2d(x, 5), F.adaptive_avg_pool2d(x, (2, 7))
        return self.head(torch.cat([pool.flatten(1) for pool in pools], 1))


class Attention(nn.Module):
    """torch's own attention over the rows of a picture, causal."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.qkv, self.out, self.head = (
            nn.Linear(36, 16),
            nn.Linear(16, 48),
            nn.Linear(16, 16),
            nn.Linear(16, 4),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.into(x.transpose(1, 2).flatten(2))
        n, t, d = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, 2, 8).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.head(self.out(mixed.transpose(1, 2).reshape(n, t, d)).mean(1))


class SharedHeads(nn.Module):
    """Two heads of queries over one of keys and values, and torch's own attention with a mask and weights."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.query, self.rest, self.head = (
            nn.Linear(36, 16),
            nn.Linear(16, 16),
            nn.Linear(16, 16),
            nn.Linear(16, 4),
        )
        self.masked = nn.MultiheadAttention(16, 2, batch_first=True)
        self.register_buffer("mask", torch.ones(12, 12).triu(1).bool())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.into(x.transpose(1, 2).flatten(2))
        q = self.query(x).unflatten(2, (2, 8)).transpose(1, 2)
        k, v = self.rest(x).unflatten(2, (2, 8)).transpose(1, 2).chunk(2, 1)
        x = F.scaled_dot_product_attention(q, k, v, enable_gqa=True).transpose(1, 2).flatten(2)
        return self.head(self.masked(x, x, x, attn_mask=self.mask)[0].mean(1))


class OwnFilters(nn.Module):
    """A convolution whose weights are mixed for each sample (CondConv)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate, self.head = conv(3, 8), nn.Linear(8, 4), head()
        self.filters = nn.Parameter(torch.zeros(4, 8 * 8 * 3 * 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(x))
        n, c, h, w = x.shape
        filters = self.gate(x.mean((2, 3))).softmax(1) @ self.filters
        x = F.conv2d(x.reshape(1, n * c, h, w), filters.view(n * 8, 8, 3, 3), padding=1, groups=n)
        return self.head(x.view(n, 8, h, w))


class Coordinates(nn.Module):
    """CoordConv: the place of each pixel as two more channels; and what all pixels have in common, repeated."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.join, self.head = conv(5, 8), conv(16, 8), head()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, _, h, w = x.shape
        rows = torch.linspace(-1, 1, h).view(1, 1, h, 1).expand(n, 1, h, w)
        columns = torch.linspace(-1, 1, w).view(1, 1, 1, w).expand(n, 1, h, w)
        x = F.relu(self.stem(torch.cat([x, rows, columns], 1)))
        return self.head(self.join(torch.cat([x, x.mean((2, 3), keepdim=True).repeat(1, 1, h, w)], 1)))


def silence(net: nn.Module) -> None:
    """Of `silent`: a ReLU that never opens, a filter and a whole layer of zeros."""
    first, depthwise, last = (net.get_submodule(name) for name in ("2", "4", "6"))
    first.bias.fill_(-100.0)
    depthwise.weight[3] = 0
    last.weight.zero_()


def silent() -> nn.Module:
    return between(conv(8, 8), nn.ReLU(), conv(8, 8, groups=8), nn.ReLU(), conv(8, 8, 1))


def amplify(net: nn.Module) -> None:
    """Of `loud`: one channel a thousand times the others, in weights and values."""
    first, second = (net.get_submodule(name) for name in ("2", "4"))
    first.weight[0] *= 1000
    first.bias[0] *= 1000
    second.weight[:, 0] /= 1000


def loud() -> nn.Module:
    return between(conv(8, 8), nn.ReLU(), conv(8, 8))


def saturated() -> nn.Module:
    """Sigmoids that are zero or one, and a clamp that cuts almost all values."""
    return between(conv(8, 8), Apply(lambda x: torch.sigmoid(50 * x)), conv(8, 8), nn.Hardtanh(-0.01, 0.01), conv(8, 8))


def _activation(layer: nn.Module) -> Maker:
    return lambda: between(conv(8, 8), layer, conv(8, 8))


#: what is done to the weights of a net, whose own ones are drawn first
AFTERWARDS: dict[str, Callable[[nn.Module], None]] = {"silent": silence, "loud channel": amplify}
#: all read pictures (N, 3, 12, 12)
NETS: dict[str, Maker] = {
    "shared layer, one norm": SharedNorms,
    "layers in a loop": Looped,
    "tied to its transpose": Tied,
    "our own names": OurNames,
    "unicode names": Unicode,
    "scales apart": Scales,
    "silent": silent,
    "loud channel": loud,
    "saturated": saturated,
    "uneven pools": Pools,
    "causal attention": Attention,
    "shared heads": SharedHeads,
    "filters of its own": OwnFilters,
    "coordinates": Coordinates,
    "larger over one axis": lambda: between(
        nn.ConvTranspose2d(8, 8, (3, 1), (2, 1), (1, 0)), nn.ReLU(), nn.ConvTranspose2d(8, 8, 3, (1, 3)), conv(8, 8)
    ),
    "hard shrink": lambda: between(conv(8, 8), nn.Hardshrink(), conv(8, 8)),
    "log sigmoid": lambda: between(conv(8, 8), nn.LogSigmoid(), conv(8, 8)),
    "bicubic": lambda: between(conv(8, 8), nn.Upsample(scale_factor=2, mode="bicubic"), conv(8, 8)),
    "means and minima": lambda: nn.Sequential(
        conv(3, 8), nn.ReLU(), Apply(lambda x: torch.cat([x.mean((2, 3)), x.amin((2, 3))], 1)), nn.Linear(16, 5)
    ),
    "one output": lambda: nn.Sequential(conv(3, 8), nn.ReLU(), head(outputs=1)),
    "dropout and identity": lambda: between(nn.Dropout(), nn.Identity(), conv(8, 8), nn.Dropout2d(), nn.ReLU()),
    "constant in the middle": lambda: between(Apply(lambda x: x * 0 + 0.3), conv(8, 8)),
    "group norms": lambda: between(conv(8, 8), nn.GroupNorm(4, 8), nn.ReLU(), conv(8, 8), nn.GroupNorm(1, 8)),
    "pixel shuffle": lambda: between(conv(8, 16), nn.PixelShuffle(2), conv(4, 8), nn.PixelUnshuffle(2), conv(32, 8)),
    "resized": lambda: between(
        nn.Upsample(scale_factor=2), conv(8, 8), nn.Upsample((17, 9), mode="bilinear"), conv(8, 8)
    ),
    "chosen": lambda: between(
        conv(8, 8), Apply(lambda x: torch.where(x > 0, x, -x / 2).clamp(-1, 2).masked_fill(x < -1, -0.25)), conv(8, 8)
    ),
    "moved": lambda: between(
        Apply(lambda x: torch.cat([x[:, 4:], x[:, :4]], 1).roll((1, 2), (2, 3)).flip(3)), conv(8, 8)
    ),
    "mish": _activation(nn.Mish()),
    "gelu": _activation(nn.GELU()),
    "glu": lambda: between(conv(8, 16), nn.GLU(1), conv(8, 8)),
    "softmax over channels": _activation(nn.Softmax2d()),
}


def odd_net(name: str) -> nn.Module:
    """The net in eval mode with reproducible weights."""
    net = settled(NETS[name]())
    with torch.no_grad():
        AFTERWARDS.get(name, lambda _: None)(net)
    return net
