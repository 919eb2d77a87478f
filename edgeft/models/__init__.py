"""Models: one file a source. A source builds a `Built`: the module, its classifier's name, its preprocessing.

    builtin.py   the networks that come with edgeft     torchvision.py, timm.py   theirs, never downloaded
    transformers.py   BERT-type encoders of a local folder   ultralytics.py   detectors of a .pt file
    python_file.py   `file.py:function` of the user     weights.py   state dicts from files, read without running code

Other sources are found in the entry-point group `edgeft.models`: an object with a `build` of the same form.
"""

from __future__ import annotations

import importlib

from ..config import recipe
from ..core.errors import RecipeError, nearest
from ..plugins import offered
from .built import Built
from .python_file import from_module

__all__ = ["SOURCES", "Built", "build", "from_module"]

#: source name in a recipe -> module of this package
SOURCES = {
    "builtin": "builtin",
    "timm": "timm",
    "torchvision": "torchvision",
    "transformers": "transformers",
    "ultralytics": "ultralytics",
    "python": "python_file",
}


def build(model: recipe.Model, n_classes: int, allow_code: bool = False) -> Built:
    """The model of a recipe with `n_classes` outputs (of a classifier: classes), in eval mode.

    Raises `RecipeError` for an unknown source, name or argument, `ModelError` for weights or code that cannot be used,
    and `Missing` where a package is needed that is not installed.
    """
    if n_classes < 1:
        raise RecipeError(f"a model needs one or more outputs, not {n_classes}", where="model")
    if model.source in SOURCES:
        source = importlib.import_module(f".{SOURCES[model.source]}", __package__)
        return source.build(model, n_classes, allow_code=allow_code)
    extra = offered("edgeft.models")
    if model.source not in extra:
        raise RecipeError(
            f"unknown model source {model.source!r}",
            where="model.source",
            remedy=nearest(model.source, (*SOURCES, *extra)),
        )
    return extra[model.source].load().build(model, n_classes, allow_code=allow_code)
