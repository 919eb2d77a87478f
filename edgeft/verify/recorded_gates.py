"""The gates that a bundle records, and whether they are looser than those of its recipe."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from ..bundle.manifest import recorded
from ..config.recipe import Gates
from ..core.verdict import FAIL, PASS, Verdict

#: gates whose lower value is the looser one; of all other numbers it is the higher one, and 0 is none at all
_LEAST = ("min_speedup", "min_int8_share", "min_coverage", "min_agreement", "episodes")
#: limits where 0 or None means that there is none, or the task's own
_OFF = ("max_drop_relative", "latency_ms", "size_mb", "energy_mj")


def recorded_gates(manifest: Mapping[str, Any]) -> Gates:
    """The gates that the bundle was exported under (`gates`, else `provenance.recipe.gates`), else the defaults."""
    table = manifest.get("gates") or recorded(manifest, "gates")
    known = {field.name for field in dataclasses.fields(Gates)}
    return Gates(**{key: value for key, value in table.items() if key in known})


def as_in_recipe(manifest: Mapping[str, Any]) -> list[Verdict]:
    """The manifest's gates are at least as strict as those of the recipe that it records; nothing where it has none."""
    recipe = recorded(manifest, "gates")
    if not recipe:
        return []
    known = {field.name for field in dataclasses.fields(Gates)}
    asked = Gates(**{key: value for key, value in recipe.items() if key in known})
    judged = recorded_gates(manifest)
    looser = [key for key in sorted(known) if _looser(key, getattr(judged, key), getattr(asked, key))]
    base: dict[str, Any] = {"metric": "gates of the recipe", "n": len(known)}
    if "gates" not in manifest and "figures" in manifest:  # every version that writes figures writes gates
        return [Verdict("parity", FAIL, "the manifest has the figures of its export, and its gates are gone", **base)]
    if looser:
        parts = [f"{key} is {getattr(judged, key)!r}, {getattr(asked, key)!r} in the recipe" for key in looser]
        why = f"the manifest's gates are looser than those of the recipe that it records: {'; '.join(parts)}"
        return [Verdict("parity", FAIL, why, **base)]
    return [Verdict("parity", PASS, "the gates are those of the recipe", **base)]


def _looser(key: str, value: Any, asked: Any) -> bool:
    if value == asked:
        return False
    if key == "decide":
        return bool(asked == "bound")
    if key == "environment":
        return bool(asked)
    if key == "max_drop":  # None is the task's default, which is not known here
        return value is not None and asked is not None and value > asked
    if key in _LEAST:
        return bool(value < asked)
    limit, before = (math.inf if key in _OFF and not number else number for number in (value, asked))
    return bool(limit > before)
