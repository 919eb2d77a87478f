"""What an exporter is asked for and hands back, and the small pieces that all exporters share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ..config.numeric import Numeric
from ..config.target import Target
from ..core.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True)
class Artifact:
    """One exported model inside the staging folder.

    `file` is the name that a runtime opens, `files` every name written (both relative to the folder). `emitted` says
    what the file really needs: `ops` {op: count} and, per format, `opset` and `ir_version` (ONNX, OpenVINO) or
    `op_versions` {op: version} (TFLite).
    """

    file: str
    files: tuple[str, ...]
    emitted: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportRequest:
    """What an exporter is asked to write: `export(request, folder)` of every `backends/<runtime>/exporter.py`.

    `kind` says what `module` is: "quantized", lowered, with explicit quantize and dequantize; "float", the float32
    baseline with BatchNorm folded; "fixed", float32 too, whose inputs keep the sizes of `example` on every axis, since
    axis 0 means nothing (a training step). `example` holds one tensor an input, batch first. With `dynamic_batch` axis
    0 of every input may have any length, unless the target asks for static shapes; else the batch is 1. `weight_dtypes`
    are the types that quantized weights are to be stored in.
    """

    module: torch.nn.Module
    example: tuple[torch.Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    target: Target
    dynamic_batch: bool
    kind: Literal["quantized", "float", "fixed"] = "quantized"
    weight_dtypes: tuple[str, ...] = ()

    @property
    def dynamic(self) -> bool:
        """Whether the artifact itself gets a batch of any length."""
        return self.dynamic_batch and not self.target.static_shapes and self.kind != "fixed"


#: key of a lowered module's `meta`: its weights in groups by the names of the constants that have their float values
IN_GROUPS = "weights_in_groups"


@dataclass(frozen=True)
class WeightInGroups:
    """A weight of a linear layer in torch's layout: `integers` int8 (rows, columns), `scale` float32 (rows * groups,),
    row by row, and their format, whose `group` values of a row share a scale."""

    integers: np.ndarray
    scale: np.ndarray
    numeric: Numeric


def batch_of(example: Sequence[torch.Tensor], size: int) -> tuple[torch.Tensor, ...]:
    """The example inputs with exactly `size` samples along axis 0 (repeated or cut); scalars stay as they are."""
    out = []
    for tensor in example:
        if tensor.dim():
            times = -(-size // max(1, tensor.shape[0]))
            tensor = tensor.repeat(times, *[1] * (tensor.dim() - 1))[:size].contiguous()
        out.append(tensor)

    return tuple(out)


#: how the three converters name a node, and failing that an op
_NODE = re.compile(r"%(\w+)\s*:\s*\[.*?\]\s*=\s*call_\w+\[target=([\w.]+)\]")
_OP = re.compile(r"\b(?:torch\.ops\.)?((?:aten|prims|quantized_decomposed|torchvision)(?:\.|::)[A-Za-z_]\w*(?:\.\w+)?)")


def conversion_failed(converter: str, error: BaseException, printed: Sequence[str] = ()) -> ModelError:
    """A `ModelError` that names the op and the tensor which `converter` gave up on, in one line."""
    text = "\n".join([str(error), *printed])
    if node := _NODE.search(text):
        place, op = node[1], node[2].removeprefix("torch.ops.")
    elif match := _OP.search(text):
        place, op = "", match[1].replace("::", ".")
    else:
        place, op = "", ""

    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    noise = ("Failed to", "⬆", "<class", "-", "#", "*")
    reason = next((line for line in lines if not line.startswith(noise)), next(iter(lines), type(error).__name__))
    what = f"{converter} cannot convert the op {op}" if op else f"{converter} cannot convert this model"

    return ModelError(
        f"{what}: {reason[:300]}",
        where=f"tensor {place}" if place else "",
        remedy='keep the layer that holds it in float (quantize.keep_float = ["<layer pattern>"]), or rewrite it with '
        "ops that the runtime has",
    )
