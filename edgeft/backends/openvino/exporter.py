"""A quantized or float graph -> OpenVINO IR (.xml + .bin), through the ONNX file that ONNX Runtime gets too.

Going through ONNX is deliberate: converting torch's exported program directly makes every dimension dynamic.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...config import numeric
from ...core import files
from ...core.errors import ModelError
from ...core.quiet import quiet
from ..artifact import IN_GROUPS, Artifact, ExportRequest, conversion_failed
from ..onnxruntime.exporter import translate
from ..onnxruntime.groups import store_in_groups
from ..onnxruntime.narrow_floats import store_as_float16
from . import BACKEND
from .session import module as openvino_module

if TYPE_CHECKING:
    import onnx

FILE, WEIGHTS = "model.xml", "model.bin"
#: the IR format that OpenVINO 2022.1 introduced and every version since reads
IR_VERSION = 11


def export(request: ExportRequest, folder: Path) -> Artifact:
    """Write `folder/model.xml` and `.bin`; float weights stay float32 (OpenVINO would store float16 unless told).

    A dynamic batch is fixed at 1, but any other can be set in OpenVINO by `Model.reshape`. Raises `ModelError` when a
    step fails or a weight did not keep its type.
    """
    from ..onnxruntime import passes, shared_weights
    from . import onnx_passes

    model = translate(request)
    if request.kind == "quantized":
        passes.mean_to_global_pool(model)
        passes.pad_in_integers(model)
        passes.pad_average_pool_in_integers(model)
        onnx_passes.constants_in_float(model)
        onnx_passes.reductions_with_reshape(model)
        if BACKEND.form(request.target.form).activation_storage == "uint8":
            passes.unsigned_activations(model)
        onnx_passes.weights_without_zero_point(model)
        shared_weights.integers_for_each_scale(model)
        passes.drop_dead_nodes(model)
        passes.drop_unused_initializers(model)
        store_in_groups(model, getattr(request.module, "meta", {}).get(IN_GROUPS, {}))
        if "float16" in request.weight_dtypes:
            store_as_float16(model)

    return _write(model, request.inputs, request.outputs, Path(folder))


def _write(model: onnx.ModelProto, inputs: Sequence[str], outputs: Sequence[str], folder: Path) -> Artifact:
    ov = openvino_module()  # without its telemetry
    narrow = (*numeric.STORED_WEIGHTS, *numeric.STORED_FLOATS)
    expected = Counter(
        (dtype, tuple(i.dims)) for i in model.graph.initializer if len(i.dims) > 1 and (dtype := _dtype(i)) in narrow
    )
    error: BaseException | None = None

    with quiet() as printed, tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "model.onnx"
        source.write_bytes(model.SerializeToString(deterministic=True))
        try:
            graph = ov.Core().read_model(source)
        except RuntimeError as caught:
            error = caught

    if error is not None:
        raise conversion_failed("OpenVINO", error, printed) from error

    _number_names(graph)
    for ports, names in ((graph.inputs, inputs), (graph.outputs, outputs)):
        if len(ports) != len(names):
            raise ModelError(f"OpenVINO sees {len(ports)} inputs or outputs where {list(names)} were expected")
        for port, name in zip(ports, names):
            port.get_tensor().set_names({name})

    _fix_batch(graph)
    _constants_by_themselves(graph)
    emitted = _emitted(graph)
    stored = Counter(
        (str(op.get_element_type().to_dtype()), tuple(op.output(0).get_shape()))
        for op in graph.get_ops()
        if op.get_type_name() == "Constant"
    )
    if lost := expected - stored:
        raise ModelError(f"OpenVINO did not keep the types of weights: {', '.join(map(str, sorted(lost)))}")

    with tempfile.TemporaryDirectory(dir=folder) as staging:
        ov.serialize(graph, Path(staging) / FILE, Path(staging) / WEIGHTS)
        text = _without_rt_info((Path(staging) / FILE).read_text())
        with files.system_errors(folder):
            os.replace(Path(staging) / WEIGHTS, folder / WEIGHTS)

    version = re.search(r'<net name="[^"]*" version="(\d+)"', text)
    emitted["ir_version"] = int(version[1]) if version else 0

    if emitted["ir_version"] != IR_VERSION:
        raise ModelError(f"OpenVINO wrote IR {emitted['ir_version']}; the readers of boards expect {IR_VERSION}")

    files.write_text(folder / FILE, text)
    return Artifact(FILE, (FILE, WEIGHTS), emitted)


def _dtype(initializer: onnx.TensorProto) -> str:
    import onnx

    return str(onnx.helper.tensor_dtype_to_np_dtype(initializer.data_type))


def _constants_by_themselves(graph: Any) -> None:
    """Constants in groups keep a shape of their own. `Model.reshape` makes the shape of what a product reads follow the
    other factor (ReshapeBMatMul), so that every weight would depend on the input."""
    from openvino import opset13 as opset

    constant: dict[str, bool] = {}
    for node in graph.get_ordered_ops():
        sources = [port.get_source_output().get_node().get_name() for port in node.inputs()]
        kind, known = node.get_type_name(), [constant[source] for source in sources]
        shape = node.get_output_partial_shape(0) if node.get_output_size() else None
        if kind == "Reshape" and known == [True, False] and shape is not None and shape.is_static:
            sizes = opset.constant(np.array(shape.to_shape(), np.int64))
            # its own name would hold a number that counts on from one export to the next
            sizes.set_friendly_name(f"{node.get_friendly_name()}_sizes")
            node.input(1).replace_source_output(sizes.output(0))
            known = [True, True]
        constant[node.get_name()] = kind == "Constant" or (bool(known) and all(known))


def _fix_batch(graph: Any) -> None:
    """Fix a dynamic batch at 1: the plugin then plans its memory and kernels once (8 to 12 % on small networks).

    The graph itself stays independent of the batch, so `Model.reshape` gives any other.
    """
    shapes = {port: port.get_partial_shape() for port in graph.inputs}
    free = {port: shape for port, shape in shapes.items() if len(shape) and shape[0].is_dynamic}
    for shape in free.values():
        shape[0] = 1

    if free:
        graph.reshape(free)


def _number_names(graph: Any) -> None:
    """Names that OpenVINO made up carry a counter of the process; count them per model instead."""
    graph.set_friendly_name("model")
    ops = graph.get_ordered_ops()
    used_names, numbers = {op.get_friendly_name() for op in ops}, Counter[str]()

    for op in ops:
        kind = op.get_type_name()
        if re.fullmatch(rf"{kind}_\d+", op.get_friendly_name()):
            numbers[kind] += 1
            name = f"{kind}.{numbers[kind]}"
            op.set_friendly_name(name if name not in used_names else f"{name}_")


def _without_rt_info(xml: str) -> str:
    """Drop the model's own rt_info (conversion parameters, versions, paths): same graph, same bytes."""
    start, end = xml.find("\n\t<rt_info>"), xml.find("\n\t</rt_info>")  # a layer's own stands deeper
    return xml if start < 0 or end < start else xml[:start] + xml[end + len("\n\t</rt_info>") :]


def _emitted(graph: Any) -> dict[str, Any]:
    kinds = [op.get_type_info() for op in graph.get_ordered_ops()]
    numbers = [int(k.version_id.removeprefix("opset")) for k in kinds if k.version_id.startswith("opset")]
    return {"opset": max(numbers, default=0), "ops": dict(sorted(Counter(k.name for k in kinds).items()))}
