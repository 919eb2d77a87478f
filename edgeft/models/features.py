"""Networks of a task on the features of another package's backbone (`nets/pyramid.py`), and their weights.

What a backbone hands out is looked at on a picture of zeros: which of its maps have the strides that the head reads,
and whether channels come last. A network without such a pyramid (a plain vision transformer) is refused by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..core.errors import EdgeftError, ModelError, RecipeError, nearest
from ..plugins import TASKS, resolve
from . import picture_size, weights
from .built import Built, checked_channels, image_spec
from .nets.pyramid import Map, Pyramid, PyramidHead
from .pretrained import NEW_HEAD
from .request import ModelRequest

#: how names in a network of ours begin that has a backbone
BACKBONE, HEAD = "backbone.", "head"


@dataclass(frozen=True)
class Backbone:
    """What a source knows of a backbone.

    `make(args, size)` returns the module whose maps (a list or a dict of tensors) are looked at, for pictures of `size`
    [h, w] and the channels that the source read from the request; it may raise anything. `classifier()` returns the
    whole network that published weights fit, and the name of its classifier. `look` has mean, std and resize of the
    weights' preprocessing.
    """

    name: str
    make: Callable[[dict[str, Any], tuple[int, ...]], nn.Module]
    classifier: Callable[[], tuple[nn.Module, str]]
    look: Mapping[str, Any]


def head_of(task: str) -> PyramidHead | None:
    """What makes the task's networks on backbones; None where a classifier is the task's network."""
    place = TASKS.get(task).pyramid_head if task in TASKS else ""
    head: PyramidHead | None = resolve(place) if place else None
    return head


def build(request: ModelRequest, head: PyramidHead, backbone: Backbone) -> Built:
    """The network of the request's task on a backbone.

    `model.args` are `size`, `channels`, those of the head, and the backbone's own. Raises `RecipeError` for a backbone
    without the strides that the head reads and for wrong arguments, `ModelError` for weights that do not fit.
    """
    args = dict(request.model.args)
    channels = checked_channels(args.pop("channels", 3))

    multiple = head.multiple if head.follows_data else 0
    size = picture_size.stated(args.pop("size", picture_size.of_data(head.size, multiple, request.facts)))
    if any(side % head.multiple for side in size):
        raise RecipeError(
            f"is {list(size)}, and both sides must be multiples of {head.multiple}", where="model.args.size"
        )

    known = list(inspect.signature(head.make).parameters)[2:]
    of_head = {name: args.pop(name) for name in known if name in args}
    try:
        module = head.make(lambda strides: pyramid(backbone, args, channels, size, strides), request.outputs, **of_head)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"the head cannot be built with {of_head}: {error}", where="model.args") from error

    notes: tuple[str, ...] = ()
    if request.model.weights:
        path = weights.find(request.model.weights)
        notes = load(module, backbone, weights.read(path), str(path))

    look = dict(backbone.look)
    if channels != 3:
        look.update(mean=None, std=None)

    spec = image_spec(size, channels, **look)
    return Built(module.eval(), HEAD, spec, request.outputs, bool(request.model.weights), notes)


def pyramid(
    backbone: Backbone, args: dict[str, Any], channels: int, size: tuple[int, ...], strides: Sequence[int]
) -> Pyramid:
    """The backbone with the maps of these strides. Raises `RecipeError` where it has none of such sizes."""
    try:
        net = backbone.make(args, size).eval()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            maps = net(torch.zeros(1, channels, *size))
    except EdgeftError:
        raise
    except Exception as error:  # the package's code may raise anything for what it was not made for
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RecipeError(
            f"{backbone.name} gives no features of pictures of {size[0]}x{size[1]} pixels: {line}",
            where="model.name",
            remedy=_REMEDY,
        ) from error

    shapes = [tuple(t.shape) for t in (maps.values() if isinstance(maps, dict) else maps)]
    chosen = [_last(shapes, (size[0] // stride, size[1] // stride), stride) for stride in strides]
    if None not in chosen:
        return Pyramid(net, [m for m in chosen if m is not None])

    seen = ", ".join(str(shape[1:]) for shape in shapes) or "none"
    raise RecipeError(
        f"{backbone.name} has no pyramid of features: of a picture of {size[0]}x{size[1]} pixels the head reads maps "
        f"at strides {', '.join(map(str, strides))}, and there are {seen}",
        where="model.name",
        remedy=_REMEDY,
    )


_REMEDY = (
    "take a convolutional network, or a transformer in stages (swin, pvt), whose maps are halved from stage to stage"
)


def _last(shapes: Sequence[tuple[int, ...]], sides: tuple[int, int], stride: int) -> Map | None:
    """The last map of these sides, with channels first where both readings fit."""
    for first, channels in ((2, 1), (1, 3)):
        fitting = [i for i, shape in enumerate(shapes) if len(shape) == 4 and shape[first : first + 2] == sides]
        if fitting:
            return Map(fitting[-1], shapes[fitting[-1]][channels], stride, channels_last=first == 1)
    return None


def load(module: nn.Module, backbone: Backbone, state: Mapping[str, torch.Tensor], where: str) -> tuple[str, ...]:
    """Load the weights of a whole network of ours, or of the classifier that the backbone comes from; returns notes.

    Packages rename layers where they cut a network (`blocks.0` becomes `blocks_0`): names are compared without dots.
    """
    if any(name.startswith(BACKBONE) for name in state):
        return weights.load(module, state, HEAD, where)

    whole, classifier = backbone.classifier()
    notes = weights.load(whole, state, classifier, where)
    source = {_plain(name): tensor for name, tensor in whole.state_dict().items()}
    net = module.get_submodule(f"{BACKBONE}net")
    moved = {name: source.get(_plain(name.removeprefix("model."))) for name in net.state_dict()}
    absent = [name for name, tensor in moved.items() if tensor is None or tensor.shape != net.state_dict()[name].shape]

    if absent:
        raise ModelError(
            f"the features of {backbone.name} have no weights for {', '.join(absent[:3])}",
            where=where,
            remedy=nearest(_plain(absent[0]), source),
        )

    net.load_state_dict(moved)
    return tuple(note for note in notes if not note.endswith(NEW_HEAD))


def _plain(name: str) -> str:
    return name.replace(".", "_")
