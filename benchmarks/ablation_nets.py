"""The networks of the ablation of calibration: a captured float graph, samples to calibrate on and to test on.

Those of `peers/nets.py` with their published weights; MobileNetV3-small, trained here for minutes on CIFAR-10 at 64 pixels;
MiniLM with a linear classifier that is fitted here to its float features of reviews; some of `zoo_nets.py`.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path.append(str(Path(__file__).resolve().parent / "peers"))
import nets

from edgeft.quantize.parts import CapturedParts, capture_parts

Tensors = tuple[torch.Tensor, ...]
#: reviews that the classifier of MiniLM is fitted to
REVIEWS = 400
#: images of CIFAR-10 that MobileNetV3-small is trained on, its epochs, and its side in pixels
PICTURES, EPOCHS, SIDE = 4000, 8, 64


@dataclass(frozen=True)
class Subject:
    """`calibration` and `test` are the inputs, (N, ...) each; `labels` (N,) those of `test`."""

    captured: CapturedParts
    calibration: Tensors
    test: Tensors
    labels: np.ndarray


@dataclass(frozen=True)
class Net:
    """`make` takes the folder for trained weights and the numbers of both kinds of samples, at most these."""

    title: str
    make: Callable[[Path, int, int], Subject]
    calibration: int = 256
    test: int = 500


def _peer(name: str) -> Callable[[Path, int, int], Subject]:
    def make(cache: Path, calibration: int, test: int) -> Subject:
        net, root = nets.NETS[name], nets.data_root()
        samples = net.samples(root, calibration, test)
        seen, shown = (tuple(map(torch.from_numpy, arrays.values())) for arrays in (samples.calibration, samples.test))
        return _captured(net.module(root), seen, shown, samples.labels)

    return make


def _captured(module: nn.Module, calibration: Tensors, test: Tensors, labels: np.ndarray) -> Subject:
    captured = capture_parts(module.eval(), tuple(t[:2] for t in calibration))
    return Subject(captured, tuple(t.contiguous() for t in calibration), tuple(t.contiguous() for t in test), labels)


def _mobilenet_v3(cache: Path, calibration: int, test: int) -> Subject:
    import equalization
    from torchvision.models import mobilenet_v3_small

    def inputs(pictures: np.ndarray) -> torch.Tensor:
        return nn.functional.interpolate(equalization.inputs(pictures), SIDE, mode="bilinear")

    with np.load(nets.data_root() / "10_standard_images" / "cifar10_test10k_train5k.npz") as arrays:
        draw = np.random.default_rng(0)
        train = draw.permutation(len(arrays["x_train"]))
        rows = draw.permutation(len(arrays["x_test"]))[:test]
        x, y = arrays["x_train"][train], torch.from_numpy(arrays["y_train"][train].astype(np.int64).ravel())
        shown, labels = inputs(arrays["x_test"][rows]), arrays["y_test"][rows].astype(int).ravel()

    torch.manual_seed(0)
    net, path = mobilenet_v3_small(num_classes=10), cache / "mobilenet_v3_small-cifar.pt"
    if path.is_file():
        net.load_state_dict(torch.load(path, weights_only=True))
    else:
        _train(net, lambda part: inputs(x[part]), y, np.arange(PICTURES))
        torch.save(net.state_dict(), path)

    return _captured(net, (inputs(x[:calibration]),), (shown,), labels)


def _train(net: nn.Module, inputs: Callable[[np.ndarray], torch.Tensor], y: torch.Tensor, rows: np.ndarray) -> None:
    """AdamW with a cosine rate and mirrored pictures; statistics of BatchNorm are measured anew at the end."""
    steps = EPOCHS * (len(rows) // 64)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    generator = np.random.default_rng(1)
    net.train()

    for epoch in range(EPOCHS):
        for part in np.array_split(generator.permutation(rows), len(rows) // 64):
            pictures = inputs(part)
            pictures = pictures.flip(3) if generator.random() < 0.5 else pictures
            loss = nn.functional.cross_entropy(net(pictures), y[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"  epoch {epoch + 1}, loss {float(loss):.3f}, {time.process_time():.0f} s", flush=True)

    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None

    with torch.no_grad():
        for part in np.array_split(rows, len(rows) // 64)[:20]:
            net(inputs(part))


def _minilm(cache: Path, calibration: int, test: int) -> Subject:
    """The classifier is a ridge regression on the float features of training texts behind those to calibrate on."""
    import reviews

    from edgeft.config import recipe
    from edgeft.inputs.batches import preprocessed
    from edgeft.session.session import open_session

    with tempfile.TemporaryDirectory() as temporary:
        rows = reviews.womens(Path(os.environ["EDGEFT_DATA"]))
        data = reviews.write(rows, Path(temporary) / "data", max(calibration + REVIEWS, test) * 2)
        session = open_session(recipe.from_table(reviews.recipe("womens", data), "the benchmark"))

        def texts(split: str, count: int) -> tuple[Tensors, torch.Tensor]:
            part = session.dataset.split(split)
            part = part.subset(np.random.default_rng(0).permutation(len(part))[:count])
            (_, feeds), *_ = list(preprocessed(session.task, session.spec, part, count))
            return tuple(map(torch.from_numpy, feeds.values())), torch.from_numpy(np.asarray(part.targets))

        seen, targets = texts("train", calibration + REVIEWS)
        shown, labels = texts("test", test)
        module: Any = session.built.module.eval()
        _fit(module, tuple(t[calibration:] for t in seen), targets[calibration:])
        captured = session.capture(module)

    return Subject(captured, tuple(t[:calibration] for t in seen), shown, labels.numpy())


def _fit(module: Any, texts: Tensors, targets: torch.Tensor) -> None:
    classifier = module.classifier
    module.classifier = nn.Identity()
    with torch.no_grad():
        features = torch.cat([module(*(t[i : i + 16] for t in texts)) for i in range(0, len(targets), 16)]).double()
        mean = features.mean(0)
        centred, signs = features - mean, (targets * 2 - 1).double()
        penalty = 0.1 * centred.pow(2).sum() / centred.shape[1]
        square = centred.T @ centred + penalty * torch.eye(centred.shape[1], dtype=torch.float64)
        weight = torch.linalg.solve(square, centred.T @ (signs - signs.mean()))
        classifier.weight.copy_(torch.stack([-weight, weight]))
        offset = signs.mean() - weight @ mean
        classifier.bias.copy_(torch.stack([-offset, offset]))

    module.classifier = classifier


def _zoo(name: str) -> Callable[[Path, int, int], Subject]:
    def make(cache: Path, calibration: int, test: int) -> Subject:
        import zoo_nets

        built, _ = zoo_nets.trained(name, cache, seconds=60)
        dataset = zoo_nets.images()
        train, shown = dataset.split("train"), dataset.split("test")
        seen = zoo_nets.tensors(train, zoo_nets.chosen(train, calibration, avoid=shown), built.spec)
        rows = zoo_nets.chosen(shown, test)
        return _captured(built.module, (seen,), (zoo_nets.tensors(shown, rows, built.spec),), shown.targets[rows])

    return make


NETS = {
    "resnet8": Net("ResNet-8, CIFAR-10", _peer("resnet8")),
    "ds_cnn": Net("DS-CNN, keywords", _peer("ds_cnn")),
    "resnet20": Net("ResNet-20, CIFAR-10", _peer("resnet20")),
    "resnet20_spread": Net("ResNet-20, badly scaled", _peer("resnet20_spread")),
    "mobilenet_v3_small": Net("MobileNetV3-small, CIFAR-10 at 64 px", _mobilenet_v3),
    "efficientnet_lite0": Net("EfficientNet-Lite0, ImageNet sample", _peer("efficientnet_lite0"), 96, 200),
    "mobilenet_v2": Net("MobileNetV2, ImageNet sample", _peer("mobilenet_v2"), 96, 200),
    "minilm": Net("MiniLM, reviews", _minilm, 96, 300),
    "zoo_squeezenet": Net("SqueezeNet 1.1, digits", _zoo("squeezenet1_1")),
    "zoo_shufflenet": Net("ShuffleNetV2, digits", _zoo("shufflenet_v2_x0_5")),
    "zoo_regnet": Net("RegNetY-400MF, digits", _zoo("regnet_y_400mf")),
    "zoo_convnext": Net("ConvNeXt-atto, digits", _zoo("convnext_atto")),
    "zoo_vit": Net("ViT-tiny, digits", _zoo("vit_tiny")),
}
