"""The process that runs one artifact for somebody else: one JSON object a line on stdin, one answer a line on stdout.

    {"do": "open", "bundle": PATH, ...}             {"fingerprint": {...}, "pid": 4711}
    {"do": "warm", "seconds": 1.0}                  {"run_ns": 812345.0, "steady": true}
    {"do": "block", "repeats": 7, "lead": 1}        {"wall": 5712345, "cpu": 5701111}
    {"do": "single", "seconds": 1.0}                a result of `measure.latency.measure`
    {"do": "energy", "seconds": 0.25}               {"uj": 812.5, "seconds": 0.25, "runs": 301.0, ...}
    {"do": "outputs"}                               {"sha256": ...} of what the bundle's samples give
    {"do": "heat"}                                  a reading of `heat.read`
    {"do": "cores", "count": 1}                    {"cores": [3]}: the least busy ones
    {"do": "who"}                                   {"fingerprint": {...}} of the machine alone
    (end of file)                                   the process ends

What fails is answered by {"error": ...}. A runtime that writes to stdout writes to stderr here. The process lives as
long as its stdin: whoever started it may vanish, and no orphan stays.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import select
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..core import limits
from ..core.errors import EdgeftError, InternalError, RuntimeStopped, UsageError
from ..measure.clock import SystemClock

#: seconds without a request after which nobody is thought to be there
SILENCE = 900.0
#: providers whose work the CPU clock sees
HOST_PROVIDERS = ("CPUExecutionProvider", "CPU")
#: warm-up: blocks of at least this many ns, steady when so many in a row lie so close
BLOCK_NS, STEADY_BLOCKS, STEADY_WITHIN = 2_000_000, 4, 0.05


class Worker:
    """Answers one request at a time; `answer` never raises."""

    def __init__(self) -> None:
        self.session: Any = None
        self.samples: Mapping[str, Any] = {}
        self.clock = SystemClock()
        self.limited = False  # of a process of its own: its artifact gets limits of memory and time
        self.on_cpu = True  # no accelerator, whose work the CPU clock does not see

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one request, or {"error": ...} as `EdgeftError.as_dict` has it."""
        try:
            deeds: dict[str, Callable[..., dict[str, Any]]] = {
                "open": self.open,
                "warm": self.warm,
                "block": self.block,
                "single": self.single,
                "outputs": self.outputs,
                "energy": self.energy,
                "heat": self.heat,
                "who": self.who,
                "cores": self.cores,
            }
            words = dict(request)
            name = words.pop("do", None)
            if name not in deeds:
                raise UsageError(f"a worker cannot {name!r}", remedy=f"known: {', '.join(deeds)}")
            if self.session is None and name not in ("open", "heat", "who", "cores"):
                raise UsageError(f"{name} before open")

            return deeds[name](**words)
        except EdgeftError as error:
            return {"error": error.as_dict()}
        except MemoryError:
            return {"error": RuntimeStopped("it asked for more memory than the limit for this bundle").as_dict()}
        except Exception as error:  # the other side reads it; a traceback goes to stderr for --debug
            import traceback

            traceback.print_exc()
            return {"error": InternalError(f"{type(error).__name__}: {error}").as_dict()}

    def open(
        self,
        bundle: str,
        threads: int | None = None,
        baseline: bool = False,
        options: Mapping[str, Any] | None = None,
        cores: list[int] | None = None,
    ) -> dict[str, Any]:
        """Load the artifact on the given cores (None: all), run it once on the bundle's first sample."""
        if cores is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores)

        from ..bundle import reader as bundles
        from ..measure.fingerprint import fingerprint

        opened = bundles.open(bundle, check_files=False)  # the side that asks has checked them
        recorded = opened.manifest["runtime"]
        if self.limited:
            total = sum(int(entry["bytes"]) for entry in opened.manifest["files"].values())
            limits.apply(limits.memory(total), limits.SECONDS)

        self.session = opened.session(threads=threads, baseline=baseline, exact=False, options=options)
        self.on_cpu = recorded["options"].get("provider", HOST_PROVIDERS[0]) in HOST_PROVIDERS
        stored = opened.samples()
        self.samples = {tensor.name: stored[f"input/{tensor.name}"] for tensor in self.session.inputs}
        self.session.run({name: value[:1] for name, value in self.samples.items()})
        limits.alarm(0)
        where = fingerprint(
            threads=threads or recorded["threads"],
            runtime={"name": opened.backend, "version": opened.runtime.version()},
        )

        return {"fingerprint": where, "pid": os.getpid()}

    def warm(self, seconds: float) -> dict[str, Any]:
        """Run until a block's time settles or `seconds` are over; the time of one run, from the last blocks.

        On a busy machine the wall clock never settles; there the CPU clock says whether the process is warm.
        """
        clock, repeats = self.clock, 1
        until = clock.wall() + int(seconds * 1e9)
        walls: list[float] = []
        cpus: list[float] = []

        while True:
            cpu, wall = clock.cpu(), clock.wall()
            for _ in range(repeats):
                self.session.invoke()
            wall, cpu = clock.wall() - wall, clock.cpu() - cpu
            if wall < BLOCK_NS and clock.wall() < until:
                repeats, walls, cpus = repeats * 2, [], []
                continue

            walls, cpus = [*walls, wall / repeats][-STEADY_BLOCKS:], [*cpus, cpu / repeats][-STEADY_BLOCKS:]
            steady = _settled(walls) or (self.on_cpu and _settled(cpus))
            if steady or clock.wall() >= until:
                return {"run_ns": sorted(walls)[len(walls) // 2], "steady": steady}

    def block(self, repeats: int, lead: int = 0) -> dict[str, Any]:
        """`lead` untimed runs, then the wall and process CPU ns of `repeats` runs."""
        clock, invoke = self.clock, self.session.invoke
        collecting = gc.isenabled()
        gc.disable()

        try:
            for _ in range(lead):
                invoke()
            cpu, wall = clock.cpu(), clock.wall()
            for _ in range(repeats):
                invoke()
            wall, cpu = clock.wall() - wall, clock.cpu() - cpu
        finally:
            if collecting:
                gc.enable()

        return {"wall": wall, "cpu": cpu}

    def single(self, seconds: float, fewest: int, most: int) -> dict[str, Any]:
        """Percentiles of single calls (`measure.latency.measure`)."""
        from ..measure.latency import measure

        return measure(self.session.invoke, max_seconds=seconds, min_samples=fewest, max_samples=most)

    def energy(self, seconds: float, idle: bool = False) -> dict[str, Any]:
        """Microjoules by this machine's meter while the artifact runs for about `seconds`, or while nothing does."""
        from ..measure import energy, meters

        meter = meters.find()
        if isinstance(meter, meters.Absent):
            return {"absent": meter.why}

        try:
            if idle:
                return {"meter": meter.name, "uj": 1e6 * seconds * energy.idle(meter, seconds), "seconds": seconds}
            return {"meter": meter.name, **energy.block(meter, self.session.invoke, seconds)}
        except (OSError, ValueError) as error:
            return {"absent": energy.failed(meter, error).why}

    def outputs(self) -> dict[str, Any]:
        """The digest of the outputs on all of the bundle's samples: the same bits give the same digest."""
        digest = hashlib.sha256()
        for name, value in sorted(self.session.run(self.samples).items()):
            digest.update(f"{name} {value.dtype} {value.shape}".encode() + value.tobytes())

        self.session.run({name: value[:1] for name, value in self.samples.items()})  # what is timed next is one sample
        return {"sha256": digest.hexdigest()}

    def heat(self) -> dict[str, Any]:
        from . import heat

        return heat.read()

    def who(self) -> dict[str, Any]:
        from ..measure.fingerprint import fingerprint

        return {"fingerprint": fingerprint()}

    def cores(self, count: int) -> dict[str, Any]:
        from .cores import quiet

        return {"cores": quiet(count)}


def _settled(blocks: list[float]) -> bool:
    return len(blocks) == STEADY_BLOCKS and 0 < max(blocks) <= min(blocks) * (1 + STEADY_WITHIN)


def leash() -> None:
    """End this process when its stdin ends, whatever it is doing: for work that reads nothing (`device.LEASH`)."""
    import threading

    def watch() -> None:
        while sys.stdin.buffer.read(1 << 12):
            pass
        os._exit(3)

    threading.Thread(target=watch, daemon=True).start()


def requests(handle: int) -> Iterator[dict[str, Any]]:
    """Requests until the end; none for `SILENCE` seconds is an end too (a network that vanished without a word)."""
    rest = b""
    while select.select([handle], [], [], SILENCE)[0]:
        piece = os.read(handle, 1 << 16)
        if not piece:
            return
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)


def main() -> None:
    """Serve stdin until it ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a runtime prints is no answer
    worker = Worker()
    worker.limited = True

    for request in requests(sys.stdin.fileno()):
        answers.write(json.dumps(worker.answer(request), allow_nan=False) + "\n")
        answers.flush()

    os._exit(0)  # runtimes that tear themselves down badly at exit must not turn a good measurement into a failure


if __name__ == "__main__":
    main()
