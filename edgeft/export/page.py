"""report.html of a bundle at export, and the samples on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .. import data, tasks
from ..bundle import reader as bundle
from ..report import html
from .prove import ConvertedTarget, Evidence
from .quantized_run import QuantizedRun
from .worst import worst

#: samples of a card
SHOWN = 8


def page(run: QuantizedRun, converted: ConvertedTarget, report: dict[str, Any], samples: list[dict[str, Any]]) -> str:
    """The page of one bundle, whose manifest is written; `samples` are those of `sample_rows`."""
    scheme = run.summary.get("schemes", {}).get(converted.scheme.name, {})
    extras = {
        "latency_samples": (report.get("latency") or {}).get("samples_ms"),
        "per_class": report.get("per_class"),
        "samples": samples,
        "worst": [],  # they are among the samples
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
    """A few samples of the test split: on which float and quantized differ, the worst of the quantized, the `carried`.

    `group` says which they are ("flipped", "worst", ""); no sample is shown twice.
    """
    split = dataset.split("test")
    same = task.alike(evidence.float, evidence.quantized)
    same = same.reshape(len(same), -1).all(axis=1)
    changed = np.flatnonzero(~same)
    spread = np.unique(np.linspace(0, len(changed) - 1, SHOWN if len(changed) else 0).astype(int))
    groups = {
        "flipped": [int(changed[place]) for place in spread],
        "worst": worst(task, evidence.quantized, split.targets, SHOWN),
        "": list(carried)[:SHOWN],
    }

    rows: dict[int, dict[str, Any]] = {}
    for group, positions in groups.items():
        for i in (position for position in positions if position not in rows):
            rows[i] = {**_row(task, spec, evidence, dataset, i), "group": group, "alike": bool(same[i])}

    return list(rows.values())


def _row(task: Any, spec: dict[str, Any], evidence: Evidence, dataset: data.Dataset, i: int) -> dict[str, Any]:
    """Test sample `i` as it is drawn, with its label, both answers and where it came from."""
    split = dataset.split("test")
    raw = split.raw(i)
    before, after = (
        tasks.tell(task, {name: values[i : i + 1] for name, values in outputs.items()}, raw, spec, dataset.labels)
        for outputs in (evidence.float, evidence.quantized)
    )

    return {
        **tasks.draw(task, raw, after, split.targets[i]),
        "position": i,
        "source": Path(split.source(i)).name,
        "label": task.describe(split.targets[i], dataset.labels),
        "judged": task.discrete,  # a value is never exactly the recorded one
        "float": before.get("label"),
        "quantized": after.get("label"),
    }


def in_words(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The flipped and the worst of `sample_rows` without their pictures, as report.json keeps them."""
    keys = ("group", "position", "source", "label", "float", "quantized")
    return [{key: row[key] for key in keys} for row in samples if row["group"]]
