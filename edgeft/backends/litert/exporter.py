"""A quantized or float graph -> one .tflite file by litert-torch: int8 throughout, int8 in and out."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...config import numeric
from ...config.target import Target
from ...core import files
from ...core.errors import ModelError, need
from ...core.quiet import quiet
from ..artifact import Artifact, ExportRequest, batch_of, conversion_failed
from . import barriers, channels_last, weights_alone
from .narrow_floats import store_as_float16
from .padded_strides import kept_apart as kept_apart_from_pads
from .wide_biases import in_64_bits

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import fx

FILE = "model.tflite"
#: module and name under which the converter knows the module that it is given
POSITIONAL = ("edgeft.export.litert", "_convert.<locals>.Positional")


def export(request: ExportRequest, folder: Path) -> Artifact:
    """Write `folder/model.tflite`; the module's weights are float tensors, in a quantized one followed by Q/DQ.

    The batch is always 1: TFLite plans its memory once. Inputs keep the layout and the order of `example`; names are
    not kept by the format, positions are. Raises `ModelError` when an op cannot be converted, when an op version is
    above the profile's, or when a weight's integers are not in the file (the converter drops Q/DQ pairs that it
    cannot fuse and then stores the unquantized weight without a word).
    """
    with quiet():
        need("litert_torch", "litert")

    example = request.example if request.kind == "fixed" else batch_of(request.example, 1)
    if request.kind == "quantized" and "float16" in request.weight_dtypes:
        content = store_as_float16(_with_constants(request.module, example))
    elif request.kind == "quantized" and not request.target.scheme.is_integer:
        module, weights = weights_alone.in_float(request.module)
        content = weights_alone.store_as_integers(_with_constants(module, example), weights)
    elif request.kind == "quantized":
        content = _quantized(request, example)
    else:
        content = _convert(request.module, example, None)

    return _write(content, request.inputs, request.outputs, folder, request.target)


def _quantized(request: ExportRequest, example: tuple[torch.Tensor, ...]) -> bytes:
    import torch

    from .float_concats import as_sums
    from .requantized import kept_apart

    wide = request.target.scheme.activations.bits > 8
    with quiet():
        from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
        from litert_torch.quantize.quant_config import QuantConfig

    static = PT2EQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    weights = integer_weights(request.module, request.example)
    with _on_grid(request.module, weights):
        module, config = kept_apart(as_sums(request.module, example)), QuantConfig(pt2e_quantizer=static)
        apart = barriers.before_float_ops(module) if wide else barriers.behind_softmaxes(module)
        if apart is None:
            content = _convert(module, example, config)
        else:
            content = barriers.taken_out(_convert(apart, (*example, torch.zeros(1)), config))

    _check_integers(weights, content)
    content = kept_apart_from_pads(content, request.target.lowering.most_padded_stride)
    return in_64_bits(content) if wide else content


def _with_constants(module: fx.GraphModule, example: tuple[torch.Tensor, ...]) -> bytes:
    """The file of a module whose weights are float constants, each of them in it as the module has it.

    Layers whose weights the converter changes are converted again, kept apart from their neighbours.
    """
    import torch

    constants = barriers.constants_of_layers(module)
    content = _convert(module, example, None)
    if changed := barriers.absent(content, constants):
        apart = _convert(barriers.around(module, changed), (*example, torch.zeros(1)), None)
        content = barriers.taken_out(apart)
        changed = barriers.absent(content, constants)

    if changed:
        raise ModelError(
            "the converter changed this weight, so that it cannot be stored as the graph has it",
            where=f"weight {changed[0]}",
            remedy='keep the layer that holds it in float (quantize.keep_float = ["<layer pattern>"])',
        )

    return content


def _convert(module: torch.nn.Module, example: tuple[torch.Tensor, ...], config: Any) -> bytes:
    import litert_torch
    import torch

    from .expansions import as_constants
    from .grid_samples import as_gathers
    from .one_hot import as_choices
    from .pads import with_batch

    channels_last.complete()
    module = as_gathers(as_choices(as_constants(with_batch(module, example), example)))

    class Positional(torch.nn.Module):
        """A graph module's own signature does not survive the converter's retracing; plain arguments do."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *inputs: torch.Tensor) -> Any:
            return self.inner(*inputs)

    # the converter writes the class's full name into tensors' names: fixed, so that no move of this code changes a file
    Positional.__module__, Positional.__qualname__ = POSITIONAL
    wrapped = Positional()
    wrapped.training = False  # eval() would recurse into a captured graph, which refuses it
    error: BaseException | None = None

    with quiet() as printed, tempfile.TemporaryDirectory() as temporary:
        try:
            edge = litert_torch.convert(wrapped, example, quant_config=config)
            edge.export(str(Path(temporary) / FILE))
            content = (Path(temporary) / FILE).read_bytes()
        except Exception as caught:  # passes of the converter raise many unrelated types
            error = caught

    if error is not None:
        raise conversion_failed("litert-torch", error, printed) from error

    return content


def _write(
    content: bytes, input_names: Sequence[str], output_names: Sequence[str], folder: Path, target: Target
) -> Artifact:
    emitted = describe(content)
    for kind, names in (("inputs", input_names), ("outputs", output_names)):
        if emitted.pop(kind) != len(names):
            raise ModelError(f"the TFLite file has another number of {kind} than {list(names)}")

    limit = target.op_versions
    for op, version in emitted["op_versions"].items():
        highest = limit.get(op, limit.get("*"))
        if highest is not None and version > highest:
            raise ModelError(
                f"{op} was emitted in version {version} and {target.name} supports at most {highest}",
                where=target.name,
                remedy="update the runtime on the board and its profile, or replace the layer that makes this op",
            )

    files.write_bytes(Path(folder) / FILE, content)
    return Artifact(FILE, (FILE,), emitted)


def describe(content: bytes) -> dict[str, Any]:
    """`{"op_versions": {op: highest version}, "ops": {op: count}, "inputs": n, "outputs": n}` of a TFLite file."""
    schema = need("ai_edge_litert.schema_py_generated", "litert")
    model = schema.Model.GetRootAs(content, 0)
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    kinds = [names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())] for code in codes]
    versions: dict[str, int] = {}
    for kind, code in zip(kinds, codes):
        versions[kind] = max(versions.get(kind, 1), code.Version())

    main = model.Subgraphs(0)
    ops: Counter[str] = Counter()
    for k in range(model.SubgraphsLength()):
        graph = model.Subgraphs(k)
        ops.update(kinds[graph.Operators(i).OpcodeIndex()] for i in range(graph.OperatorsLength()))

    return {
        "op_versions": dict(sorted(versions.items())),
        "ops": dict(sorted(ops.items())),
        "inputs": main.InputsLength(),
        "outputs": main.OutputsLength(),
    }


def _check_integers(weights: dict[str, Quantized], content: bytes) -> None:
    """Every quantized weight of the graph must be in the file, value for value (in the file's own layout)."""
    kinds = [dtype.upper() for dtype in numeric.STORED_WEIGHTS]
    stored = Counter(_fingerprint(values) for kind in kinds for _, values in _constants(content, kind))
    for name, weight in weights.items():
        if not stored[_fingerprint(weight.integers.numpy())]:
            raise ModelError(
                "the converter stored this quantized weight as float",
                where=f"weight {name}",
                remedy="quantize the output of the layer that holds it, or keep the layer in float "
                '(quantize.keep_float = ["<layer pattern>"]); transposed convolutions always stay float here',
            )

    for name, values in _constants(content, "INT32"):
        if values.size > 1 and (values.max() == 2**31 - 1 or values.min() == -(2**31)):
            raise ModelError(
                "a bias does not fit int32 and was cut off: the weight scale of its channel is too small",
                where=f"tensor {name}",
                remedy="raise the scale of that nearly empty channel, or keep the layer float (quantize.keep_float)",
            )


def _fingerprint(values: np.ndarray) -> bytes:
    """The same for two layouts of the same integers."""
    import numpy as np

    integers, counts = np.unique(values, return_counts=True)
    return integers.astype(np.int64).tobytes() + counts.astype(np.int64).tobytes()


def _constants(content: bytes, kind: str) -> list[tuple[str, np.ndarray]]:
    """(name, flat values) of every stored tensor of a type such as "INT8", or of the quantized ones of type "INT32"."""
    import numpy as np

    schema = need("ai_edge_litert.schema_py_generated", "litert")
    model = schema.Model.GetRootAs(content, 0)
    type_code, dtype = getattr(schema.TensorType, kind), np.dtype(kind.lower())
    constants = []

    for k in range(model.SubgraphsLength()):
        graph = model.Subgraphs(k)
        for i in range(graph.TensorsLength()):
            tensor = graph.Tensors(i)
            buffer, grid = model.Buffers(tensor.Buffer()), tensor.Quantization()
            quantized = grid is not None and grid.ScaleLength() > 0
            if tensor.Type() == type_code and buffer.DataLength() and quantized:
                constants.append((tensor.Name().decode(errors="replace"), buffer.DataAsNumpy().view(dtype)))

    return constants


@dataclass(frozen=True)
class Quantized:
    """A weight as the graph quantizes it: its `integers` and the float32 `grid` values they stand for."""

    integers: torch.Tensor
    grid: torch.Tensor


def integer_weights(module: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> dict[str, Quantized]:
    """Every parameter or buffer of two axes or more that the graph quantizes, by its name, in torch's layout."""
    import torch

    program = torch.export.export(module, batch_of(example, 1), strict=False)
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    names.update(signature.inputs_to_lifted_tensor_constants)
    values = {**program.state_dict, **program.constants}

    def value(argument: Any) -> Any:
        if isinstance(argument, torch.fx.Node):
            return values[names[argument.name]].detach() if argument.name in names else None
        return argument

    weights = {}
    for node in program.graph.nodes:
        if node.op != "call_function" or "quantized_decomposed.dequantize_per_" not in str(node.target):
            continue

        quantize = node.args[0]
        if "quantized_decomposed.quantize_per_" not in str(getattr(quantize, "target", "")):
            continue

        source = value(quantize.args[0])
        if isinstance(source, torch.Tensor) and source.dim() > 1:
            integers = quantize.target(*[value(a) for a in quantize.args])
            grid = node.target(integers, *[value(a) for a in node.args[1:]])
            weights[names[quantize.args[0].name]] = Quantized(integers, grid)

    return weights


@contextlib.contextmanager
def _on_grid(module: torch.nn.Module, weights: dict[str, Quantized]) -> Iterator[None]:
    """Let the float weights be exactly what their integers stand for while the converter reads them.

    torch quantizes by multiplying with 1/scale and the converter by dividing: near a tie they round differently.
    """
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    saved = {name: tensors[name].data for name in weights if name in tensors}
    try:
        for name in saved:
            tensors[name].data = weights[name].grid
        yield
    finally:
        for name, data in saved.items():
            tensors[name].data = data
