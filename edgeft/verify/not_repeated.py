"""What the bundle's report.json records and this run did not measure: it stays in the report, marked as recorded.

A required gate that failed, or could not be judged, stays so until it is measured again. A recorded pass does
not count: whoever can edit the file could have written it. Under `--strict` a required gate that is not repeated fails
(`document.not_repeated`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ..bundle import reader
from ..core.errors import BundleError
from ..core.verdict import ADVISORY, FAIL, INCONCLUSIVE, PASS, UNVERIFIED, VERDICTS, Verdict

REPORT = "report.json"
DECIDED = (PASS, FAIL, INCONCLUSIVE)
#: gates that need labelled data
OF_DATA = ("accuracy", "agreement")
#: gates that an export judges by more samples or rules than are at hand later: fewer do not repeat them
_BY_NUMBER = ("parity", "compatibility")


def read(folder: Path) -> list[dict[str, Any]]:
    """The gates of the bundle's report.json as JSON values, checked; [] where there is none.

    Raises `BundleError`, naming the key, for a file that is no report: a failed gate must not vanish with it.
    """
    table = reader.recorded_report(folder)
    if table is None:
        return []

    gates = table.get("gates")
    if not isinstance(gates, list):
        raise _wrong(folder, "gates", "is not a list")

    return [_gate(folder, f"gates[{number}]", entry).as_dict() for number, entry in enumerate(gates)]


def carried(
    recorded: Sequence[Mapping[str, Any]], measured: Sequence[Verdict], exported: bool = False
) -> list[Verdict]:
    """The gates of an earlier report (as `read` gives them) that stay beside those `measured` now.

    `exported`: an export judged the accuracy, so that its record has to be there; where it is gone, a fail may be.
    """
    earlier = [Verdict(**{**entry, "ci95": entry["ci95"] and tuple(entry["ci95"])}) for entry in recorded]
    gates = [gate for entry in earlier if (gate := _carried(entry, measured)) is not None]
    if not any(gate.name == "accuracy" for gate in (*measured, *gates)):
        why, verdict = "not measured: no data was given", ADVISORY
        if exported and not any(entry.name == "accuracy" for entry in earlier):
            why, verdict = f"{why}, and what the export measured is gone ({REPORT})", UNVERIFIED
        gates.append(Verdict("accuracy", verdict, why, required=False))

    return gates


def _carried(entry: Verdict, measured: Sequence[Verdict]) -> Verdict | None:
    if entry.verdict == ADVISORY and not entry.recorded and not entry.n:
        return None  # nothing was measured then either

    decided = [gate for gate in measured if gate.required and gate.verdict in DECIDED]
    verdict = entry.recorded or entry.verdict
    required = entry.recorded in DECIDED or (entry.required and entry.verdict in DECIDED)
    if required and verdict in (FAIL, INCONCLUSIVE):
        return None if _settled(entry, verdict, decided) else _marked(entry, verdict, verdict, required=True)
    if required and entry.name not in {gate.name for gate in decided}:
        return _marked(entry, verdict, ADVISORY, required=False)
    if entry.name in OF_DATA and entry.name not in {gate.name for gate in measured}:
        return _marked(entry, verdict, ADVISORY, required=False)

    return None


def _settled(entry: Verdict, verdict: str, decided: Sequence[Verdict]) -> bool:
    """Whether a recorded fail or inconclusive is measured again: a fail ends with a pass, or with the fail of today."""
    again = [
        gate.verdict
        for gate in decided
        if (gate.name, gate.metric, gate.graph) == (entry.name, entry.metric, entry.graph)
        and (entry.name not in _BY_NUMBER or gate.n >= entry.n)
    ]
    return bool(again) and (verdict == INCONCLUSIVE or FAIL in again or INCONCLUSIVE not in again)


def _marked(entry: Verdict, recorded: str, verdict: str, *, required: bool) -> Verdict:
    why = entry.why
    if not entry.recorded and entry.verdict != ADVISORY:
        since = ", since no data was given" if entry.name in OF_DATA else ""
        why = f"not measured here{since}; before: {recorded}, {why}"
    return replace(entry, verdict=verdict, why=why, required=required, recorded=recorded)


def _gate(folder: Path, where: str, entry: Any) -> Verdict:
    if not isinstance(entry, Mapping):
        raise _wrong(folder, where, "is not a gate")

    table = {field.name: entry[field.name] for field in fields(Verdict) if field.name in entry}
    for key in ("name", "verdict", "why"):
        table.setdefault(key, None)

    table["ci95"] = tuple(table["ci95"]) if isinstance(table.get("ci95"), list) else table.get("ci95")
    for key, value in table.items():
        if not _fits(key, value):
            raise _wrong(folder, f"{where}.{key}", f"cannot be {str(value)[:40]!r}")

    return Verdict(**table)


def _fits(key: str, value: Any) -> bool:
    """Whether a value of report.json is one that the key of a gate may have."""
    if key == "verdict" or (key == "recorded" and value is not None):
        return value in VERDICTS
    if key in ("name", "why", "metric", "graph", "unit", "needs", "remedy"):
        return isinstance(value, str)
    if key == "required":
        return isinstance(value, bool)
    if key in ("n", "n_to_decide"):
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63
    if key == "ci95" and value is not None:
        return isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value))

    return value is None or _is_number(value)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 1 << 63 if isinstance(value, int) else math.isfinite(value)


def _wrong(folder: Path, key: str, what: str) -> BundleError:
    return BundleError(f"{key} {what}", where=str(folder / REPORT), remedy="export the bundle again")
