"""Models for tests, as a recipe's [model] asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeft import models
from edgeft.config import recipe
from edgeft.models import Built, ModelRequest


def build(
    model: recipe.Model,
    outputs: int,
    *,
    task: str = "classify",
    allow_code: bool = False,
    facts: Mapping[str, Any] | None = None,
) -> Built:
    """The model of a table [model] with `outputs` outputs, for data with `facts`."""
    return models.build(ModelRequest(model, task, outputs, facts or {}, allow_code=allow_code))
