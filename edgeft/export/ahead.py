"""The compiler of a board asked before anything is trained: does it take the model's graph, and what of it?

Ranges come from a quick calibration of the untrained model: which ops a compiler takes does not depend on the weights.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .. import backends
from ..compilers import Compilation, compilation
from ..compilers import get as compiler_of
from ..compilers.compiler import together
from ..compilers.environment import Environment
from ..config.recipe import Recipe
from ..config.target import Objection, Target
from ..core.errors import ModelError
from ..session.calibration_data import calibrated
from ..session.session import Say, Session, open_session
from ..verify import compiler_gate
from .convert import GraphConversion, convert_graph

#: the calibration preset of a graph that is compiled and never run
CALIBRATION = "quick"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a compiler objects to, and what it made of all graphs (None where an artifact could not be written)."""

    objections: tuple[Objection, ...]
    compilation: Compilation | None


def ask(recipe: Recipe, profile: Target, *, allow_code: bool, allow_download: bool = False, say: Say) -> Answer | None:
    """What the compiler of `profile`, the recipe's only target, makes of its model; None where it is not set up.

    A refusal names the first node, an op that stays on the CPU is a warning with the compiler's reason, and coverage
    below `gates.min_coverage` is a refusal, as it would be at export. Raises `Missing` where the compiler's environment
    is damaged.
    """
    environment = compilation.environment_of(profile)
    if environment is None:
        return None

    quick = dataclasses.replace(recipe, quantize=dataclasses.replace(recipe.quantize, calibration=CALIBRATION))
    session = open_session(quick, allow_code=allow_code, allow_download=allow_download, warn=False, say=say)
    profile = session.targets[0]  # in the recipe's number format
    say(f"{profile.name}: asking {environment.compiler.title} {environment.version}")

    with tempfile.TemporaryDirectory(prefix="edgeft-ahead-") as folder:
        try:
            parts = dict(_compiled(session, profile, environment, Path(folder)))
        except ModelError as error:
            where = error.where or backends.get(profile.backend).title
            return Answer((Objection("refuse", where, error.message, error.remedy),), None)

    objections = [objection for part in parts.values() for objection in _objections(part, recipe.gates.min_coverage)]
    return Answer(tuple(objections), together(parts))


def _compiled(
    session: Session, profile: Target, environment: Environment, folder: Path
) -> Iterator[tuple[str, Compilation]]:
    captured = session.capture(session.built.module)
    for name, graph in calibrated(session, captured, profile.scheme).graphs.items():
        part = captured.graphs[name]
        inputs = tuple(session.input_names if captured.single else part.input_names)
        border = (part.example, inputs, part.output_names, part.dynamic)
        artifact = convert_graph(GraphConversion(name, graph, *border), profile, folder)
        made = compilation.compiled(environment, profile, folder / artifact.file, folder / f"{name}-compiled")
        yield name, made


def _objections(made: Compilation, min_coverage: float) -> Iterator[Objection]:
    title = f"{compiler_of(made.compiler).title} {made.version}"
    if made.refusal is not None:
        where = made.refusal.op or made.refusal.node or title
        yield Objection("refuse", where, f"{title} refuses the model: {made.refusal}", "replace this op in the model")
        return

    for op, count in made.fallback_ops().items():
        first = next(operation for operation in made.fallback if operation.op == op)
        reason = f" ({first.why})" if first.why else ""
        yield Objection("warn", op, f"{title} leaves {count} x {op} to the CPU, first {first.node!r}{reason}")

    for fault in compiler_gate.broken(made, min_coverage):
        yield Objection("refuse", "coverage", fault, "replace these ops, or lower gates.min_coverage")
