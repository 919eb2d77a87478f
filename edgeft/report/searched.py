"""The search for the runtime's fastest options as a card: the options that were tried, the choice, and the evidence."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

from . import page, words


def card(runtime: Any) -> ET.Element | None:
    """The card of the manifest's `runtime.search`; None where no search was made."""
    search = words.table(words.table(runtime).get("search"))
    tried = [trial for trial in search.get("tried") or () if isinstance(trial, Mapping)]
    if not tried:
        return None

    rows = [
        [changes(trial.get("change")), words.line(trial.get("verdict")), words.line(trial.get("why"))]
        for trial in tried
    ]

    final = words.finite(words.table(search.get("final")).get("speedup"))
    gain = f"{final:.2f}x as fast as with the options before, " if final else ""
    margin = words.finite(search.get("margin_pct"))
    note = (
        f"{gain}measured on {words.line(search.get('device') or 'host')} at {words.line(search.get('at') or '?')}. "
        "A value was kept where the outputs on the samples are the same bits and it is faster beyond the noise"
        f"{f' by more than {margin:.1f} %' if margin is not None else ''}; more threads have to bring more."
    )

    return page.card("Runtime options", page.table(["tried", "verdict", "why"], rows), note=note)


def changes(values: Any) -> str:
    """Options and their values in one line."""
    return ", ".join(f"{words.line(key)} = {words.line(value)}" for key, value in words.table(values).items())
