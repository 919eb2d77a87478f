"""Every operator against the node tests that the package onnx brings: the standard's own data."""

from __future__ import annotations

import functools
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeft.core.errors import ModelError
from edgeft.models.onnx import importer, reading, registry

pytest.importorskip("onnx", reason="onnx is not installed")

#: whose results are integers, where an import gives real numbers; tests below are about them
QUANTIZED = ("QuantizeLinear", "QLinearConv", "QLinearMatMul", "DequantizeLinear")
#: what a part of an operator's tests may be refused for, by its message; every other refusal is a fault
REFUSED = (
    "depends on the values of the model's inputs",
    "does not depend on the model's inputs",
    "is not supported",
    "are not supported",
    "training mode",
    "is a loop",
    "hands out",
    "gathers at computed positions",
    "linear_before_reset",
    "dynamic quantization",
    "its output shape is larger",
    "non-zero size",  # a maximum of nothing
    "is supported",
)
#: tests an operator has at least that pass: what is refused must not grow unseen
PASSING = {"Conv": 4, "ConvTranspose": 8, "Resize": 19, "MaxPool": 15, "AveragePool": 12, "Slice": 8, "Pad": 3,
           "Gemm": 10, "BatchNormalization": 2, "LSTM": 2, "Softmax": 6, "Transpose": 7, "Reshape": 10,
           "ReduceMean": 6, "Clip": 2, "Split": 10, "HardSwish": 1, "Gelu": 4, "ScatterND": 2}  # fmt: skip


@functools.cache
def _cases() -> dict[str, list]:
    """The node tests of supported operators, by operator."""
    from onnx.backend.test.loader import load_model_tests

    known, by_operator = set(registry.importers()), defaultdict(list)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # onnx casts numbers on purpose that do not fit
        cases = load_model_tests(kind="node")
    for case in cases:
        operators = {node.op_type for node in case.model.graph.node} if case.model is not None else set()
        standard = case.model is not None and all(node.domain in ("", "ai.onnx") for node in case.model.graph.node)
        if len(operators) == 1 and operators <= known and standard and case.data_sets:
            by_operator[operators.pop()].append(case)
    return by_operator


def _outcome(case) -> str:
    """ "passes", "differs", or the message of the refusal; inputs are made constants from the back until it fits."""
    opset = next(item.version for item in case.model.opset_import if item.domain in ("", "ai.onnx"))
    inputs, outputs = case.data_sets[0]
    if any(not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub" for array in [*inputs, *outputs]):
        return "no tensors of numbers"
    if any(array.dtype in (np.uint16, np.uint32, np.uint64) for array in inputs):
        return "no tensors of numbers"  # that torch computes with
    names = [item.name for item in importer.inputs_of(case.model, Path("case.onnx"))]
    tensors = {name: _tensor(array) for name, array in zip(names, inputs)}
    message = "no inputs"
    for count in range(len(names), 0, -1):
        open_inputs = [importer.Input(n, tuple(tensors[n].shape), tensors[n].dtype) for n in names[:count]]
        fixed = {name: tensors[name] for name in names[count:]}
        try:
            module, _ = importer.translated(case.model, opset, open_inputs, fixed, False, set())
        except ModelError as error:
            message = str(error)
            continue
        with torch.no_grad():
            results = torch.utils._pytree.tree_leaves(module(*(tensors[name] for name in names[:count])))
        same = all(
            a.shape == tuple(b.shape)
            and np.allclose(a.astype(np.float64), b.double().numpy(), rtol=1e-3, atol=1e-4, equal_nan=True)
            for a, b in zip(outputs, results)
        )
        return "passes" if same else "differs"
    return message


def _tensor(array: np.ndarray) -> torch.Tensor:
    array = array.astype(np.float32) if array.dtype.kind == "f" else array
    array = array.astype(np.int64) if array.dtype in (np.uint16, np.uint32, np.uint64) else array
    return torch.from_numpy(np.array(array))


#: those of the standard; the runtime's own ones (com.microsoft) have tests in test_onnx_qlinear.py
STANDARD = sorted(name for name in registry.importers() if "." not in name and name not in QUANTIZED)


@pytest.mark.parametrize("operator", STANDARD)
def test_node_tests_of_the_standard_pass(operator):
    cases = _cases()[operator]
    outcomes = {case.name: _outcome(case) for case in cases}

    differing = [name for name, outcome in outcomes.items() if outcome == "differs"]
    assert not differing
    faults = {
        name: outcome
        for name, outcome in outcomes.items()
        if outcome not in ("passes", "no tensors of numbers", "no inputs")
        and not any(part in outcome for part in REFUSED)
    }
    assert not faults
    assert sum(outcome == "passes" for outcome in outcomes.values()) >= PASSING.get(operator, 0)


def test_the_page_lists_every_operator():
    page = (Path(__file__).parents[2] / "docs" / "onnx.md").read_text()
    assert [name for name in registry.importers() if f"`{name}`" not in page] == []


def test_opsets_are_those_of_the_page():
    page = (Path(__file__).parents[2] / "docs" / "onnx.md").read_text()
    assert f"opset {reading.OLDEST} to {reading.NEWEST}" in page
