"""Runtimes: one file each. A runtime loads an artifact and runs it; numpy and that runtime are all it imports.

    onnxruntime.py   .onnx            openvino.py   .xml + .bin            litert.py   .tflite

Each module offers the functions of `Runtime` below; `get(name)` finds it (built in, or the entry-point group
`edgeft.backends`).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..core.errors import UsageError, nearest

BUILTIN = ("onnxruntime", "openvino", "litert")


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
    than that of uint8), see `numeric.signed_zero_point`.
    """

    name: str
    scale: float
    zero_point: int


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


class Runtime(Protocol):
    NAME: str
    EXTRA: str
    SUFFIX: str

    def version(self) -> str:
        """The runtime's version, e.g. "1.32.0"; raises `Missing` with the pip command when it is not installed."""
        ...

    def load(self, path: Path, *, threads: int = 1, options: Mapping[str, Any] | None = None) -> Session: ...

    def options(self) -> dict[str, Any]:
        """The runtime options that verification sets and `run.py` repeats (recorded in the manifest)."""
        ...

    def exact_options(self) -> dict[str, Any]:
        """Options that replace some of `options` so that a model is computed as its graph says, on any CPU and slower:
        for a host whose integer kernels saturate, where a board's do not. Empty where kernels are always exact."""
        ...

    def knobs(self, threads: int) -> dict[str, tuple[Any, ...]]:
        """Options that may change the speed of `threads` threads and not what is computed, and the values to try."""
        ...

    def integer_weights(self, path: Path) -> list[WeightTensor]:
        """Every constant of quantized weights, read from the file itself without the converter's packages."""
        ...

    def activation_grids(self, path: Path) -> list[Grid]:
        """The grid of every quantized tensor that is no constant, read from the file like the weights."""
        ...

    def integer_share(
        self, path: Path, *, threads: int = 1, feeds: Mapping[str, np.ndarray] | None = None
    ) -> IntegerShare:
        """Measured from what the runtime really executes (its optimized graph), not from the file's Q/DQ nodes.

        Without `feeds` one batch of zeros is run, with 1 for every dynamic dimension.
        """
        ...

    def emitted(self, path: Path) -> dict[str, Any]:
        """What the exporter really wrote, read from the file: opset, IR or op versions, and `ops` {type: count}."""
        ...


def get(name: str) -> Runtime:
    """The runtime module called `name`; raises `UsageError` with the nearest known name."""
    if name in BUILTIN:
        return importlib.import_module(f".{name}.session", __package__)  # type: ignore[return-value]
    extra = {e.name: e for e in entry_points(group="edgeft.backends")}
    if name in extra:
        return extra[name].load()
    raise UsageError(f"unknown runtime {name!r}", remedy=nearest(name, (*BUILTIN, *extra)))
