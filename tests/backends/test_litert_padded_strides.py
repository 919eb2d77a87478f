"""A PAD and a convolution of a large stride are kept apart, and nothing that is computed changes."""

from __future__ import annotations

import numpy as np
import pytest
from tflite_writer import Writer

from edgeft.backends.litert import padded_strides
from edgeft.config import target

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")


def padded(stride: int) -> bytes:
    """x (1, 16, 16, 3) -> PAD by 2 -> CONV_2D 5x5 with a stride, int8."""
    model, rng = Writer(schema), np.random.default_rng(0)
    x, wide = model.tensor("x", (1, 16, 16, 3)), model.tensor("wide", (1, 20, 20, 3))
    model.operation("PAD", [x, model.shape("pads", [[0, 0], [2, 2], [2, 2], [0, 0]])], wide)
    kernel = model.constant("kernel", rng.integers(-127, 127, (4, 5, 5, 3)).astype(np.int8), scale=np.full(4, 0.01))
    bias = model.constant("bias", np.zeros(4, np.int32), dtype="INT32", scale=np.full(4, 2e-4))
    side = 15 // stride + 1
    y = model.tensor("y", (1, side, side, 4), scale=0.5)
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = stride
    options.padding = schema.Padding.VALID
    model.operation("CONV_2D", [wide, kernel, bias], y, options, 3)
    return model.bytes(x, y)


def ops(content: bytes) -> list[str]:
    graph = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content), 0))
    names = {number: name for name, number in vars(schema.BuiltinOperator).items()}
    return [names[graph.operatorCodes[op.opcodeIndex].builtinCode] for op in graph.subgraphs[0].operators]


def outputs(content: bytes, values: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def test_pooling_over_one_place_stands_between_and_changes_no_value():
    content = padded(4)
    apart = padded_strides.kept_apart(content, 3)
    assert ops(apart) == ["PAD", "MAX_POOL_2D", "CONV_2D"]

    values = np.random.default_rng(1).integers(-128, 128, (1, 16, 16, 3)).astype(np.int8)
    assert np.ptp(outputs(content, values)) > 50
    np.testing.assert_array_equal(outputs(apart, values), outputs(content, values))


@pytest.mark.parametrize(("stride", "above"), [(3, 3), (4, 0)])
def test_a_file_without_such_a_convolution_stays_as_it_is(stride: int, above: int):
    content = padded(stride)
    assert padded_strides.kept_apart(content, above) is content


def test_profiles_of_vela_keep_them_apart():
    profiles = [target.load(name) for name in target.names()]
    assert {p.lowering.most_padded_stride for p in profiles if p.compiler == "vela"} == {3}
    assert {p.lowering.most_padded_stride for p in profiles if p.compiler != "vela"} == {0}
