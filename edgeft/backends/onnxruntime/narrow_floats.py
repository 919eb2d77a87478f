"""Constants of an ONNX file as float16: stored in half the bytes, and cast to float32 where they are used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .. import WeightTensor
from . import wire

if TYPE_CHECKING:
    import onnx


def store_as_float16(model: onnx.ModelProto) -> int:
    """Store every float32 constant of two axes or more as float16 behind a Cast where no value of it changes.

    Returns how many there were. ONNX Runtime, OpenVINO and TensorRT fold the Cast when they load the file.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for initializer in list(model.graph.initializer):
        if initializer.data_type != TensorProto.FLOAT or len(initializer.dims) < 2:
            continue

        values = numpy_helper.to_array(initializer)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)

        if values.size < 2 or not np.array_equal(half.astype(np.float32), values):
            continue

        name = initializer.name
        initializer.CopyFrom(numpy_helper.from_array(half, f"{name}_float16"))
        casts.append(helper.make_node("Cast", [f"{name}_float16"], [name], name=f"{name}_cast", to=TensorProto.FLOAT))

    for k, node in enumerate(casts):
        model.graph.node.insert(k, node)

    return len(casts)


def narrow_weights(
    model: wire.OnnxModel, constants: dict[str, wire.OnnxTensor], dtypes: tuple[str, ...]
) -> Iterator[WeightTensor]:
    """Every constant of one of `dtypes` with more than one element that a Cast takes; its scale is 1."""
    for node in model.nodes():
        tensor = constants.get(node.inputs[0]) if node.op == "Cast" and node.inputs else None
        if tensor is None or tensor.dtype not in dtypes:
            continue
        data = model.array(tensor)
        if data.size > 1:
            yield WeightTensor(tensor.name, data, np.ones(1, np.float32))
