"""What a report does not judge: gates without a limit, and keys of the manifest that are recorded only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.metric import finite
from ..core.verdict import PASS

#: what is shown of a gate that passed because no limit is set
NO_LIMIT = "no limit"
#: gates whose limit may be none
WITH_LIMITS = ("size", "latency", "energy", "agreement")


def limitless(gate: Mapping[str, Any]) -> bool:
    """Whether a gate passed because nothing was asked of it: a share of at least 0, a budget that is not set."""
    shares = gate.get("metric") in ("int8_share", "graph_share")
    asked = "limit" not in gate or finite(gate["limit"])
    return gate.get("verdict") == PASS and not asked and (shares or gate.get("name") in WITH_LIMITS)


def recorded_only(report: Mapping[str, Any]) -> list[str]:
    """The keys of the manifest that no measurement tells (`unmeasured`)."""
    keys = report.get("unmeasured")
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []


def recorded_keys(keys: Sequence[str]) -> str:
    """The sentence, with a space before it, that no file of the bundle shows these keys of the manifest; "" of none."""
    if not keys:
        return ""
    more = f" and {len(keys) - 2} further ones" if len(keys) > 2 else ""
    named = ", ".join(keys[:2]) if more else " and ".join(keys)
    return f" No file shows whether the manifest's {named}{more} hold (`unmeasured` in report.json)."
