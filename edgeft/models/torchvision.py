"""Networks of torchvision, always built without a download, and the weights that torchvision publishes for them."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..config import recipe
from ..core.errors import Missing, RecipeError, nearest, need
from . import by_url, features, heads, torchvision_dense, weights
from .built import Built, Origin, checked_channels, image_spec
from .named import Kind, Located
from .request import ModelRequest, ModelSource

PREFIX = "torchvision:"


def build(request: ModelRequest) -> Built:
    """`torchvision.models.get_model(name, weights=None)` with the preprocessing of its published weights.

    `model.args` are the constructor's own, and `channels` (1 = gray, more = a stack of frames): the first convolution
    is then made for it, and weights for colour are summed over their three channels. Raises `Missing` without the extra
    `vision`, `RecipeError` for an unknown name or arguments it does not take.
    """
    model, n_classes = request.model, request.outputs
    models = need("torchvision.models", "vision")
    if torchvision_dense.is_segmenter(models, request):
        return torchvision_dense.segmenter(models, request)

    known = models.list_models(module=models)
    if model.name not in known:
        raise RecipeError(
            f"torchvision has no classifier {model.name!r}", where="model.name", remedy=nearest(model.name, known)
        )

    args = dict(model.args)
    channels = checked_channels(args.pop("channels", 3))

    if (on_features := features.head_of(request.task)) is not None:
        spec = _spec(_published(models, model.name, request.weights), channels)
        look = {key: spec[key] for key in ("mean", "std", "resize")}

        def whole(given: dict[str, Any]) -> nn.Module:
            return _classifier(models, model.name, given, channels)

        backbone = torchvision_dense.backbone(models, model.name, channels, look, whole)
        return features.build(request, on_features, backbone)

    module = _classifier(models, model.name, args, channels)
    head = heads.find(module, args.get("num_classes", 1000))
    heads.replace(module, head, n_classes)

    if hasattr(module, "num_classes"):
        module.num_classes = n_classes

    notes: tuple[str, ...] = ()
    if model.weights:
        path = weights.find(model.weights)
        state = {
            n: t for n, t in weights.read(path).items() if not n.lower().startswith(("aux1.", "aux2.", "auxlogits."))
        }
        notes = weights.load(module, state, head, str(path))

    spec = _spec(_published(models, model.name, request.weights), channels)
    return Built(module.eval(), head, spec, n_classes, bool(model.weights), notes)


def _classifier(models: Any, name: str, args: dict[str, Any], channels: int) -> nn.Module:
    """The network with torchvision's own classifier, made for `channels`. Raises `RecipeError` for wrong arguments."""
    try:
        module: nn.Module = models.get_model(name, weights=None, **args)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RecipeError(f"torchvision cannot build {name} with {args}: {error}", where="model.args") from error

    _drop_auxiliary(module)
    if channels != 3:
        _see(module, channels)

    return module


def _drop_auxiliary(module: nn.Module) -> None:
    """Googlenet and Inception answer with a tuple while training, for auxiliary classifiers that nothing here uses."""
    if hasattr(module, "aux_logits"):
        module.aux_logits = False
        for name in ("aux1", "aux2", "AuxLogits"):
            if hasattr(module, name):
                setattr(module, name, None)


def _see(module: nn.Module, channels: int) -> None:
    """Put a first convolution that takes `channels` in the place of the one that takes colour."""
    name, old = next((n, m) for n, m in module.named_modules() if isinstance(m, nn.Conv2d))
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,
        old.stride,
        old.padding,
        bias=old.bias is not None,
    )

    parent, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(parent), leaf, new)

    if hasattr(module, "transform_input"):
        module.transform_input = False  # Inception's and GoogLeNet's own scaling, which knows three channels


def _published(models: Any, name: str, named: str) -> Any:
    """The published weights of a model that `named` ("torchvision:...") means, else its default ones."""
    if named.startswith(PREFIX):
        return models.get_weight(named.removeprefix(PREFIX))
    return models.get_model_weights(name).DEFAULT


def _spec(published: Any, channels: int) -> dict[str, Any]:
    """The evaluation transform of published weights, as a `preprocess` table (nothing is downloaded for it).

    Gray pictures, and each frame of a stack, have the mean of the three colours' figures.
    """
    transforms = published.transforms()
    side = transforms.crop_size[0]
    resize = transforms.interpolation.value
    mean, std = list(transforms.mean), list(transforms.std)
    if channels != 3:
        mean, std = [sum(mean) / 3] * channels, [sum(std) / 3] * channels

    return image_spec((side, side), channels, mean, std, resize if resize in ("nearest", "bicubic") else "bilinear")


def locate(model: recipe.Model, allow: bool) -> Located:
    """`torchvision:DEFAULT`, `torchvision:IMAGENET1K_V1` of `model.name`, or a name such as
    `torchvision:ResNet18_Weights.IMAGENET1K_V1`.

    Raises `RecipeError` for weights that torchvision does not publish, `Missing` without the extra `vision`, and what
    `by_url.fetch` raises.
    """
    name = model.weights.removeprefix(PREFIX)
    models = need("torchvision.models", "vision")
    if "." in name:
        try:
            published = models.get_weight(name)
        except (ValueError, KeyError, AttributeError) as error:
            known = [str(member) for model_ in models.list_models() for member in models.get_model_weights(model_)]
            raise RecipeError(
                f"torchvision has no weights {name!r}", where="model.weights", remedy=_near(name, known)
            ) from error
    else:
        published = _member(models, model.name, name)

    path, digest = by_url.fetch(published.url, f"{published} of torchvision", allow)
    return Located(path, Origin(f"{PREFIX}{published}", {path.name: digest}))


def _member(models: Any, architecture: str, name: str) -> Any:
    """The weights of an architecture by the name of their enum's member."""
    known = models.list_models()
    if architecture not in known:
        raise RecipeError(
            f"torchvision has no model {architecture!r} that {name!r} could be weights of",
            where="model.weights",
            remedy=f"{nearest(architecture, known)}; or name them in full: torchvision:ResNet18_Weights.DEFAULT",
        )

    members = models.get_model_weights(architecture).__members__
    if name not in members:
        raise RecipeError(
            f"torchvision has no weights {name!r} of {architecture}",
            where="model.weights",
            remedy=nearest(name, members) if members else "none are published",
        )

    return members[name]


def _near(name: str, known: list[str]) -> str:
    text = nearest(name, known)
    return text if text.startswith("did you") else "torchvision.models.list_models() has the models"


KIND = Kind("torchvision", locate, ("torchvision:DEFAULT", "torchvision:ResNet18_Weights.IMAGENET1K_V1"))


def _knows(name: str) -> bool:
    try:
        models = need("torchvision.models")
    except Missing:
        return False
    return name in models.list_models(module=models)


SOURCE = ModelSource("torchvision", "Models of torchvision.", build, takes_state=True, knows=_knows)
