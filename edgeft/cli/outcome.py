"""From reports to what a command answers: the worst verdict, its exit code, one JSON object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.verdict import FAIL, INCONCLUSIVE, PASS, UNVERIFIED, exit_code
from .frame import Outcome

_ORDER = (FAIL, INCONCLUSIVE, PASS)


def of_reports(reports: Sequence[Mapping[str, Any]], *, strict: bool) -> Outcome:
    """One report: its own keys, and itself under `bundles`; several: the worst verdict and `bundles`."""
    from ..report import text

    verdicts = {report["verdict"] for report in reports}
    verdict = next((v for v in _ORDER if v in verdicts), FAIL)
    unverified = any(
        report["not_repeated"] or any(gate["verdict"] == UNVERIFIED for gate in report["gates"]) for report in reports
    )
    payload: dict[str, Any] = {"verdict": verdict, "bundles": list(reports)}
    if len(reports) == 1:
        payload = {**reports[0], **payload}

    rendered = [text.render(report) for report in reports]
    # Several bundles are read side by side; the gates of each come with -v (and are in its report.html).
    words, details = (rendered[0], "") if len(rendered) == 1 else (text.reports(reports), "\n\n".join(rendered))
    return Outcome(payload, words, exit_code(verdict, unverified=unverified, strict=strict), details)
