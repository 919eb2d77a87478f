"""Models of timm (PyTorch Image Models), always built without a download, and the weights that timm publishes."""

from __future__ import annotations

from typing import Any

from ..config import recipe
from ..core.errors import Missing, RecipeError, nearest, need
from . import by_url, features, heads, hub, weights
from .built import Built, Origin, image_spec
from .named import Kind, Located
from .request import ModelRequest, ModelSource

PREFIX = "timm:"
#: the weights that timm takes where none are named: the tag of `model.name`, or the first one of the architecture
DEFAULT = "DEFAULT"


def build(request: ModelRequest) -> Built:
    """`timm.create_model(name, pretrained=False)` with the input size, mean and std of its published weights.

    For a task with a head for backbones (`Task.pyramid_head`) that head on the network's features. Raises `Missing`
    without the extra `vision`, `RecipeError` for an unknown name or arguments it does not take.
    """
    model, n_classes = request.model, request.outputs
    timm = need("timm", "vision")
    if not timm.is_model(model.name):
        known = timm.list_models()
        raise RecipeError(f"timm has no model {model.name!r}", where="model.name", remedy=_near(model.name, known))

    name = model.name
    if request.weights.startswith(PREFIX):  # whose size, mean and std are those of their tag
        published = _published(timm, model.name, request.weights)
        name = f"{published.architecture}.{published.tag}"
    if (on_features := features.head_of(request.task)) is not None:
        return features.build(request, on_features, _backbone(timm, name, dict(model.args)))

    args = dict(model.args)
    if "channels" in args:  # as the builtin networks call it
        args["in_chans"] = args.pop("channels")

    try:
        module = timm.create_model(name, pretrained=False, num_classes=n_classes, **args).eval()
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


def _backbone(timm: Any, name: str, given: dict[str, Any]) -> features.Backbone:
    """The features of a model of timm (`features_only=True`), by the package's own choice of layers."""
    channels = {"in_chans": given.get("channels", 3)}
    used: dict[str, Any] = {}

    def make(args: dict[str, Any], size: tuple[int, ...]) -> Any:
        sized = {"img_size": tuple(size)}  # windows and positions are made for one size
        try:
            module = timm.create_model(name, pretrained=False, features_only=True, **channels, **sized, **args)
        except TypeError:
            module, sized = timm.create_model(name, pretrained=False, features_only=True, **channels, **args), {}
        used.update({**args, **sized})
        return module

    def classifier() -> tuple[Any, str]:
        whole = timm.create_model(name, pretrained=False, **channels, **used).eval()
        named = whole.pretrained_cfg.get("classifier")
        return whole, named if isinstance(named, str) else heads.find(whole)

    config = timm.get_pretrained_cfg(name) if timm.is_model_pretrained(name.partition(".")[0]) else None
    mean, std = (getattr(config, key, None) for key in ("mean", "std"))
    return features.Backbone(
        name,
        make,
        classifier,
        {"mean": mean, "std": std, "resize": _filter(getattr(config, "interpolation", "bilinear"))},
    )


def _near(name: str, known: list[str]) -> str:
    text = nearest(name, known)
    return text if text.startswith("did you") else "see timm.list_models()"


def _filter(name: str) -> str:
    return name if name in ("nearest", "bilinear", "bicubic") else "bilinear"


def locate(model: recipe.Model, allow: bool) -> Located:
    """`timm:tag` (or `timm:tag@revision`) of the architecture `model.name`; `timm:DEFAULT` is timm's own choice.

    Most lie on the Hugging Face hub, some at an address. Raises `RecipeError` for a tag or architecture that timm does
    not know, `Missing` without the extra `vision`, and what `hub.fetch` and `by_url.fetch` raise.
    """
    _, _, revision = model.weights.partition("@")
    timm = need("timm", "vision")
    published = _published(timm, model.name, model.weights)

    if published.hf_hub_id:
        reference = hub.Reference(published.hf_hub_id, revision or hub.MAIN, published.hf_hub_filename or "")
        fetched = hub.fetch(reference, allow)
        origin = Origin(f"{PREFIX}{published.tag}@{fetched.reference.revision}", fetched.sha256)
        return Located(fetched.weights, origin, fetched.notes)

    path, digest = by_url.fetch(published.url, f"{published.architecture}.{published.tag} of timm", allow)
    return Located(path, Origin(f"{PREFIX}{published.tag}", {path.name: digest}))


def _published(timm: Any, name: str, named: str) -> Any:
    """timm's record of the weights `named` "timm:tag" (or "timm:arch.tag") of the architecture `name`."""
    architecture, _, own_tag = name.partition(".")
    if not timm.is_model(architecture):
        raise RecipeError(
            f"timm has no model {architecture!r}", where="model.name", remedy=_near(architecture, timm.list_models())
        )

    tag = named.removeprefix(PREFIX).partition("@")[0].removeprefix(f"{architecture}.")
    tag = own_tag if tag in ("", DEFAULT) else tag
    try:
        published = timm.get_pretrained_cfg(f"{architecture}.{tag}" if tag else architecture)
    except RuntimeError:
        published = None

    if published is None or not (published.hf_hub_id or published.url):
        known = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
        raise RecipeError(
            f"timm has no weights {tag!r} of {architecture}",
            where="model.weights",
            remedy=nearest(tag, known) if known else "none are published",
        )

    return published


KIND = Kind("timm", locate, ("timm:DEFAULT", "timm:e2400_r224_in1k"))


def _knows(name: str) -> bool:
    try:
        return bool(need("timm").is_model(name))
    except Missing:
        return False


SOURCE = ModelSource("timm", "Models of timm.", build, takes_state=True, knows=_knows)
