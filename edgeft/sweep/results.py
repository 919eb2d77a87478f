"""What a sweep came to: its trials as plain values, the Pareto front, the best trial, and the files that say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core import files
from ..core.metric import Metric
from ..report import swept
from ..report.swept import COSTS
from . import space, trial
from .study import FIGURES, HISTORY, WHY, Study
from .trial import Plan

#: files of a sweep's folder
RESULT, BEST, PAGE = "sweep.json", "best.toml", "sweep.html"
#: share by which two measurements of the same model may differ
NOISE = {"latency": 0.05}
STATES = {"COMPLETE": "done", "PRUNED": "stopped", "FAIL": "failed", "RUNNING": "running", "WAITING": "running"}


def pareto(rows: Sequence[Mapping[str, Any]], metric: Metric, costs: Sequence[str]) -> set[int]:
    """The numbers of the finished trials that no other one beats: no worse in any objective and better in one.

    Two latencies are distinguished where they differ by more than `NOISE`, since they were measured minutes apart.
    """
    done = {row["number"]: row for row in rows if row["state"] == "done"}

    def beats(rival: Mapping[str, Any], mine: Mapping[str, Any]) -> bool:
        worse = metric.better(mine["validation"], rival["validation"])
        better = metric.better(rival["validation"], mine["validation"])
        for name in costs:
            key, slack = COSTS[name][0], 1 + NOISE.get(name, 0.0)
            worse |= rival[key] > mine[key] * slack
            better |= rival[key] * slack < mine[key]
        return better and not worse

    return {number for number, row in done.items() if not any(beats(rival, row) for rival in done.values())}


def collect(plan: Plan, study: Study) -> dict[str, Any]:
    """sweep.json's content: every trial by its validation metric; test figures of the best one alone.

    The best trial is the one with the best validation metric; of equal ones the smaller or faster, then the first.
    """
    rows = [_row(study, frozen) for frozen in study.trials()]
    costs = [name for name in plan.objectives if name != "metric"]
    front = pareto(rows, plan.metric, costs)
    for row in rows:
        row["pareto"] = row["number"] in front

    done = [row for row in rows if row["state"] == "done"]
    sign = -1.0 if plan.metric.higher_is_better else 1.0
    keys = [COSTS[name][0] for name in costs]
    best = min(
        done, key=lambda row: (sign * row["validation"], *(row[key] for key in keys), row["number"]), default=None
    )
    result: dict[str, Any] = {
        "schema": 1,
        "sweep": str(study.folder),
        "task": plan.base.task,
        "target": plan.profile.name,
        "metric": plan.metric.name,
        "metric_record": plan.metric.as_dict(),
        "objectives": list(plan.objectives),
        "space": space.as_table(study.dimensions),
        "sampler": study.sampler,
        "seed": study.seed,
        "trials": rows,
        "counts": {state: sum(row["state"] == state for row in rows) for state in dict.fromkeys(STATES.values())},
        "best": None,
    }

    if best is not None:
        folder = study.place(best["number"])
        result["best"] = {
            **{
                key: best[key]
                for key in ("number", "values", "validation", *(k for k in ("p50_ms", "bytes") if k in best))
            },
            "run": str(folder),
            "recipe": str(study.folder / BEST),
            "test": trial.test_figures(folder),
        }

    return result


def _row(study: Study, frozen: Any) -> dict[str, Any]:
    figures = dict(frozen.user_attrs.get(FIGURES, {}))
    history = frozen.user_attrs.get(HISTORY, {})
    return {
        "number": frozen.number,
        "state": STATES[frozen.state.name],
        "values": study.values(frozen.params),
        "validation": None,
        **figures,
        "epochs": sum(int(step) % 1_000_000 > 0 for step in history),
        "why": frozen.user_attrs.get(WHY, ""),
    }


def write(plan: Plan, study: Study, result: dict[str, Any]) -> None:
    """Write sweep.json, its page, and where a trial is done the best recipe."""
    best = result["best"]
    if best is not None:
        text = trial.recipe_text(plan, study.dimensions, best["values"])
        head = (
            f"# trial {best['number']} of {study.folder}: {plan.metric.name} {plan.metric.format(best['validation'])}"
        )
        files.write_text(Path(best["recipe"]), f"{head} on validation\n{text}")

    files.write_json(study.folder / RESULT, result)
    files.write_text(study.folder / PAGE, swept.page_of(result))
