"""What is known of a number format: one record, in the file of the format (`config/formats/`) or in a plug-in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..core.records import require_functions
from .numeric import Numeric


@dataclass(frozen=True)
class NumberFormat:
    """A number format of recipes (`quantize.format`) and of target profiles (`[scheme] format`).

    `activations(symmetric)` is the format of activations, with zero point 0 where `symmetric`;
    `weights(bits, granularity)` that of weights, of a profile whose integers have `bits` bits and one scale a
    `granularity` ("tensor" or "channel"); `linear()` that of linear layers, where it is another. A scheme's name of its
    format (`Scheme.format`) is `name`.

    Raises `InvalidInput` where a field is no function.
    """

    name: str
    description: str
    activations: Callable[[bool], Numeric]
    weights: Callable[[int, str], Numeric]
    linear: Callable[[], Numeric] | None = None

    def __post_init__(self) -> None:
        require_functions(self, f"NumberFormat {self.name}")
