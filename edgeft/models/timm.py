"""Models of timm (PyTorch Image Models), always built without a download; weights come from a local file."""

from __future__ import annotations

from ..core.errors import RecipeError, nearest, need
from . import heads, weights
from .built import Built, image_spec
from .request import ModelRequest, ModelSource


def build(request: ModelRequest) -> Built:
    """`timm.create_model(name, pretrained=False)` with the input size, mean and std of its published weights.

    Raises `Missing` without the extra `vision`, `RecipeError` for an unknown name or arguments it does not take.
    """
    model, n_classes = request.model, request.outputs
    timm = need("timm", "vision")
    if not timm.is_model(model.name):
        known = timm.list_models()
        raise RecipeError(f"timm has no model {model.name!r}", where="model.name", remedy=_near(model.name, known))

    args = dict(model.args)
    if "channels" in args:  # as the builtin networks call it
        args["in_chans"] = args.pop("channels")

    try:
        module = timm.create_model(model.name, pretrained=False, num_classes=n_classes, **args).eval()
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise RecipeError(f"timm cannot build {model.name} with {model.args}: {error}", where="model.args") from error

    config = getattr(module, "pretrained_cfg", None) or {}
    named = config.get("classifier")
    head = named if isinstance(named, str) and named in dict(module.named_modules()) else heads.find(module, n_classes)
    if type(module.get_submodule(head)).__name__ not in ("Linear", "Conv2d"):
        head = heads.find(module, n_classes)

    channels, *size = config.get("input_size", (3, 224, 224))
    channels = args.get("in_chans", channels)

    if isinstance(side := args.get("img_size"), int):
        size = [side, side]
    mean, std = config.get("mean"), config.get("std")
    if channels != 3:
        mean = std = None

    spec = image_spec(size, channels, mean, std, _filter(config.get("interpolation", "bilinear")))
    notes: tuple[str, ...] = ()
    if model.weights:
        path = weights.find(model.weights)
        notes = weights.load(module, weights.read(path), head, str(path))

    return Built(module, head, spec, n_classes, bool(model.weights), notes)


def _near(name: str, known: list[str]) -> str:
    text = nearest(name, known)
    return text if text.startswith("did you") else "see timm.list_models()"


def _filter(name: str) -> str:
    return name if name in ("nearest", "bilinear", "bicubic") else "bilinear"


SOURCE = ModelSource("timm", "Models of timm; weights from a local file.", build)
