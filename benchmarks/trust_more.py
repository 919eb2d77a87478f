"""More sabotage: what a manifest says of the model's numbers, other parts of the same shapes, and files that runtimes read.

Functions of `KINDS` are as those of trust_attacks.py.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from trust_attacks import Attack, manifest, model_of, seal


def other_resizing(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    table["preprocess"]["resize"] = "nearest"
    table["preprocess"]["size"] = [24, 24]
    seal(bundle, table)


def channels_last(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    table["preprocess"]["layout"] = "NHWC"
    seal(bundle, table)


def wide_rounding(bundle: Path, rng: np.random.Generator) -> None:
    """What quantization may move an output by is recorded: parity would take everything."""
    table = manifest(bundle)
    for output in table["graphs"][0]["outputs"]:
        output["rounding"] = [0.0, float(rng.uniform(100, 1e6))]
        output["step"] = output["scale"] * 50 if output.get("scale") else 1.0
    seal(bundle, table)
    _noisy_bias(bundle, rng)


def _noisy_bias(bundle: Path, rng: np.random.Generator) -> None:
    """Where the artifact's bytes can be found again: its last int32 vector of as many numbers as there are classes."""
    path = model_of(bundle, weights=True)
    data = bytearray(path.read_bytes())
    at = len(data) - int(rng.integers(len(data) // 50, len(data) // 4))
    data[at] ^= 1
    path.write_bytes(data)
    seal(bundle)


def metric_turned_round(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    table["metric_record"]["higher_is_better"] = False
    seal(bundle, table)


def generous_metric(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    table["metric_record"] |= {"max_drop": 1.0, "unit": "points"}
    seal(bundle, table)


def other_scheme(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    table["scheme"] |= ({"weight_bits": 4}, {"format": "fp16", "name": "float"}, {"ops": []})[int(rng.integers(3))]
    seal(bundle, table)


def no_record_of_an_export(bundle: Path, rng: np.random.Generator) -> None:
    """Recipe, figures and run are gone, and the gates are loose: a bundle of nobody."""
    table = manifest(bundle)
    table["provenance"] = {"edgeft": "0.1.0"}
    table.pop("figures", None)
    table["gates"]["max_drop"] = 0.5
    seal(bundle, table)


def huge_shapes(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    shape = table["graphs"][0]["inputs"][0]["shape"]
    shape[int(rng.integers(1, len(shape)))] = int(rng.integers(10**8, 2**62))
    seal(bundle, table)


def weights_that_are_no_numbers(bundle: Path, rng: np.random.Generator) -> None:
    """NaN in the float baseline, where its weights lie."""
    path = model_of(bundle, baseline=True, weights=True)
    data = bytearray(path.read_bytes())
    at = int(rng.integers(len(data) // 8, len(data) // 5)) * 4
    data[at : at + 256] = b"\xff" * 256  # NaN wherever a float begins
    path.write_bytes(data)
    seal(bundle)


def weights_of_another_network(bundle: Path, rng: np.random.Generator) -> bool | None:
    """OpenVINO's graph with the weights of the float baseline."""
    path, other = (model_of(bundle, baseline=flag, weights=True) for flag in (False, True))
    if path.suffix != ".bin":
        return False
    shutil.copy(other, path)
    seal(bundle)
    return None


def custom_operator(bundle: Path, rng: np.random.Generator) -> bool | None:
    if manifest(bundle)["backend"] != "litert":
        return False

    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    path = model_of(bundle)
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    code = model.operatorCodes[int(rng.integers(len(model.operatorCodes)))]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = b"Elsewhere"
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    seal(bundle)

    return None


def _onnx(bundle: Path) -> Any:
    if manifest(bundle)["backend"] != "onnxruntime":
        return None
    import onnx

    return onnx.load(model_of(bundle))


def subgraphs_in_subgraphs(bundle: Path, rng: np.random.Generator) -> bool | None:
    """An `If` within an `If`, a few thousand deep."""
    model = _onnx(bundle)
    if model is None:
        return False

    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("deep", TensorProto.BOOL, [])
    truth = helper.make_tensor("t", TensorProto.BOOL, [], [True])
    body = helper.make_graph([helper.make_node("Constant", [], ["deep"], value=truth)], "g", [], [value])

    for _ in range(int(rng.integers(20, 60))):
        nodes = [
            helper.make_node("Constant", [], ["c"], value=truth),
            helper.make_node("If", ["c"], ["deep"], then_branch=body, else_branch=body),
        ]
        body = helper.make_graph(nodes, "g", [], [value]) if len(body.SerializeToString()) < 1 << 22 else body

    model.graph.node.extend(body.node)
    model_of(bundle).write_bytes(model.SerializeToString())
    seal(bundle)
    return None


def weights_in_another_file(bundle: Path, rng: np.random.Generator) -> bool | None:
    """ONNX external data in a file that holds no weights, or that lies elsewhere."""
    model = _onnx(bundle)
    if model is None:
        return False

    tensor = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    location = ("samples.npz", "run.py", "../elsewhere.bin", "/dev/zero")[int(rng.integers(4))]
    for key, value in {"location": location, "offset": "0", "length": str(size)}.items():
        tensor.external_data.add(key=key, value=value)

    model_of(bundle).write_bytes(model.SerializeToString())
    seal(bundle)
    return None


KINDS: dict[str, Attack] = {
    function.__name__.replace("_", " "): function
    for function in (
        *(other_resizing, channels_last, wide_rounding, metric_turned_round, generous_metric, other_scheme),
        *(no_record_of_an_export, huge_shapes, weights_that_are_no_numbers, weights_of_another_network),
        *(custom_operator, subgraphs_in_subgraphs, weights_in_another_file),
    )
}
