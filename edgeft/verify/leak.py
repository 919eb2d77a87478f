"""Leaks: test samples that the model was trained on say little of what it does with new ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..core.verdict import INCONCLUSIVE, PASS, Verdict

#: more test samples than this share among the training samples leave the accuracy gate undecided
MOST = 0.01


def leaked(leak: Any) -> tuple[int, int]:
    """(test samples with the content of a training sample, test samples that were looked at); (0, 0) where nothing is
    recorded. `leak` is summary.json's `leak`, and the manifest's `provenance.leak`."""
    if not isinstance(leak, Mapping):
        return 0, 0
    identical, n = leak.get("identical"), leak.get("n")
    return (identical, n) if type(identical) is int and type(n) is int and 0 <= identical <= n else (0, 0)


def sentence(leak: Any, *, allowed: bool) -> str:
    """What a report says of it; "" without a leak."""
    identical, n = leaked(leak)
    if not identical:
        return ""
    text = f"{identical} of {n} test samples ({identical / n:.1%}) are also in the training split"
    return f"{text}, which data.allow_leak accepts" if allowed else text


def beside_leak(accuracy: Verdict, leak: Any, *, allowed: bool) -> Verdict:
    """The accuracy gate where test samples were trained on: a pass is inconclusive above `MOST`, unless the recipe's
    `data.allow_leak` accepts it; either way the reason names them."""
    identical, n = leaked(leak)
    if not identical or not accuracy.n:
        return accuracy
    why = f"{accuracy.why}; {sentence(leak, allowed=allowed)}"
    if allowed or identical / n <= MOST or accuracy.verdict != PASS:
        return replace(accuracy, why=why)
    why += ": the result on new samples is unknown. Remove them from one of the splits, or set data.allow_leak = true"
    return replace(accuracy, verdict=INCONCLUSIVE, why=why)
