"""Before training: the graph with the weights that it has now through the converters of the targets, and one sample
through the artifacts.

What a converter cannot translate, translates wrongly, or writes in operators that the runtime does not have, does not
depend on what the weights will be, so that it is known before anything is trained.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx

from .. import backends
from ..config.target import Target
from ..core.errors import BundleError, Missing, ModelError
from ..core.progress import phase
from ..plugins import MODEL_SOURCES
from ..quantize.parts import MAIN, CapturedParts, QuantizedParts, calibrate_parts, insert_parts
from ..session.session import Session
from . import aside
from .convert import Conversion, GraphConversion, convert

#: share of an output's range that half of its values may be off, and the least range that counts as one
_OFF, _LEAST = 0.01, 1e-3


def trial(session: Session, captured: CapturedParts) -> dict[str, ModelError]:
    """The errors of the targets whose converter or runtime refuses the model, by name.

    Nothing is tried for the networks of this package, which its tests convert, for models of several graphs, and for
    runtimes that are not installed.
    """
    tested = MODEL_SOURCES.get(session.recipe.model.source).tested and not session.own_model
    if tested or not captured.single:
        return {}

    errors: dict[str, ModelError] = {}
    graphs: dict[str, QuantizedParts] = {}

    with contextlib.ExitStack() as stack:
        jobs = []
        for profile in session.targets:
            name = profile.scheme.name
            if name not in graphs:
                graphs[name] = _calibrated(session, captured, profile)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            jobs.append(functools.partial(_tried, _conversion(session, captured, graphs[name], profile, folder)))

        # Phases are shown from here on: their thread must not be there when the process is copied.
        results = stack.enter_context(aside.all_of(jobs, even_one=True))
        for profile, result in zip(session.targets, results):
            try:
                with phase(f"trying the model with {profile.name}"):
                    result()
            except ModelError as error:
                errors[profile.name] = error
            except Missing:
                continue

    return errors


def _calibrated(session: Session, captured: CapturedParts, profile: Target) -> QuantizedParts:
    """The graph with ranges of two samples: any will do."""
    graphs = insert_parts(captured, profile.scheme, session.recipe.quantize.keep_float)
    graphs.calibrate_weights()
    calibrate_parts(graphs, lambda: [session.example], estimator="minmax", percentile=100.0)
    graphs.set_mode("quantize")
    return graphs


def _conversion(
    session: Session, captured: CapturedParts, graphs: QuantizedParts, profile: Target, folder: Path
) -> Conversion:
    float_graph = captured.graphs[MAIN]
    border = (float_graph.example, session.input_names, float_graph.output_names, float_graph.dynamic)
    quantized = GraphConversion("", graphs.graphs[MAIN], *border)
    return Conversion(profile, folder, (quantized, GraphConversion("baseline", float_graph.module, *border)))


def _tried(job: Conversion) -> list[dict[str, Any]]:
    """`convert`, and each artifact has to load and to take a sample; the float one has to compute what its graph does.

    Raises `ModelError` otherwise. The quantized one is compared after training, with limits of its own.
    """
    artifacts = convert(job)
    for graph, written in zip(job.graphs, artifacts):
        try:
            outputs = _outputs(job, graph, job.staging / str(written["file"]))
        except BundleError as error:
            raise ModelError(
                f"the converter writes this model in a form that the runtime does not take ({error.message})",
                where=job.target.name,
                remedy="rewrite the operator that the runtime names with others, or choose a target of another runtime",
            ) from error
        if isinstance(graph.graph, fx.GraphModule):
            _compare(graph, outputs, job.target)

    return artifacts


def _outputs(job: Conversion, graph: GraphConversion, path: Path) -> list[np.ndarray]:
    machine = backends.get(job.target.backend)
    own = machine.baseline_options if isinstance(graph.graph, fx.GraphModule) else machine.artifact_options
    session = machine.load(path, options={**machine.options(), **own(path)})
    rows = [tensor[:1].numpy() for tensor in graph.example]
    return list(session.run({item.name: row for item, row in zip(session.inputs, rows)}).values())


def _compare(graph: GraphConversion, outputs: Sequence[np.ndarray], profile: Target) -> None:
    """Half of an output's values more than a hundredth of its range off: another function, not another rounding."""
    assert isinstance(graph.graph, fx.GraphModule)
    with torch.no_grad():
        result = graph.graph(*(tensor[:1] for tensor in graph.example))

    expected = [result] if isinstance(result, torch.Tensor) else list(result)
    for name, ours, theirs in zip(graph.outputs, expected, outputs):
        values = ours.numpy()
        if values.dtype.kind != "f" or not values.size:
            continue
        if values.shape != theirs.shape or np.median(np.abs(values - theirs)) > _OFF * max(
            float(np.ptp(values)), _LEAST
        ):
            raise ModelError(
                f"the float artifact that the converter of {profile.backend} writes computes something else than this "
                f"model (output {name})",
                where=profile.name,
                remedy="choose a target of another runtime, and please report the model: a converter is wrong for it",
            )


def artifact(session: Session, captured: CapturedParts, profile: Target, folder: Path) -> str:
    """Write the model as it is into `folder`, quantized with the ranges of one sample; returns the name of its file.

    Its size and speed are those of the trained model. Raises `ModelError` for what the converter refuses.
    """
    job = _conversion(session, captured, _calibrated(session, captured, profile), profile, folder)
    quantized = dataclasses.replace(job, graphs=job.graphs[:1])
    with aside.all_of([functools.partial(convert, quantized)], even_one=True) as (result,):
        return str(result()[0]["file"])
