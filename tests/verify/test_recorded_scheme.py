"""What a manifest says of the model file, against the model file: each key of the scheme, borders, requirements."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_bundle
from shapes_run import gate

from edgeft.backends import Grid, WeightTensor
from edgeft.bundle import reader
from edgeft.config import scheme
from edgeft.core.errors import BundleError
from edgeft.core.verdict import Verdict
from edgeft.report import words
from edgeft.verify.integer import digests
from edgeft.verify.recorded_scheme import scheme_as_stored
from edgeft.verify.run import run

FIXTURES = Path(__file__).parents[1] / "fixtures"
EARLIER = FIXTURES / "0.1.0"
AFFINE = json.loads((EARLIER / "host" / "manifest.json").read_text())["scheme"]
GRIDS = [Grid("a", 0.1, -128, 8), Grid("b", 0.2, 3, 8)]


def layer(shape: tuple[int, ...], most: int = 127, scales: int = 0, dtype: str = "int8") -> tuple[str, WeightTensor]:
    values = np.random.default_rng(len(shape)).integers(-most, most + 1, shape).astype(dtype)
    return f"{len(shape)}d", WeightTensor(f"{len(shape)}d", values, np.full(scales or shape[0], 0.1, np.float32))


def judged(scheme: dict[str, Any], *layers: tuple[str, WeightTensor], grids: list[Grid] = GRIDS) -> Verdict:
    recorded = digests({name: (weight.data, weight.scale) for name, weight in layers})
    return scheme_as_stored(scheme, recorded, [weight for _, weight in layers], grids, {"main": None})


def test_the_scheme_of_the_artifact_passes() -> None:
    found = judged(AFFINE, layer((8, 4, 3, 3)), layer((5, 8)))
    assert found.verdict == "pass" and found.required and found.n == 4
    assert "recorded, not measured: ops, residual" in found.why
    assert judged({**AFFINE, "added_later": 1}, layer((8, 4, 3, 3))).verdict == "pass"


def test_ranges_around_zero_and_tables_alone_are_no_other_scheme() -> None:
    assert (
        judged(AFFINE, layer((5, 8)), grids=[Grid("sine", 2 / 255, 0, 8), Grid("tanh", 2 / 255, 0, 8)]).verdict
        == "pass"
    )
    assert judged(AFFINE, grids=[]).verdict == "pass", "nothing is multiplied"


def test_weights_in_groups_say_nothing_of_8_bits() -> None:
    """w4 with every layer in groups of 32, or a row being one group alone; 8 bits stand where rows do not part."""
    w4 = scheme.with_format(scheme.from_table({}, "here"), "w4").as_dict()
    grouped, narrow = layer((32, 64), most=7, scales=64), layer((16, 32), most=7)
    assert judged(w4, grouped, grids=[]).verdict == judged(w4, narrow, grids=[]).verdict == "pass"
    assert judged(w4, layer((8, 4, 3, 3)), ("other", grouped[1]), grids=[]).verdict == "pass"

    wide = judged(w4, layer((32, 64), scales=64), grids=[])
    assert wide.verdict == "fail" and "reach from -127 to 127, beyond -7 to 7" in wide.why
    seven = judged(w4, layer((32, 40), most=63), grids=[])
    assert seven.verdict == "fail" and "as those of 7 bits do" in seven.why


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("name", "affine-w7", "scheme.name is 'affine-w7'"),
        ("format", "int9", "scheme.format cannot be 'int9'"),
        ("format", 7, "scheme.format"),
        ("format", "w8", "but the record says"),
        ("activation_dtype", "int16", "scheme.activation_dtype is 'int16'"),
        ("activation_range", [-255, 127], "scheme.activation_range"),
        ("weight_bits", 7, "scheme.name is 'affine'"),
        ("weight_bits", 4, "weight_bits is 7 or 8"),
        ("weight_axis", {}, "scheme.weight_axis"),
        ("residual", "none", "residual"),
        ("ops", ["conv", "depthwise", "linear", "other"], "unknown op class 'other'"),
        ("embeddings", "int4", "embeddings cannot be 'int4'"),
    ],
)
def test_a_scheme_that_contradicts_itself(key: str, value: Any, why: str) -> None:
    found = judged({**AFFINE, key: value}, layer((8, 4, 3, 3)))
    assert found.verdict == "fail" and found.required and why in found.why


def of(**keys: Any) -> dict[str, Any]:
    """A scheme's table without what follows from the keys."""
    derived = ("name", "activation_dtype", "activation_range", "weight_range", "weight_axis")
    return {**{key: value for key, value in AFFINE.items() if key not in derived}, **keys}


@pytest.mark.parametrize(
    ("scheme", "layers", "grids", "why"),
    [
        (of(format="fp16"), [layer((8, 4, 3, 3))], [], "stored as int8, not float16"),
        (of(format="w8"), [layer((8, 4, 3, 3))], GRIDS, "has a scale, not float32 values"),
        (of(format="int16x8"), [layer((8, 4, 3, 3))], GRIDS, "has 8 bits, not int16"),
        (of(), [layer((8, 4, 3, 3))], [], "no activation is quantized"),
        (of(activation_symmetric=True), [layer((8, 4, 3, 3))], GRIDS, "has zero point -128, not 0"),
        (
            of(),
            [layer((8, 4, 3, 3))],
            [Grid(name, 0.1, 0, 8) for name in "abcd"],
            "zero point 0, as those of a symmetric",
        ),
        (of(weight_bits=7), [layer((8, 4, 3, 3))], GRIDS, "beyond -63 to 63"),
        (of(), [layer((8, 4, 3, 3), most=63)], GRIDS, "as those of 7 bits do"),
        (of(per_tensor=["linear"]), [layer((8, 4))], GRIDS, "have 8 scales, not one"),
        (of(), [layer((8, 4), scales=1)], GRIDS, "have one scale, not one a channel"),
        (of(per_tensor=["conv", "depthwise", "conv_transpose"]), [layer((8, 4, 3, 3))], GRIDS, "8 scales, not one"),
        (of(ops=["linear"]), [layer((8, 4, 3, 3))], GRIDS, "its ops do not list 'conv'"),
        (of(ops=["conv"]), [layer((8, 4))], GRIDS, "its ops do not list 'linear'"),
    ],
)
def test_a_scheme_that_the_artifact_has_not(
    scheme: dict[str, Any], layers: list[tuple[str, WeightTensor]], grids: list[Grid], why: str
) -> None:
    found = judged(scheme, *layers, grids=grids)
    assert found.verdict == "fail" and found.required and why in found.why


def test_per_tensor_weights_of_one_class() -> None:
    shared = of(per_tensor=["linear"])
    assert judged(shared, layer((8, 4, 3, 3)), layer((8, 4), scales=1)).verdict == "pass"
    assert judged(of(weight_bits=7), layer((8, 4, 3, 3), most=63)).verdict == "pass"


def changed(table: dict[str, Any], at: str, value: Any) -> dict[str, Any]:
    table = copy.deepcopy(table)
    holder: Any = table
    *places, last = [int(key) if key.isdecimal() else key for key in at.split(".")]
    for key in places:
        holder = holder[key]
    holder[last] = value
    return table


def verified(tmp_path: Path, target: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    bundle = Path(shutil.copytree(EARLIER / target, tmp_path / "bundle"))
    tiny_bundle.forge(bundle, change(json.loads((bundle / "manifest.json").read_text())))
    return run(bundle, measure_latency=False, ask_compiler=False)


@pytest.mark.parametrize(
    ("at", "value", "metric", "why"),
    [
        ("scheme.activation_symmetric", True, "scheme", "not valid"),
        ("graphs.0.inputs.0.shape", [4, 1, 12, 24], "tensors of the artifact", "[1, 1, 12, 24] in the artifact"),
        ("graphs.0.inputs.0.dtype", "float32", "tensors of the artifact", "is int8 in the artifact"),
        ("graphs.0.inputs.0.scale", 0.07, "tensors of the artifact", "has scale 0.0496"),
        ("graphs.0.inputs.0.zero_point", 0, "tensors of the artifact", "has zero_point -48"),
        ("graphs.0.outputs.0.step", 1e9, "tensors of the artifact", "no grid of step 1e+09"),
        ("requires.op_versions", {"CONV_2D": 9}, "requirements of the artifact", "needs op_versions"),
        ("requires.max_rank", 3, "requirements of the artifact", "needs max_rank 4"),
        ("labels", [], "label map", "is no label"),
    ],
)
def test_an_altered_manifest_fails_by_name(tmp_path: Path, at: str, value: Any, metric: str, why: str) -> None:
    tiny_bundle.usable("litert")
    try:
        report = verified(tmp_path, "host-litert", lambda table: changed(table, at, value))
    except BundleError as error:  # a border that no session has is refused before
        assert why in error.message
        return
    found = next(g for g in report["gates"] if g["metric"] == metric)
    assert report["verdict"] == "fail" and found["verdict"] == "fail" and found["required"] and why in found["why"]


@pytest.mark.parametrize(("at", "value"), [("0.shape.0", 1000), ("0.shape.1", -1), ("0.dtype", "float16")])
def test_a_size_that_the_artifact_leaves_open(tmp_path: Path, at: str, value: Any) -> None:
    pytest.importorskip("onnxruntime")
    report = verified(tmp_path, "host", lambda table: changed(table, f"graphs.0.inputs.{at}", value))
    assert gate(report, "parity", "tensors of the artifact")["verdict"] == "fail"


@pytest.mark.parametrize("target", ["host", "host-litert", "host-openvino"])
def test_an_output_with_the_step_of_another_activation(tmp_path: Path, target: str) -> None:
    """A wider step lets more pass, so that it has to be that of the grid on which this output was laid."""
    pytest.importorskip({"host": "onnxruntime", "host-openvino": "openvino"}.get(target, "numpy"))
    tiny_bundle.usable("litert") if target == "host-litert" else None
    opened = reader.open(EARLIER / target)
    (own,) = {entry["step"] for entry in opened.graph()["outputs"]}
    widest = max(grid.scale for grid in opened.runtime.activation_grids(opened.graph_path()))
    assert widest > 1.01 * own

    report = verified(tmp_path, target, lambda table: changed(table, "graphs.0.outputs.0.step", widest))
    found = gate(report, "parity", "tensors of the artifact")
    assert found["verdict"] == "fail" and found["required"] and f"no grid of step {widest:.6g}" in found["why"]


@pytest.mark.parametrize("target", ["host", "host-litert", "host-openvino"])
def test_an_export_says_what_its_artifact_is(tmp_path: Path, target: str) -> None:
    pytest.importorskip({"host": "onnxruntime", "host-openvino": "openvino"}.get(target, "numpy"))
    tiny_bundle.usable("litert") if target == "host-litert" else None
    report = verified(tmp_path, target, lambda table: table)
    for name, metric in (("parity", "tensors of the artifact"), ("parity", "requirements of the artifact")):
        assert gate(report, name, metric)["verdict"] == "pass"
    assert gate(report, "integer", "scheme")["verdict"] == "pass"
    recorded = ["scheme.ops", "scheme.residual", "rounding of outputs"]
    recorded += ["order of sizes in integer_weights", "requires.max_rank", "runtime.version", "provenance"]
    assert report["unmeasured"] == recorded
    assert len(recorded) > 2
    named = f"{recorded[0]}, {recorded[1]} and {len(recorded) - 2} further ones"
    assert f"No file shows whether the manifest's {named} hold (`unmeasured` in report.json)." in words.sentence(report)
