"""What an export tells the tracker of its run: gates as figures, the bundle and its report as artifacts.

`tune` leaves in the run's folder where its tracker has the run (`trackers/mlflow.json`, `trackers/wandb.json`); an
export, which comes later and from another process, adds to it there. TensorBoard keeps no files: it gets the gates as a
table, with the bundle's path. Other trackers of accelerate know only what `tune` logs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import trackers as known
from ..core import files, strict_json
from ..core.errors import need

#: folder of a run with what trackers keep there
FOLDER = "trackers"
#: tracker that takes files -> what its .json in that folder says of the run
RUN_KEYS = {"mlflow": ("run_id", "tracking_uri"), "wandb": ("id", "project", "entity")}
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
    tell = {"mlflow": _mlflow, "tensorboard": _tensorboard, "wandb": _wandb}.get(name)
    if tell is None:
        return

    for report in reports:
        try:
            tell(run, report)
        except Exception as error:  # a server that is away, a run that was deleted there, a disk that is full
            reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
            say(f"warning: {name} has no record of {report['target']}: {reason}")


def remember(run: Path, tracker: str, where: Mapping[str, str]) -> None:
    """Keep where a tracker of `RUN_KEYS` has the run."""
    files.write_json(run / FOLDER / f"{tracker}.json", dict(where))


def remembered(run: Path, tracker: str) -> dict[str, str]:
    """What `remember` kept, {} where there is nothing that can be read."""
    try:
        table = strict_json.loads((run / FOLDER / f"{tracker}.json").read_text(encoding="utf-8"))
        return {key: str(table[key]) for key in RUN_KEYS.get(tracker, ())}
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
    where = _place(run, "mlflow")
    client = need("mlflow", "mlflow").MlflowClient(where["tracking_uri"])
    for name, value in figures(report):
        client.log_metric(where["run_id"], name, value)
    client.set_tag(where["run_id"], f"{report['target']}.verdict", report["verdict"])
    client.log_artifacts(where["run_id"], str(report["path"]), f"bundles/{report['target']}")


def _place(run: Path, tracker: str) -> dict[str, str]:
    where = remembered(run, tracker)
    if not where:
        raise RuntimeError(f"the run's folder does not say which run of {tracker} it is (trackers/{tracker}.json)")
    return where


def _wandb(run: Path, report: Mapping[str, Any]) -> None:
    """Offline (WANDB_MODE) this is a folder more of the same run, which `wandb sync` uploads after the first."""
    wandb, where, target = need("wandb"), _place(run, "wandb"), report["target"]
    place = {"id": where["id"], "project": where["project"], "entity": where["entity"] or None}
    with wandb.init(**place, resume="allow", settings=wandb.Settings(silent=True)) as opened:
        opened.summary[f"{target}/verdict"] = report["verdict"]
        rows = [[str(cell) for cell in row] for row in _gate_rows(report)]
        table = wandb.Table(columns=list(_GATE_HEADS), data=rows)
        opened.log({**dict(figures(report)), f"{target}/gates": table})
        log_files(opened, f"bundle-{target}", "bundle", [Path(report["path"])])


def log_files(opened: Any, name: str, kind: str, paths: Sequence[Path]) -> None:
    """Files and folders as an artifact of an open run of Weights & Biases."""
    artifact = need("wandb").Artifact(re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{name}-{opened.id}"), type=kind)
    for path in paths:
        if path.is_dir():
            artifact.add_dir(str(path))
        elif path.is_file():
            artifact.add_file(str(path))
    opened.log_artifact(artifact)


_GATE_HEADS = ("gate", "verdict", *FIGURES, "why")


def _gate_rows(report: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """A row a gate, in the order of `_GATE_HEADS`."""
    return [(_gate_name(g), g["verdict"], *map(g.get, FIGURES), g["why"]) for g in report["gates"]]


def _tensorboard(run: Path, report: Mapping[str, Any]) -> None:
    from torch.utils.tensorboard import SummaryWriter

    rows = ["| " + " | ".join(str(cell).replace("|", "/") for cell in row) + " |" for row in _gate_rows(report)]
    lines = [
        f"**{report['verdict']}**: {report['path']}",
        "",
        f"| {' | '.join(_GATE_HEADS)} |",
        "| --- " * len(_GATE_HEADS) + "|",
        *rows,
    ]

    with SummaryWriter(str(run / FOLDER / "exported")) as writer:
        writer.add_text(f"export/{report['target']}", "\n".join(lines))
        for name, value in figures(report):
            writer.add_scalar(name, value)


def _gate_name(gate: Mapping[str, Any]) -> str:
    return f"{gate['name']} ({gate['metric']})" if gate.get("metric") else str(gate["name"])
