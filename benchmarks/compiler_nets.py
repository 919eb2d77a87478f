"""Small networks of the kinds that vendors' compilers meet, with settled weights, and inputs for each.

Fourteen architectures at 64 pixels, each a few blocks of the published one with its own kind of op (grouped
convolutions, squeeze and excitation, channel shuffle, concatenation, LayerNorm, attention), and the networks of the
tasks. Nothing is trained: which ops a compiler takes does not depend on the weights.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import common
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

SIDE, CLASSES = 64, 10


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1, act: Any = nn.ReLU) -> Any:
    """Convolution without bias, BatchNorm and an activation (None: none)."""
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([act()] if act else []))


class Residual(nn.Module):
    """x + body(x), then an activation where there is one."""

    def __init__(self, body: nn.Module, after: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.after = body, after or nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(x + self.body(x))


class Excite(nn.Module):
    """Squeeze and excitation: channels weighted by what all places say."""

    def __init__(self, channels: int, gate: type[nn.Module]) -> None:
        super().__init__()
        self.squeeze, self.expand, self.gate = nn.Conv2d(channels, 8, 1), nn.Conv2d(8, channels, 1), gate()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(self.expand(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))


class Fire(nn.Module):
    """Of SqueezeNet: 1x1 and 3x3 convolutions beside each other, concatenated."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.squeeze = conv(inputs, outputs // 4, 1)
        self.one, self.three = conv(outputs // 4, outputs // 2, 1), conv(outputs // 4, outputs // 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.squeeze(x)
        return torch.cat([self.one(x), self.three(x)], 1)


class Shuffle(nn.Module):
    """Of ShuffleNetV2: half of the channels convolved, the halves interleaved."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            conv(half, half, 1), conv(half, half, 3, groups=half, act=None), conv(half, half, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, channels, height, width = x.shape
        first, second = x.chunk(2, 1)
        x = torch.cat([first, self.branch(second)], 1)
        return x.reshape(n, 2, channels // 2, height, width).transpose(1, 2).reshape(n, channels, height, width)


class Dense(nn.Module):
    """Of DenseNet: BatchNorm, ReLU and convolution; the output joins the inputs."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, growth, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.conv(F.relu(self.norm(x)))], 1)


class ConvNext(nn.Module):
    """Depthwise 7x7, LayerNorm over channels, two linears with GELU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial, self.norm = nn.Conv2d(channels, channels, 7, padding=3, groups=channels), nn.LayerNorm(channels)
        self.up, self.down = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.spatial(x).permute(0, 2, 3, 1))
        return x + self.down(F.gelu(self.up(y))).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Self-attention and a perceptron with LayerNorm before each, as in ViT."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.first, self.second = heads, nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, count, width = x.shape
        qkv = self.qkv(self.first(x)).reshape(n, count, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        scores = torch.softmax(qkv[0] @ qkv[1].transpose(-2, -1) * (width // self.heads) ** -0.5, -1)
        x = x + self.out((scores @ qkv[2]).transpose(1, 2).reshape(n, count, width))
        return x + self.down(F.gelu(self.up(self.second(x))))


class ViT(nn.Module):
    """Patches of 16 pixels as tokens."""

    def __init__(self, width: int = 48, heads: int = 3, depth: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.layers = nn.Sequential(*(Attention(width, heads) for _ in range(depth)), nn.LayerNorm(width))
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


def headed(channels: int, *layers: nn.Module) -> nn.Module:
    """The layers, the mean over height and width, and a linear layer."""
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES))


def inverted(channels: int, kernel: int, act: Any, *more: nn.Module) -> nn.Module:
    wide = 4 * channels
    middle = conv(wide, wide, kernel, groups=wide, act=act)
    return Residual(nn.Sequential(conv(channels, wide, 1, act=act), middle, *more, conv(wide, channels, 1, act=None)))


def bottleneck(channels: int, groups: int = 1, *more: nn.Module) -> nn.Module:
    half = channels // 2
    body = nn.Sequential(
        conv(channels, half, 1), conv(half, half, 3, groups=groups), *more, conv(half, channels, 1, act=None)
    )
    return Residual(body, nn.ReLU())


def alexnet() -> nn.Module:
    features = [nn.Conv2d(3, 24, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(24, 48, 5, padding=2), nn.ReLU()]
    return nn.Sequential(*features, nn.MaxPool2d(3, 2), nn.Flatten(), nn.Linear(432, 64), nn.ReLU(), nn.Linear(64, 10))


@dataclass(frozen=True)
class Net:
    """`make` builds the module, `shape` is of one sample; `kind` is what the table calls it."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...] = (3, SIDE, SIDE)
    kind: str = "architecture"


def builtin(name: str, shape: tuple[int, ...], classes: int = CLASSES, **args: Any) -> Net:
    """A network of edgeft, as a task uses it."""

    def make() -> nn.Module:
        from edgeft.models.builtin import NETS as BUILTIN

        made = BUILTIN[name].make
        named = {"n_classes": classes, **args}
        return made(**{key: value for key, value in named.items() if key in inspect.signature(made).parameters})

    return Net(make, shape, "task")


ARCHITECTURES = {
    "resnet18": Net(lambda: _builtin("resnet18")),
    "resnet50": Net(lambda: headed(64, conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1), bottleneck(64), bottleneck(64))),
    "alexnet": Net(alexnet),
    "vgg": Net(lambda: headed(48, conv(3, 24), nn.MaxPool2d(2), conv(24, 48), nn.MaxPool2d(2), conv(48, 48))),
    "mobilenet_v2": Net(lambda: _builtin("mobilenet_v2", width=0.35)),
    "mobilenet_v3": Net(
        lambda: headed(
            16,
            conv(3, 16, 3, 2, act=nn.Hardswish),
            inverted(16, 3, nn.Hardswish, Excite(64, nn.Hardsigmoid)),
            inverted(16, 5, nn.Hardswish, Excite(64, nn.Hardsigmoid)),
        )
    ),
    "efficientnet_lite0": Net(lambda: _builtin("efficientnet_lite0")),
    "squeezenet": Net(lambda: headed(64, conv(3, 32, 3, 2), nn.MaxPool2d(3, 2), Fire(32, 64), Fire(64, 64))),
    "shufflenet_v2": Net(lambda: headed(32, conv(3, 32, 3, 2), Shuffle(32), Shuffle(32))),
    "densenet": Net(lambda: headed(48, conv(3, 24, 3, 2), Dense(24, 12), Dense(36, 12), nn.BatchNorm2d(48), nn.ReLU())),
    "mnasnet": Net(lambda: headed(16, conv(3, 16, 3, 2), inverted(16, 3, nn.ReLU), inverted(16, 5, nn.ReLU))),
    "regnet_y": Net(
        lambda: headed(
            48, conv(3, 48, 3, 2), bottleneck(48, 3, Excite(24, nn.Sigmoid)), bottleneck(48, 3, Excite(24, nn.Sigmoid))
        )
    ),
    "convnext": Net(lambda: headed(32, nn.Conv2d(3, 32, 4, 4), ConvNext(32), ConvNext(32))),
    "vit": Net(ViT),
}
TASKS = {
    "classify: resnet8": builtin("resnet8", (3, 32, 32)),
    "detect: yolo_plain": builtin("yolo_plain", (3, 96, 96), 3),
    "segment: lraspp": builtin("lraspp", (3, 96, 96), 4),
    "segment: unet": builtin("unet", (3, 96, 96), 4),
    "keyword: ds_cnn": builtin("ds_cnn", (1, 49, 10)),
    "speech: quartznet": builtin("quartznet", (1, 96, 40), 29),
    "tabular: mlp": builtin("mlp", (1, 28, 28)),
    "anomaly: autoencoder": builtin("autoencoder", (640,), 640, size=(640,)),
}
NETS = {**ARCHITECTURES, **TASKS}


def _builtin(name: str, **args: Any) -> nn.Module:
    return builtin(name, (3, SIDE, SIDE), **args).make()


def inputs(net: Net, count: int, seed: int) -> torch.Tensor:
    """(count, *shape) float32, smooth and of about unit variance."""
    if len(net.shape) == 1:
        return torch.randn(count, *net.shape, generator=torch.Generator().manual_seed(seed))
    channels, height, width = net.shape
    values = common.images(count, max(height, width), seed)[:, :channels, :height, :width]
    return torch.from_numpy(np.ascontiguousarray(values))


def settled(name: str) -> nn.Module:
    """The network in eval mode, its BatchNorm statistics those of its inputs."""
    torch.manual_seed(0)
    net = NETS[name]
    module = net.make()
    norms = [child for child in module.modules() if isinstance(child, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the plain average over batches

    with torch.no_grad():
        for norm in norms:
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.3, 0.3)
        module.train()
        for seed in range(2):
            module(inputs(net, 8, seed))

    return module.eval()
