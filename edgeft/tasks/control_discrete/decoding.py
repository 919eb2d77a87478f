"""What discrete actions have beside classes: how an environment takes one, and how a recorded one is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...core.errors import DataError
from ..classify import decoding as classes
from ..control.sample import rows_of


def action(outputs: Mapping[str, np.ndarray], space: Any) -> int:
    """The choice with the highest logit, as a gymnasium environment with a discrete space takes it.

    Raises `DataError` where the space is another one or has another number of choices, and where the logits of the
    sample give no choice.
    """
    logits = classes.class_logits(outputs)
    if not hasattr(space, "n") or int(space.n) != logits.shape[1]:
        raise DataError(
            f"the model has {logits.shape[1]} choices, and the environment takes {space}", where="gates.environment"
        )

    (choice,) = classes.decisions(outputs)
    if choice < 0:
        raise DataError("the outputs are not finite: there is no choice to take", where="gates.environment")

    return int(space.start) + int(choice)


def suits(keys: Mapping[str, Any]) -> bool:
    """Whether recorded actions are choices."""
    return keys.get("actions") == "discrete"


def show(split: Any, i: int, labels: Sequence[str]) -> dict[str, Any]:
    """The frame, or the numbers of the state one a row, with the action that was chosen."""
    return rows_of(split.raw(i), classes.describe(split.targets[i], labels))
