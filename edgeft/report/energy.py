"""Energy of one inference in a line."""

from __future__ import annotations

from typing import Any

from . import words

#: (side, its keys), in the order in which they are written
SIDES = (
    ("float", "float_mj", "float_ci99"),
    ("old", "old_mj", "old_ci99"),
    ("quantized", "quantized_mj", "quantized_ci99"),
)
SELF = ("", "mj", "mj_ci99")


def line(value: Any) -> str:
    """The figures with their meter, why there is none, or "" where none was asked for."""
    table = words.table(value)
    if not table:
        return ""
    if "absent" in table:
        return f"energy: not measured; {words.line(table['absent'])}"

    figures = [
        f"{name} {words.figure(table[mj], 'mJ')} {words.interval(table.get(bounds), 'mJ')}".strip()
        for name, mj, bounds in (*SIDES, SELF)
        if words.finite(table.get(mj)) is not None
    ]
    text = f"energy: {', '.join(figures)} a run"
    if (ratio := words.finite(table.get("ratio"))) is not None:
        text += f", {ratio:.3g} times as much {words.interval(table.get('ci99'), '')}".rstrip()

    idle = words.figure(table.get("idle_w"), "W")
    return f"{text} ({words.line(table.get('meter'))}, idle {idle}; intervals of 99 %)"
