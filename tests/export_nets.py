"""Small quantized nets in the two lowered forms, for the tests of the exporters."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed
import torch.nn.functional as F
from torch import nn

from edgeft.config import target
from edgeft.config.target import Target
from edgeft.graph.dequantize import dequantize_for_each_reader

torch.set_num_threads(1)
QD = torch.ops.quantized_decomposed
HOST = Target(name="host", title="this computer")


#: the largest weight that this machine's integer kernels add up without saturating
TOP = target.load("host").scheme.widest.range[1]


def seeded(*shape: int, seed: int = 0, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) + shift


class Act(nn.Module):
    """An activation's grid: watches ranges until frozen, then quantizes and dequantizes."""

    def __init__(self, symmetric: bool = False, cap: float = 0.0) -> None:
        super().__init__()
        self.low, self.high, self.symmetric, self.cap, self.frozen = 0.0, 0.0, symmetric, cap, False
        self.scale, self.zero = 1.0, 0

    def freeze(self) -> None:
        high = min(self.high, self.cap) if self.cap else self.high
        if self.symmetric:
            self.scale, self.zero = max(-self.low, high, 1e-6) / 127, 0
        else:
            self.scale = max(high - self.low, 1e-6) / 255
            self.zero = int(np.clip(round(-128 - self.low / self.scale), -128, 127))
        self.frozen = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.frozen:
            self.low, self.high = min(self.low, x.min().item()), max(self.high, x.max().item())
            return x
        grid = (self.scale, self.zero, -127 if self.symmetric else -128, 127, torch.int8)
        return QD.dequantize_per_tensor(QD.quantize_per_tensor(x, *grid), *grid)


class Weight(nn.Module):
    """A weight's grid: int8 buffer and dequantize ("int"), or float, quantize and dequantize ("qdq")."""

    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.value, self.form = nn.Parameter(value.clone(), requires_grad=False), "int"
        self.register_buffer("scale", value.abs().flatten(1).amax(1) / TOP)
        self.register_buffer("zero", torch.zeros(len(value), dtype=torch.int64))
        self.register_buffer(
            "integers", QD.quantize_per_channel(value, self.scale, self.zero, 0, -TOP, TOP, torch.int8)
        )

    def forward(self) -> torch.Tensor:
        grid = (self.scale, self.zero, 0, -TOP, TOP, torch.int8)
        stored = self.integers if self.form == "int" else QD.quantize_per_channel(self.value, *grid)
        return QD.dequantize_per_channel(stored, *grid)


class Conv(nn.Module):
    def __init__(
        self, i: int, o: int, k: int = 3, stride: int = 1, groups: int = 1, act: Callable | None = F.relu, **grid: float
    ) -> None:
        super().__init__()
        self.weight = Weight(seeded(o, i // groups, k, k, seed=i + o) / (i // groups * k * k) ** 0.5)
        self.bias = nn.Parameter(seeded(o, seed=o) * 0.2, requires_grad=False)
        self.rest, self.act, self.out = (stride, k // 2, 1, groups), act, Act(**grid)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.conv2d(x, self.weight(), self.bias, *self.rest)
        return self.out(self.act(y) if self.act else y)


class Linear(nn.Module):
    def __init__(self, i: int, o: int, own_input: bool = False, seed: int = 0, **grid: float) -> None:
        super().__init__()
        self.weight = Weight(seeded(o, i, seed=i + o + seed) / i**0.5)
        self.bias = nn.Parameter(seeded(o, seed=o) * 0.2, requires_grad=False)
        self.out, self.into = Act(**grid), Act(**grid) if own_input else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(F.linear(self.into(x) if self.into else x, self.weight(), self.bias))


class Residual(nn.Module):
    """conv-relu-conv-add-relu-maxpool-mean-linear."""

    def __init__(self, **grid: bool) -> None:
        super().__init__()
        self.into, self.first, self.second = Act(**grid), Conv(3, 8, **grid), Conv(8, 8, act=None, **grid)
        self.sum, self.mean, self.head = Act(**grid), Act(**grid), Linear(8, 5, **grid)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(self.into(x))
        x = self.sum(F.relu(self.second(x) + x))
        x = self.sum(F.max_pool2d(x, 2))
        return self.head(self.mean(x.mean((2, 3))))


class Mobile(nn.Module):
    """Depthwise, relu6, squeeze-and-excite, concat, channel padding, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.narrow = Act(), Conv(3, 8, stride=2, act=F.relu6, cap=6.0)
        self.depth, self.gate = Conv(8, 8, groups=8, act=F.relu6, cap=6.0), Conv(8, 8, 1, act=None)
        self.pool, self.sigmoid, self.both = Act(), Act(), Act()
        self.point, self.mean, self.head = Conv(8, 6, 1, act=None), Act(), Linear(18, 4)
        self.point.out = self.both  # one grid for all that a concatenation joins

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.depth(self.narrow(self.into(x)))
        gate = self.sigmoid(torch.sigmoid(self.gate(self.pool(F.adaptive_avg_pool2d(x, 1)))))
        x = self.both(x * gate)
        point = self.point(x)
        padded = self.both(F.pad(point, (0, 0, 0, 0, 2, 2)))
        x = self.both(torch.cat([padded, x], 1))
        return self.head(self.mean(F.adaptive_avg_pool2d(x, 1)).flatten(1)), x


class Mlp(nn.Module):
    def __init__(self, **grid: bool) -> None:
        super().__init__()
        self.into, self.one, self.two = Act(**grid), Linear(12, 16, **grid), Linear(16, 6, **grid)
        self.hidden = Act(**grid)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(self.hidden(F.relu(self.one(self.into(x)))))


class Transformer(nn.Module):
    """Token ids and a second input; only the linears are int8, norms, softmax and GELU stay float."""

    def __init__(self, d: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.heads, self.embed = heads, nn.Embedding(20, d)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(d), nn.LayerNorm(d), nn.LayerNorm(d)
        self.q, self.k, self.v, self.o = (Linear(d, d, True, seed) for seed in range(4))
        self.up, self.down = Linear(d, 4 * d, own_input=True), Linear(4 * d, d, own_input=True)
        self.head = Linear(d, 3, own_input=True)

    def forward(self, ids: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        x = self.embed(ids) + shift
        split = lambda t: t.reshape(t.shape[0], t.shape[1], self.heads, -1).transpose(1, 2)  # noqa: E731
        y = self.norm1(x)
        mixed = F.scaled_dot_product_attention(split(self.q(y)), split(self.k(y)), split(self.v(y)))
        x = x + self.o(mixed.transpose(1, 2).reshape(x.shape))
        x = x + self.down(F.gelu(self.up(self.norm2(x))))
        return self.head(self.norm3(x).mean(1))


class One(nn.Module):
    """One op between grids: `f(q, x)` where `q` is the one shared grid."""

    def __init__(self, f: Callable[[Act, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.f, self.grid = f, Act()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.f(self.grid, x)


def lowered(
    net: nn.Module, example: tuple[torch.Tensor, ...], form: str = "int", dynamic: bool = True
) -> torch.fx.GraphModule:
    """Calibrate `net` on `example` and capture it as a graph of ATen and quantized_decomposed ops."""
    net = copy.deepcopy(net).eval()
    with torch.no_grad():
        net(*example)
    for module in net.modules():
        if isinstance(module, Act):
            module.freeze()
        if isinstance(module, Weight):
            module.form = form
    batch = torch.export.Dim("batch", min=1, max=64)
    shapes = tuple({0: batch} for _ in example) if dynamic else None
    graph = torch.export.export(net, example, dynamic_shapes=shapes, strict=False).module()
    for node in list(graph.graph.nodes):
        if node.op == "call_module" and "_guards" in str(node.target):
            graph.graph.erase_node(node)
    if form == "qdq":
        dequantize_for_each_reader(graph.graph)  # as `lower` hands graphs to the converter
    graph.recompile()
    return graph


def floating(net: nn.Module, example: tuple[torch.Tensor, ...]) -> torch.fx.GraphModule:
    """The same net without any quantization, captured the same way."""

    class Plain(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    net = copy.deepcopy(net).eval()
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Act):
                setattr(parent, name, Plain())
            elif isinstance(child, Weight):
                child.forward = lambda child=child: child.value  # type: ignore[method-assign]
    graph = torch.export.export(net, example, strict=False).module()
    for node in list(graph.graph.nodes):
        if node.op == "call_module" and "_guards" in str(node.target):
            graph.graph.erase_node(node)
    graph.recompile()
    return graph


def expected(graph: nn.Module, feeds: tuple[torch.Tensor, ...]) -> list[np.ndarray]:
    with torch.no_grad():
        out = graph(*feeds)
    return [t.numpy() for t in (out if isinstance(out, (tuple, list)) else (out,))]


def step_of(graph: torch.fx.GraphModule) -> float:
    """The largest activation step of the graph: "a few steps" is measured in it."""
    return max(
        float(n.args[1])
        for n in graph.graph.nodes
        if n.op == "call_function" and "quantize_per_tensor" in str(n.target) and isinstance(n.args[1], float)
    )


IMAGES = (seeded(4, 3, 16, 16, seed=7, shift=0.4),)
VECTORS = (seeded(5, 12, seed=8, shift=-0.3),)
TOKENS = (torch.arange(30).reshape(5, 6) % 20, seeded(5, 1, 16, seed=9))
