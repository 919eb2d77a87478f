"""Layers back to float, the most sensitive first, until the gates' limits hold on validation: `method = "auto"`.

Which layers is decided by what each costs alone (`sensitivity.py`); whether they are enough is measured: every point of
the path is a graph of its own, calibrated with these layers in float, as a recipe with the same `keep_float` gives it,
and run over the whole validation split. The number of layers is doubled until the limits hold, then halved between; at
the end costly layers that prove unneeded go back to integers. The test split is never read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from ..core.errors import DataError, RecipeError
from ..core.progress import phase
from ..core.verdict import FAIL, INCONCLUSIVE, PASS
from ..quantize import multiply_accumulates
from ..quantize.parts import CapturedParts, QuantizedParts
from ..verify.accuracy import check_baseline, drop_limit
from ..verify.agreement import agreement
from .calibration_data import calibrated
from .sensitivity import LayerSensitivity, Sensitivity, layers_of, sensitivity
from .session import Say, Session, silent

#: samples of one evaluation batch
_BATCH = 32
#: layers of the smallest sufficient number that are tried in integers again, the costliest first
TRIED_AGAIN = 4
_EPSILON = 1e-9
#: (a figure's computation) -> the figure that all processes of a distributed run take
Agree = Callable[[Callable[[], float]], float]


def _alone(compute: Callable[[], float]) -> float:
    return compute()


@dataclass(frozen=True)
class Standing:
    """A graph on the validation split: its metric, the drop against float, the share of equal decisions (None: not
    asked for), and whether the limits hold."""

    metric: float
    drop: float
    agreement: float | None
    holds: bool


@dataclass(frozen=True)
class Judge:
    """The float network's outputs on the validation split, and what may be lost against them.

    `limit` is of the task's metric, None where the data have no labels. `n` samples.
    """

    session: Session
    outputs: dict[str, np.ndarray]
    before: float
    limit: float | None
    n: int
    agree: Agree = _alone

    def __call__(self, module: nn.Module) -> Standing:
        task, gates = self.session.task, self.session.recipe.gates
        with phase("evaluating on val"):
            kept: dict[str, np.ndarray] = {}

            def metric() -> float:
                kept.update(_outputs(self.session, module))
                return float(task.score(kept, self.session.dataset.split("val").targets))

            after = self.agree(metric)
            share: float | None = None
            if gates.min_agreement:
                share = self.agree(lambda: agreement(task, self.outputs, kept, gates).quantized or 0.0)

        drop = task.metric.drop(self.before, after)
        within = self.limit is None or drop <= self.limit + _EPSILON
        return Standing(after, drop, share, within and (share is None or share >= gates.min_agreement))

    def limits(self) -> str:
        """The limits in words."""
        metric, gates = self.session.task.metric, self.session.recipe.gates
        words = [f"a drop of at most {metric.format_limit(self.limit)}"] if self.limit is not None else []
        words += [f"agreement of at least {gates.min_agreement:.4g}"] if gates.min_agreement else []
        return " and ".join(words)


@dataclass(frozen=True)
class Mixed:
    """The graph that was chosen and how it was quantized, "ptq" or "qat"; `keep_float` are all layers in float, those
    of the recipe first. `record` is the table `auto` of summary.json."""

    graph: QuantizedParts
    method: str
    keep_float: tuple[str, ...]
    record: dict[str, Any]


def judge_of(session: Session, captured: CapturedParts, agree: Agree = _alone) -> Judge:
    """What graphs of this session are judged by, from the float graphs `captured`.

    Raises `RecipeError` where the gates have no limit, or one that cannot fail, `DataError` where the float model is no
    better than chance on the validation split.
    """
    task, gates, val = session.task, session.recipe.gates, session.dataset.split("val")
    with phase("evaluating float on val"):
        outputs = _outputs(session, captured.module)

    before, limit = float(task.score(outputs, val.targets)), None
    if not session.dataset.unlabelled:
        check_baseline(task, outputs, val.targets, before)
        limit = drop_limit(task, gates, before, task.chance(val.targets))
    elif not gates.min_agreement:
        raise RecipeError(
            'quantize.method = "auto" has no limit to reach: the data have no labels, and no agreement is asked for',
            where="gates.min_agreement",
            remedy="set gates.min_agreement, such as 0.95",
        )

    return Judge(session, outputs, before, limit, len(val), agree)


def search(
    session: Session,
    captured: CapturedParts,
    start: QuantizedParts,
    judge: Judge,
    say: Say = silent,
    *,
    standing: Standing | None = None,
    trained: tuple[QuantizedParts, Standing] | None = None,
) -> Mixed:
    """The calibrated graph `start` where the limits hold, else the `trained` one, else that of the fewest sensitive
    layers in float that meets them.

    `captured` are the float graphs; `standing` is that of `start`, where it is known. Layers return in the calibrated
    graph: it comes near the float network with each of them, while weights that were trained on a grid have adapted to
    it. Where nothing meets the limits, what has the best metric is taken, and the record's verdict is "fail".
    """
    path = _Path(session, captured, start, judge, say)
    first = path.add((), start, standing)
    tried = [first, *([path.add((), *trained, method="qat")] if trained else [])]

    for point in tried:
        if point.holds:
            return path.chosen(point, PASS, "with no layer in float")

    ranking = sensitivity(session, start)
    offered = _affordable(start, _agreed(ranking, start, judge.agree), session.recipe.gates.min_int8_share)
    if not start.scheme.is_integer or not offered:
        why = "no layer can return to float" if start.scheme.is_integer else f"{start.scheme.format} has no integers"
        why += f": gates.min_int8_share is {session.recipe.gates.min_int8_share:g}" if start.scheme.is_integer else ""
        return path.chosen(first, FAIL, why, ranking)

    enough = _fewest(path, offered)
    if enough is None:
        why = f"not even with {len(offered)} layers in float, all that gates.min_int8_share allows"
        return path.chosen(path.best or first, FAIL, why, ranking)

    best = _without_unneeded(path, enough, {at.layer.name: at.layer.macs for at in ranking.layers})
    count = len(best.returned)
    return path.chosen(best, PASS, f"with {count} layer{'s' * (count > 1)} in float", ranking)


def undecided(graph: QuantizedParts, keep_float: Sequence[str], error: DataError) -> Mixed:
    """The graph as it is, where the validation split cannot tell what was lost."""
    why = f"not judged: {error.message}"
    record = {"verdict": INCONCLUSIVE, "why": why, "split": "val", "keep_float": [], "path": []}
    return Mixed(graph, "ptq", tuple(keep_float), record)


@dataclass(frozen=True)
class _Point:
    returned: tuple[str, ...]
    graph: QuantizedParts
    standing: Standing
    int8_macs: float
    method: str
    #: whether enough of it is left in integers; attention's products leave them together with the layers around them
    allowed: bool

    @property
    def holds(self) -> bool:
        return self.standing.holds and self.allowed


class _Path:
    """The points that were measured."""

    def __init__(
        self, session: Session, captured: CapturedParts, start: QuantizedParts, judge: Judge, say: Say
    ) -> None:
        self.session, self.captured, self.start, self.judge, self.say = session, captured, start, judge, say
        self.rows: list[dict[str, Any]] = []
        #: the point with the best metric; of equal ones that with the fewest layers in float
        self.best: _Point | None = None

    def at(self, returned: Sequence[str]) -> _Point:
        """Measure the graph with these layers in float."""
        device = next(self.start.module.parameters()).device
        base = self.session.recipe.quantize.keep_float
        graph = calibrated(self.session, self.captured, self.start.scheme, keep_float=(*base, *returned))
        graph.module.to(device)
        return self.add(tuple(returned), graph)

    def add(
        self, returned: tuple[str, ...], graph: QuantizedParts, standing: Standing | None = None, method: str = "ptq"
    ) -> _Point:
        share, least = int8_share(graph), self.session.recipe.gates.min_int8_share
        standing = standing or self.judge(graph.module)
        point = _Point(returned, graph, standing, share, method, not returned or share >= least - _EPSILON)
        figures = {key: value if math.isfinite(value or 0.0) else None for key, value in vars(standing).items()}
        self.rows.append({"method": method, "keep_float": list(returned), "int8_macs": share, **figures})
        self.best = point if self.best is None or (point.allowed and self._better(point, self.best)) else self.best
        metric, count = self.session.task.metric, len(returned)
        words = {"ptq": "calibrated", "qat": "trained"}
        layers = f"{count} layer{'s' * (count > 1)} in float" if count else words[method]
        self.say(
            f"{graph.scheme.name}, auto: {layers}, {point.int8_macs:.1%} of the multiply-accumulates in "
            f"{graph.scheme.format}: {metric.name} {metric.format(point.standing.metric)} on validation, "
            f"drop {metric.format_drop(point.standing.drop)}"
        )

        return point

    def _better(self, point: _Point, other: _Point) -> bool:
        before, after = other.standing.metric, point.standing.metric
        fewer = after == before and len(point.returned) < len(other.returned)
        return fewer or not math.isfinite(before) or self.session.task.metric.better(after, before)

    def chosen(self, point: _Point, verdict: str, why: str, ranking: Sensitivity | None = None) -> Mixed:
        gates = self.session.recipe.gates
        why = f"{self.judge.limits()}: {'reached' if verdict == PASS else 'not reached'} on validation, {why}"
        self.say(f"{point.graph.scheme.name}, auto: {why}")
        record = {
            "verdict": verdict,
            "why": why,
            "split": "val",
            "n": self.judge.n,
            "metric": self.session.task.metric.name,
            "float": self.judge.before,
            "limit": self.judge.limit,
            "min_agreement": gates.min_agreement,
            "min_int8_share": gates.min_int8_share,
            "keep_float": list(point.returned),
            "path": self.rows,
            **({"sensitivity": ranking.as_dict()} if ranking else {}),
        }

        return Mixed(point.graph, point.method, (*self.session.recipe.quantize.keep_float, *point.returned), record)


def int8_share(graph: QuantizedParts) -> float:
    """The share of the multiply-accumulates whose factors are on a grid, over all graphs."""
    counts = [multiply_accumulates.quantized(part.module) for part in graph.graphs.values()]
    return sum(on_grid for on_grid, _ in counts) / max(1, sum(total for _, total in counts))


def _agreed(ranking: Sensitivity, graph: QuantizedParts, agree: Agree) -> list[LayerSensitivity]:
    """The layers in the order of the main process: level ones may change places by a last bit."""
    names = [layer.name for layer in layers_of(graph)]
    by_name = {at.layer.name: at for at in ranking.layers}
    places = [names.index(at.layer.name) for at in ranking.layers]
    return [by_name[names[int(agree(partial(float, place)))]] for place in places]


def _affordable(graph: QuantizedParts, ranking: Sequence[LayerSensitivity], least: float) -> list[str]:
    """The layers that may return to float, most sensitive first, while `least` of the multiply-accumulates stay."""
    counts = [multiply_accumulates.quantized(part.module) for part in graph.graphs.values()]
    left, total = (sum(count) for count in zip(*counts))
    offered: list[str] = []

    for at in ranking:
        if at.sqnr_db is None or len(offered) == len(ranking) - 1:
            continue
        if left - at.layer.macs >= least * total - _EPSILON:
            left -= at.layer.macs
            offered.append(at.layer.name)

    return offered


def _fewest(path: _Path, offered: Sequence[str]) -> _Point | None:
    """The point of the fewest of the first `offered` layers at which the limits hold, by doubling and halving."""
    failed, count, enough = 0, 1, None
    while enough is None and failed < len(offered):
        point = path.at(offered[:count])
        if point.holds:
            enough = point
        else:
            failed, count = count, min(2 * count, len(offered))

    while enough is not None and len(enough.returned) - failed > 1:
        middle = (failed + len(enough.returned)) // 2
        point = path.at(offered[:middle])
        if point.holds:
            enough = point
        else:
            failed = middle

    return enough


def _without_unneeded(path: _Path, enough: _Point, macs: Mapping[str, int]) -> _Point:
    """`enough` without the costly layers that turn out not to be needed. The last one is: without it the limits were
    exceeded."""
    costly = sorted(enough.returned[:-1], key=lambda name: -macs[name])
    for name in costly[:TRIED_AGAIN]:
        point = path.at([other for other in enough.returned if other != name])
        enough = point if point.holds else enough

    return enough


def _outputs(session: Session, module: nn.Module) -> dict[str, np.ndarray]:
    outputs = session.learning.predict(module, session.dataset.split("val"), session.spec, _BATCH)
    return outputs if isinstance(outputs, dict) else {"output": outputs}
