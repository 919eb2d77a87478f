"""Coverage of an accelerator: what a compiler leaves to the CPU is counted, under whatever name, and judged."""

from __future__ import annotations

import dataclasses

import pytest

from edgeft.backends import Operation
from edgeft.compilers import Compilation, compilation, compiler
from edgeft.compilers.compiler import together
from edgeft.core.verdict import UNVERIFIED, Verdict
from edgeft.verify import compiler_gate

MODEL = (
    Operation("Conv", "stem", ("stem_out",), 100),
    Operation("Conv", "body", ("body_out",), 700),
    Operation("Relu", "act", ("act_out",)),
    Operation("MatMul", "scores", ("scores_out",), 50),
    Operation("Gemm", "head", ("head_out",), 150),
)


def covered(*on_cpu: tuple[str, str]) -> Compilation:
    left = [compiler.Operation(op, node, "no kernel") for op, node in on_cpu]
    return compilation.covered(Compilation("vela", "5.2.0"), MODEL, left)


def judged(made: Compilation, least: float = 0.95) -> Verdict:
    rules = Verdict("compatibility", UNVERIFIED, "has not run", needs="vela")
    return compiler_gate.judged(rules, made, least)


@pytest.mark.parametrize("op", ["Conv", "QLinearConv", "ConvRelu"])
def test_an_operation_of_an_unknown_name_counts_as_the_heaviest_of_its_kind(op: str):
    made = covered((op, "fused_17"))
    assert made.coverage_macs == pytest.approx(0.3) and made.fallback[0].macs == 700
    assert judged(made).verdict == "fail" and "Conv at 'fused_17' (no kernel)" in judged(made).why


def test_names_come_first_whatever_the_order():
    made = covered(("Conv", "fused_17"), ("Conv", "body"))
    assert [operation.macs for operation in made.fallback] == [100, 700]
    assert made.coverage_ops == pytest.approx(3 / 5)


def test_a_further_part_of_an_operation_is_no_other_operation():
    made = covered(("Conv", "stem#1"), ("Conv", "stem#2"))
    assert [operation.macs for operation in made.fallback] == [100, 0] and made.operations == 6


def test_an_operation_that_the_compiler_made_itself_counts_as_one_more():
    made = covered(("Reorder", "r"), ("Mul", "m"))  # a Mul is no MatMul
    assert made.coverage_macs == 1.0 and made.coverage_ops == pytest.approx(5 / 7)


def test_where_nothing_multiplies_the_operations_are_judged():
    lookup = (Operation("Gather", "rows"), Operation("Reshape", "flat"))
    made = compilation.covered(
        Compilation("vela", "5.2.0"), lookup, [compiler.Operation("Gather", "rows", "no kernel")]
    )
    assert made.coverage_macs is None
    verdict = judged(made)
    assert verdict.verdict == "fail"
    assert "50.0% of the operations on the accelerator, 95% asked, not Gather at 'rows' (no kernel)" in verdict.why
    assert judged(made, 0.5).verdict == "pass"
    assert "50.0% of 2 operations run on the Ethos-U" in judged(made, 0.5).why


def test_what_cannot_be_counted_does_not_pass():
    made = Compilation("vela", "5.2.0")
    assert judged(made).verdict == "fail" and "no operation of it could be counted" in judged(made).why
    assert judged(made, 0.0).verdict == "pass"


def test_a_graph_without_multiplications_does_not_hide_those_of_another():
    lookup = dataclasses.replace(Compilation("vela", "5.2.0"), coverage_ops=1.0, operations=2)
    both = together({"lookup": lookup, "main": covered(("Conv", "body"))})
    assert both.coverage_macs == pytest.approx(0.3)
