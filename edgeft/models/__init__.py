"""Models: one file a source. A source builds a `Built`: the module, its classifier's name, its preprocessing.

    builtin.py   the networks that come with edgeft     torchvision.py, timm.py   theirs, never downloaded
    transformers.py   BERT-type encoders of a local folder   ultralytics.py   detectors of a .pt file
    onnx/   a finished .onnx file
    python_file.py   `file.py:function` of the user     weights.py   state dicts from files, read without running code

Each has a `ModelSource`, which the registry `plugins.MODEL_SOURCES` lists; packages add theirs in the entry-point group
`edgeft.models`.
"""

from __future__ import annotations

from ..core.errors import RecipeError, nearest
from ..plugins import MODEL_SOURCES
from .built import Built
from .python_file import from_module
from .request import ModelRequest, ModelSource

__all__ = ["Built", "ModelRequest", "ModelSource", "build", "from_module"]


def build(request: ModelRequest) -> Built:
    """The model that a recipe's [model] asks for, in eval mode.

    Raises `RecipeError` for an unknown source, name or argument and for a source without models for the task,
    `ModelError` for weights or code that cannot be used, and `Missing` where a package is needed that is not installed.
    """
    name = request.model.source
    if request.outputs < 1:
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

    built: Built = source.build(request)
    return built
