"""What a page needs, read from a bundle, a run directory or a store of baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .. import tasks
from ..bundle import reader as bundles
from ..bundle.reader import Bundle
from ..core import strict_json
from ..core.errors import BundleError, EdgeftError, RunError
from . import html, trend

_MOST_SAMPLES = 24


def read(path: Path) -> html.Part:
    """The part of a page for a bundle, a run directory or a store of baselines; raises `BundleError` or `RunError`."""
    if (path / "manifest.json").is_file():
        return of_bundle(bundles.open(path))
    if (path / "summary.json").is_file():
        return of_run(path)
    if (path / "history.jsonl").is_file() or (path / "accepted").is_dir():
        return trend.part(path)

    if not path.exists():
        raise RunError("no such folder", where=str(path), remedy="name a run or bundle folder")
    raise RunError(
        "neither a bundle (manifest.json), a finished run (summary.json) nor a store of baselines (history.jsonl)",
        where=str(path),
        remedy=f"edgeft tune --resume {path}" if (path / "recipe.toml").is_file() else "name a run or bundle folder",
    )


def of_bundle(opened: Bundle) -> html.Part:
    """A bundle with its own samples; the float decisions come from its report, else its baseline is run here.

    Raises `BundleError` where report.json is missing or is no JSON object.
    """
    report = _object(opened.path / "report.json", BundleError)
    extras = {"samples": samples(opened, report)}
    details = report.get("details")
    summary = details.get("summary") if isinstance(details, dict) else None

    return html.bundle_part(report, opened.manifest, summary if isinstance(summary, dict) else None, extras)


def samples(opened: Bundle, report: dict[str, Any]) -> list[dict[str, Any]]:
    """`extras["samples"]` from samples.npz: raw inputs, labels, and what both artifacts decided."""
    stored = opened.samples()
    raws = bundles.raws(stored)[:_MOST_SAMPLES]
    decoded = _decoded(opened, raws, {k[7:]: v for k, v in stored.items() if k.startswith("output/")})
    after = [_said(row) for row in decoded]
    details = report.get("details")
    recorded = details.get("samples") if isinstance(details, dict) else None

    if isinstance(recorded, list) and len(recorded) >= len(raws):
        before = [row.get("float") if isinstance(row, dict) else None for row in recorded]
    else:
        before = [_said(row) for row in _decoded(opened, raws, _baseline(opened, stored))]

    entries = []
    judged = opened.task.discrete
    for number, raw in enumerate(raws):
        entries.append(
            {
                **opened.task.draw(raw, decoded[number] if number < len(decoded) else {}),
                "label": _label(opened, stored, number),
                "judged": judged,
                **({} if judged else {"alike": True}),
                "float": before[number] if number < len(before) else None,
                "quantized": after[number] if number < len(after) else None,
            }
        )

    return entries


def of_run(path: Path) -> html.Part:
    """A run directory; raises `RunError` where summary.json is missing or is no JSON object."""
    recipe, metrics = path / "recipe.toml", path / "metrics.jsonl"
    text = recipe.read_text(encoding="utf-8", errors="replace") if recipe.is_file() else ""
    return html.run_part(_object(path / "summary.json", RunError), history(metrics), text)


def history(path: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl; a line that an interruption cut short is left out, and an absent file has no rows."""
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            row = strict_json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)

    return rows


def _baseline(opened: Bundle, stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the float artifact gives for the samples; nothing where its runtime is not installed here."""
    feeds = {k[6:]: v for k, v in stored.items() if k.startswith("input/") and k.count("/") == 1}
    try:
        return opened.session(baseline=True).run(feeds) if feeds else {}
    except EdgeftError:
        return {}  # a page without the float column is still a page; `edgeft verify` says what is wrong


def _decoded(opened: Bundle, raws: list[Any], outputs: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """What the task says of each sample; `outputs` {} gives nothing."""
    rows = [{key: value[i : i + 1] for key, value in outputs.items()} for i in range(len(raws) if outputs else 0)]
    return [
        tasks.tell(opened.task, row, raw, opened.preprocess, opened.labels)
        for row, raw in zip(rows, raws)
        if all(len(value) for value in row.values())
    ]


def _said(row: dict[str, Any]) -> Any:
    """What the task calls a decision: the label where it decodes one, else its first plain value."""
    return row.get("label", next((v for v in row.values() if isinstance(v, (str, int, float))), None))


def _label(opened: Bundle, stored: dict[str, np.ndarray], number: int) -> str:
    names, targets = stored.get("target_names"), stored.get("targets")
    if names is not None and number < len(names):
        return str(names[number])
    if targets is None or number >= len(targets) or np.ndim(targets[number]):
        return ""

    value = targets[number]
    is_class = np.asarray(value).dtype.kind in "iu" and 0 <= int(value) < len(opened.labels)
    return opened.labels[int(value)] if is_class else str(value)


def _object(path: Path, error: type[BundleError] | type[RunError]) -> dict[str, Any]:
    try:
        value = strict_json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as missing:
        raise error(f"has no {path.name}", where=str(path.parent), remedy="export it again") from missing
    except (OSError, ValueError, RecursionError) as broken:
        raise error(f"cannot be read ({broken})", where=str(path)) from broken

    if not isinstance(value, dict):
        raise error("is not a JSON object", where=str(path))

    return value
