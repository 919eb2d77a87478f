"""Before training: the graph with the weights that it has now through the converters of the targets.

What a converter cannot translate does not depend on what the weights will be, so that it is known before anything is
trained.
"""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from pathlib import Path
from typing import Any

from ..config.target import Target
from ..core.errors import Missing, ModelError
from ..plugins import MODEL_SOURCES
from ..quantize.parts import MAIN, CapturedParts, QuantizedParts, calibrate_parts, insert_parts
from ..session.session import Session
from . import aside
from .convert import Conversion, GraphConversion, convert


def trial(session: Session, captured: CapturedParts) -> dict[str, ModelError]:
    """The errors of the targets whose converter refuses the model, by name.

    Nothing is tried for the networks of this package, which its tests convert, for models of several graphs, and for
    runtimes that are not installed.
    """
    tested = MODEL_SOURCES.get(session.recipe.model.source).tested and not session.own_model
    if tested or not captured.single:
        return {}

    errors: dict[str, ModelError] = {}
    graphs: dict[str, QuantizedParts] = {}
    for profile in session.targets:
        name = profile.scheme.name
        if name not in graphs:
            graphs[name] = _calibrated(session, captured, profile)
        with tempfile.TemporaryDirectory() as folder:
            try:
                _convert(_conversion(session, captured, graphs[name], profile, Path(folder)))
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


def _convert(job: Conversion) -> list[dict[str, Any]]:
    """`convert` in a copy of this process where there can be one: converters start threads that would be in the way."""
    if not aside.possible():
        return convert(job)

    copy = aside.Aside([functools.partial(convert, job)])
    try:
        return list(copy.result())
    finally:
        copy.close()


def artifact(session: Session, captured: CapturedParts, profile: Target, folder: Path) -> str:
    """Write the model as it is into `folder`, quantized with the ranges of one sample; returns the name of its file.

    Its size and speed are those of the trained model. Raises `ModelError` for what the converter refuses.
    """
    job = _conversion(session, captured, _calibrated(session, captured, profile), profile, folder)
    quantized = dataclasses.replace(job, graphs=job.graphs[:1])
    return str(_convert(quantized)[0]["file"])
