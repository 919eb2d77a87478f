"""The compiler's part of the gate `compatibility`: what it made of the artifact, or that it has not run."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .. import backends, compilers
from ..bundle.reader import Bundle
from ..compilers import Compilation, compilation
from ..config.target import Target
from ..core import files
from ..core.verdict import FAIL, PASS, Verdict


def compiled(
    profile: Target | None, opened: Bundle, graphs: Sequence[str]
) -> tuple[dict[str, Compilation], dict[str, str]]:
    """What the target's compiler makes of each graph of a bundle, and by graph what is wrong with the files of it that
    the bundle carries; both {} where it is not set up on this machine."""
    environment = compilation.environment_of(profile) if profile else None
    if profile is None or environment is None:
        return {}, {}

    made, faults = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(graphs):
            place = Path(folder) / str(number)
            made[name] = compilation.compiled(environment, profile, opened.graph_path(name), place)
            if fault := _other_files(opened, name, made[name], place):
                faults[name] = fault

    return made, faults


def _other_files(opened: Bundle, graph: str, made: Compilation, folder: Path) -> str:
    """Which file of a graph the bundle carries though its compiler makes another; "" where none can be told to differ.

    Only a compiler that makes the same bytes each time is held to them, by a bundle of the same version.
    """
    record, table = compilers.get(made.compiler), opened.manifest.get("compiler") or {}
    same = (table.get("name"), table.get("version")) == (made.compiler, made.version)
    carried = table.get("files", {}).get(graph, [])
    if not (record.repeats and same and carried and made.accepted):
        return ""

    digests = [files.sha256(folder / name) for name in made.files]
    for k, name in enumerate(carried):
        if digests[k : k + 1] != [files.sha256(files.inside(opened.path, name))]:
            return f"{name} is not what {record.title} {made.version} makes of the model: export it again"

    return ""


def broken(made: Compilation, min_coverage: float) -> list[str]:
    """Why a compilation fails the gate: a refusal, or too little on the accelerator; [] = it passes."""
    title = f"{compilers.get(made.compiler).title} {made.version}"
    if made.refusal is not None:
        return [f"{title} refuses the model: {made.refusal}"]

    share, of = _share(made)
    if share is None:
        if min_coverage <= 0:
            return []
        return [f"{title} compiles the model, but no operation of it could be counted: {min_coverage:.0%} asked"]

    if share >= min_coverage and share > 0:
        return []

    worst = max(made.fallback, key=lambda operation: operation.macs, default=None)
    first = f", not {worst.op} at {worst.node!r} ({worst.why or 'no reason given'})" if worst else ""
    return [f"{title} puts {share:.1%} of the {of} on the accelerator, {min_coverage:.0%} asked{first}"]


def _share(made: Compilation) -> tuple[float | None, str]:
    """The share on the accelerator that is judged, and what of: operations where nothing multiplies and adds."""
    if made.coverage_macs is not None:
        return made.coverage_macs, "multiply-accumulates"
    return made.coverage_ops, "operations"


def words(made: Compilation) -> str:
    """What a compiler made of the model, in one sentence."""
    record = compilers.get(made.compiler)
    shares = []
    if made.coverage_ops is not None:
        shares.append(f"{made.coverage_ops:.1%} of {made.operations} operations")
    if made.coverage_macs is not None:
        shares.append(f"{made.coverage_macs:.1%} of the multiply-accumulates")

    run = f", {', '.join(shares)} run on the {record.accelerator}" if shares else ""
    left = ", ".join(f"{count} x {op}" for op, count in made.fallback_ops().items())
    return f"{record.title} {made.version} compiles it{run}" + (f"; on the CPU: {left}" if left else "")


def judged(rules: Verdict, made: Compilation | None, min_coverage: float, carried: str = "") -> Verdict:
    """The gate `compatibility` from that of the profile's rules and what the compiler made, None where it has not run.

    A refusal fails, and so does less than `min_coverage` of the multiply-accumulates on the accelerator, of the
    operations where none multiplies and adds, and what is wrong with the files that a bundle has `carried` ("" for
    nothing).
    """
    if made is None:
        return rules

    faults = [*broken(made, min_coverage), *filter(None, [carried])]
    if faults:
        why = "; ".join([rules.why, *faults]) if rules.verdict == FAIL else "; ".join(faults)
        count = (rules.quantized or 0.0) + len(faults)
        return replace(rules, verdict=FAIL, why=why, quantized=count, n=rules.n + 1, needs="", remedy="")

    if rules.needs != made.compiler:
        return rules

    return replace(rules, verdict=PASS, why=words(made), n=rules.n + 1, needs="", remedy="")


#: what builds and judges the engine of a board that builds its own
ON_BOARD = "edgeft verify BUNDLE --device ssh://USER@BOARD"


def remedy(target: Target) -> str:
    """The command that installs a target's compiler, or has a board build its engine; "" for one that edgeft cannot
    run."""
    record = compilers.of_target(target.compiler)
    if record is not None:
        return record.setup
    return ON_BOARD if backends.get(target.backend).engine(target) else ""


def has_not_run(target: Target) -> str:
    """That the compiler has not run, and what installs it or has the board run it."""
    record = compilers.of_target(target.compiler)
    if record is None:
        on_board = backends.get(target.backend).engine(target) is not None
        further = f"; `{ON_BOARD}` builds the engine there and judges it" if on_board else ""
        return f"the compiler {target.compiler!r} has not run{further}"
    return f"the compiler {record.title} has not run: `{record.setup}` installs it, then export again"
