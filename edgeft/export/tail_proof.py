"""The trainable tail's artifacts: their tables, the start file with latents of their own trunk, and their verdicts.

Everything is proved on the artifacts: trunk and tail must decide as the model does, and a few steps must end where the
same steps end in torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import backends as runtime
from .. import data
from ..backends import Session
from ..backends.artifact import Artifact
from ..bundle import border
from ..config import target as targets
from ..config.target import Target
from ..core.verdict import Verdict
from ..inputs.batches import Arrays, preprocessed
from ..personalize import graphs, users
from ..personalize import plan as plans
from ..personalize.plan import Plan
from ..training_step import proof
from ..training_step.trainable_tail import REFERENCE, TrainableTail, plan_table
from .quantized_run import QuantizedRun
from .tables import tensor_tables

#: bytes that all latents of a bundle may take
MOST_BYTES = 32 << 20
#: rows of the validation split on which a recommender's trunk and tail are compared with the model
COMPARED = 300


@dataclass(frozen=True)
class ProvedTail:
    """The manifest's tables of the graphs and of the plan, the arrays of the start file, and the verdicts."""

    tables: tuple[dict[str, Any], ...]
    plan: dict[str, Any]
    start: Arrays
    verdicts: tuple[Verdict, ...]


def prove(
    run: QuantizedRun,
    tail: TrainableTail,
    profile: Target,
    staging: Path,
    artifacts: Mapping[str, Artifact],
    model: Session,
) -> ProvedTail:
    """Run trunk, tail and step in the runtime. `model` is the whole artifact, which trunk and tail must agree with."""
    machine = runtime.get(profile.backend)
    tables = tuple(_table(run, tail, name, staging, artifact, machine) for name, artifact in artifacts.items())
    table = plan_table(tail)
    plan = plans.read(table)
    options = {**machine.options(), **(machine.exact_options() if targets.exact_here(profile) else {})}
    loaded = [
        border.named(machine.load(staging / graph["file"], options=options), graph, where=str(staging))
        for graph in tables
    ]
    trunk, inference, step = loaded
    start = {f"parameter_{i}": p.numpy() for i, p in enumerate(tail.parameters)}

    if tail.tables:
        of_users = [tail.tables[name] for name in tail.cut.parameters]
        start |= {f"users/{i}": values.numpy() for i, values in enumerate(of_users)}
        alike = _ranks_alike(run, plan, (trunk, inference, model), of_users, tail.grid)
    else:
        latents, alike = _decides_alike(run, tail, plan, (trunk, inference, model))
        start |= latents

    verdicts = (alike, proof.steps(tail.step, tail.learning, step, tail.table))
    return ProvedTail(tables, table, start, verdicts)


def _table(
    run: QuantizedRun, tail: TrainableTail, name: str, staging: Path, artifact: Artifact, machine: runtime.Backend
) -> dict[str, Any]:
    """The manifest's table of one of the three graphs."""
    inputs, outputs = {
        "trunk": (list(tail.inputs), tail.latent_names),
        "tail": (tail.tail_inputs, tail.tail_outputs),
        "step": (list(tail.step.inputs), list(tail.step.outputs)),
    }[name]

    session = machine.load(staging / artifact.file, options=machine.options())
    layout = run.spec.get("layout") if name == "trunk" else None

    return {
        "name": name,
        "file": artifact.file,
        "personalize": True,
        "inputs": tensor_tables(session.inputs, inputs, layout=layout),
        "outputs": tensor_tables(session.outputs, outputs, layout=None),
    }


def _decides_alike(
    run: QuantizedRun, tail: TrainableTail, plan: Plan, sessions: tuple[Session, Session, Session]
) -> tuple[Arrays, Verdict]:
    """The start file's latents of old samples, and whether trunk and tail decide on them as the model does."""
    trunk, inference, model = sessions
    arrays: Arrays = {}
    expected: list[np.ndarray] = []
    reference: list[np.ndarray] = []

    for kind, split in _old_samples(run, tail, plan):
        parts: list[list[np.ndarray]] = []
        for _, batch in preprocessed(run.task, run.spec, split):
            parts.append(graphs.latents_of(trunk, plan, batch))
            if kind == "reference":
                expected.append(model.run(batch)[tail.outputs[0]])

        empty = [np.zeros((0, *latent.shape), latent.stored) for latent in plan.latents]
        latents = [np.concatenate(values) for values in zip(*parts)] if parts else empty
        arrays |= {f"{kind}/latent_{i}": values for i, values in enumerate(latents)}
        arrays[f"{kind}/targets"] = np.asarray(split.targets)
        reference = latents  # the reference samples come last

    outputs, _ = graphs.outputs_of(inference, plan, [p.numpy() for p in tail.parameters], reference)
    return arrays, proof.alike(run.task, np.concatenate(expected), outputs)


def _old_samples(run: QuantizedRun, tail: TrainableTail, plan: Plan) -> Iterator[tuple[str, data.Split]]:
    """("replay", training samples, so many of each class), then ("reference", validation samples)."""
    bytes_each = sum(int(np.prod(latent.shape)) * latent.stored.itemsize for latent in plan.latents)
    most = max(16, MOST_BYTES // 2 // max(bytes_each, 1))
    classes = max(len(run.dataset.labels), 1)

    for kind, name, count in (
        ("replay", "train", min(tail.table.replay * classes, most)),
        ("reference", "val", min(REFERENCE, most)),
    ):
        split = run.dataset.split(name)
        count = min(count, len(split))
        yield kind, split.subset(data.calibration_indices(split, count, "stratified", 0)) if count else split.subset([])


def _ranks_alike(
    run: QuantizedRun,
    plan: Plan,
    sessions: tuple[Session, Session, Session],
    tables: Sequence[torch.Tensor],
    step: float,
) -> Verdict:
    """Trunk and tail, with the vectors of each row's user, against the whole artifact: the same best candidate.

    Latents are those of the catalogue, each item seen among any others, so a model that looks at candidates together
    does not pass. The tail's scores are not rounded: what is the model's best may be behind another by one `step` of
    the model's own scores, within which those are equal.
    """
    trunk, inference, model = sessions
    catalogue = users.Catalogue(trunk, plan, run.spec)
    split = run.dataset.split("val")
    chosen = split.subset(data.calibration_indices(split, min(COMPARED, len(split)), "stratified", 0))
    same: list[bool] = []

    for _, feeds in preprocessed(run.task, run.spec, chosen):
        best = run.task.decisions({plan.outputs[0]: model.run(feeds)[plan.outputs[0]]})
        for at, user, items in zip(best, feeds[str(run.spec["user_input"])], feeds[str(run.spec["item_input"])]):
            vectors = [table[int(user)][None].numpy() for table in tables]
            scores = graphs.outputs_of(inference, plan, vectors, catalogue.rows(items[None]))[0][0]
            same.append(bool(at >= 0 and scores[at] >= scores.max() - step))

    return proof.agreed(np.array(same), "rank first what the model itself does")
