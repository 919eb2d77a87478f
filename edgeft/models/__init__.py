"""Models: one file a source. A source builds a `Built`: the module, its classifier's name, its preprocessing.

    builtin.py   the networks that come with edgeft     torchvision.py, timm.py   theirs
    features.py   the heads of tasks on backbones of theirs     torchvision_dense.py   torchvision's segmenters
    transformers.py   BERT-type encoders of a local folder   ultralytics.py   detectors of a .pt file
    onnx/   a finished .onnx file   keras/   a file that Keras saved   sb3.py   policies of stable-baselines3
    python_file.py   `file.py:function` of the user     weights.py   state dicts from files, read without running code
    advice.py   what to say of random weights
    named.py   weights by name: hub.py, by_url.py and pip_packages.py bring them to this machine

Each has a `ModelSource`, which the registry `plugins.MODEL_SOURCES` lists; packages add theirs in the entry-point group
`edgeft.models`.
"""

from __future__ import annotations

from dataclasses import replace

from ..core.errors import RecipeError, nearest
from ..plugins import MODEL_SOURCES
from . import advice, named
from .built import Built, Origin
from .named import resolved
from .python_file import from_module
from .request import ModelRequest, ModelSource

__all__ = ["Built", "ModelRequest", "ModelSource", "Origin", "advice", "build", "from_module", "resolved"]


def build(request: ModelRequest) -> Built:
    """The model that a recipe's [model] asks for, in eval mode.

    Weights by name are brought to this machine first, with permission; the source gets their path. Raises `RecipeError`
    for an unknown source, name or argument and for a source without models for the task,
    `ModelError` for weights or code that cannot be used, and `Missing` where a package is needed that is not installed.
    """
    name = request.model.source
    if request.outputs < 1 and not request.any_outputs:
        raise RecipeError(f"a model needs one or more outputs, not {request.outputs}", where="model")

    if name not in MODEL_SOURCES:
        remedy = nearest(name, MODEL_SOURCES.names())
        raise RecipeError(f"unknown model source {name!r}", where="model.source", remedy=remedy)

    source = MODEL_SOURCES.get(name)
    if source.tasks and request.task not in source.tasks:
        raise RecipeError(
            f"the source {name!r} has no models for the task {request.task!r}",
            where="model.source",
            remedy=f"it has models for {', '.join(source.tasks)}",
        )

    if request.trained and source.takes_state and request.model.weights:
        return _without_state(source, request)

    located = named.locate(request.model, request.allow_download or request.model.allow_download)
    if located is None:
        return _built(source, request)

    model = replace(request.model, weights=str(located.path))
    built = _built(source, replace(request, model=model, weights=located.origin.weights))
    return replace(built, notes=(*located.notes, *built.notes), origin=located.origin)


def _built(source: ModelSource, request: ModelRequest) -> Built:
    """What the source builds. An error about a name that other sources know says which ones these are."""
    try:
        built: Built = source.build(request)
        return built
    except RecipeError as error:
        if error.where != "model.name" or source.knows is None:
            raise
        name = request.model.name
        sources = map(MODEL_SOURCES.get, MODEL_SOURCES.builtin)
        able = [other.name for other in sources if other.knows is not None and other.knows(name)]
        if not able:
            raise
        settings = " or ".join(f'model.source = "{other}"' for other in able)
        raise RecipeError(error.message, where=error.where, remedy=f"{settings} has it; {error.remedy}") from error


def _without_state(source: ModelSource, request: ModelRequest) -> Built:
    """The network without the tensors of its weights, which may be on another machine; all else as with them."""
    model = request.model
    built = _built(source, replace(request, model=replace(model, weights=""), weights=model.weights))
    return replace(built, pretrained=True, origin=Origin(model.weights, dict(model.sha256)))
