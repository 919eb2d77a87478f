"""The compiler of a target, where it is set up: the artifacts compiled, and the compiled model in its simulator."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..compilers import Compilation, compilation
from ..compilers.compiler import together
from ..compilers.environment import Environment
from ..core.errors import InvalidInput
from ..core.progress import phase
from ..core.verdict import FAIL, INCONCLUSIVE, Verdict
from ..inputs.batches import Arrays, batches, joined
from ..quantize.parts import MAIN
from ..verify.accuracy import accuracy
from .prove import ConvertedTarget, Evidence
from .quantized_run import QuantizedRun, Say

#: samples of the test split that a simulator computes, at most, and the seconds that it may take
SAMPLES, SECONDS = 1000, 120.0
SIMULATED = "compiled model, simulated"


@dataclass(frozen=True)
class CompiledTarget:
    """What a target's compiler made: by graph, and the gate of the simulated metric where there is a simulator."""

    graphs: dict[str, Compilation]
    simulated: Verdict | None = None

    def manifest(self) -> dict[str, Any]:
        """The manifest's `compiler`: the report's table, and the files of each graph, the first is to be loaded."""
        places = {name: [f"{folder_of(name)}/{file}" for file in made.files] for name, made in self.graphs.items()}
        return {**together(self.graphs).as_dict(), "files": {name: files for name, files in places.items() if files}}

    def report(self) -> dict[str, Any]:
        """The report's `compiler`, see docs/reference/contract.md."""
        table: dict[str, Any] = {**together(self.graphs).as_dict(), "simulated": None}
        if self.simulated is not None:
            gate = self.simulated
            table["simulated"] = {"metric": gate.quantized, "drop": gate.drop, "ci95": gate.ci95, "n": gate.n}

        return table


def folder_of(graph: str) -> str:
    """Where a bundle has what the compiler made of a graph."""
    return compilation.FOLDER if graph == MAIN else f"{compilation.FOLDER}/{graph}"


def compile_target(
    run: QuantizedRun, converted: ConvertedTarget, evidence: Evidence, say: Say
) -> CompiledTarget | None:
    """Compile the artifacts of a target into its staging folder; None where its compiler is not set up.

    What a license does not let a bundle carry is removed once it was simulated. Raises `Missing` where the compiler
    was set up and is gone, or is of a version that this edgeft does not know.
    """
    environment = compilation.environment_of(converted.target)
    if environment is None:
        return None

    say(f"{converted.target.name}: compiling with {environment.compiler.title} {environment.version}")
    made: dict[str, Compilation] = {}
    for name, graph in converted.graphs.items():
        artifact = converted.staging / graph.artifact.file
        place = converted.staging / folder_of(name)
        with phase(f"{converted.target.name}: compiling"):
            made[name] = compilation.compiled(environment, converted.target, artifact, place)

    simulated = None
    if environment.compiler.simulates and run.captured.single and made[MAIN].accepted:
        say(f"{converted.target.name}: simulating the compiled model")
        with phase(f"{converted.target.name}: simulating"):
            simulated = _simulated(run, converted, evidence, environment, made[MAIN])

    if not environment.compiler.shipped:
        shutil.rmtree(converted.staging / compilation.FOLDER, ignore_errors=True)
        made = {name: dataclasses.replace(part, files=()) for name, part in made.items()}

    return CompiledTarget(made, simulated)


def _simulated(
    run: QuantizedRun, converted: ConvertedTarget, evidence: Evidence, environment: Environment, made: Compilation
) -> Verdict:
    """The task's metric of the compiled model in the vendor's simulator, against float on the same samples.

    They are a part of the test split: a drop beyond the limit whose interval reaches below it is inconclusive.
    """
    title = environment.compiler.title
    rows = spread(len(run.test.targets), SAMPLES)
    feeds = _feeds(run, rows)
    file = converted.staging / compilation.FOLDER / made.files[0]
    artifact = converted.staging / converted.graphs[MAIN].artifact.file

    try:
        outputs = compilation.simulated(environment, converted.target, artifact, file, feeds, SECONDS)
    except InvalidInput as error:
        why = f"the simulator of {title} did not run the compiled model: {error.message}"
        return Verdict("accuracy", FAIL, why, metric=SIMULATED)

    names = list(evidence.quantized)
    by_name = outputs if set(outputs) == set(names) else dict(zip(names, outputs.values()))
    rows = rows[: len(next(iter(by_name.values())))]
    before = {name: values[rows] for name, values in evidence.float.items()}
    shaped = {name: values.reshape(before[name].shape) for name, values in by_name.items() if name in before}
    verdict = accuracy(run.task, before, shaped, run.test.targets[rows], run.dataset.labels, run.recipe.gates)
    verdict = dataclasses.replace(verdict, metric=SIMULATED, why=f"in the simulator of {title}: {verdict.why}")
    undecided = verdict.verdict == FAIL and verdict.ci95 is not None and verdict.ci95[0] <= (verdict.limit or 0.0)

    return dataclasses.replace(verdict, verdict=INCONCLUSIVE) if undecided else verdict


def spread(count: int, most: int) -> np.ndarray:
    """Positions of at most `most` samples, evenly over all of them: data may be sorted by class."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def _feeds(run: QuantizedRun, rows: np.ndarray) -> Arrays:
    """The artifact's inputs (N, ...), by its own names, on the chosen samples of the test split."""
    parts = batches(len(rows), lambda i: run.task.preprocess(run.test.raw(int(rows[i])), run.spec))
    return joined([feeds for _, feeds in parts])
