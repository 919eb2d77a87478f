"""The manifest's scheme against the artifacts: types, ranges and granularity of weights, and the grids of activations.

The scheme decides how outputs are compared (steps), which gates apply (formats of floats have no integer share) and
what pages call the model, so that another one must not pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ..backends import Grid, WeightTensor
from ..backends.flow import Flow, holding
from ..config import scheme
from ..config.numeric import Numeric
from ..config.scheme import Scheme
from ..core.errors import TargetError
from ..core.verdict import FAIL, PASS, Verdict
from .integer import Digests, matching

METRIC = "scheme"
#: what no artifact tells: which classes without weights may be quantized, and which input of an addition stays float
NOT_MEASURED = ("ops", "residual")
#: values from which on a network of 8-bit weights that all fit into 7 bits is none
_MANY = 100
#: grids from which on it is no coincidence that all ranges lie evenly around zero; those of a small perceptron may
_SEVERAL = 4
_CONVOLUTIONS = ("conv", "depthwise", "conv_transpose")


@dataclass(frozen=True)
class _Layer:
    """A layer that the manifest lists: its class, its output channels, and the stored tensors that hold its weights."""

    name: str
    linear: bool
    channels: int
    weights: tuple[WeightTensor, ...]


def scheme_as_stored(
    table: Mapping[str, Any],
    recorded: Digests,
    weights: Sequence[WeightTensor],
    grids: Sequence[Grid],
    flows: Mapping[str, Flow | None],
) -> Verdict:
    """The manifest's `scheme` contradicts neither itself nor what the artifacts store.

    `recorded` is the manifest's `integer_weights`; `weights` and `grids` are those of all graphs, `flows` the graphs by
    name. `NOT_MEASURED` are named in the reason.
    """
    base: dict[str, Any] = {"metric": METRIC, "n": len(weights) + len(grids)}
    try:
        record = read(table)
    except TargetError as error:
        return Verdict("integer", FAIL, f"the manifest's scheme is not valid: {error.message}", **base)

    looked_up = {weight.name for flow in flows.values() if flow for weight in _tables(flow)}
    layers = [
        _Layer(name, len(entry["shape"]) == 2, entry["shape"][0] if entry["shape"] else 1, held)
        for name, entry in recorded.items()
        if (held := tuple(weights[k] for k in matching({name: entry}, weights)[name]))
    ]
    multiplied = [replace(layer, weights=_without(layer.weights, looked_up)) for layer in layers]
    complaints = [
        *_types(record, layers),
        *_ranges(record, multiplied),
        *_granularity(record, multiplied),
        *_classes(record, multiplied),
        *_activations(record.activations, grids, any(layer.weights for layer in multiplied)),
        *_embeddings(record, looked_up),
    ]

    if complaints:
        more = f" ({len(complaints) - 1} more)" if len(complaints) > 1 else ""
        why = f"the manifest's scheme is {record.name!r}, but {complaints[0]}{more}"
        return Verdict("integer", FAIL, why, **base)

    why = f"{len(weights)} weights and {len(grids)} grids of activations are those of the scheme {record.name!r}; "
    why += f"recorded, not measured: {', '.join(NOT_MEASURED)}"
    return Verdict("integer", PASS, why, **base)


def read(table: Mapping[str, Any]) -> Scheme:
    """The scheme of a manifest's table; keys that a later version may add are left out.

    Raises `TargetError` for a value that is none of a scheme, and where a key contradicts the others.
    """
    known = {*(field.name for field in fields(scheme.SchemeTable)), *Scheme().as_dict()}
    return scheme.from_table({key: value for key, value in table.items() if key in known}, "manifest.json")


def _tables(flow: Flow) -> Iterator[WeightTensor]:
    """The quantized weights that are looked up row by row and multiply nothing."""
    stored, live = dict(flow.weights), flow.live()
    held = holding(flow, stored)
    products = frozenset().union(*(keys for k, keys in held.items() if live[k].products))
    for k, keys in held.items():
        if live[k].looks_up:
            yield from (stored[key] for key in keys - products)


def _without(weights: Sequence[WeightTensor], names: set[str]) -> tuple[WeightTensor, ...]:
    return tuple(weight for weight in weights if weight.name not in names)


def _types(record: Scheme, layers: Sequence[_Layer]) -> Iterator[str]:
    expected = {numeric.dtype for numeric in (*record.weights.values(), *([record.tables] if record.tables else []))}
    for layer in layers:
        if (dtype := layer.weights[0].data.dtype.name) not in expected:
            yield f"the weights {layer.name!r} are stored as {dtype}, not {' or '.join(sorted(expected))}"


def _ranges(record: Scheme, layers: Sequence[_Layer]) -> Iterator[str]:
    """Integers beyond the scheme's range; and 8 bits of which 7 would do in every layer, which is another scheme."""
    if record.widest.kind != "int":
        return

    largest = count = 0
    for layer in layers:
        numeric = record.weights["linear" if layer.linear else "conv"]
        for weight in layer.weights:
            part = _part(weight, layer.channels, numeric)
            # rows that do not part into groups have the integers of other layers
            undivided = numeric.granularity == "group" and part != "group"
            low, high = (record.weights["conv"] if undivided else numeric).range
            least, most = int(weight.data.min()), int(weight.data.max())
            if part == "row":
                largest, count = max(largest, most, -least), count + weight.data.size
            if least < low or most > high:
                yield f"the weights {layer.name!r} reach from {least} to {most}, beyond {low} to {high}"

    bits = record.widest.bits
    if bits == 8 and count >= _MANY and largest < 2 ** (bits - 2):
        yield f"all {count} weights lie within {largest} of zero, as those of {bits - 1} bits do"


def _part(weight: WeightTensor, channels: int, numeric: Numeric) -> str:
    """Whether a scale is of a "group" of a row or of a "row" (or a tensor); "either" where a row is one group."""
    row = weight.data.size // max(channels, 1)
    if numeric.granularity != "group" or row % numeric.group or weight.scale.size != weight.data.size // numeric.group:
        return "row"
    return "either" if row == numeric.group else "group"


def _granularity(record: Scheme, layers: Sequence[_Layer]) -> Iterator[str]:
    """One scale a tensor where the scheme has one a channel, or the other way round."""
    if record.widest.kind != "int":
        return
    for layer in layers:
        classes = ("linear",) if layer.linear else _CONVOLUTIONS
        shared = [op in record.per_tensor for op in classes]
        for weight in layer.weights if layer.channels > 1 else ():
            if all(shared) and weight.scale.size > 1:
                yield f"the weights {layer.name!r} have {weight.scale.size} scales, not one"
            if not any(shared) and weight.scale.size == 1:
                yield f"the weights {layer.name!r} have one scale, not one a channel"


def _classes(record: Scheme, layers: Sequence[_Layer]) -> Iterator[str]:
    """Quantized layers of a class that the scheme leaves in float."""
    for layer in layers:
        classes = ("linear", "matmul") if layer.linear else _CONVOLUTIONS
        if layer.weights and not any(op in record.ops for op in classes):
            yield f"the weights {layer.name!r} are quantized, and its ops do not list {classes[0]!r}"


def _activations(numeric: Numeric, grids: Sequence[Grid], multiplies: bool) -> Iterator[str]:
    """Grids of another number format. A graph may have none where it `multiplies` no integers: of tables alone."""
    if numeric.kind == "float":
        if grids:
            yield f"the activation {grids[0].name!r} has a scale, not {numeric.dtype} values"
        return

    if multiplies and not grids:
        yield f"no activation is quantized, not to {numeric.dtype}"

    for grid in grids:
        if grid.bits and grid.bits != np.dtype(numeric.dtype).itemsize * 8:
            yield f"the activation {grid.name!r} has {grid.bits} bits, not {numeric.dtype}"
        if numeric.symmetric and grid.zero_point:
            yield f"the activation {grid.name!r} has zero point {grid.zero_point}, not 0"

    if len(grids) >= _SEVERAL and not numeric.symmetric and not any(grid.zero_point for grid in grids):
        yield f"all {len(grids)} activations have zero point 0, as those of a symmetric scheme do"


def _embeddings(record: Scheme, looked_up: set[str]) -> Iterator[str]:
    if looked_up and record.tables is None:
        yield f"the table {min(looked_up)!r} is quantized, not {record.embeddings}"
