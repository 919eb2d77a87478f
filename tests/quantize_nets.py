"""Small nets and a calibrated graph of any module, for the tests of the quantize room."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from edgeft.config import target
from edgeft.config.scheme import Scheme, SchemeTable
from edgeft.graph.nodes import attribute
from edgeft.quantize.graph import QuantizedGraph, prepare
from edgeft.quantize.ranges import calibrate

torch.set_num_threads(1)
#: what this machine's integer kernels compute without saturating
HOST = target.load("host").scheme
BRANCH = SchemeTable(activation_symmetric=True, residual="branch").scheme()


def seeded(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def settled(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module in eval mode with reproducible weights and BatchNorm statistics that are not trivial."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.state_dict(keep_vars=True).items():
            if name.endswith("running_var"):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
            elif name.endswith("running_mean"):
                value.copy_(torch.randn(value.shape, generator=generator) * 0.3)
            elif value.is_floating_point():
                fan = max(1, value[0].numel()) if value.dim() > 1 else 4
                value.copy_(torch.randn(value.shape, generator=generator) / fan**0.5)
        for child in module.modules():
            if isinstance(child, (nn.modules.batchnorm._BatchNorm, nn.LayerNorm)) and child.weight is not None:
                child.weight.copy_(torch.rand(child.weight.shape, generator=generator) + 0.5)
    return module.eval()


def calibrated(
    module: nn.Module,
    example: Sequence[torch.Tensor],
    scheme: Scheme = HOST,
    keep_float: Sequence[str] = (),
    estimator: str = "minmax",
) -> QuantizedGraph:
    """`prepare` and calibration on the example itself."""
    graph = prepare(module, example, scheme, keep_float)
    calibrate(graph.module, lambda: [tuple(example)], estimator=estimator)
    return graph


def node(graph: QuantizedGraph, word: str, nth: int = 0) -> torch.fx.Node:
    """The nth call of an ATen op whose name starts with `word`."""
    found = [n for n in graph.module.graph.nodes if n.op == "call_function" and op_name(n).startswith(word)]
    return found[nth]


def op_name(node_: torch.fx.Node) -> str:
    return getattr(node_.target, "__name__", str(node_.target))


def read_through(graph: QuantizedGraph, node_: torch.fx.Node, position: int = 0) -> str | None:
    """The name of the fake-quantize that argument `position` of a node comes from; None where it is float."""
    argument = node_.args[position]
    assert isinstance(argument, torch.fx.Node)
    return str(argument.target) if argument.op == "call_module" else None


def written_through(node_: torch.fx.Node) -> set[str]:
    """The fake-quantize modules that read a node's value ("float" for any other reader)."""
    return {str(u.target) if u.op == "call_module" else "float" for u in node_.users}


def weights_of(graph: QuantizedGraph) -> dict[str, torch.Tensor]:
    return {name: attribute(graph.module, name) for name in graph.weight_of}


class Residual(nn.Module):
    """conv-bn-relu, then conv-bn-relu-conv-bn + skip, relu, pool, linear."""

    def __init__(self, channels: int = 8, classes: int = 4) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv1, self.norm1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.norm2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.stem(x)))
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return self.head(F.relu(x + y).mean((2, 3)))


class Excite(nn.Module):
    """Depthwise, relu6, squeeze-and-excite by sigmoid, projection, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.expand, self.depth = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.down, self.up = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.project, self.head = nn.Conv2d(8, 6, 1), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu6(self.depth(F.relu6(self.expand(x))))
        gate = torch.sigmoid(self.up(F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))))
        return self.head(F.adaptive_avg_pool2d(self.project(x * gate), 1).flatten(1))


class Block(nn.Module):
    """A pre-norm transformer block over (N, tokens, d) and a classifier on the mean token."""

    def __init__(self, d: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down, self.head = nn.Linear(d, 4 * d), nn.Linear(4 * d, d), nn.Linear(d, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        attention = ((q @ k.transpose(-2, -1)) / (d // self.heads) ** 0.5).softmax(-1)
        x = x + self.out((attention @ v).transpose(1, 2).reshape(n, t, d))
        x = x + self.down(F.gelu(self.up(self.norm2(x))))
        return self.head(x.mean(1))


IMAGES = (seeded(4, 3, 8, 8, seed=1),)
TOKENS = (seeded(3, 5, 16, seed=2),)


class Positions(nn.Module):
    """EdgeNeXt, XCiT: sines and cosines of positions that code makes of the batch's size, through a learned layer."""

    def __init__(self, project: bool = True) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8), nn.Linear(8, 5)
        self.project = nn.Conv2d(8, 8, 1) if project else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        n, _, h, w = x.shape
        rows = (~torch.zeros(n, h, w).bool()).cumsum(1, dtype=torch.float32)
        angles = (rows / (rows[:, -1:] + 1e-6) * 6.28)[..., None]
        angles = angles / 10.0 ** (2 * (torch.arange(4, dtype=torch.float32) // 2) / 4)
        positions = torch.cat([angles.sin(), angles.cos()], -1).permute(0, 3, 1, 2).repeat(1, 1, 1, 1)
        tokens = x.flatten(2).transpose(1, 2) + self.project(positions).reshape(n, 8, h * w).transpose(1, 2)
        return self.head(self.norm(tokens).mean(1))


class Gate(nn.Module):
    """ECA: a gate a channel that `expand_as` lays over the map."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.gate, self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False), nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = self.gate(x.mean((2, 3)).view(len(x), 1, -1)).view(len(x), -1, 1, 1).sigmoid()
        return self.head(self.conv(x * y.expand_as(x)).mean((2, 3)))
