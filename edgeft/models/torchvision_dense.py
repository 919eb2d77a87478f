"""What torchvision has for maps of features: the backbones of its classifiers, and its segmenters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..core.errors import RecipeError, need
from ..plugins import TASKS
from . import features, heads, picture_size, weights
from .built import Built, image_spec
from .pretrained import NEW_HEAD
from .request import ModelRequest

#: how deep in the names of modules the ends of stages are looked for: `layer2`, `features.6`, `trunk_output.block2`
_DEPTH = 2
#: the modules of torchvision whose networks a task takes whole, by what the hub calls the task
_SEGMENTERS = "image-segmentation"
_SIZE, _MULTIPLE = (288, 384), 32


def backbone(models: Any, name: str, channels: int, look: Mapping[str, Any], whole: Any) -> features.Backbone:
    """The features of a classifier of torchvision: what the last module of each stride hands on.

    `whole(args)` builds the classifier with `channels`.
    """
    used: dict[str, Any] = {}

    def make(args: dict[str, Any], size: tuple[int, ...]) -> nn.Module:
        used.update(args)
        net = whole(dict(used)).eval()
        ends = _ends_of_stages(net, torch.zeros(1, channels, *size))
        extraction = need("torchvision.models.feature_extraction", "vision")
        cut: nn.Module = extraction.create_feature_extractor(net, ends, suppress_diff_warning=True)
        return cut

    def classifier() -> tuple[nn.Module, str]:
        net = whole(dict(used)).eval()
        return net, heads.find(net, used.get("num_classes", 1000))

    return features.Backbone(name, make, classifier, look)


def _ends_of_stages(net: nn.Module, pictures: torch.Tensor) -> list[str]:
    """Names of the modules that are the last ones called to hand on a map of their size, in the order of calls."""
    last: dict[tuple[int, ...], str] = {}

    def hook(name: str) -> Any:
        def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor) and output.dim() == 4:
                sides = {tuple(output.shape[2:]), tuple(output.shape[1:3])}
                fitting = [s for s in sides if s[0] * pictures.shape[3] == s[1] * pictures.shape[2]]
                for shape in fitting or [tuple(output.shape[2:])]:
                    last[shape] = name

        return note

    handles = [
        module.register_forward_hook(hook(name))
        for name, module in net.named_modules()
        if name and name.count(".") < _DEPTH
    ]

    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            net(pictures)
    finally:
        for handle in handles:
            handle.remove()

    return list(dict.fromkeys(last.values()))


class Segmenter(nn.Module):
    """A segmenter of torchvision without its last enlargement, which whoever reads the logits does, in the same way.

    Images (N, 3, H, W) -> logits (N, n_classes, h, w). Names of layers are torchvision's.
    """

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.backbone, self.classifier = net.backbone, net.classifier
        self._reads_all = not isinstance(net.classifier, nn.Sequential)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.backbone(x)
        logits: torch.Tensor = self.classifier(maps if self._reads_all else maps["out"])
        return logits


def is_segmenter(models: Any, request: ModelRequest) -> bool:
    """Whether `model.name` is a segmenter. Raises `RecipeError` for one that the task has no use for, and for the
    detectors of torchvision, whose heads are not decoded."""
    name = request.model.name
    if name in models.list_models(module=models.detection):
        raise RecipeError(
            f"torchvision's detector {name!r} has a head that is not decoded here",
            where="model.name",
            remedy='take the detector of edgeft on a backbone of torchvision: task = "detect", model.name = '
            '"resnet50" or "mobilenet_v3_large"',
        )

    if name not in models.list_models(module=models.segmentation):
        return False
    if TASKS.get(request.task).hub_tag != _SEGMENTERS:
        raise RecipeError(
            f"{name!r} is a segmenter, and the task is {request.task!r}", where="model.name", remedy="name a classifier"
        )

    return True


def segmenter(models: Any, request: ModelRequest) -> Built:
    """The segmenter `model.name`: LR-ASPP, DeepLabV3 or FCN. `model.args`: `size`, and the constructor's own.

    Weights are those of a segmenter, or of the classifier that the backbone comes from. Raises `RecipeError` for
    arguments that it does not take, and what `weights.load` raises.
    """
    name, args = request.model.name, dict(request.model.args)
    if args.pop("channels", 3) != 3:
        raise RecipeError("torchvision's segmenters take colour", where="data.channels", remedy="set data.channels = 3")

    size = picture_size.stated(args.pop("size", picture_size.of_data(_SIZE, _MULTIPLE, request.facts)))
    settings = {"weights": None, "weights_backbone": None, "num_classes": request.outputs}
    try:
        net = models.get_model(name, **settings, **args)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RecipeError(
            f"torchvision cannot build {name} with {request.model.args}: {error}", where="model.args"
        ) from error

    module = Segmenter(net).eval()
    notes: tuple[str, ...] = ()
    if request.model.weights:
        path = weights.find(request.model.weights)
        notes = _load(module, weights.read(path), str(path))

    return Built(module, "classifier", image_spec(size), request.outputs, bool(request.model.weights), notes)


def _load(module: nn.Module, state: Mapping[str, torch.Tensor], where: str) -> tuple[str, ...]:
    """All of a segmenter's weights but layers of another number of classes, or a classifier's for the backbone."""
    ours = module.state_dict()
    if not any(name.startswith("backbone.") for name in state):
        named = {f"backbone.{name.removeprefix('features.')}": tensor for name, tensor in state.items()}
        return weights.load(module, {name: t for name, t in named.items() if name in ours}, "classifier", where)

    state = {name: tensor for name, tensor in state.items() if not name.startswith("aux_classifier.")}
    others = [n for n, t in state.items() if n in ours and n.startswith("classifier.") and t.shape != ours[n].shape]
    notes = weights.load(module, {**state, **{name: ours[name] for name in others}}, "classifier", where)
    if others:
        notes += (f"the weights' own classifier has {len(state[others[0]])} classes: {NEW_HEAD}",)

    return notes
