"""The networks that come with edgeft, by name; each with the input it was made for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from ..core.errors import ModelError, RecipeError, nearest
from . import picture_size, weights
from .built import Built, checked_channels, image_spec
from .nets.autoencoder import Autoencoder
from .nets.detector import YoloLite0, YoloLite1, YoloLite2, YoloMobileNetV2, YoloPlain
from .nets.dscnn import DSCNN
from .nets.efficientnet_lite import EfficientNetLite0, EfficientNetLite1, EfficientNetLite2
from .nets.lraspp import LRASPP
from .nets.mlp import MLP
from .nets.mobilenet import MobileNetV2
from .nets.quartznet import QuartzNet
from .nets.recommend import EASE, NeuMF, TwoTower
from .nets.resnet import ResNet8, ResNet18, ResNet20
from .nets.seq2seq import Seq2Seq
from .nets.unet import UNet
from .request import ModelRequest, ModelSource


@dataclass(frozen=True)
class Net:
    make: type[nn.Module]
    head: str
    size: tuple[int, ...]  # () = it takes no picture: the task states its preprocessing
    channels: int = 3
    mean: tuple[float, ...] | None = None  # None = ImageNet's, or 0.5 for gray
    std: tuple[float, ...] | None = None
    takes_size: bool = False
    #: both sides are multiples of this, and the size follows the data's pictures where nothing states it; 0 = fixed
    multiple: int = 0


NETS = {
    "resnet8": Net(ResNet8, "fc", (32, 32)),
    "resnet18": Net(ResNet18, "fc", (224, 224)),
    "resnet20": Net(ResNet20, "linear", (32, 32)),
    "mobilenet_v2": Net(MobileNetV2, "classifier.1", (224, 224)),
    "efficientnet_lite0": Net(EfficientNetLite0, "_fc", (224, 224), mean=(127 / 255,) * 3, std=(128 / 255,) * 3),
    "efficientnet_lite1": Net(EfficientNetLite1, "_fc", (240, 240), mean=(127 / 255,) * 3, std=(128 / 255,) * 3),
    "efficientnet_lite2": Net(EfficientNetLite2, "_fc", (260, 260), mean=(127 / 255,) * 3, std=(128 / 255,) * 3),
    "lraspp": Net(LRASPP, "head", (288, 384), mean=(127 / 255,) * 3, std=(128 / 255,) * 3, multiple=32),
    "unet": Net(UNet, "head", (288, 384), mean=(127 / 255,) * 3, std=(128 / 255,) * 3, multiple=32),
    "ds_cnn": Net(DSCNN, "fc", (49, 10), channels=1),
    "mlp": Net(MLP, "head", (28, 28), channels=1, takes_size=True),
    "yolo_lite0": Net(YoloLite0, "head", (320, 320), mean=(127 / 255,) * 3, std=(128 / 255,) * 3),
    "yolo_lite1": Net(YoloLite1, "head", (320, 320), mean=(127 / 255,) * 3, std=(128 / 255,) * 3),
    "yolo_lite2": Net(YoloLite2, "head", (320, 320), mean=(127 / 255,) * 3, std=(128 / 255,) * 3),
    "yolo_mobilenet_v2": Net(YoloMobileNetV2, "head", (320, 320)),
    "yolo_plain": Net(YoloPlain, "head", (320, 320)),
    "autoencoder": Net(Autoencoder, "head", (640,), channels=1, takes_size=True),
    "ease": Net(EASE, "head", ()),
    "neumf": Net(NeuMF, "head", ()),
    "two_tower": Net(TwoTower, "head", ()),
    "seq2seq": Net(Seq2Seq, "decoder.head", ()),
    "quartznet": Net(QuartzNet, "head", ()),
}


def build(request: ModelRequest) -> Built:
    """The builtin network `model.name`. `model.args`: `channels`, `size` (pixels, or [h, w]), and the network's own.

    Raises `RecipeError` for an unknown name or argument, and what `weights.read` and `weights.load` raise.
    """
    model, n_classes = request.model, request.outputs
    if model.name not in NETS:
        raise RecipeError(f"unknown model {model.name!r}", where="model.name", remedy=nearest(model.name, NETS))

    net = NETS[model.name]
    args, size, channels = dict(model.args), net.size, net.channels
    if net.size:
        channels = args.setdefault("channels", net.channels)
        checked_channels(channels)
        if channels != net.channels:  # the figures of the other number of channels say nothing
            net = replace(net, mean=net.mean and net.mean[:1] * channels, std=net.std and net.std[:1] * channels)
        usual = picture_size.of_data(net.size, net.multiple, request.facts)
        size = picture_size.stated(args.pop("size", usual), row=net.takes_size)
        if net.takes_size:
            args["size"] = size

    try:
        module = net.make(n_classes=n_classes, **args).eval()
    except (TypeError, ValueError, RuntimeError) as error:
        raise RecipeError(f"{model.name} cannot be built with {model.args}: {error}", where="model.args") from error

    notes: tuple[str, ...] = ()
    if model.weights:
        path = weights.find(model.weights)
        state = weights.read(path)
        if hasattr(module, "adapt"):  # a net on another one's body takes what it can use of that one's weights
            state = module.adapt(state)
        try:
            notes = weights.load(module, state, net.head, str(path))
        except ModelError as error:
            recognized = _recognize(state, model.name, n_classes)
            if not recognized:
                raise
            raise ModelError(error.message, where=error.where, remedy=f"these are weights of {recognized!r}") from error

    spec = image_spec(size, channels, net.mean, net.std) if len(size) == 2 else {}
    return Built(module, net.head, spec, n_classes, bool(model.weights), notes)


def _recognize(state: dict[str, Any], asked: str, n_classes: int) -> str:
    """The name of the builtin network whose layers have the names and shapes of `state`, or ''."""
    import torch

    for name, net in NETS.items():
        if name == asked or net.takes_size or not net.size:
            continue
        with torch.device("meta"):
            state_of_net = net.make(n_classes=n_classes, channels=net.channels).state_dict()
        body = {n: t.shape for n, t in state_of_net.items() if not n.startswith(f"{net.head}.")}
        if all(n in state and state[n].shape == shape for n, shape in body.items() if "num_batches" not in n):
            return name

    return ""


SOURCE = ModelSource(
    "builtin",
    "The networks that come with edgeft.",
    build,
    tested=True,
    takes_state=True,
    knows=NETS.__contains__,
)
