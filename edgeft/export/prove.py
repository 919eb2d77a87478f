"""The third step: artifacts loaded in their runtime, run over the test split, and judged.

What a bundle can show by itself is judged in a fresh process (`verify.isolated`); here are the gates that need the
data, the torch graph or the profile's view of the model.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import backends as runtime
from ..backends.artifact import Artifact
from ..bundle import border
from ..bundle import reader as bundle
from ..compilers import Compilation
from ..config import target
from ..config.target import Target
from ..core.errors import EdgeftError
from ..core.progress import phase
from ..core.verdict import Verdict
from ..inputs.batches import Arrays, outputs_of, preprocessed, row_by_row
from ..quantize.parts import MAIN
from ..verify import compiler_gate
from ..verify.accuracy import accuracy, no_labels
from ..verify.agreement import agreement
from ..verify.closed_loop import beside_return
from ..verify.compatibility import compatibility
from ..verify.integer import integer
from ..verify.leak import beside_leak
from ..verify.parity import parity
from ..verify.scales import activation_scales
from . import streamed, tail_proof
from .convert import GraphArtifacts, artifacts_of
from .quantized_run import QuantizedRun, QuantizedScheme, Say
from .reference import Reach, Reference
from .samples import GraphSamples
from .tables import tensor_tables

#: sessions of the float baseline and of the quantized artifact
SessionPair = tuple[runtime.Session, runtime.Session]


@dataclass(frozen=True)
class ConvertedGraph:
    """One graph of the model: its artifact, and the manifest's table of it."""

    artifact: Artifact
    table: dict[str, Any]


@dataclass(frozen=True)
class ConvertedTarget:
    """What was converted for one target, in its staging folder, and what is known of it before it is run.

    `graph_samples` are those of a model of several graphs, `tail` is the proved trainable tail and `stream` what the
    manifest says of the streaming form, where there is one.
    """

    target: Target
    scheme: QuantizedScheme
    reference: Reference
    staging: Path
    graphs: dict[str, ConvertedGraph]
    graph_samples: tuple[GraphSamples, ...] = ()
    tail: tail_proof.ProvedTail | None = None
    stream: streamed.StreamTables | None = None

    @property
    def artifact_paths(self) -> list[Path]:
        return [self.staging / graph.artifact.file for graph in self.graphs.values()]


@dataclass(frozen=True)
class Evidence:
    """Outputs (N, ...) of the float and of the quantized artifact on the test split.

    `settled` are the keys of preprocessing that the task sets by the artifact's outputs on the validation split.
    """

    float: Arrays
    quantized: Arrays
    settled: Mapping[str, Any] = field(default_factory=dict)


def observed(
    run: QuantizedRun,
    places: Sequence[tuple[Target, Path]],
    results: Sequence[Callable[[], list[dict[str, Any]]]],
    references: Mapping[str, Reference],
    say: Say,
) -> tuple[list[ConvertedTarget], list[Evidence], dict[Path, EdgeftError]]:
    """Load what was converted for each (target, staging folder), and run all of it over the test split.

    `results` wait for what `convert` returned, `references` are by scheme. All that computes on every core is done, and
    every session is closed, before the first bundle is timed. The third value has the errors of the targets that could
    not be converted or loaded, by staging folder.
    """
    converted: list[ConvertedTarget] = []
    sessions: list[SessionPair] = []
    errors: dict[Path, EdgeftError] = {}

    for (profile, staging), result in zip(places, results):
        try:
            with phase(f"{profile.name}: converting for {profile.backend}"):
                artifacts = result()
            converted_target, pair = _load(run, profile, references[profile.scheme.name], staging, artifacts, say)
        except EdgeftError as error:
            errors[staging] = error
            continue
        converted.append(converted_target)
        sessions.append(pair)

    return converted, _outputs(run, sessions) if sessions else [], errors


def _load(
    run: QuantizedRun,
    profile: Target,
    reference: Reference,
    staging: Path,
    results: Sequence[dict[str, Any]],
    say: Say,
) -> tuple[ConvertedTarget, SessionPair]:
    """Load the artifacts that `convert` wrote; proves a trainable tail. Returns the whole model's sessions too."""
    scheme = run.scheme_of(profile)
    of_model, of_stream, of_tail = artifacts_of(results, run, scheme)
    graphs: dict[str, ConvertedGraph] = {}
    before: dict[str, runtime.Session] = {}
    after: dict[str, runtime.Session] = {}

    for name, artifacts in of_model.items():
        table, pair = _loaded(run, profile, reference.reach[name], staging, name, artifacts)
        graphs[name] = ConvertedGraph(artifacts.quantized, table)
        before[name], after[name] = pair

    converted = ConvertedTarget(profile, scheme, reference, staging, graphs)
    if of_stream is not None:
        converted = dataclasses.replace(converted, stream=streamed.tables(run, scheme, profile, staging, of_stream))
    if not run.captured.single:
        samples = tuple(
            GraphSamples(name, feeds, reference.graph_outputs[name], row_by_row(after[name], feeds))
            for name, feeds in reference.graph_feeds.items()
        )
        composed_pair = (bundle.composed(run.task, before, run.spec), bundle.composed(run.task, after, run.spec))
        return dataclasses.replace(converted, graph_samples=samples), composed_pair

    if scheme.tail is not None:
        say(f"{profile.name}: proving the training step")
        with phase(f"{profile.name}: proving the training step"):
            tail = tail_proof.prove(run, scheme.tail, profile, staging, of_tail, after[MAIN])
        converted = dataclasses.replace(converted, tail=tail)

    return converted, (before[MAIN], after[MAIN])


def _loaded(
    run: QuantizedRun, profile: Target, reach: Reach, staging: Path, name: str, artifacts: GraphArtifacts
) -> tuple[dict[str, Any], SessionPair]:
    """One graph: its table, and the sessions of its float baseline and of its artifact."""
    machine, captured = runtime.get(profile.backend), run.captured.graphs[name]
    options = options_for(profile)
    baseline_path, path = staging / artifacts.baseline.file, staging / artifacts.quantized.file
    needed = machine.baseline_options(baseline_path)
    baseline = machine.load(baseline_path, options={**needed, **options})
    quantized = machine.load(path, options={**needed, **machine.artifact_options(path), **options})
    inputs = run.input_names if run.captured.single else captured.input_names
    table = {
        "name": name,
        "file": artifacts.quantized.file,
        "baseline": artifacts.baseline.file,
        "inputs": tensor_tables(quantized.inputs, inputs, layout=run.spec.get("layout")),
        "outputs": tensor_tables(
            quantized.outputs,
            captured.output_names,
            layout=None,
            steps=run.scheme_of(profile).graphs.graphs[name].output_steps(),
            reach=reach,
        ),
    }
    before, after = (border.named(session, table, where=str(staging)) for session in (baseline, quantized))

    return table, (before, after)


def options_for(profile: Target) -> dict[str, Any]:
    """The runtime options that a target's artifacts are judged with on this machine."""
    machine = runtime.get(profile.backend)
    return {**machine.options(), **(machine.exact_options() if target.exact_here(profile) else {})}


def _outputs(run: QuantizedRun, pairs: Sequence[SessionPair]) -> list[Evidence]:
    """The outputs of every artifact on the test split, one `Evidence` a pair of sessions.

    A batch is read once for all of them, and they run side by side: runtimes compute outside the interpreter's lock,
    and nothing is timed here.
    """
    sessions = [session for pair in pairs for session in pair]
    title = f"{len(sessions)} artifacts on the test split"
    with ThreadPoolExecutor(min(len(sessions), os.cpu_count() or 1)) as pool:
        outputs = outputs_of(sessions, preprocessed(run.task, run.spec, run.test, title=title), pool.map)
    evidence = [Evidence(*pair) for pair in zip(outputs[::2], outputs[1::2])]
    return evidence if run.task.settle is None else _settled(run, evidence, [after for _, after in pairs])


def _settled(run: QuantizedRun, evidence: Sequence[Evidence], sessions: Sequence[runtime.Session]) -> list[Evidence]:
    """Each evidence with what the task sets by its artifact's outputs on the validation split."""
    val = run.dataset.split("val")
    title = f"{len(sessions)} artifacts on the validation split"
    outputs = outputs_of(sessions, preprocessed(run.task, run.spec, val, title=title))
    return [
        dataclasses.replace(each, settled=run.task.settle(rows, val.targets, run.spec))
        for each, rows in zip(evidence, outputs)
    ]


def gates(
    run: QuantizedRun,
    converted: ConvertedTarget,
    evidence: Evidence,
    alone: Mapping[str, Any],
    compilations: Mapping[str, Compilation],
) -> list[Verdict]:
    """The gates that need the data, the torch graph or the profile's view of the model.

    `alone` is the report of the bundle by itself, which knows what the runtime left in float. `compilations` are what
    the target's compiler made of each graph, {} where it has not run.
    """
    limits = run.recipe.gates
    pair = (evidence.float, evidence.quantized)
    if run.dataset.unlabelled:
        judged = beside_return(no_labels(run.task), limits)
    else:
        judged = beside_return(accuracy(run.task, *pair, run.test.targets, run.dataset.labels, limits), limits)

    return [
        beside_leak(judged, run.summary.get("leak"), allowed=run.recipe.data.allow_leak),
        agreement(run.task, *pair, limits, run.test.targets),
        *_parity(run, converted, evidence),
        *(converted.tail.verdicts if converted.tail else ()),
        *_weights(converted),
        *[_scales(converted, name) for name in _with_grids(converted)],
        *[_compatibility(run, converted, name, alone, compilations.get(name)) for name in converted.graphs],
    ]


def _weights(converted: ConvertedTarget) -> list[Verdict]:
    """The stored weights against the graph's; none where nothing is quantized, which the bundle shows by itself."""
    if not converted.target.scheme.quantized:
        return []
    machine = runtime.get(converted.target.backend)
    stored = [tensor for path in converted.artifact_paths for tensor in machine.integer_weights(path)]
    trained = {weight.name: (weight.data, weight.scale) for weight in converted.scheme.weights}
    return [integer(trained, stored)]


def _parity(run: QuantizedRun, converted: ConvertedTarget, evidence: Evidence) -> list[Verdict]:
    """Each graph on the same inputs in torch and in its runtime."""
    if run.captured.single:
        compared = [(MAIN, run.task, converted.reference.outputs, evidence.quantized)]
    else:
        compared = [
            (rows.name, run.task.part(rows.name), rows.graph, rows.quantized) for rows in converted.graph_samples
        ]

    verdicts, metric = [], "quantized graph, test split"
    for name, judge, expected, outputs in compared:
        graph = converted.scheme.graphs.graphs[name]
        steps, levels = graph.output_steps(), graph.scheme.activations.steps
        for output, values in expected.items():
            steps.setdefault(output, float(np.ptp(values)) / levels or float(np.finfo(np.float32).tiny))
        verdict = parity(judge, expected, outputs, steps, converted.reference.reach[name], metric=metric)
        verdicts.append(_of_graph(name, verdict))

    return verdicts


def _with_grids(converted: ConvertedTarget) -> list[str]:
    """The graphs whose activations are quantized: those of a scheme of integers, unless they have tables alone."""
    graphs = converted.scheme.graphs
    return [name for name in converted.graphs if graphs.scheme.is_integer and not graphs.graphs[name].only_tables]


def _scales(converted: ConvertedTarget, name: str) -> Verdict:
    machine, graph = runtime.get(converted.target.backend), converted.scheme.graphs.graphs[name]
    grids = [fake.parameters_of_grid() for fake in graph.activations().values()]
    stored = machine.activation_grids(converted.staging / converted.graphs[name].artifact.file)
    return _of_graph(name, activation_scales(grids, stored))


def _compatibility(
    run: QuantizedRun,
    converted: ConvertedTarget,
    name: str,
    alone: Mapping[str, Any],
    compilation: Compilation | None,
) -> Verdict:
    summary = converted.scheme.graphs.graphs[name].summary
    emitted = {
        **converted.graphs[name].artifact.emitted,
        "dynamic": run.captured.graphs[name].dynamic and not converted.target.static_shapes,
        "max_rank": summary.max_rank,
        "float_ops": list((alone.get("int8") or {}).get("float_ops") or []),
    }
    objections = target.objections(converted.target, summary)
    rules = compatibility(converted.target, emitted, objections)

    return _of_graph(name, compiler_gate.judged(rules, compilation, run.recipe.gates.min_coverage))


def _of_graph(name: str, verdict: Verdict) -> Verdict:
    """A verdict on one graph of several names it."""
    return verdict if name == MAIN else dataclasses.replace(verdict, why=f"{name}: {verdict.why}", graph=name)
