"""A module that a program handed over: `edgeft.tune(model=...)`. A recipe names it, and cannot build it."""

from __future__ import annotations

from ..core.errors import ModelError
from .built import Built
from .request import ModelRequest, ModelSource


def build(request: ModelRequest) -> Built:
    """Raises `ModelError`: this module is in the memory of the program that made it."""
    raise ModelError(
        "this model was handed over by a program and cannot be built again",
        where="model.source",
        remedy="pass it again (edgeft.tune or edgeft.export with model=...), or set model.source and model.name",
    )


SOURCE = ModelSource("module", "A torch.nn.Module of the caller's own, given to edgeft.tune.", build, own_weights=True)
