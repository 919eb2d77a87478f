"""A recommender's vectors of one user: does its graph allow them, and do they rank as the model does?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from .. import data
from ..backends import Session
from ..core.errors import ModelError
from ..core.verdict import Verdict
from ..inputs.batches import preprocessed
from ..personalize import graphs, users
from ..personalize.plan import Plan
from ..quantize.fakequant import ActivationFakeQuant
from ..quantize.graph import QuantizedGraph
from ..training_step.cut import Cut
from ..training_step.proof import agreed

#: rows of the validation split on which both are compared
COMPARED = 300


def fits(made: Cut, spec: Mapping[str, Any]) -> None:
    """Raise `ModelError` where a value that crosses the cut has no axis of candidates."""
    width = int(spec["candidates"])
    with torch.no_grad():
        said = made.trunk.module(*made.trunk.captured.example)
    for one, value in zip(made.latents, said if isinstance(said, (tuple, list)) else (said,)):
        if value.dim() < 2 or value.shape[1] != width:
            raise ModelError(
                f"has shape {tuple(value.shape)}, expected (rows, {width} candidates, ...)",
                where=f"tensor {one.name}",
                remedy="a user's vectors are learned where every item is seen by itself",
            )


def output_step(graph: QuantizedGraph) -> float:
    """The step of the grid that scores are rounded to; 0 where they are float."""
    (output,) = (node for node in graph.module.graph.nodes if node.op == "output")
    (last,) = output.all_input_nodes
    fake = graph.module.get_submodule(str(last.target)) if last.op == "call_module" else None
    return float(fake.parameters_of_grid()[0]) if isinstance(fake, ActivationFakeQuant) else 0.0


def alike(
    split: data.Split,
    task: Any,
    spec: dict[str, Any],
    plan: Plan,
    sessions: tuple[Session, Session, Session],
    tables: Sequence[torch.Tensor],
    step: float,
) -> Verdict:
    """Trunk and tail, with the vectors of each row's user, against the whole artifact: the same best candidate.

    `sessions` are trunk, tail and the model. Latents are those of the catalogue, each item seen among any others, so
    a model that looks at candidates together does not pass. The tail's scores are not rounded: what is the model's best
    may be behind another by one `step` of the model's own scores, within which those are equal.
    """
    trunk, tail, model = sessions
    catalogue = users.Catalogue(trunk, plan, spec)
    chosen = split.subset(data.calibration_indices(split, min(COMPARED, len(split)), "stratified", 0))
    same: list[bool] = []
    for _, feeds in preprocessed(task, spec, chosen):
        best = task.decisions({plan.outputs[0]: model.run(feeds)[plan.outputs[0]]})
        for at, user, items in zip(best, feeds[str(spec["user_input"])], feeds[str(spec["item_input"])]):
            own = [table[int(user)][None].numpy() for table in tables]
            scores = graphs.outputs_of(tail, plan, own, catalogue.rows(items[None]))[0][0]
            same.append(bool(at >= 0 and scores[at] >= scores.max() - step))
    return agreed(np.array(same), "rank first what the model itself does")
