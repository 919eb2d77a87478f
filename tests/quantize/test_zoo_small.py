"""The shapes of real architectures, a few layers of each: captured, quantized by the rules alone, lowered, run.

The whole architectures are in benchmarks/zoo.py. Each block here is the part that made its family hard.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from exporting import written
from quantize_nets import Gate, Positions, calibrated, seeded, settled
from torch import nn

from edgeft import backends as runtime
from edgeft.config import target
from edgeft.quantize.lower import integer_weights, lower
from edgeft.verify.integer import integer

IMAGES = seeded(8, 3, 16, 16)


def conv(inputs: int, outputs: int, kernel: int = 3, groups: int = 1, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    body = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(body, nn.BatchNorm2d(outputs), act(inplace=True))


class Shuffle(nn.Module):
    """ShuffleNet: one half passes through, both are concatenated and their channels dealt out in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch, self.head = conv(3, 8), conv(4, 4), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, other = self.stem(x).chunk(2, dim=1)
        y = torch.cat((one, self.branch(other)), dim=1)
        n, c, h, w = y.shape
        y = y.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
        return self.head(y.mean([2, 3]))


class Dense(nn.Module):
    """DenseNet: norms in front of convolutions, features that grow by concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(6 + 4 * i), nn.ReLU(inplace=True), nn.Conv2d(6 + 4 * i, 4, 3, padding=1))
            for i in range(3)
        )
        self.norm, self.head = nn.BatchNorm2d(18), nn.Linear(18, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        y = F.relu(self.norm(F.avg_pool2d(torch.cat(features, 1), 2)), inplace=True)
        return self.head(torch.flatten(F.adaptive_avg_pool2d(y, (1, 1)), 1))


class PreActivation(nn.Module):
    """A norm alone becomes one weight a channel, so its integers are all 127: two of them share a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.first, self.second = nn.BatchNorm2d(16), nn.BatchNorm2d(16)
        self.inner, self.outer = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.stem(x), 2)
        x = x + self.inner(F.relu(self.first(x)))
        x = x + self.outer(F.relu(self.second(x)))
        return self.head(x.mean((2, 3)))


class Mobile(nn.Module):
    """MobileNetV3: depthwise with hardswish, squeeze-and-excite by hardsigmoid, a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8, act=nn.Hardswish)
        self.expand, self.depth = conv(8, 16, 1, act=nn.Hardswish), conv(16, 16, 5, 16, nn.Hardswish)
        self.pool, self.squeeze, self.excite = nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)
        self.project, self.head = nn.Sequential(nn.Conv2d(16, 8, 1), nn.BatchNorm2d(8)), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = self.depth(self.expand(x))
        y = y * F.hardsigmoid(self.excite(F.relu(self.squeeze(self.pool(y)))))
        y = self.project(y)
        y += x
        return self.head(y.mean((2, 3)))


class Old(nn.Module):
    """AlexNet, VGG: a pool to a size that does not divide, large linear layers, dropout, in-place everything."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, 6), nn.MaxPool2d(3, 2), conv(6, 8), nn.AdaptiveAvgPool2d(size))
        self.head = nn.Sequential(
            nn.Flatten(), nn.Dropout(), nn.Linear(8 * size * size, 12), nn.ReLU(inplace=True), nn.Linear(12, 5)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


class Next(nn.Module):
    """ConvNeXt: depthwise, LayerNorm over channels, GELU between linears, a learned scale of the branch."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depth = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 7, padding=3, groups=8)
        self.norm, self.wide, self.narrow = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)
        self.gamma, self.head = nn.Parameter(torch.ones(8)), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = self.norm(self.depth(x).permute(0, 2, 3, 1))
        y = self.narrow(F.gelu(self.wide(y))) * self.gamma
        return self.head((x + y.permute(0, 3, 1, 2)).mean((2, 3)))


class Attend(nn.Module):
    """ViT: patches, a class token, attention with heads, an MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.zeros(1, 1, 8))
        self.place, self.norm1, self.norm2 = nn.Parameter(torch.zeros(1, 17, 8)), nn.LayerNorm(8), nn.LayerNorm(8)
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        self.up, self.down, self.head = nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), dim=1) + self.place
        n, t, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(n, t, 3, 2, c // 2).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, c))
        x = x + self.down(F.gelu(self.up(self.norm2(x))))
        return self.head(x[:, 0])


class Unet(nn.Module):
    """Transposed convolutions whose windows overlap, in groups; a skip connection times a number; channels that are
    shifted by writes on views."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.skip, self.down = conv(3, 8), nn.Conv2d(8, 8, 1), conv(8, 8)
        self.up = nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=2, bias=False)
        self.norm, self.join, self.head = nn.BatchNorm2d(8), conv(16, 8), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        low = self.down(F.max_pool2d(x, 2))
        moved = torch.zeros_like(low)
        moved[:, :4, :, 1:] = low[:, :4, :, :-1]
        moved[:, 4:] = low[:, 4:]
        y = F.relu(self.norm(self.up(moved)))
        return self.head(self.join(torch.cat([y, self.skip(x) * 3.0], 1)).mean((2, 3)))


#: architecture -> (a block of it, ops that stay float in the graph)
BLOCKS = {
    "shufflenet": (Shuffle, set()),
    "densenet": (Dense, set()),
    "pre-activation": (PreActivation, set()),
    "mobilenet_v3": (Mobile, set()),
    "vgg, uneven pool": (lambda: Old(3), set()),
    "alexnet, pool that repeats": (lambda: Old(14), set()),
    "unet": (Unet, set()),
    "convnext": (Next, {"layer_norm"}),
    "vit": (Attend, {"layer_norm", "add", "scaled_dot_product_attention"}),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_is_captured_quantized_and_lowered_by_the_rules_alone(name: str) -> None:
    make, stays_float = BLOCKS[name]
    net = settled(make())
    before = net(IMAGES).detach()
    graph = calibrated(net, (IMAGES,))
    weighted = [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear, nn.BatchNorm2d))]
    assert graph.captured.dynamic
    assert {op.split(".")[0] for op in graph.summary.float_ops} == stays_float
    assert len(graph.weight_of) >= len([m for m in weighted if not isinstance(m, nn.BatchNorm2d)])
    with torch.no_grad():
        torch.testing.assert_close(graph.captured.module(IMAGES), before, rtol=1e-4, atol=1e-5)
        quantized = graph.module(IMAGES)
        for form in ("int", "qdq"):
            assert torch.equal(lower(graph, form)(IMAGES), quantized)
    # eight bits throughout: the error is a few per cent of the range, not zero and not the signal's size
    error = float((quantized - before).abs().max() / before.abs().max())
    assert 0 < error < 0.15


#: those whose ops and rules others of them have too
ALIKE = {"densenet", "alexnet, pool that repeats", "mobilenet_v3"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in ALIKE else n for n in BLOCKS])
def test_the_blocks_run_in_integers_in_onnxruntime(name: str, tmp_path: Path) -> None:
    # products of two activations stay float: attention's own share is large in so small a net
    _lowered_to("onnxruntime", "host", BLOCKS[name][0](), tmp_path, least=0.7 if name == "vit" else 0.9)


@pytest.mark.parametrize(
    "name",
    [
        "vit",
        "unet",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("shufflenet", "vgg, uneven pool", "pre-activation")),
    ],
)
@pytest.mark.parametrize("kind, profile", [("openvino", "host-openvino"), ("litert", "host-litert")])
def test_the_hardest_blocks_run_in_integers_in_the_other_runtimes(
    name: str, kind: str, profile: str, tmp_path: Path
) -> None:
    """In the ViT a convolution and linear layers have as many channels: OpenVINO ran both in float when their zero
    points were one constant."""
    _lowered_to(kind, profile, BLOCKS[name][0](), tmp_path, least=0.7 if name == "vit" else 0.9)


@pytest.mark.parametrize("kind, profile", [("openvino", "host-openvino"), ("litert", "host-litert")])
def test_integer_layers_of_constants_load(kind: str, profile: str, tmp_path: Path) -> None:
    """OpenVINO 2026.4 loads no integer convolution of positions ("empty child edge"). LiteRT computes the float one at
    every call: 1024 of 7208 products."""
    _lowered_to(kind, profile, Positions(), tmp_path, least=0.85)


def test_a_gate_that_is_expanded_is_converted_for_litert(tmp_path: Path) -> None:
    """litert-torch wrote a product whose operands "don't have broadcast-compatible shapes"."""
    _lowered_to("litert", "host-litert", Gate(), tmp_path, least=0.9)


def _lowered_to(kind: str, profile: str, net: nn.Module, folder: Path, least: float) -> None:
    """Exported and run: weights byte for byte, outputs within a few steps of the graph's, integer kernels."""
    for package in {"onnxruntime": ["onnx", "onnxscript"], "openvino": ["onnx"], "litert": ["litert_torch"]}[kind]:
        pytest.importorskip(package)
    pytest.importorskip({"litert": "ai_edge_litert"}.get(kind, kind))
    graph = calibrated(settled(net), (IMAGES,))
    with torch.no_grad():
        want = graph.module(IMAGES).numpy()
    captured, machine = graph.captured, runtime.get(kind)
    artifact = written(
        importlib.import_module(f"edgeft.backends.{kind}.exporter"),
        lower(graph, "qdq" if kind == "litert" else "int"),
        captured.example,
        captured.input_names,
        captured.output_names,
        folder,
        target=target.load(profile),
        dynamic_batch=captured.dynamic,
    )
    session = machine.load(folder / artifact.file)
    (found,) = session.run({session.inputs[0].name: IMAGES.numpy()}).values()
    steps = np.abs(found - want) / graph.output_steps()["output"]
    assert np.median(steps) <= 1.01 and steps.max() <= 8
    expected = {w.name: (w.data, w.scale) for w in integer_weights(graph)}
    verdict = integer(expected, machine.integer_weights(folder / artifact.file))
    assert verdict.verdict == "pass", verdict.why
    assert (
        machine.integer_share(folder / artifact.file, feeds={session.inputs[0].name: IMAGES[:1].numpy()}).share >= least
    )
