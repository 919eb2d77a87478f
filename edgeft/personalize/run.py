"""`personalize`: train the tail on new samples; the new version is used only if it is better."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..backends import Session
from ..bundle.reader import Bundle
from ..core import npz
from ..core.errors import BundleError, DataError, UsageError
from ..core.progress import phase
from ..core.verdict import FAIL, PASS, Verdict
from . import graphs, learn, samples, users
from . import plan as plans
from . import state as states
from .judge import Scored, forgets, judge

Say = Callable[[str], None]
#: how much of the way that the steps went is tried, until the reference samples hold: parameters in between often keep
#: most of what is new and lose less of what is old (Wortsman et al., "Robust fine-tuning of zero-shot models", 2022)
SHARES = (1.0, 0.75, 0.5, 0.25)


@dataclass(frozen=True)
class Start:
    """What the bundle carries: first parameters, and latents with targets of old samples, to replay and to judge by."""

    parameters: list[np.ndarray]
    replay: tuple[list[np.ndarray], np.ndarray]
    reference: tuple[list[np.ndarray], np.ndarray]


def start_of(bundle: Bundle, plan: plans.Plan) -> Start:
    """Read and check the plan's file; `BundleError` for one that does not fit the plan."""
    path = bundle.path / plan.file
    arrays = npz.read(path)
    try:
        parameters = [arrays[f"parameter_{i}"].astype(np.float32) for i in range(len(plan.parameters))]
        sets = []
        for kind in ("replay", "reference"):
            latents = [arrays[f"{kind}/latent_{i}"] for i in range(len(plan.latents))]
            sets.append((latents, arrays[f"{kind}/targets"]))
    except KeyError as error:
        raise BundleError(f"lacks {error}", where=str(path), remedy="export the bundle again") from error

    fits = all(p.shape == expected.shape for p, expected in zip(parameters, plan.parameters)) and all(
        value.shape == (len(targets), *latent.shape)
        for latents, targets in sets
        for value, latent in zip(latents, plan.latents)
    )
    if not fits or not len(sets[1][1]):
        raise BundleError("does not fit the plan of the manifest", where=str(path), remedy="export the bundle again")

    return Start(parameters, sets[0], sets[1])


@dataclass(frozen=True)
class Personal:
    """A personalized session, the labels of its outputs, the version of its state, and the `preprocess` table."""

    session: Session
    labels: tuple[str, ...]
    version: int
    preprocess: dict[str, Any]


def labels_of(bundle: Bundle, version: states.Version | None) -> tuple[str, ...]:
    """The bundle's labels, then those that were added on the device."""
    return (*bundle.labels, *(version.labels if version else ()))


def session(bundle: Bundle, state_file: Path | str | None = None, *, threads: int | None = None) -> Personal | None:
    """What predicts with the state at `state_file` (None: the one in the bundle's folder), and its labels and version.

    None where the bundle was exported without personalization or has no state. Raises `UsageError` for a
    state file that was named and is not there.
    """
    if state_file is not None and not Path(state_file).exists():
        raise UsageError("no such state file", where=str(state_file))
    if "personalize" not in bundle.manifest and state_file is None:
        return None

    plan = plans.of(bundle)
    version = states.read(states.place(bundle, state_file), bundle, plan).last
    if version is None:
        return None

    if plan.loss == "ranking":
        user_session, spec = users.session(bundle, plan, version, threads)
        return Personal(user_session, bundle.labels, version.number, spec)

    trunk, tail = (graphs.load(bundle, name, threads) for name in ("trunk", "tail"))
    labels = labels_of(bundle, version)
    personal = graphs.Personal(trunk, tail, plan, version.parameters, len(labels) if plan.spare else 0)
    return Personal(personal, labels, version.number, bundle.preprocess)


def run(
    bundle: Bundle,
    data: Path | str | None = None,
    *,
    stream: Iterable[tuple[Any, Any]] | None = None,
    steps: int | None = None,
    rate: float | None = None,
    state: Path | str | None = None,
    seed: int = 0,
    threads: int | None = None,
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Train on the labelled samples at `data`, or of a `stream` of (raw, label), and keep it if it is judged better.

    `steps` None takes the recipe's number; 0 sets the last layer to class means and trains nothing. Returns `verdict`,
    `why`, `version` (that is in use afterwards, 0 = as exported), `state` (the file) and what was measured. Raises
    `DataError` for samples that cannot be trained on, `BundleError` for a bundle or state that cannot be used,
    `SystemFailure` where the state cannot be written; in each case the state in use is untouched.
    """
    plan = plans.of(bundle)
    if (data is None) == (stream is None):
        raise UsageError("needs new samples", where="personalize", remedy="name a folder (--data) or give a stream")

    count = plan.steps if steps is None else steps
    if count < 0:
        raise UsageError(f"{count} is not a valid number of steps", where="--steps")

    place = states.place(bundle, state)
    with states.writing(place):
        before = states.read(place, bundle, plan)
        folder, own_rate = None if data is None else Path(data), rate if rate is not None else plan.rate
        learned_by = users.learned if plan.loss == "ranking" else _learned
        result = learned_by(bundle, plan, before, folder, stream, count, own_rate, seed, threads, say)
        verdict, version = result.pop("judged"), result.pop("candidate")
        if verdict.verdict == PASS:
            states.write(states.State(place, (*before.versions, version)), bundle)
        last = version if verdict.verdict == PASS else before.last
        return {
            "schema": "1.0",
            "verdict": verdict.verdict,
            "why": verdict.why,
            "version": last.number if last else 0,
            "state": str(place),
            "gates": [verdict.as_dict()],
            "labels": [] if plan.loss == "ranking" else list(labels_of(bundle, last)),
            "bundle": str(bundle.path),
            **result,
        }


def _learned(
    bundle: Bundle,
    plan: plans.Plan,
    before: states.State,
    data: Path | None,
    stream: Iterable[tuple[Any, Any]] | None,
    count: int,
    rate: float,
    seed: int,
    threads: int | None,
    say: Say,
) -> dict[str, Any]:
    start = start_of(bundle, plan)
    used = before.last.parameters if before.last else start.parameters
    known = labels_of(bundle, before.last)
    free = plan.spare - (len(known) - len(bundle.labels))

    if stream is not None:
        new_samples = samples.stream(stream, bundle, known, free, seed)
    else:
        new_samples = samples.read(data or Path(), bundle, known, free, seed)

    trunk, tail, step = (graphs.load(bundle, name, threads) for name in plans.GRAPHS)
    say(_division(new_samples))

    new = samples.through(new_samples, bundle, plan, trunk)
    if plan.head[0] < 0 and (count == 0 or plan.loss == "prototype" or len(new.labels) > len(known)):
        raise DataError("the tail has no last layer whose rows are classes", where=str(bundle.path))

    outputs = len(bundle.labels) + plan.spare
    teaches = new.fold < 0 if new.apart else np.ones(len(new.fold), bool)
    folds = [new.fold == number for number in new.folds]
    materials = [
        _Material(plan, tail, start, new.part(teaches & ~held), new.part(held), new.labels, outputs)
        for held in [*folds, np.zeros(len(new.fold), bool)]
    ]
    ways = []

    for number, material in enumerate(materials[: len(folds)] if new.apart else materials, 1):
        with phase(f"training version {number} of {len(folds) + (not new.apart)}"):
            ways.append(_way(material, step, used, len(known), count, rate, seed))

    last = ways[-1]

    with phase("judging the new version"):
        by_means = plan.loss == "prototype" and count > 0
        choice = _best_share(bundle, materials, used, [*ways[: len(folds)], last], by_means=by_means)
    record = {
        "when": states.now(),
        "steps": count,
        "rate": rate,
        "samples": int(teaches.sum()),
        "folds": 0 if new.apart else len(folds),
        "share": choice.share,
        "loss": [last.losses[0], last.losses[-1]] if last.losses else [],
        **choice.measured,
    }
    added = tuple(new.labels[len(bundle.labels) :])
    version = states.Version(states.next_number(before), choice.parameters, added, record)
    return {"judged": choice.verdict, "candidate": version, **record}


def _division(new: samples.Given) -> str:
    """How the new samples are judged, for people."""
    held = int((new.fold >= 0).sum())
    if new.apart:
        return f"{len(new.targets)} new samples, {held} of them a test split that is held out"
    count = len(np.unique(new.fold[new.fold >= 0]))
    return f"{len(new.targets)} new samples, each judged by one of {count} versions that were not trained on it"


@dataclass(frozen=True)
class _Material:
    """What a version is trained on and judged by: latents with targets, the labels of the outputs, and the number of
    outputs, those that stand ready for classes to come included."""

    plan: plans.Plan
    tail: Session
    start: Start
    learning: tuple[list[np.ndarray], np.ndarray]
    held: tuple[list[np.ndarray], np.ndarray]
    labels: Sequence[str]
    classes: int

    def prototypes(self, parameters: list[np.ndarray]) -> list[np.ndarray]:
        """`parameters` with the last layer set to the class means of old and new samples."""
        latents = [np.concatenate(pair) for pair in zip(self.learning[0], self.start.replay[0])]
        truths = np.concatenate([self.learning[1], self.start.replay[1]])
        return learn.prototypes(self.plan, parameters, self.tail, (latents, truths), len(self.labels))

    def outputs(self, parameters: list[np.ndarray], part: tuple[list[np.ndarray], np.ndarray]) -> np.ndarray:
        """Outputs (n, ...) of a part: the samples that are held out, or the reference samples."""
        classes = len(self.labels) if self.plan.loss != "mse" else None
        return graphs.outputs_of(self.tail, self.plan, parameters, part[0])[0][:, :classes]


@dataclass(frozen=True)
class _Way:
    """The parameters before and after the steps, and the loss of each step."""

    first: list[np.ndarray]
    last: list[np.ndarray]
    losses: tuple[float, ...]

    def at(self, share: float) -> list[np.ndarray]:
        """The parameters after a share of the way."""
        return [old + np.float32(share) * (fresh - old) for old, fresh in zip(self.first, self.last)]


def _way(
    material: _Material, step: Session, used: list[np.ndarray], known: int, count: int, rate: float, seed: int
) -> _Way:
    """Learn from the material's samples, `count` steps from the parameters that are in use."""
    plan, start = material.plan, material.start
    first = _first_parameters(material, used, known, count)
    losses: list[float] = []
    rows = [(part[0], learn.one_hot(part[1], plan, material.classes)) for part in (material.learning, start.replay)]
    last = learn.steps(
        step,
        plan,
        first,
        learn.mixed(plan, rows[0], rows[1], seed),
        count,
        rate=rate,
        watch=lambda number, loss: losses.append(loss),
    )

    return _Way(first, last, tuple(losses))


def _first_parameters(material: _Material, used: list[np.ndarray], known: int, count: int) -> list[np.ndarray]:
    """The parameters that the steps begin with; new classes have rows of their own, without steps all are means."""
    plan = material.plan
    if count == 0:
        return material.prototypes(used)
    if len(material.labels) > known and plan.loss != "prototype":
        return learn.enrolled(plan, used, material.tail, material.learning, material.start.replay[0], known)
    return used


@dataclass(frozen=True)
class _Choice:
    """One share of the way from the first to the last parameters, with its verdict."""

    share: float
    parameters: list[np.ndarray]
    verdict: Verdict
    measured: dict[str, Any]


def _best_share(
    bundle: Bundle, materials: Sequence[_Material], used: list[np.ndarray], ways: Sequence[_Way], *, by_means: bool
) -> _Choice:
    """The largest share (`SHARES`) of the way from first to last parameters that does not forget too much, or all.

    `materials` and `ways` are those of the folds, then of the version that is kept. Each fold's samples are judged by
    its own version, the reference samples by the one that is kept. Forgetting counts from the model as it was exported,
    or small losses would add up from version to version.
    """
    *folds, whole = materials
    plan, start = whole.plan, whole.start
    truth = (np.concatenate([fold.held[1] for fold in folds]), start.reference[1])
    in_use = Scored(
        np.concatenate([fold.outputs(used, fold.held) for fold in folds]),
        whole.outputs(start.parameters, start.reference),
    )
    choices = []

    for share in SHARES:
        versions = [way.at(share) for way in ways]
        if by_means:
            versions = [material.prototypes(version) for material, version in zip(materials, versions)]
        new = [fold.outputs(version, fold.held) for fold, version in zip(folds, versions)]
        after = Scored(np.concatenate(new), whole.outputs(versions[-1], start.reference))
        verdict, measured = judge(bundle.task, plan.outputs[0], in_use, after, truth, whole.labels, plan.max_forget)
        choices.append(_Choice(share, versions[-1], verdict, measured))
        if not forgets(measured, plan.max_forget):
            return choices[-1]

    return choices[0]


def rollback(bundle: Bundle, state: Path | str | None = None) -> dict[str, Any]:
    """Go back to the version before the last one, or to the model as exported; `UsageError` without a version."""
    plan = plans.of(bundle)
    place = states.place(bundle, state)
    with states.writing(place):
        back = states.rolled_back(states.read(place, bundle, plan))
        states.write(back, bundle)

    version = back.last.number if back.last else 0
    to = f"version {version}" if version else "the model as it was exported"
    return {
        "verdict": PASS,
        "why": f"went back to {to}",
        "version": version,
        "state": str(place),
        "bundle": str(bundle.path),
    }


def check(bundle: Bundle, state_file: Path | str | None = None, *, threads: int | None = None) -> Verdict | None:
    """The state in use on the shipped reference samples, for `verify`; None without one."""
    if "personalize" not in bundle.manifest:
        return None

    plan = plans.of(bundle)
    version = states.read(states.place(bundle, state_file), bundle, plan).last
    if version is None:
        return None
    if plan.loss == "ranking":
        return users.check(bundle, plan, version, states.place(bundle, state_file), threads)

    start, tail = start_of(bundle, plan), graphs.load(bundle, "tail", threads)
    labels = labels_of(bundle, version)
    classes = len(labels) if plan.loss != "mse" else None
    task, name = bundle.task, plan.outputs[0]
    values = [
        float(
            task.score(
                {name: graphs.outputs_of(tail, plan, parameters, start.reference[0])[0][:, :classes]},
                start.reference[1],
            )
        )
        for parameters in (start.parameters, version.parameters)
    ]
    metric = task.metric
    forgot = metric.drop(values[0], values[1])
    held = forgot <= plan.max_forget + 1e-12
    why = (
        f"version {version.number} of {states.place(bundle, state_file)}: {metric.name} on {len(start.reference[1])} "
        f"reference samples {metric.format(values[1])}, as exported {metric.format(values[0])}"
    )

    return Verdict(
        "personalize",
        PASS if held else FAIL,
        why,
        metric=metric.name,
        unit=metric.unit,
        float=values[0],
        quantized=values[1],
        drop=forgot,
        limit=plan.max_forget,
        n=len(start.reference[1]),
    )
