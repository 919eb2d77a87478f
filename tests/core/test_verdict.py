"""Verdicts: the worst required gate decides, and nothing unknown ever passes."""

from __future__ import annotations

import json
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeft.core.errors import InternalError
from edgeft.core.verdict import ADVISORY, FAIL, INCONCLUSIVE, PASS, UNVERIFIED, VERDICTS, Verdict, exit_code, worst

verdicts = st.builds(
    Verdict, name=st.just("accuracy"), verdict=st.sampled_from(VERDICTS), why=st.just("w"), required=st.booleans()
)


def gate(verdict: str, required: bool = True) -> Verdict:
    return Verdict("accuracy", verdict, "why", required=required)


def test_worst() -> None:
    assert worst([gate(PASS), gate(PASS)]) == PASS
    assert worst([gate(PASS), gate(INCONCLUSIVE)]) == INCONCLUSIVE
    assert worst([gate(INCONCLUSIVE), gate(FAIL), gate(PASS)]) == FAIL
    assert worst([gate(PASS), gate(FAIL, required=False)]) == PASS
    assert worst([gate(PASS), gate(ADVISORY), gate(UNVERIFIED)]) == PASS


def test_nothing_required_is_a_failure() -> None:
    for gates in ([], [gate(PASS, required=False)], [gate(ADVISORY)], [gate(UNVERIFIED)]):
        assert worst(gates) == FAIL


@given(st.lists(verdicts))
def test_passing_needs_a_required_pass_and_no_required_failure(gates: list[Verdict]) -> None:
    required = [g.verdict for g in gates if g.required]
    assert (worst(gates) == PASS) == (PASS in required and FAIL not in required and INCONCLUSIVE not in required)


@given(st.lists(verdicts), verdicts)
def test_one_more_gate_never_improves_a_measured_verdict(gates: list[Verdict], more: Verdict) -> None:
    order = [PASS, INCONCLUSIVE, FAIL]
    if any(g.required and g.verdict in order for g in gates):
        assert order.index(worst([*gates, more])) >= order.index(worst(gates))


@pytest.mark.parametrize(
    ("verdict", "unverified", "strict", "code"),
    [
        (PASS, False, False, 0),
        (PASS, True, False, 0),
        (PASS, False, True, 0),
        (PASS, True, True, 1),
        (FAIL, False, False, 1),
        (FAIL, True, True, 1),
        (INCONCLUSIVE, False, False, 5),
        (INCONCLUSIVE, True, False, 5),
        (INCONCLUSIVE, False, True, 1),
    ],
)
def test_exit_codes(verdict: str, unverified: bool, strict: bool, code: int) -> None:
    assert exit_code(verdict, unverified=unverified, strict=strict) == code


@pytest.mark.parametrize("wrong", ["passed", "", "PASS", ADVISORY, UNVERIFIED])
def test_an_unknown_verdict_is_our_fault_and_never_a_pass(wrong: str) -> None:
    with pytest.raises(InternalError):
        exit_code(wrong)
    if wrong not in VERDICTS:
        with pytest.raises(InternalError):
            gate(wrong)


def test_as_dict_is_what_a_report_holds() -> None:
    made = Verdict("accuracy", PASS, "fine", metric="accuracy", float=0.9, quantized=0.89, drop=0.01, ci95=(0.0, 0.02))
    table = json.loads(json.dumps(made.as_dict()))
    keys = ["name", "verdict", "why", "metric", "float", "quantized", "drop", "ci95", "limit", "n", "required", "unit"]
    assert list(table) == keys
    assert table["ci95"] == [0.0, 0.02]
    assert table["limit"] is None
    assert typing.get_type_hints(Verdict)["drop"] == float | None  # a field called float must not shadow the type
