"""Lowering an ONNX model to an older opset, and the check that a file really meets a profile.

torch's exporter knows opset 18 and newer only, whatever is asked for; compilers on boards are often older.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnx.defs
import onnx.inliner

from ...config.target import Target
from ...core.errors import ModelError
from .index import Index, attributes, drop_attributes, shapes
from .passes import constants_to_initializers, drop_unused_initializers, strip_metadata

#: torch's exporter writes 18 whenever something older is asked for
OLDEST_OF_TORCH = 18
#: brought Gelu as one op, which runtimes run as one kernel
PREFERRED = 20
#: brought QuantizeLinear to 16 bits
SIXTEEN_BITS = 21
#: ops outside the standard that are written where a format needs them
OWN_OPS = (("com.microsoft", "MatMulNBits"),)
#: per-channel QuantizeLinear and DequantizeLinear appeared here
LOWEST_OPSET = 13


def opset_of(model: onnx.ModelProto) -> int:
    version: int = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    return version


def asked_opset(target: Target) -> int:
    """The opset to ask torch for: the preferred one as far as the profile allows and torch can write it."""
    activations = target.scheme.activations
    preferred = SIXTEEN_BITS if activations.kind == "int" and activations.bits > 8 else PREFERRED
    low, high = target.opset or (preferred, preferred)
    return max(low, OLDEST_OF_TORCH, min(high, preferred))


def lower(model: onnx.ModelProto, opset: int) -> None:
    """Rewrite `model` in place for `opset` (13..17); raises `ModelError` naming an op that has no older form."""
    if opset < LOWEST_OPSET:
        raise ModelError(
            f"opset {opset} has no per-channel QuantizeLinear; {LOWEST_OPSET} is the lowest that can hold this model",
            remedy="choose a target whose profile allows a newer opset",
        )

    newer = sorted({n.op_type for n in model.graph.node if not onnx.defs.has(n.op_type, opset, "")})
    for op in newer:
        if not onnx.defs.get_schema(op, opset_of(model), "").has_function and not _has_context_function(model, op):
            raise ModelError(
                f"the op {op} does not exist in opset {opset}",
                where=next(n.output[0] for n in model.graph.node if n.op_type == op),
                remedy="replace the layer that makes it, or choose a target that allows a newer opset",
            )

    if newer:
        _inline(model, newer)

    known, index = shapes(model), Index(model)
    for node in model.graph.node:
        for since, ops, rule in _RULES:
            if opset < since and node.op_type in ops:
                rule(index, node, known)

    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = opset

    drop_unused_initializers(model)


def _inline(model: onnx.ModelProto, ops: list[str]) -> None:
    """Write ops out as the older ops that the standard defines them by."""
    typed = onnx.shape_inference.infer_shapes(model)
    for tensor in model.graph.initializer:  # some of those definitions depend on the types of their inputs
        typed.graph.value_info.append(
            onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        )

    names = [("", op) for op in ops]
    model.CopyFrom(onnx.inliner.inline_selected_functions(typed, names, inline_schema_functions=True))
    strip_metadata(model)
    constants_to_initializers(model)


def _has_context_function(model: onnx.ModelProto, op: str) -> bool:
    depends: bool = onnx.defs.get_schema(op, opset_of(model), "").has_context_dependent_function
    return depends


def _no_older_form(node: onnx.NodeProto, what: str) -> ModelError:
    return ModelError(
        f"{node.op_type} {what}, which older opsets cannot say",
        where=node.output[0],
        remedy="replace the layer that makes it, or choose a target that allows a newer opset",
    )


def _reduce(index: Index, node: onnx.NodeProto, known: dict[str, Any]) -> None:
    """Axes move from an input to an attribute."""
    if len(node.input) > 1 and node.input[1]:
        axes = index.value(node.input[1])
        if axes is None:
            raise _no_older_form(node, "has computed axes")
        node.attribute.append(onnx.helper.make_attribute("axes", [int(a) for a in axes]))
    elif attributes(node).get("noop_with_empty_axes"):
        raise _no_older_form(node, "without axes does nothing")

    del node.input[1:]
    drop_attributes(node, "noop_with_empty_axes")


def _split(index: Index, node: onnx.NodeProto, known: dict[str, Any]) -> None:
    """`num_outputs` becomes the sizes themselves."""
    parts = attributes(node).get("num_outputs")
    if parts is None:
        return

    shape, axis = known.get(node.input[0]), attributes(node).get("axis", 0)
    size = shape[axis] if shape else None
    if size is None:
        raise _no_older_form(node, "cuts a dynamic dimension")

    chunk = -(-size // parts)
    sizes = [chunk] * (parts - 1) + [size - chunk * (parts - 1)]
    del node.input[1:]
    node.input.append(index.constant(f"{node.output[0]}_sizes", np.array(sizes, np.int64)))
    drop_attributes(node, "num_outputs")


def _pad(index: Index, node: onnx.NodeProto, known: dict[str, Any]) -> None:
    """Pads of named axes become pads of all axes."""
    if len(node.input) < 4:
        return

    axes, pads, shape = index.value(node.input[3]), index.value(node.input[1]), known.get(node.input[0])
    if axes is None or pads is None or shape is None:
        raise _no_older_form(node, "has computed axes")

    rank = len(shape)
    full = np.zeros(2 * rank, np.int64)
    for k, axis in enumerate(axes):
        full[int(axis) % rank], full[int(axis) % rank + rank] = pads[k], pads[k + len(axes)]

    node.input[1] = index.constant(f"{node.output[0]}_all_pads", full)
    del node.input[3:]


def _resize(index: Index, node: onnx.NodeProto, known: dict[str, Any]) -> None:
    """Newer options are dropped where they say what was the only way before."""
    have = attributes(node)
    if have.get("antialias") or "axes" in have or have.get("keep_aspect_ratio_policy", b"stretch") != b"stretch":
        raise _no_older_form(node, "uses antialias, axes or an aspect-ratio policy")
    drop_attributes(node, "antialias", "keep_aspect_ratio_policy")


def _reshape(index: Index, node: onnx.NodeProto, known: dict[str, Any]) -> None:
    shape = index.value(node.input[1])
    if attributes(node).get("allowzero") and (shape is None or (shape == 0).any()):
        raise _no_older_form(node, "allows a dimension of zero")
    drop_attributes(node, "allowzero")


def _shape(index: Index, node: onnx.NodeProto, known: dict[str, Any]) -> None:
    have = attributes(node)
    if have.get("start", 0) or "end" in have:
        raise _no_older_form(node, "takes a part of the shape")
    drop_attributes(node, "start")


_REDUCE = tuple(
    f"Reduce{kind}" for kind in ["Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare"]
)
#: (opset that brought the new form, ops, how to write the old one)
_RULES: tuple[tuple[int, tuple[str, ...], Callable[[Index, onnx.NodeProto, dict[str, Any]], None]], ...] = (
    (18, _REDUCE, _reduce),
    (18, ("Split",), _split),
    (18, ("Pad",), _pad),
    (18, ("Resize",), _resize),
    (15, ("Shape",), _shape),
    (14, ("Reshape",), _reshape),
)


def finish(model: onnx.ModelProto, target: Target) -> dict[str, Any]:
    """Bring `model` within the profile, check it in full, and say what was emitted.

    Returns `{"opset", "ir_version", "ops"}`. Raises `ModelError` with what was emitted and the limit when the profile
    cannot be met, or when the file is not valid ONNX.
    """
    low, high = target.opset or (LOWEST_OPSET, opset_of(model))
    if opset_of(model) > high:
        lower(model, high)

    least_ir = onnx.helper.find_min_ir_version_for(list(model.opset_import), True)
    # The oldest IR that may hold this opset: nothing newer is used, and older readers take the file.
    model.ir_version = least_ir
    emitted = opset_of(model)
    if not low <= emitted <= high:
        raise ModelError(f"opset {emitted} was emitted and {target.name} allows {low} to {high}", where=target.name)

    if target.ir_version is not None and model.ir_version > target.ir_version:
        raise ModelError(
            f"opset {emitted} needs ONNX IR {model.ir_version} and {target.name} allows at most {target.ir_version}",
            where=target.name,
            remedy="lower the profile's opset range so that an older IR can hold it",
        )

    foreign = sorted({n.domain for n in model.graph.node if (n.domain, n.op_type) not in OWN_OPS} - {""})
    if foreign:
        raise ModelError(f"ops outside the standard were emitted, of {', '.join(foreign)}", where=target.name)

    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"the emitted ONNX is not valid in opset {emitted}: {reason}", where=target.name) from error

    return {
        "opset": emitted,
        "ir_version": int(model.ir_version),
        "ops": dict(sorted(Counter(n.op_type for n in model.graph.node).items())),
    }
