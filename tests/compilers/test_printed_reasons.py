"""What the vendors' compilers print, read: recorded from the real ones on the models of `sabotage_*.py`.

Vela 5.2.0, RKNN-Toolkit2 2.5.0, QNN 2.7.0; paths, times and lines without a bearing were taken out.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeft.compilers import Compilation, Refusal, qnn, rknn, vela
from edgeft.core.verdict import UNVERIFIED, Verdict
from edgeft.verify import compiler_gate

RECORDED = Path(__file__).parent / "recorded"


def text(name: str) -> str:
    return (RECORDED / f"{name}.txt").read_text(encoding="utf-8")


def test_vela_names_the_operation_and_why():
    assert vela.reasons(text("vela-stride")) == [
        {"op": "CONV_2D", "node": "body", "why": "Unsupported kernel stride: 5, 5"}
    ]
    floats = vela.reasons(text("vela-float"))
    assert [(reason["op"], reason["node"]) for reason in floats] == [
        ("QUANTIZE", "stored"),
        ("RELU", "act"),
        ("CONV_2D", "body"),
    ]
    assert floats[-1]["why"] == "Operation has tensor with unsupported DataType Float32 (x)"


@pytest.mark.parametrize("raised", [True, False])
def test_vela_refuses_a_scale_by_the_node_that_has_it(raised: bool):
    words = text("vela-infinite")
    refusal = vela.refusal("", words) if raised else vela.refusal(words, "exit code 1")
    assert (refusal["node"], refusal["op"]) == ("body", "")
    assert refusal["why"] == (
        "Does not have valid TFLite Semantics. - Tensor Quantization scales must be finite Quantization scale=inf"
    )


def test_vela_that_says_nothing_is_still_a_reason():
    assert vela.refusal("", "RuntimeError: no\n place")["why"] == "RuntimeError: no place"
    assert vela.refusal("", "") == {"why": "no file was written", "node": "", "op": ""}


def test_qnn_names_the_node_of_a_block_and_not_its_conversions():
    reasons = qnn.reasons(text("qnn-axis").splitlines())
    assert reasons == [
        {"op": "Conv", "node": "body", "why": "Conv's input[1] must be use axis == 0 for per-channel quantization"}
    ]


def test_qnn_refuses_by_the_first_node_and_what_the_runtime_raised():
    lines = text("qnn-pad").splitlines()
    refusal = qnn.refusal(lines, "the graph is now invalid")
    assert (refusal["node"], refusal["op"]) == ("border", "Pad")
    assert refusal["why"] == "backendValidateOpConfig fails with error 3110; the graph is now invalid"
    assert {reason["op"] for reason in qnn.reasons(lines)} == {"Pad", "Transpose", "Conv2d"}
    assert qnn.refusal([], "")["why"] == "none of its nodes is taken by the HTP backend"


def test_rknn_tells_what_the_cpu_runs_and_what_the_npu_needs():
    on_cpu, estimate = rknn.layers(text("rknn-det").splitlines())
    assert on_cpu == [{"op": "Det", "node": "det", "why": "the CPU runs Det"}]
    assert estimate == {"cycles": 2304.0, "dram_bytes": 1024 * (16.75 + 3.375)}


@pytest.mark.parametrize("net, node", [("convnext", "val_20"), ("vit", "val_73")])
def test_rknn_names_the_value_behind_a_layer_that_ends_in_float(net: str, node: str) -> None:
    """The words of RKNN-Toolkit2 2.5.0 as benchmarks/results/compilers.json recorded them, and docs/boards.md quotes
    them: its environment of 6 GB is not installed for this test, the parser and the gate are the real ones."""
    recorded = f"ValueError: Invalid w_par['dtype'] = float16 for {node}!"
    results = Path(__file__).parents[2] / "benchmarks" / "results" / "compilers.json"
    if results.is_file():
        assert recorded in json.loads(results.read_text())["rows"][f"{net} | rknn"]["refusal"]

    refusal = rknn.refusal(["E build: Traceback (most recent call last):", "E build: failed"], recorded)
    assert refusal == {"why": recorded, "node": node, "op": ""}
    rules = Verdict("compatibility", UNVERIFIED, "has not run", needs="rknn")
    made = Compilation("rknn", "2.5.0", refusal=Refusal(**refusal))
    verdict = compiler_gate.judged(rules, made, 0.95)
    assert verdict.verdict == "fail"
    assert verdict.why == f"RKNN-Toolkit2 2.5.0 refuses the model: at '{node}': {recorded}"


def test_rknn_refuses_with_what_its_python_raised_and_guesses_no_node():
    lines = text("rknn-pad").splitlines()
    why = "InferenceError: [TypeInferenceError] Inferred elem type differs from existing elem type: (2) vs (1)"
    assert rknn.refusal(lines, why) == {"why": why, "node": "", "op": ""}
    assert rknn.refusal(["E build: Op 'body' has no kernel"], "build failed") == {
        "why": "build: Op 'body' has no kernel",
        "node": "body",
        "op": "",
    }
