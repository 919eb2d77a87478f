"""The gates and the target that a bundle records, and whether they are those of its recipe."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from ..bundle.manifest import recorded
from ..bundle.reader import Bundle
from ..config.recipe import Gates
from ..core.metric import Metric
from ..core.verdict import FAIL, PASS, Verdict

#: gates whose lower value is the looser one; of all other numbers it is the higher one, and 0 is none at all
_LEAST = ("min_speedup", "min_int8_share", "min_coverage", "min_agreement", "episodes")
#: what 0.1.0 did not record yet, and every export since then does
LATER = ("figures", "samples", "metric_record")
_PROVENANCE = ("recipe", "run", "versions", "fingerprint")
#: limits where 0 or None means that there is none, or the task's own
_OFF = ("max_drop_relative", "latency_ms", "size_mb", "energy_mj")


def recorded_gates(manifest: Mapping[str, Any]) -> Gates:
    """The gates that the bundle was exported under (`gates`, else `provenance.recipe.gates`), else the defaults."""
    table = manifest.get("gates") or recorded(manifest, "gates")
    known = {field.name for field in dataclasses.fields(Gates)}
    return Gates(**{key: value for key, value in table.items() if key in known})


def as_recorded(opened: Bundle) -> list[Verdict]:
    """Gates, target and metric of a bundle against its recipe and its task."""
    manifest = opened.manifest
    return [
        *as_in_recipe(manifest),
        *target_as_in_recipe(manifest),
        *metric_as_in_task(manifest, opened.task.metric),
        *record_as_written(manifest),
    ]


def record_as_written(manifest: Mapping[str, Any]) -> list[Verdict]:
    """A failed gate where some parts are gone of what every export since 0.1.0 writes together; nothing where none
    is. Without the recipe, looser gates could not be told; without the fingerprint, outputs would be compared as on
    another machine."""
    gone = [key for key in LATER if key not in manifest]
    if len(gone) == len(LATER):
        return []
    gone += [f"provenance.{key}" for key in _PROVENANCE if not manifest["provenance"].get(key)]
    gone += [] if recorded(manifest, "gates") or "provenance.recipe" in gone else ["provenance.recipe.gates"]
    if not gone:
        return []
    why = f"the manifest's record of the export lacks {', '.join(gone)}, which are written together with the rest"
    return [Verdict("parity", FAIL, why, metric="record of the export", n=len(LATER))]


def target_as_in_recipe(manifest: Mapping[str, Any]) -> list[Verdict]:
    """A failed gate where the recipe that the manifest records was not exported for the manifest's target."""
    targets = recorded(manifest, "export").get("targets")
    if not isinstance(targets, list) or not targets or manifest["target"] in targets:
        return []
    names = ", ".join(map(str, targets))
    why = f"the manifest's target is {manifest['target']}, and the recipe that it records was exported for {names}"
    return [Verdict("parity", FAIL, why, metric="target of the recipe", n=len(targets))]


def metric_as_in_task(manifest: Mapping[str, Any], metric: Metric) -> list[Verdict]:
    """A failed gate where the metric that the manifest describes, and pages write figures by, is not the task's."""
    table, known = manifest.get("metric_record"), metric.as_dict()
    if not isinstance(table, Mapping) and "figures" in manifest and "metric_record" in manifest:
        why = "the manifest has figures of a metric, and its description is no object"
        return [Verdict("parity", FAIL, why, metric="metric of the task", n=1)]
    if (figures := manifest.get("figures") or {}) and figures["metric"] != metric.name:
        why = f"the manifest's figures are of {figures['metric']!r}, and the metric of the task is {metric.name!r}"
        return [Verdict("parity", FAIL, why, metric="metric of the task", n=1)]
    if not isinstance(table, Mapping):
        return []

    other = [key for key in ("name", "unit", "higher_is_better", "chance") if table.get(key) != known[key]]
    if not other:
        return []

    why = f"the manifest's metric differs from the task's: {', '.join(f'{k} is {table.get(k)!r}' for k in other)}"
    return [Verdict("parity", FAIL, why, metric="metric of the task", n=1)]


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
