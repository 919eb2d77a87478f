"""What runtimes hand out: tensors of a border, integer weights, grids, the share of integer kernels, a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Tensor:
    """One input or output of a graph as the artifact declares it.

    `dtype` is the artifact's own ("float32", "int8", "uint8", "int64"); `scale` and `zero_point` are set where the
    border itself is quantized: real = (stored - zero_point) * scale. A dynamic dimension is -1.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True)
class WeightTensor:
    """Integer weights as the artifact stores them: `data` int8 or int16, `scale` float32 per channel or of one element.

    `axis` is the axis of `data` that the channels lie on (of no meaning where there is one scale); `zero_point` is
    None where it is zero throughout, as it should be, else an int32 array shaped like `scale`.
    """

    name: str
    data: np.ndarray
    scale: np.ndarray
    axis: int = 0
    zero_point: np.ndarray | None = None


@dataclass(frozen=True)
class Grid:
    """The grid of a quantized activation as the artifact stores it: real = (q - zero_point) * scale.

    `name` is the artifact's own. Where it stores unsigned integers, `zero_point` is that of the signed ones (128 less
    than that of uint8), see `numeric.signed_zero_point`. `bits` is the width of its integers, 0 where the reader does
    not tell.
    """

    name: str
    scale: float
    zero_point: int
    bits: int = 0


@dataclass(frozen=True)
class IntegerShare:
    """What really executes in integer kernels.

    `share` is integer multiply-accumulates over all of them (0..1); `float_ops` counts by op type what stayed float
    although it computes (weighted ops first); `ops` counts every executed op with its dtype.
    """

    share: float
    macs: int
    integer_macs: int
    float_ops: dict[str, int] = field(default_factory=dict)
    ops: dict[str, int] = field(default_factory=dict)


class Session(Protocol):
    """A loaded artifact. Floats in, floats out: where the border is quantized the session converts with numpy."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Batched feeds (axis 0). A static batch of 1 is looped over. Raises `BundleError` on wrong names or shapes."""
        ...

    def invoke(self) -> None:
        """Run once more on the tensors last given, converting and copying nothing more than must be: for timing."""
        ...


@dataclass(frozen=True)
class Operation:
    """One operation of a file: its op, the names of its node and of what it writes, its multiply-accumulates."""

    op: str
    node: str
    outputs: tuple[str, ...] = ()
    macs: int = 0
