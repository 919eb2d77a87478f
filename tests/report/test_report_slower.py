"""An int8 model that is slower than float is said to be so in every form of the report, with the fitting fallback."""

from __future__ import annotations

from typing import Any

import pytest
import report_values as values

from edgeft.measure.slower import remedies
from edgeft.report import html, junit, markdown, slower, text


def report(verdict: str, high: float | None = 0.84, **more: Any) -> dict[str, Any]:
    """A report whose latency gate has a verdict; "pass" is what a gate without a limit says."""
    made = values.report()
    for gate in made["gates"]:
        if gate["name"] == "latency":
            gate |= {"verdict": verdict, "required": verdict != "advisory", "limit": 0.0 if verdict == "pass" else 1.0}
    made["latency"]["ci99"] = [0.8, high]
    return {**made, "int8": {"share": 0.98, "float_ops": {"Softmax": 6}}, **more}


FORMS = {
    "terminal": text.render,
    "several": lambda value: text.reports([value]),
    "markdown": markdown.render,
    "page": lambda value: html.render(value, values.manifest(), None, {}),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("verdict", ["pass", "advisory", "fail"])
def test_it_is_said_in_every_form_also_without_a_gate_that_decides(form: str, verdict: str) -> None:
    said = FORMS[form](report(verdict))
    assert "int8 is slower than float on the host" in said
    assert "0.82×" in said and ("not the target" in said) == (verdict == "advisory")
    advice = [words in said for words in ("Softmax x6", "edgeft export --auto", "dynamic quantization is not")]
    assert all(advice) if verdict != "advisory" else not any(advice), "another machine's speed is no reason to act"
    faster = report(verdict, high=1.01)
    assert "slower than float" not in FORMS["terminal"](faster) + FORMS["markdown"](faster) + FORMS["page"](faster)


def test_what_a_shown_gate_has_said_is_not_said_twice() -> None:
    made = report("fail")
    for gate in made["gates"]:
        if gate["name"] == "latency":
            gate["why"] = f"0.82x the float speed; slower than float: {remedies(**made['int8'])}"
    for form in ("terminal", "markdown"):
        assert FORMS[form](made).count("dynamic quantization") == 1, form
    assert "dynamic quantization" in junit.render(made)


def test_the_fallback_that_fits_comes_first() -> None:
    between = remedies(0.9, {"HardSwish": 3, "Conv": 1}, ["head"])
    assert between.index("HardSwish x3, Conv x1") < between.index("quantize.keep_float (now head)")
    assert between.index("keep_float") < between.index("edgeft export --auto") < between.index("dynamic")
    unused = remedies(0.1, {"Subgraph": 1})
    assert unused.startswith(
        "the runtime computed 90% of the multiply-accumulates in float (Subgraph x1): edgeft export --auto"
    )
    assert "keep_float" not in unused
    whole = remedies(1.0, {})
    assert "nothing would be gained with quantize.keep_float" in whole and "export --auto" in whole
    assert remedies(None, {}).startswith("edgeft export --auto ships the fastest that passes")
    many = remedies(0.9, {f"op{i}": 1 for i in range(7)})
    assert "and 3 more kinds" in many


@pytest.mark.parametrize("how", [values.unmeasured, values.endless, values.unknown, values.wrong])
def test_figures_that_are_no_figures_say_nothing(how: Any) -> None:
    assert slower.sentence(values.spoil(report("pass"), how)) == ""
    assert slower.sentence({}) == ""
