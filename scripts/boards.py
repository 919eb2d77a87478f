"""Writes the table of all boards into docs/boards.md, from the target profiles and what the benchmarks measured.

python scripts/boards.py             write the table
python scripts/boards.py --check     exit 1 where the page differs
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeft import compilers
from edgeft.backends import get as runtime_of
from edgeft.config import shipped, target
from edgeft.config.target import Target
from edgeft.core.errors import TargetError

CHECKOUT = Path(__file__).parent.parent
PAGE = CHECKOUT / "docs" / "boards.md"
RESULTS = CHECKOUT / "benchmarks" / "results"
BEGIN, END = "<!-- all boards: begin (scripts/boards.py) -->", "<!-- all boards: end -->"
HEAD = ("board", "runtime", "judged by", "on the accelerator", "formats", "unverified")
#: share of the multiply-accumulates from which on a network counts as compiled, as the gate has it by default
LEAST = 0.95


def table() -> str:
    """The table of every shipped profile, sorted by name."""
    networks, tasks, emulated = networks_by_board(), read("compiler_tasks")["rows"], emulated_cpus()
    rows = [row(target.load(name), networks, tasks, emulated) for name in names()]
    lines = ["| " + " | ".join(cells) + " |" for cells in (HEAD, ["---"] * len(HEAD), *rows)]
    return "\n".join(lines)


def names() -> list[str]:
    """The profiles that come with edgeft, without those of the user."""
    return sorted(path.stem for path in shipped.folder("targets").glob("*.toml"))


def read(name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return record


def row(
    profile: Target,
    networks: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
    tasks: Mapping[str, Mapping[str, Any]],
    emulated: Mapping[str, Mapping[str, str]],
) -> tuple[str, ...]:
    """One line: the profile, who judges its models, what was measured of them, and what nobody has judged."""
    runtime, measured = runtime_of(profile.backend), networks.get(profile.name, {})
    cpu = emulated.get(profile.backend, {}).get(profile.emulate_cpu, "")
    return (
        f"`{profile.name}`",
        runtime.title,
        judges(profile, cpu),
        coverage(profile, measured, tasks) or "-",
        formats(profile),
        unverified(profile, cpu),
    )


def judges(profile: Target, cpu: str) -> str:
    """What has judged models for the board, in the words of `edgeft targets list`; `cpu` was emulated, "" for none."""
    record, runtime = compilers.of_target(profile.compiler), runtime_of(profile.backend)
    if record is not None:
        simulator = ", its simulator" if record.simulates else ""
        return f"{profile.verified_by}{simulator}" if profile.verified_by else f"{runtime.title} alone"

    emulation = f", under qemu as {cpu}" if cpu else ""
    return f"{runtime.title}{' alone' if profile.compiler else ''}{emulation}"


def coverage(
    profile: Target,
    measured: Mapping[str, Sequence[Mapping[str, Any]]],
    tasks: Mapping[str, Mapping[str, Any]],
) -> str:
    """By number format the networks with enough on the accelerator, and the examples whose gate passes."""
    parts = []
    for name, rows in measured.items():
        shares = [found.get("coverage_macs") or 0.0 for found in rows]
        enough = [share for share in shares if share >= LEAST]
        least = f" ({'all' if min(enough) == 1 else 'from'} {min(enough):.0%})" if enough else ""
        parts.append(f"{name}: {len(enough)} of {len(rows)} networks{least}")

    gates = [made.get("compatibility", {}).get("verdict") for made in asked_of(profile, tasks)]
    if gates:
        parts.append(f"gate passes {gates.count('pass')} of {len(gates)} examples")

    return "; ".join(parts)


def asked_of(profile: Target, tasks: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows of the trained examples that were exported for this board."""
    boards = {board: compiler for compiler, (board, _) in asked().items() if compiler in next(iter(tasks.values()))}
    compiler = boards.get(profile.name, "")
    return [made[compiler] for made in tasks.values() if compiler in made]


def formats(profile: Target) -> str:
    """The number formats that an export for the board takes; the first is the profile's own."""
    taken = []
    for name in runtime_of(profile.backend).form(profile.form).formats:
        try:
            target.with_format(profile, name)
        except TargetError:
            continue
        taken.append(name)

    own = profile.scheme.format
    return ", ".join([own, *(name for name in taken if name != own)])


def unverified(profile: Target, cpu: str) -> str:
    """What nothing here has judged: a rule for each kind of board."""
    record, runtime = compilers.of_target(profile.compiler), runtime_of(profile.backend)
    if record is not None:
        on_chip = "that the chip computes what the simulator does; speed"
        return on_chip if record.simulates else "what the compiled model computes (no simulator); speed"
    if runtime.engine(profile) is not None:
        return f"{profile.compiler}'s engine, until the board has built it; speed"
    if profile.compiler:
        return f"all that {profile.compiler} makes: edgeft cannot run it"
    if not profile.isa or profile.name.startswith("host"):
        return "nothing: it is this machine"
    if profile.isa == "x86_64":
        return "kernels and speed, where this machine is no such CPU"
    if cpu and not profile.compiler:
        return "speed"

    return "its kernels, which neither qemu nor a board has run; speed"


def asked() -> dict[str, tuple[str, str]]:
    """What benchmarks/compilers.py asks: its name -> (profile, number format)."""
    sys.path.insert(0, str(CHECKOUT / "benchmarks"))
    try:
        import compilers as benchmark
    finally:
        sys.path.remove(str(CHECKOUT / "benchmarks"))

    named: dict[str, tuple[str, str]] = benchmark.ASKED
    return named


def networks_by_board() -> dict[str, dict[str, list[dict[str, Any]]]]:
    """profile -> number format -> the rows of benchmarks/results/compilers.json."""
    named, found = asked(), read("compilers")["rows"]
    boards: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for key, made in found.items():
        board, number_format = named[key.split(" | ", 1)[1]]
        boards.setdefault(board, {}).setdefault(number_format, []).append(made)

    return boards


def emulated_cpus() -> dict[str, dict[str, str]]:
    """runtime -> the CPUs whose kernels benchmarks/emulated.py has run: as a profile names them, and as people do."""
    cpus: dict[str, dict[str, str]] = {}
    for key in read("emulated")["digests"]:
        runtime, _, cpu = key.partition(" ")
        if cpu:
            cpus.setdefault(runtime, {})[cpu.lower()] = cpu

    return cpus


def page() -> str:
    """docs/boards.md with the table as it is now."""
    text = PAGE.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


def main(check: bool) -> int:
    """Write the page, or say that it is stale."""
    text = page()
    if not check:
        PAGE.write_text(text, encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != text:
        print("docs/boards.md differs from the profiles and results: run `python scripts/boards.py`")
        return 1

    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
