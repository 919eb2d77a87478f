"""Personalization of a recommender: the vectors of one user are trained, items and other users are frozen.

A person whom the model never saw starts from the mean of all users' vectors, which ranks items by what most people
take; one whom it knows starts from their own. The user's latest items are held out, and each stands among items that
the user never took, as in the model's own test (`data/interactions.py`). A batch is rows of the user's items among
others, drawn anew each time; its loss is that of the model's training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import data as datasets
from ..backends import Session, Tensor
from ..bundle.manifest import recorded
from ..bundle.reader import Bundle
from ..core import npz
from ..core.errors import BundleError, DataError, UsageError
from ..core.metric import Metric
from ..core.progress import phase
from ..core.verdict import FAIL, PASS, Verdict
from ..data.formats import ratings
from ..data.interactions import SHARE, unseen
from ..inputs.batches import BATCH
from . import graphs, learn
from . import state as states
from .plan import Plan

Arrays = list[np.ndarray]
#: this share of a user's items, the latest ones, is held out, at least one
HELD_BACK = 0.25
#: each item held out is ranked among so many draws of negatives, since one draw is a coin thrown once
DRAWS = 5
#: of the items held out the latest so many are judged by: a state keeps its rows
MOST_JUDGED = 100
#: what a batch is drawn with must not be what the judge's rows are drawn with
_LEARNED, _JUDGED = 0, 1


@dataclass(frozen=True)
class Taken:
    """What one user took: numbers of items as the bundle counts them, int64 (n,), in order of time."""

    user: str
    items: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def held(self) -> int:
        """How many of the latest are held out."""
        return max(1, round(HELD_BACK * len(self.items)))


@dataclass(frozen=True)
class Rows:
    """Rows to be judged: numbers of candidates int64 (R, C), and where the true item stands, int64 (R,)."""

    items: np.ndarray
    places: np.ndarray

    def as_json(self) -> dict[str, Any]:
        return {"items": self.items.tolist(), "places": self.places.tolist()}


def read(path: Path, bundle: Bundle) -> Taken:
    """The ratings of one user at `path`. Raises `DataError` for those of several, and for too few known items."""
    source = datasets.source(path, recorded(bundle.manifest, "data"))
    histories, notes = ratings.taken(source)
    return _of_one(histories, bundle, str(path), notes)


def stream(pairs: Iterable[tuple[Any, Any]], bundle: Bundle) -> Taken:
    """The same of (user, item) pairs, both ids as text, in order of time; of equal items the latest counts."""
    histories: dict[str, list[str]] = {}
    for user, item in pairs:
        if not isinstance(user, str) or not isinstance(item, str):
            raise DataError("gave a pair that is no (user, item), both ids as text", where="stream")
        history = histories.setdefault(user, [])
        if item in history:
            history.remove(item)
        history.append(item)

    if not histories:
        raise DataError("the stream gave no items", where="samples", remedy="give (user, item) pairs")
    return _of_one(histories, bundle, "samples", [])


def _of_one(histories: Mapping[str, Sequence[str]], bundle: Bundle, where: str, notes: Sequence[str]) -> Taken:
    if len(histories) > 1:
        names = ", ".join(list(histories)[:3])
        raise DataError(
            f"holds {len(histories)} users ({names[:80]}, ...), and one is trained at a time",
            where=where,
            remedy="give the lines of one user; --state FILE keeps another user beside the first",
        )

    ((user, items),) = histories.items()
    table = {name: number for number, name in enumerate(bundle.preprocess["items"])}
    unknown = [item for item in items if item not in table]
    numbers = np.array([table[item] for item in items if item in table], np.int64)

    if len(numbers) < 2:
        raise DataError(
            f"{len(numbers)} of {len(items)} items of user {user[:80]!r} are known to the model, "
            "and two are the least: one to train on, one to judge by",
            where=where,
            remedy="items are joined by their ids, which are those of the model's training ratings",
        )

    if unknown:
        note = f"{len(unknown)} items that the model does not know are left out, the first: {unknown[0][:80]!r}"
        notes = [*notes, note]

    free = len(table) - len(np.unique(numbers)) - _width(bundle) + 1
    if free < 0:
        raise DataError(f"user {user[:80]!r} took nearly all items: no list of negatives can be drawn", where=where)

    return Taken(user, numbers, tuple(notes))


def _width(bundle: Bundle) -> int:
    return int(bundle.preprocess["candidates"])


def judged(interactions: Taken, bundle: Bundle, seed: int) -> Rows:
    """The items held out, the latest `MOST_JUDGED`, each among items that the user never took, `DRAWS` times."""
    rng, rows, places = np.random.default_rng([seed, _JUDGED]), [], []
    for item in interactions.items[-min(interactions.held, MOST_JUDGED) :]:
        for _ in range(DRAWS):
            others = unseen(len(bundle.preprocess["items"]), interactions.items, _width(bundle) - 1, rng)
            order = rng.permutation(_width(bundle))
            rows.append(np.concatenate([[item], others])[order])
            places.append(int(np.flatnonzero(order == 0)[0]))
    return Rows(np.array(rows), np.array(places))


class Catalogue:
    """The trunk's latents of items, computed for each once."""

    def __init__(self, trunk: Session, plan: Plan, spec: Mapping[str, Any]) -> None:
        width, n = int(spec["candidates"]), len(spec["items"])
        rows = np.resize(np.arange(n), (-(-n // width), width))
        latent_batches = [
            latents_of_items(trunk, plan, spec, rows[at : at + BATCH]) for at in range(0, len(rows), BATCH)
        ]
        self._kept = [np.concatenate(v).reshape(-1, *v[0].shape[2:])[:n] for v in zip(*latent_batches)]

    def rows(self, items: np.ndarray) -> Arrays:
        """Latents (R, C, ...) of rows of item numbers (R, C)."""
        return [values[items] for values in self._kept]


def latents_of_items(trunk: Session, plan: Plan, spec: Mapping[str, Any], items: np.ndarray) -> Arrays:
    """Latents (R, C, ...) of rows of item numbers (R, C), by the trunk."""
    return graphs.latents_of(trunk, plan, {str(spec["item_input"]): items.astype(np.int32)})


def batches(interactions: Taken, plan: Plan, bundle: Bundle, catalogue: Catalogue, seed: int) -> Callable[[], Any]:
    """Batches of rows of the user's items, but for those held out, among others; targets are 1 where it is theirs."""
    rng, width, n = np.random.default_rng([seed, _LEARNED]), _width(bundle), len(bundle.preprocess["items"])
    learned_items = interactions.items[: -interactions.held]
    most = max(1, width // SHARE)

    def batch() -> tuple[Arrays, np.ndarray]:
        chosen = [rng.permutation(learned_items)[:most] for _ in range(plan.batch)]
        # an item held out may be drawn as a negative: were it kept out, its absence would give it away
        rows = np.stack([np.concatenate([c, unseen(n, learned_items, width - len(c), rng)]) for c in chosen])
        targets = np.tile(np.arange(width) < len(chosen[0]), (plan.batch, 1)).astype(np.float32)
        return catalogue.rows(rows), targets

    return batch


def beginning(bundle: Bundle, plan: Plan, user: str) -> Arrays:
    """The vectors that `user` has as exported: their own, or the mean of all where the model never saw them."""
    path, users = bundle.path / plan.file, bundle.preprocess["users"]
    arrays = npz.read(path)
    try:
        vectors = [arrays[f"parameter_{i}"].astype(np.float32) for i in range(len(plan.parameters))]
        if user in users:
            at = users.index(user)
            vectors = [arrays[f"users/{i}"][at : at + 1].astype(np.float32) for i in range(len(plan.parameters))]
    except KeyError as error:
        raise BundleError(f"lacks {error}", where=str(path), remedy="export the bundle again") from error

    if any(value.shape != expected.shape for value, expected in zip(vectors, plan.parameters)):
        raise BundleError("does not fit the plan of the manifest", where=str(path), remedy="export the bundle again")
    return vectors


def learned(
    bundle: Bundle,
    plan: Plan,
    before: states.State,
    data: Path | None,
    pairs: Iterable[tuple[Any, Any]] | None,
    count: int,
    rate: float,
    seed: int,
    threads: int | None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """`judged` (the verdict), `candidate` (the version), and what was measured of the user's vectors."""
    if not count:
        raise UsageError("a user's vectors are trained in steps", where="--steps", remedy="give one or more")

    interactions = read(data, bundle) if data is not None else stream(pairs or (), bundle)
    _check_owner(before, interactions)
    for note in interactions.notes:
        say(note)

    say(f"user {interactions.user}: {len(interactions.items)} items, the latest {interactions.held} of them held out")

    trunk, tail, step = (graphs.load(bundle, name, threads) for name in ("trunk", "tail", "step"))
    used = before.last.parameters if before.last else beginning(bundle, plan, interactions.user)
    catalogue, rows = Catalogue(trunk, plan, bundle.preprocess), judged(interactions, bundle, seed)
    losses: list[float] = []
    drawn = batches(interactions, plan, bundle, catalogue, seed)

    with phase("training the user's vectors"):
        candidate = learn.steps(
            step, plan, used, drawn, count, rate=rate, watch=lambda number, loss: losses.append(loss)
        )

    latents = catalogue.rows(rows.items)
    scores = [graphs.outputs_of(tail, plan, parameters, latents)[0] for parameters in (used, candidate)]
    new = {"n": len(rows.places), **_figures(bundle.task, plan, scores, rows)}
    metric = bundle.task.metric
    record = {
        "when": states.now(),
        "user": interactions.user,
        "steps": count,
        "rate": rate,
        "samples": len(interactions.items) - interactions.held,
        "share": 1.0,
        "loss": [losses[0], losses[-1]],
        "metric": metric.name,
        "metric_record": metric.as_dict(),
        "new": new,
        "reference": None,  # no vector of another user moves, so there is nothing to forget
        "gain": -metric.drop(new["before"], new["after"]),
        "forgetting": 0.0,
    }
    version = states.Version(states.next_number(before), candidate, (), {**record, "judged": rows.as_json()})

    return {"judged": _judgement(metric, interactions.user, new), "candidate": version, **record}


def _check_owner(before: states.State, interactions: Taken) -> None:
    """Raise `UsageError` where the state is another user's."""
    owner = before.last.told.get("user") if before.last else None
    if owner not in (None, interactions.user):
        raise UsageError(
            f"the state is of user {str(owner)[:80]!r}, the data of {interactions.user[:80]!r}",
            where=str(before.path),
            remedy="name another file by --state: one is kept for each user",
        )


def _judgement(metric: Metric, user: str, new: Mapping[str, Any]) -> Verdict:
    """Whether the metric of the user's held-out items became better."""
    gain = -metric.drop(new["before"], new["after"])
    reason = (
        f"{metric.name} of user {user} on {new['n']} rows ({new['n'] // DRAWS} items held out, each "
        f"among {DRAWS} draws) goes from {metric.format(new['before'])} to {metric.format(new['after'])}"
    )

    return Verdict(
        "personalize",
        PASS if gain > 0 else FAIL,
        reason if gain > 0 else f"no improvement: {reason}",
        metric=metric.name,
        unit=metric.unit,
        drop=-gain,
        limit=0.0,
        n=new["n"],
    )


def _figures(task: Any, plan: Plan, scores: Sequence[np.ndarray], rows: Rows) -> dict[str, Any]:
    """Metric before and after of scores (R, C), and further figures of the task."""
    true = np.take_along_axis(rows.items, rows.places[:, None], axis=1)[:, 0]
    targets = np.stack([rows.places, np.zeros_like(rows.places), true], axis=1)
    tables = [{plan.outputs[0]: values} for values in scores]
    figures = {key: float(task.score(values, targets)) for key, values in zip(("before", "after"), tables)}
    extra = [task.extra_metrics(values, targets) for values in tables]
    return {**figures, "extra": {key: [float(values[key]) for values in extra] for key in extra[0]}}


class Ours:
    """A session that ranks for one user by the trained vectors, and for all others by the model as exported."""

    def __init__(
        self,
        model: Session,
        trunk: Session,
        tail: Session,
        plan: Plan,
        spec: Mapping[str, Any],
        number: int,
        vectors: Arrays,
    ) -> None:
        self._model, self._trunk, self._tail = model, trunk, tail
        self._plan, self._spec, self._number, self._own = plan, spec, number, vectors
        self.inputs: tuple[Tensor, ...] = model.inputs
        self.outputs: tuple[Tensor, ...] = model.outputs

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        users, items = feeds[str(self._spec["user_input"])], feeds[str(self._spec["item_input"])]
        mine = np.asarray(users).reshape(-1) == self._number
        scores = np.zeros(items.shape, np.float32)

        if mine.any():
            latents = latents_of_items(self._trunk, self._plan, self._spec, items[mine])
            scores[mine] = graphs.outputs_of(self._tail, self._plan, self._own, latents)[0]
        if not mine.all():
            (scores[~mine],) = self._model.run({name: value[~mine] for name, value in feeds.items()}).values()

        return {self.outputs[0].name: scores}

    def invoke(self) -> None:
        self._trunk.invoke()
        self._tail.invoke()


def session(bundle: Bundle, plan: Plan, version: states.Version, threads: int | None) -> tuple[Ours, dict[str, Any]]:
    """What ranks with a version, and the `preprocess` table that knows its user too."""
    spec = dict(bundle.preprocess)
    user = str(version.told["user"])
    if user not in spec["users"]:
        spec["users"] = [*spec["users"], user]
    trunk, tail = (graphs.load(bundle, name, threads) for name in ("trunk", "tail"))
    number = spec["users"].index(user)
    return Ours(bundle.session(threads=threads), trunk, tail, plan, spec, number, version.parameters), spec


def check(bundle: Bundle, plan: Plan, version: states.Version, place: Path, threads: int | None) -> Verdict:
    """The version on the rows that it was judged by, once more, on this artifact and this device."""
    try:
        record = version.told["judged"]
        rows = Rows(np.array(record["items"], np.int64), np.array(record["places"], np.int64))
        user, before = str(version.told["user"]), float(version.told["new"]["before"])
        fits = rows.items.shape == (len(rows.places), _width(bundle)) and bool(len(rows.places))
        if not fits or not 0 <= rows.items.min() <= rows.items.max() < len(bundle.preprocess["items"]):
            raise ValueError("rows of another form")
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"does not record how version {version.number} was evaluated ({error})", where=str(place)
        ) from error

    trunk, tail = (graphs.load(bundle, name, threads) for name in ("trunk", "tail"))
    latents = latents_of_items(trunk, plan, bundle.preprocess, rows.items)
    candidates = (beginning(bundle, plan, user), version.parameters)
    metric = bundle.task.metric
    figures = _figures(
        bundle.task, plan, [graphs.outputs_of(tail, plan, parameters, latents)[0] for parameters in candidates], rows
    )

    return Verdict(
        "personalize",
        PASS if metric.better(figures["after"], before) else FAIL,
        f"version {version.number} of {place}: {metric.name} of user {user} on the {len(rows.places)} rows "
        f"that it was judged by {metric.format(figures['after'])}; before training {metric.format(before)}, "
        f"as exported {metric.format(figures['before'])}",
        metric=metric.name,
        unit=metric.unit,
        float=figures["before"],
        quantized=figures["after"],
        drop=metric.drop(before, figures["after"]),
        limit=0.0,
        n=len(rows.places),
    )
