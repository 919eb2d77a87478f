"""What an export tells the tracker of its run: gates as figures, the bundle and its report as artifacts.

`tune` leaves in the run's folder where its tracker has the run (`trackers/mlflow.json`); an export, which comes later
and from another process, adds to it there. TensorBoard keeps no files: it gets the gates as a table, with the bundle's
path. Other trackers of accelerate know only what `tune` logs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import trackers as known
from ..core import files, strict_json
from ..core.errors import need

#: folder of a run with what trackers keep there, and the file that says where MLflow has the run
FOLDER, MLFLOW = "trackers", "mlflow.json"
#: keys of a gate that are figures
FIGURES = ("float", "quantized", "drop")


def require(name: str) -> None:
    """Raise `Missing` where the package of a tracker is not installed."""
    package = known.PACKAGES[name]
    extra = known.EXTRAS.get(name, "")
    need(package, extra, package="" if extra else package.replace("_", "-"))


def exported(run: Path, name: str, reports: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> None:
    """Tell the tracker `name` of the run's folder what was exported. What the tracker refuses is said and ends nothing:
    the bundles are written."""
    tell = {"mlflow": _mlflow, "tensorboard": _tensorboard}.get(name)
    if tell is None:
        return

    for report in reports:
        try:
            tell(run, report)
        except Exception as error:  # a server that is away, a run that was deleted there, a disk that is full
            reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
            say(f"warning: {name} has no record of {report['target']}: {reason}")


def remember(run: Path, where: Mapping[str, str]) -> None:
    """Keep where MLflow has the run: {"run_id", "tracking_uri"}."""
    files.write_json(run / FOLDER / MLFLOW, dict(where))


def remembered(run: Path) -> dict[str, str]:
    """What `remember` kept, {} where there is nothing that can be read."""
    try:
        table = strict_json.loads((run / FOLDER / MLFLOW).read_text(encoding="utf-8"))
        return {key: str(table[key]) for key in ("run_id", "tracking_uri")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def figures(report: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """(name, value) of the figures of a report's gates, and of its latency and size."""
    target = report["target"]
    for gate in report["gates"]:
        for key in FIGURES:
            if isinstance(gate.get(key), (int, float)):
                yield _name(target, gate["name"], gate["metric"], key), float(gate[key])

    for table in ("latency", "size"):
        for key, value in (report.get(table) or {}).items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                yield _name(target, table, key), float(value)


def _name(target: str, *parts: str) -> str:
    """ "rpi5/latency.speedup": MLflow keeps files by these names, so that none may be the folder of another one."""
    text = ".".join(filter(None, parts))
    return f"{target}/{re.sub(r'[^A-Za-z0-9_. -]+', '-', text)}"


def _mlflow(run: Path, report: Mapping[str, Any]) -> None:
    where = remembered(run)
    if not where:
        raise RuntimeError("the run's folder does not say which run of MLflow it is (trackers/mlflow.json)")
    client = need("mlflow", "mlflow").MlflowClient(where["tracking_uri"])
    for name, value in figures(report):
        client.log_metric(where["run_id"], name, value)
    client.set_tag(where["run_id"], f"{report['target']}.verdict", report["verdict"])
    client.log_artifacts(where["run_id"], str(report["path"]), f"bundles/{report['target']}")


def _tensorboard(run: Path, report: Mapping[str, Any]) -> None:
    from torch.utils.tensorboard import SummaryWriter

    heads = ("gate", "verdict", *FIGURES, "why")
    rows = [
        "| "
        + " | ".join(
            str(cell).replace("|", "/") for cell in (_gate_name(g), g["verdict"], *map(g.get, FIGURES), g["why"])
        )
        + " |"
        for g in report["gates"]
    ]
    lines = [
        f"**{report['verdict']}**: {report['path']}",
        "",
        f"| {' | '.join(heads)} |",
        "| --- " * len(heads) + "|",
        *rows,
    ]

    with SummaryWriter(str(run / FOLDER / "exported")) as writer:
        writer.add_text(f"export/{report['target']}", "\n".join(lines))
        for name, value in figures(report):
            writer.add_scalar(name, value)


def _gate_name(gate: Mapping[str, Any]) -> str:
    return f"{gate['name']} ({gate['metric']})" if gate.get("metric") else str(gate["name"])
