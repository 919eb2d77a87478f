"""The engine that a board's own compiler builds: built where the bundle is verified, run on its samples, and timed.

What the runtime of the file computes on a CPU says little of an engine: it has kernels of its own. So its build is the
gate `compatibility`, its outputs are held against the quantized graph's, and its time against that of a float engine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .. import backends
from ..bundle.manifest import of_model
from ..bundle.reader import Bundle
from ..config import scheme, target
from ..config.recipe import Gates
from ..config.target import Target
from ..core import files
from ..core.errors import InvalidInput
from ..core.progress import phase
from ..core.verdict import ADVISORY, FAIL, PASS, UNVERIFIED, Verdict
from ..measure.latency import of_calls, rate
from ..measure.quads import Comparison, of_processes
from .latency import budget, latency
from .parity import output_steps, parity
from .samples import named

#: stored samples that the engine computes, each in a process of its own
SAMPLES = 16
#: quads of processes: fewer cannot be bounded at 99 %
QUADS = 8
#: seconds of timed runs in one process
SECONDS = 1.0
METRIC = "engine"
#: (engine, stored sample, seconds) -> its outputs, and milliseconds of single runs
Run = Callable[[Path, int, float], tuple[dict[str, np.ndarray], np.ndarray]]
_CLOCK = "the engine's own times, each block from a process of its own"


@dataclasses.dataclass(frozen=True)
class Engines:
    """What the compiler on this machine built: `refusal` is its reason where it built nothing.

    `quantized` and `float` are engines by the name of their graph. `on_board` is whether this machine has the target's
    CPU: another machine's compiler may be of another version and tunes for another accelerator.
    """

    module: ModuleType
    tool: str
    version: str
    on_board: bool
    quantized: Mapping[str, Path]
    float: Mapping[str, Path]
    refusal: str = ""

    @property
    def title(self) -> str:
        return f"{self.module.title()} {self.version}".strip()


def tool_of(profile: Target | None) -> tuple[ModuleType, str] | None:
    """The module and the tool of a target's compiler that runs on the board, where this machine has it."""
    module = backends.get(profile.backend).engine(profile) if profile else None
    tool = module.find() if module else None
    return (module, tool) if module and tool else None


def gates(
    profile: Target | None,
    opened: Bundle,
    samples: Mapping[str, np.ndarray],
    limits: Gates,
    compatible: Sequence[Verdict],
    say: Callable[[str], None] = lambda step: None,
    *,
    timed: bool,
) -> tuple[list[Verdict], dict[str, Any], Comparison | None]:
    """The gates `compatible` as the compiler on this machine answers, those of the engine's outputs and speed
    (`timed`), the report's `engine`, and the comparison with float; None where there is no such comparison.

    Engines are built in a temporary folder and removed.
    """
    found = tool_of(profile)
    if profile is None or found is None:
        return list(compatible), {}, None

    say("engine")
    comparison, figures, verdicts = None, dict[str, Any](), list[Verdict]()
    with _folder() as folder, phase("building and running the engine"):
        engines = _built(*found, profile, opened, folder)
        if not engines.refusal and len(engines.quantized) == 1:
            try:
                outputs, speed, comparison, figures = _measured(engines, opened, samples, limits, timed)
                verdicts = [outputs, *speed]
            except InvalidInput as error:
                engines = dataclasses.replace(engines, refusal=f"what it built does not run: {error.message}")

    table = {
        "name": engines.title,
        "on_board": engines.on_board,
        "refusal": engines.refusal or None,
        "outputs": sum(verdict.n for verdict in verdicts if verdict.metric == METRIC),
    }
    changed = [compatibility(verdict, engines, profile) for verdict in compatible]
    return [*changed, *verdicts], {"engine": table, **figures}, comparison


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A temporary folder; what the disk refuses of it is `SystemFailure`."""
    with (
        files.system_errors(Path(tempfile.gettempdir())),
        tempfile.TemporaryDirectory(prefix="edgeft-engine-") as folder,
    ):
        yield Path(folder)


def _built(module: ModuleType, tool: str, profile: Target, opened: Bundle, folder: Path) -> Engines:
    graphs = of_model(opened.manifest)
    baselines = [{**graph, "file": graph["baseline"]} for graph in graphs if graph.get("baseline")]
    engines = Engines(module, tool, "", target.cpu_is(profile), {}, {})
    profile = target.with_format(profile, scheme.format_of(opened.scheme))
    try:
        version, quantized = module.build(tool, profile, graphs, opened.path, folder, quantized=True)
    except InvalidInput as error:
        return dataclasses.replace(engines, refusal=error.message)

    engines = dataclasses.replace(engines, version=version, quantized=quantized)
    if len(graphs) > 1 or not baselines:
        return engines
    try:
        _, plain = module.build(tool, profile, baselines, opened.path, folder, quantized=False)
    except InvalidInput:
        return engines  # what the compiler refuses of the float model takes its speed for a comparison, and no more
    return dataclasses.replace(engines, float=plain)


def _measured(
    engines: Engines, opened: Bundle, samples: Mapping[str, np.ndarray], limits: Gates, timed: bool
) -> tuple[Verdict, list[Verdict], Comparison | None, dict[str, Any]]:
    """The engine's outputs on stored samples against the quantized graph's; and what `_timed` gives of its speed."""
    graph = opened.graph()
    inputs, expected = named(samples, "input"), named(samples, "graph") or named(samples, "output")
    count = min(SAMPLES, len(next(iter(inputs.values()))))
    (engine,) = engines.quantized.values()
    dynamic = any(not isinstance(side, int) or side < 0 for tensor in graph["inputs"] for side in tensor["shape"])

    def run(path: Path, row: int, seconds: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
        feeds = {t["name"]: inputs[t["name"]][row : row + 1].astype(t["dtype"]) for t in graph["inputs"]}
        outputs, times = engines.module.run(engines.tool, path, engines.version, feeds, dynamic, seconds)
        return dict(outputs), np.asarray(times)

    rows = [run(engine, row, 0.0)[0] for row in range(count)]
    before = {name: values[:count] for name, values in expected.items()}
    after = {name: np.concatenate([row[name] for row in rows]) for name in before if all(name in row for row in rows)}
    reach = {tensor["name"]: tensor["rounding"] for tensor in graph["outputs"] if "rounding" in tensor}
    steps = output_steps(graph["outputs"], before, scheme.activations_of(opened.scheme))
    verdict = parity(opened.task, before, after, steps, reach, metric=METRIC)
    verdict = dataclasses.replace(verdict, why=f"the engine of {engines.title}: {verdict.why}")
    if not engines.on_board:
        verdict = dataclasses.replace(verdict, verdict=ADVISORY, required=False)

    return verdict, *(_timed(engines, engine, opened, limits, run) if timed else ([], None, {}))


def _timed(
    engines: Engines, engine: Path, opened: Bundle, limits: Gates, run: Run
) -> tuple[list[Verdict], Comparison | None, dict[str, Any]]:
    """The gates of speed, the comparison with float where that was built, and the rate of a control loop."""
    verdicts: list[Verdict] = []
    comparison, figures, on_board = None, dict[str, Any](), engines.on_board
    if engines.float:
        (plain,) = engines.float.values()
        comparison = _compared(lambda path: float(np.median(run(path, 0, SECONDS)[1])), plain, engine)
        verdicts.append(latency(comparison, limits, on_target=on_board))

    if limits.latency_ms or opened.task.real_time:
        calls = of_calls(run(engine, 0, 3 * SECONDS)[1])
        if limits.latency_ms:
            verdicts.append(budget(calls, limits, on_target=on_board))
        if opened.task.real_time:
            figures["rate"] = {**rate(calls), "where": "host"}

    return verdicts, comparison, figures


def _compared(milliseconds: Callable[[Path], float], plain: Path, engine: Path) -> Comparison:
    """Float against quantized in ABBA and BAAB quads of processes."""
    rng, sides, quads = np.random.default_rng(), (plain, engine), []
    for _ in range(QUADS):
        quad: list[list[float]] = [[], []]
        for side in (0, 1, 1, 0) if rng.random() < 0.5 else (1, 0, 0, 1):
            quad[side].append(milliseconds(sides[side]))
        quads.append(quad)

    return of_processes(quads, _CLOCK)


def compatibility(rules: Verdict, engines: Engines, profile: Target) -> Verdict:
    """The gate `compatibility` from that of the profile's rules and what the compiler on this machine built.

    On the board its refusal fails and its engine passes. Another machine's compiler is named, and does not affect the
    verdict.
    """
    outcome = (
        f"{engines.title} refuses the model: {engines.refusal}" if engines.refusal else f"{engines.title} builds it"
    )
    if not engines.on_board:
        return dataclasses.replace(rules, why=f"{rules.why}; on this machine, which is not the board, {outcome}")
    if engines.refusal:
        why = f"{rules.why}; {outcome}" if rules.verdict == FAIL else outcome
        count = (rules.quantized or 0.0) + 1
        return dataclasses.replace(rules, verdict=FAIL, why=why, quantized=count, n=rules.n + 1, needs="", remedy="")
    if rules.verdict != UNVERIFIED or rules.needs != profile.compiler:
        return rules

    several = "; the engines of several graphs were not run" if len(engines.quantized) > 1 else ""
    why = f"{outcome} on this board{several}"
    return dataclasses.replace(rules, verdict=PASS, why=why, n=rules.n + 1, needs="", remedy="")
