"""The tables of `personalization.py`, from what it measured."""

from __future__ import annotations

from typing import Any

import common
from policies import wilson

TARGETS = list(common.TARGETS.values())


def percent(value: tuple[float, int] | list[Any]) -> str:
    share, n = value
    low, high = wilson(share, n)
    return f"{100 * share:.1f} [{100 * max(low, 0):.1f}, {100 * high:.1f}]"


NAMES = {
    "none": "nothing: as exported",
    "prototype": "class means only, no step",
    "head": "head",
    "last": "head and last block",
    "means": "last block, by prototypes of classes",
    "ceiling": "everything, on the host",
}


def pooled(every: list[dict[str, Any]], row: str, key: str) -> tuple[float, int]:
    right = sum(one[row][key][0] * one[row][key][1] for one in every)
    n = sum(one[row][key][1] for one in every)
    return right / n, n


def tables(found: dict[str, Any]) -> str:
    parts = []
    for name, title in (
        ("voices", "A new voice (FSDD), 5 recordings a digit, LiteRT; four speakers in turn, pooled"),
        ("cells", "Blood cells (BCCD) in a dimmer, bluer light, 10 pictures a class, LiteRT"),
        ("classes", "A new digit (FSDD) from 10 recordings, LiteRT; three digits in turn, pooled"),
    ):
        if name not in found:
            continue
        every = [
            {**one.get(TARGETS[-1], {}), **({"ceiling": one["ceiling"]} if "ceiling" in one else {})}
            if name != "classes"
            else one
            for one in found[name].values()
        ]
        cells_ = []
        for row, words in NAMES.items():
            if all(row in one for one in every):
                verdicts = [one[row].get("verdict", "") for one in every]
                kept = f"{verdicts.count('pass')} of {len(verdicts)}" if any(verdicts) else ""
                cells_.append([words, percent(pooled(every, row, "new")), percent(pooled(every, row, "old")), kept])
        head = ["what learns", "on the new, % [95 %]", "on the old, % [95 %]", "kept by the gate"]
        parts.append(f"{title}:\n\n{common.table(head, cells_)}")

    if "steps" in found:
        cells_ = [
            [
                title,
                *(f"{one[b]['ratio']:.2f} [{one[b]['ci99'][0]:.2f}, {one[b]['ci99'][1]:.2f}]" for b in common.RUNTIMES),
            ]
            for title, one in found["steps"].items()
        ]
        head = ["training step, batch 16", *(f"{name}, times torch's speed" for name in common.RUNTIMES.values())]
        parts.append(common.table(head, cells_))

    if "board" in found:
        cells_ = [
            [
                common.RUNTIMES.get(b, "tflite-runtime 2.14, numpy 1.26 (and edgeft)"),
                *(f"{one[tail]['peak'] / 1e6:.0f}" for tail in ("head", "last")),
                f"{one['packages'] / 1e6:.0f}",
            ]
            for b, one in found["board"].items()
        ]
        head = ["process of `edgeft personalize`", "peak MB, head", "peak MB, last block", "numpy, click, runtime: MB"]
        parts.append(common.table(head, cells_))

    return "\n\n".join(parts)
