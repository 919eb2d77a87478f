"""Gates as JUnit XML, for a CI server: one suite a bundle, one case a gate.

A required gate passes or fails; one that is not required or could not be judged is `skipped` with its reason, and under
`strict` an inconclusive or unverified gate fails, as the exit code does.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.verdict import ADVISORY, FAIL, INCONCLUSIVE, PASS, UNVERIFIED
from . import words


def render(results: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, strict: bool = False) -> str:
    """JUnit XML of report.json contents, or of bench results (what has no `gates`): one or several.

    A report without gates is one failed case: nothing was measured.
    """
    root = ET.Element("testsuites", name="edgeft")
    for result in [results] if isinstance(results, Mapping) else results:
        target = words.line(result.get("target") or "bundle")
        suite = ET.SubElement(root, "testsuite", name=f"edgeft.{target}")
        for gate in _gates(result):
            _case(suite, f"edgeft.{target}", gate, strict, words.number_format(result))
        _count(suite)

    _count(root)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _gates(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "gates" in result:
        nothing = {"name": "gates", "verdict": FAIL, "why": "nothing was measured"}
        return words.in_reading_order(result["gates"]) or [nothing]

    measured = words.finite(result.get("p50_ms") or result.get("min_ms")) is not None
    alone = PASS if measured else FAIL  # one artifact has nothing to regress against: measuring it is all
    return [{"name": "bench", "verdict": result.get("verdict") or alone, "why": words.slowdown(result)}]


def _case(suite: ET.Element, classname: str, gate: Mapping[str, Any], strict: bool, number_format: str) -> None:
    case = ET.SubElement(suite, "testcase", classname=classname, name=words.title(gate))
    verdict, why = gate.get("verdict"), words.clean(gate.get("why") or "")
    required = gate.get("required", True)
    open_question = verdict in (INCONCLUSIVE, UNVERIFIED)
    not_repeated = gate.get("recorded") in (PASS, FAIL, INCONCLUSIVE)
    unproved = not_repeated or (open_question and (required or verdict == UNVERIFIED))

    if (verdict == FAIL and required) or (strict and unproved):
        failure = ET.SubElement(case, "failure", message=f"{verdict}: {words.line(why)}", type=str(verdict))
        failure.text = words.row(gate, number_format)
    elif verdict == PASS:
        ET.SubElement(case, "system-out").text = f"{words.row(gate, number_format)}\n{why}".strip()
    elif open_question or verdict in (ADVISORY, FAIL):
        ET.SubElement(case, "skipped", message=f"{verdict}: {words.line(why)}")
    else:
        ET.SubElement(case, "failure", message=f"no known verdict: {words.line(verdict)}", type="unknown")


def _count(element: ET.Element) -> None:
    for key, tag in (("tests", "testcase"), ("failures", "failure"), ("skipped", "skipped")):
        element.set(key, str(sum(1 for _ in element.iter(tag))))
    element.set("errors", "0")
