"""report.html of a bundle at export, and the samples on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import data, tasks
from ..bundle import reader as bundle
from ..report import html
from .prove import ConvertedTarget, Evidence
from .quantized_run import QuantizedRun

#: samples on the page, and how many of them at most are those on which float and int8 differ
SHOWN, CHANGED = 16, 8


def page(run: QuantizedRun, converted: ConvertedTarget, evidence: Evidence, report: dict[str, Any]) -> str:
    """The page of one bundle, whose manifest is written."""
    scheme = run.summary.get("schemes", {}).get(converted.scheme.name, {})
    extras = {
        "latency_samples": (report.get("latency") or {}).get("samples_ms"),
        "per_class": report.get("per_class"),
        "samples": sample_rows(run.task, run.spec, evidence, converted.reference.samples.positions, run.dataset),
        "layer_error": list(converted.reference.layer_errors),
        "history": list(run.history),
        "rows": {"float": run.summary.get("float"), "ptq": scheme.get("ptq"), "quantized": scheme.get("quantized")},
        "int8": report.get("int8"),
    }

    manifest = bundle.open(converted.staging, check_files=False).manifest
    return html.render(report, manifest, run.summary, extras)


def sample_rows(
    task: Any, spec: dict[str, Any], evidence: Evidence, carried: tuple[int, ...], dataset: data.Dataset
) -> list[dict[str, Any]]:
    """A few samples of the test split, those first on which float and int8 differ, then those that are `carried`."""
    split = dataset.split("test")
    same = task.alike(evidence.float, evidence.quantized)
    changed = np.flatnonzero(~same.reshape(len(same), -1).all(axis=1))
    count = CHANGED if len(changed) else 0
    differ = [int(changed[place]) for place in np.unique(np.linspace(0, len(changed) - 1, count).astype(int))]

    rows = []
    for i in [*differ, *(i for i in carried if i not in differ)][:SHOWN]:
        raw = split.raw(i)
        before, after = (
            tasks.tell(task, {name: values[i : i + 1] for name, values in outputs.items()}, raw, spec, dataset.labels)
            for outputs in (evidence.float, evidence.quantized)
        )
        rows.append(
            {
                **tasks.draw(task, raw, after, split.targets[i]),
                "label": task.describe(split.targets[i], dataset.labels),
                "alike": bool(same[i].all()),
                "judged": task.discrete,  # a value is never exactly the recorded one
                "float": before.get("label"),
                "quantized": after.get("label"),
            }
        )

    return rows
