"""A quantized or float graph -> one ONNX file for ONNX Runtime, or for TensorRT's parser (form "tensorrt")."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...config.target import Target
from ...core import files
from ...core.errors import ModelError, need
from ...core.quiet import quiet
from ..artifact import IN_GROUPS, Artifact, ExportRequest, batch_of, conversion_failed
from . import BACKEND
from .groups import store_in_groups
from .narrow_floats import store_as_float16

if TYPE_CHECKING:
    import onnx
    import torch

FILE = "model.onnx"
#: finished translations by what they were made from
_translated: dict[str, bytes] = {}
_KEPT = 2


def export(request: ExportRequest, folder: Path) -> Artifact:
    """Write `folder/model.onnx`; a quantized module has int8 buffers followed by dequantize as its weights.

    A dynamic batch is the dimension "batch". The form of the profile decides the integers: "integer" writes unsigned
    activations, "tensorrt" keeps signed ones and refuses a zero point that is not 0. Every QuantizeLinear and
    DequantizeLinear has its zero point written out. Raises `ModelError` when torch cannot translate an op or the
    profile's opset or IR cannot be met.
    """
    model = translate(request)
    if request.kind == "quantized":
        _finish_quantized(model, request.target)
        store_in_groups(model, getattr(request.module, "meta", {}).get(IN_GROUPS, {}))
        if "float16" in request.weight_dtypes:
            _apply(model, store_as_float16)

    return _write(model, folder, request.target)


def _finish_quantized(model: onnx.ModelProto, target: Target) -> None:
    from . import passes, shared_weights

    form = BACKEND.form(target.form)
    if form.symmetric_activations:
        _refuse_zero_points(model, target)
    elif target.scheme.format in BACKEND.float_kernels:
        # pairs of QuantizeLinear and DequantizeLinear around ops in float: nothing is gained by ops on integers
        _apply(model, passes.mean_to_global_pool, passes.average_pool_without_ceil, passes.drop_unused_initializers)
    else:
        _apply(model, passes.mean_to_global_pool, passes.pad_in_integers, passes.average_pool_without_ceil)
        _apply(model, passes.clip_in_integers, shared_weights.dequantize_for_each_layer)
        _apply(model, passes.integer_bias)
        if form.activation_storage == "uint8":
            _apply(model, passes.unsigned_activations)
        if target.lowering.node_units:
            from . import node_units

            _apply(model, node_units.between_units, node_units.fold_pads)

        _apply(model, passes.drop_unused_initializers)


def translate(request: ExportRequest) -> onnx.ModelProto:
    """torch's own translation, without names of the machine in it: signed Q/DQ, constants as initializers.

    The last two are kept, since ONNX Runtime and OpenVINO start from the same translation and torch takes long for it.
    """
    onnx = need("onnx", "onnx")
    need("onnxscript", "onnx")
    from .opset import asked_opset

    module, dynamic = request.module, request.dynamic
    names = (request.inputs, request.outputs)
    example = request.example if request.kind == "fixed" else batch_of(request.example, 2 if dynamic else 1)
    opset = asked_opset(request.target)

    if not hasattr(module, "graph"):
        return _translate(module, example, *names, dynamic=dynamic, opset=opset)

    key = _identity(module, example, (*request.inputs, *request.outputs, dynamic, opset))
    if key not in _translated:
        model = _translate(module, example, *names, dynamic=dynamic, opset=opset)
        _translated[key] = model.SerializeToString()
        while len(_translated) > _KEPT:
            del _translated[next(iter(_translated))]

    return onnx.ModelProto.FromString(_translated[key])


def _identity(module: Any, example: tuple[torch.Tensor, ...], rest: tuple[Any, ...]) -> str:
    """A digest of all that a translation depends on: the graph's code, every weight, shapes, names, opset."""
    from ...graph.nodes import attribute

    digest = hashlib.sha256(repr((rest, [(tuple(t.shape), str(t.dtype)) for t in example])).encode())
    digest.update(str(module.graph).encode())
    tensors = dict((*module.named_parameters(), *module.named_buffers()))

    for node in module.graph.nodes:
        if node.op == "get_attr" and node.target not in tensors:
            tensors[node.target] = attribute(module, node.target)

    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())

    return digest.hexdigest()


def _translate(
    module: torch.nn.Module,
    example: tuple[torch.Tensor, ...],
    input_names: Sequence[str],
    output_names: Sequence[str],
    *,
    dynamic: bool,
    opset: int,
) -> onnx.ModelProto:
    import torch

    from . import passes

    batch = torch.export.Dim("batch", min=1)
    shapes = tuple({0: batch} if tensor.dim() else {} for tensor in example) if dynamic else None
    error: BaseException | None = None

    with quiet() as printed:
        try:
            program = torch.onnx.export(
                module,
                example,
                None,
                dynamo=True,
                external_data=False,
                verbose=False,
                input_names=list(input_names),
                output_names=list(output_names),
                dynamic_shapes=shapes,
                opset_version=opset,
                optimize=True,
            )
            assert program is not None
            model = program.model_proto
        except Exception as caught:  # passes of the converter raise many unrelated types
            error = caught

    if error is not None:
        if (dynamic and "specializ" in str(error)) or "ConstraintViolation" in str(error):
            raise ModelError(
                "the model computes with its batch size, so the batch cannot be dynamic",
                remedy="export with static shapes (batch 1), or take the batch size from x.shape[0] in the model",
            ) from error
        raise conversion_failed("torch's ONNX exporter", error, printed) from error

    graph_outputs = [o.name for o in model.graph.output]
    if graph_outputs != list(output_names):
        raise ModelError(f"the ONNX file has the outputs {graph_outputs} where {list(output_names)} were expected")

    _apply(model, passes.inline_functions, passes.strip_metadata, passes.constants_to_initializers)
    _apply(model, passes.drop_unused_initializers)
    return model


def _apply(model: onnx.ModelProto, *passes: Callable[[onnx.ModelProto], int]) -> None:
    for rewrite in passes:
        rewrite(model)


def _refuse_zero_points(model: onnx.ModelProto, target: Target) -> None:
    """TensorRT takes signed int8 with zero point 0 and constant scales only."""
    from .index import Index

    index = Index(model)
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue

        zero = index.value(node.input[2]) if len(node.input) > 2 else None
        if index.value(node.input[1]) is None or (zero is not None and zero.any()):
            raise ModelError(
                f"{target.name} needs constant scales and zero points of 0",
                where=f"tensor {node.input[0]}",
                remedy="quantize with a symmetric scheme: [scheme] activation_symmetric = true in the target profile",
            )


def _write(model: onnx.ModelProto, folder: Path, target: Target) -> Artifact:
    from .opset import finish
    from .zero_points import explicit_zero_points

    explicit_zero_points(model)
    emitted = finish(model, target)
    files.write_bytes(Path(folder) / FILE, model.SerializeToString(deterministic=True))
    return Artifact(FILE, (FILE,), emitted)
