"""Models for tests, as a recipe's [model] asks for them."""

from __future__ import annotations

from edgeft import models
from edgeft.config import recipe
from edgeft.models import Built, ModelRequest


def build(model: recipe.Model, outputs: int, *, task: str = "classify", allow_code: bool = False) -> Built:
    """The model of a table [model] with `outputs` outputs."""
    return models.build(ModelRequest(model, task, outputs, allow_code=allow_code))
