"""The second step: graphs to artifacts of a runtime, by a function of one value that holds no more than it needs.

A `Conversion` has graphs, names and a profile: no data set, no open file, no session of a runtime. So it can be handed
to a copy of this process (`aside.py`), where nothing that the original goes on to do is missing or in the way.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx

from .. import backends
from ..backends.artifact import Artifact, ExportRequest
from ..config.target import Target
from ..core.errors import ModelError
from ..graph.step_form import StepForm
from ..personalize.plan import GRAPHS as TAIL_GRAPHS
from ..quantize.graph import QuantizedGraph
from ..quantize.lower import lower
from ..quantize.parts import MAIN
from ..training_step.trainable_tail import FOLDER, TrainableTail
from .quantized_run import QuantizedRun, QuantizedScheme

#: name and folder of the streaming form
STREAM = "stream"


@dataclass(frozen=True)
class GraphConversion:
    """One artifact to be written into `folder` (below the staging folder).

    `graph` is a quantized graph, which is lowered, or a float one; `fixed` says that its inputs keep the sizes of
    `example` on every axis, and that axis 0 means nothing (a training step). `copy_of` is the folder of an artifact of
    the same conversion whose files are copied instead, None where the graph is converted.
    """

    folder: str
    graph: QuantizedGraph | fx.GraphModule
    example: tuple[torch.Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dynamic_batch: bool
    fixed: bool = False
    copy_of: str | None = None


@dataclass(frozen=True)
class Conversion:
    """All artifacts of one target; `graphs` in the order in which `convert` returns them."""

    target: Target
    staging: Path
    graphs: tuple[GraphConversion, ...]


def conversion(run: QuantizedRun, profile: Target, staging: Path) -> Conversion:
    """What is to be written for a target: each graph and its float baseline, then the streaming form, then trunk, tail
    and training step.

    Of several graphs each has a folder of its own. Where nothing is quantized the baseline is a copy of the artifact.
    """
    scheme = run.scheme_of(profile)
    graphs: list[GraphConversion] = []
    for name, captured in run.captured.graphs.items():
        inputs = run.input_names if run.captured.single else captured.input_names
        border = (captured.example, tuple(inputs), captured.output_names, captured.dynamic)
        folder = "" if name == MAIN and run.captured.single else name
        graphs.append(GraphConversion(folder, scheme.graphs.graphs[name], *border))
        copy_of = None if scheme.graphs.scheme.quantized else folder
        graphs.append(GraphConversion(f"baseline/{folder}".rstrip("/"), captured.module, *border, copy_of=copy_of))

    if scheme.stream is not None:
        graphs.append(_of_stream(run, scheme, scheme.stream))

    if scheme.tail is not None:
        graphs += _of_tail(scheme.tail)

    return Conversion(profile, staging, tuple(graphs))


def _of_stream(run: QuantizedRun, scheme: QuantizedScheme, form: StepForm) -> GraphConversion:
    """The streaming form: the graph's input and the states, its answers and the new states."""
    graph = dataclasses.replace(scheme.graphs.graphs[MAIN], module=form.module)
    inputs = (*run.input_names, *(state.input for state in form.states))
    outputs = (*run.captured.graphs[MAIN].output_names, *(state.output for state in form.states))
    return GraphConversion(STREAM, graph, form.example, inputs, outputs, dynamic_batch=False)


def _of_tail(tail: TrainableTail) -> list[GraphConversion]:
    """Trunk, tail and training step, in the order of `personalize.plan.GRAPHS`."""
    trunk, step = tail.cut.trunk, tail.step
    of_name = {
        "trunk": GraphConversion(
            f"{FOLDER}/trunk",
            trunk,
            trunk.captured.example,
            tail.inputs,
            tuple(tail.latent_names),
            trunk.captured.dynamic,
        ),
        "tail": GraphConversion(
            f"{FOLDER}/tail",
            tail.inference,
            (*tail.example, *tail.parameters),
            tuple(tail.tail_inputs),
            tuple(tail.tail_outputs),
            dynamic_batch=False,
            fixed=True,
        ),
        "step": GraphConversion(
            f"{FOLDER}/step",
            step.module,
            step.example,
            tuple(step.inputs),
            tuple(step.outputs),
            dynamic_batch=False,
            fixed=True,
        ),
    }

    return [of_name[name] for name in TAIL_GRAPHS]


def convert(job: Conversion) -> list[dict[str, Any]]:
    """Write every artifact; returns them as plain values (see `Artifact`), paths from the staging folder.

    Raises `ModelError` naming the target, the op and the tensor that a converter cannot translate.
    """
    artifacts: dict[str, Artifact] = {}
    for graph in job.graphs:
        if graph.copy_of is None:
            artifacts[graph.folder] = convert_graph(graph, job.target, job.staging)
        else:
            artifacts[graph.folder] = _copied(artifacts[graph.copy_of], graph, job.staging)
    return [dataclasses.asdict(artifact) for artifact in artifacts.values()]


def _copied(artifact: Artifact, graph: GraphConversion, staging: Path) -> Artifact:
    """The files of an artifact that lies in `graph.copy_of`, in the graph's own folder."""
    source, folder = staging / (graph.copy_of or ""), staging / graph.folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in artifact.files:
        shutil.copyfile(source / name, folder / name)

    return dataclasses.replace(artifact, file=f"{graph.folder}/{Path(artifact.file).name}")


def convert_graph(graph: GraphConversion, profile: Target, staging: Path) -> Artifact:
    """Write one artifact into its folder below `staging`; paths are relative to that. Raises as `convert`."""
    backend = backends.get(profile.backend)
    folder = staging / graph.folder
    folder.mkdir(parents=True, exist_ok=True)

    try:
        artifact: Artifact = backend.part("exporter").export(_request(graph, profile, backend.lowering), folder)
    except ModelError as error:
        error.message = f"{profile.name}: {error.message}"
        raise

    prefix = f"{graph.folder}/" if graph.folder else ""
    return dataclasses.replace(artifact, file=f"{prefix}{artifact.file}")


def _request(graph: GraphConversion, profile: Target, form: str) -> ExportRequest:
    border = (graph.example, graph.inputs, graph.outputs, profile, graph.dynamic_batch)
    if isinstance(graph.graph, QuantizedGraph) and not graph.graph.scheme.quantized:
        return ExportRequest(graph.graph.module, *border, kind="float")
    if isinstance(graph.graph, QuantizedGraph):
        stored = graph.graph.weight_dtypes()
        return ExportRequest(lower(graph.graph, form), *border, kind="quantized", weight_dtypes=stored)
    return ExportRequest(graph.graph, *border, kind="fixed" if graph.fixed else "float")


@dataclass(frozen=True)
class GraphArtifacts:
    """The artifact of one graph of the model and its float baseline."""

    quantized: Artifact
    baseline: Artifact


def artifacts_of(
    converted: Sequence[dict[str, Any]], run: QuantizedRun, scheme: QuantizedScheme
) -> tuple[dict[str, GraphArtifacts], Artifact | None, dict[str, Artifact]]:
    """What `convert` returned, by graph of the model, of the streaming form (None where there is none), and by graph of
    the trainable tail ({} where there is none)."""
    read = [Artifact(c["file"], tuple(c["files"]), c["emitted"]) for c in converted]
    count = 2 * len(run.captured.graphs)
    pairs = zip(read[:count:2], read[1:count:2])
    of_model = {name: GraphArtifacts(*pair) for name, pair in zip(run.captured.graphs, pairs)}
    of_stream, further = (read[count], read[count + 1 :]) if scheme.stream is not None else (None, read[count:])
    of_tail = dict(zip(TAIL_GRAPHS, further)) if scheme.tail is not None else {}
    return of_model, of_stream, of_tail
