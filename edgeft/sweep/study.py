"""The study file and who works on which trial: any number of processes, each of which may be killed at any moment.

The study is Optuna's journal (`study.journal`, which its dashboard reads), appended to under a lock that the kernel
releases with its process: Optuna's own lock files stay behind after `kill -9`, and SQLite answers "database is locked".
A line that a killed process left half-written is cut off before the next one is written.

A trial belongs to the process that holds the lock of its run directory. One that the study calls running and whose
directory nobody holds is one whose process ended; the next process that asks for work takes it up where it was.
"""

from __future__ import annotations

import contextlib
import os
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import tables
from ..core.errors import Missing, RunError, UsageError, need
from ..core.leftovers import alone_in
from ..core.metric import Metric
from . import space
from .space import CHOICE, RANGES, Dimension

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

#: the journal, the lock of who asks for work, and the folder of the runs
JOURNAL, LOCK, TRIALS = "study.journal", ".lock", "trials"
NAME = "edgeft"
SAMPLERS = ("tpe", "random")
#: how often a trial is begun whose process ended each time without another epoch
ATTEMPTS = 3
#: attributes of a trial in the journal
HISTORY, ATTEMPT, WHY, FIGURES = "validation", "attempts", "why", "figures"


class Lock:
    """An exclusive lock on a file, with the two methods that Optuna's journal calls."""

    def __init__(self, path: Path) -> None:
        self.path, self.handle = path, -1

    def acquire(self) -> bool:
        if fcntl is None:
            raise Missing(
                "this system has no file locks, by which a sweep's processes share its trials",
                remedy="sweep on Linux or macOS",
            )
        self.handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(self.handle, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        os.close(self.handle)

    def __enter__(self) -> Lock:
        self.acquire()
        return self

    def __exit__(self, *what: object) -> None:
        self.release()


class JournalLock(Lock):
    """The lock of who appends to the journal `journal`, which ends in a whole line then."""

    def __init__(self, journal: Path) -> None:
        super().__init__(journal.with_suffix(".lock"))
        self.journal = journal

    def acquire(self) -> bool:
        held = super().acquire()
        cut_torn_line(self.journal)
        return held


def cut_torn_line(path: Path) -> None:
    """Shorten a journal to its last whole line; for who holds its lock."""
    with path.open("rb+") as handle:
        end = handle.seek(0, os.SEEK_END)
        tail = b""
        while end and b"\n" not in tail:
            step = min(end, 1 << 16)
            end -= step
            handle.seek(end)
            tail = handle.read(step) + tail
        whole = end + tail.rfind(b"\n") + 1
        if whole < end + len(tail):
            handle.truncate(whole)


@dataclass(frozen=True)
class Work:
    """A trial to be run: its number, the values of its keys, and its record in the study."""

    number: int
    values: dict[str, Any]
    record: Any
    again: bool


class Study:
    """The trials of a sweep in `folder`; `directions` of its objectives are "maximize" or "minimize".

    Raises `Missing` without Optuna, `RunError` for a journal that cannot be read.
    """

    def __init__(
        self, folder: Path, dimensions: Sequence[Dimension], directions: Sequence[str], sampler: str, seed: int
    ) -> None:
        self.optuna = optuna = need("optuna", "sweep")
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.folder, self.dimensions, self.sampler, self.seed = folder, tuple(dimensions), sampler, seed
        path = folder / JOURNAL
        lock: Any = JournalLock(path)  # has the two methods of Optuna's locks

        try:
            with warnings.catch_warnings(), Lock(folder / LOCK):
                warnings.simplefilter("ignore")
                storage = optuna.storages.JournalStorage(JournalFileBackend(str(path), lock))
                self.study = optuna.create_study(
                    study_name=NAME, storage=storage, directions=list(directions), load_if_exists=True
                )
        except (ValueError, KeyError) as error:
            raise RunError(
                f"the study cannot be read: {error}", where=str(path), remedy="begin a new sweep in another --out"
            ) from error

        self.several = len(directions) > 1

    # -- who works on what ---------------------------------------------------------------------------------------
    def place(self, number: int) -> Path:
        """The run directory of a trial."""
        return self.folder / TRIALS / f"{number:04d}"

    @contextlib.contextmanager
    def work(self, most: int) -> Iterator[Work | None]:
        """A trial for this process, whose directory is locked until the body ends; None where nothing is left to do.

        First one that another process left behind, else a new one while fewer than `most` are there.
        """
        with contextlib.ExitStack() as held:
            with Lock(self.folder / LOCK):
                work = self._abandoned(held) or self._new(held, most)
            yield work

    def _claim(self, held: contextlib.ExitStack, number: int) -> bool:
        folder = self.place(number)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            held.enter_context(alone_in(folder))
        except UsageError:
            return False
        return True

    def _abandoned(self, held: contextlib.ExitStack) -> Work | None:
        for frozen in self.trials("RUNNING"):
            if not self._claim(held, frozen.number):
                continue
            record = self.optuna.trial.Trial(self.study, frozen._trial_id)
            attempts, epochs = frozen.user_attrs.get(ATTEMPT, (1, 0))
            if (reached := len(frozen.user_attrs.get(HISTORY, {}))) > epochs:
                attempts = 0
            if attempts >= ATTEMPTS:
                self.fail(record, f"its process ended {attempts} times before it was done (out of memory?)")
                held.pop_all().close()
                continue
            record.set_user_attr(ATTEMPT, [attempts + 1, reached])
            return Work(frozen.number, self.values(frozen.params), record, again=True)
        return None

    def _new(self, held: contextlib.ExitStack, most: int) -> Work | None:
        trials = self.trials()
        known = {self._key(trial.params) for trial in trials}
        if len(trials) >= most or len(known) >= space.count(self.dimensions):
            return None

        self.study.sampler = self._sampler(len(trials))
        enqueued = self._untried(known, len(trials))
        if enqueued is not None:
            self.study.enqueue_trial(enqueued)

        record = self.study.ask(self._distributions())
        record.set_user_attr(ATTEMPT, [1, 0])
        if not self._claim(held, record.number):
            raise RunError("another process writes the folder of a new trial", where=str(self.place(record.number)))

        return Work(record.number, self.values(record.params), record, again=False)

    # -- what is tried next --------------------------------------------------------------------------------------
    def _sampler(self, number: int) -> Any:
        """A function of seed and trial: a resumed sweep goes on as it would have, and does not repeat itself."""
        seed = (self.seed * 1_000_003 + number) % 2**32
        samplers = self.optuna.samplers
        if self.sampler == "random":
            return samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return samplers.TPESampler(seed=seed, n_startup_trials=max(5, 2 * len(self.dimensions)))

    def _distributions(self) -> dict[str, Any]:
        kinds = self.optuna.distributions
        table: dict[str, Any] = {}
        for dimension in self.dimensions:
            if dimension.kind == CHOICE:
                table[dimension.key] = kinds.CategoricalDistribution([tables.value_text(v) for v in dimension.choices])
                continue
            whole, log = RANGES[dimension.kind]
            low, high = dimension.ends()
            table[dimension.key] = (kinds.IntDistribution if whole else kinds.FloatDistribution)(low, high, log=log)

        return table

    def _untried(self, known: set[str], number: int) -> dict[str, Any] | None:
        """A combination that no trial has had, where there are few: samplers repeat themselves, and runs are exact
        functions of their recipes. None where the sampler may choose freely."""
        total = space.count(self.dimensions)
        if total > 2 * len(known) + 2 * ATTEMPTS:
            return None
        draw = random.Random(self.seed * 1_000_003 + number)
        while True:
            values = {d.key: draw.choice(_all_values(d)) for d in self.dimensions}
            if self._key(values) not in known:
                return values

    def _key(self, params: Mapping[str, Any]) -> str:
        return repr([params.get(dimension.key) for dimension in self.dimensions])

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe's values of a trial's parameters; of a choice the TOML value that its text stands for."""
        table: dict[str, Any] = {}
        for dimension in self.dimensions:
            value = params[dimension.key]
            texts = {tables.value_text(choice): choice for choice in dimension.choices}
            table[dimension.key] = texts[value] if dimension.kind == CHOICE else value
        return table

    # -- what became of it ---------------------------------------------------------------------------------------
    def trials(self, state: str = "") -> list[Any]:
        """The frozen trials, or those of a state ("RUNNING", "COMPLETE", "PRUNED", "FAIL")."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if state in ("", trial.state.name)]

    def note(self, record: Any, step: int, value: float) -> dict[int, float]:
        """Keep the validation metric of a step; returns the trial's history {step: value}."""
        history = {int(at): float(v) for at, v in record.user_attrs.get(HISTORY, {}).items()}
        if history.get(step) != value:
            history[step] = value
            record.set_user_attr(HISTORY, {str(at): v for at, v in history.items()})
            if not self.several:
                record.report(value, step)
        return history

    def histories(self, but: int) -> list[dict[int, float]]:
        """The histories of all other trials."""
        others = (trial.user_attrs.get(HISTORY, {}) for trial in self.trials() if trial.number != but)
        return [{int(at): float(value) for at, value in history.items()} for history in others if history]

    def figures(self, record: Any, **figures: Any) -> None:
        """Keep what was measured of a trial."""
        record.set_user_attr(FIGURES, {**record.user_attrs.get(FIGURES, {}), **figures})

    def complete(self, record: Any, values: Sequence[float]) -> None:
        self.study.tell(record, list(values))

    def prune(self, record: Any, why: str) -> None:
        record.set_user_attr(WHY, why)
        self.study.tell(record, state=self.optuna.trial.TrialState.PRUNED)

    def fail(self, record: Any, why: str) -> None:
        record.set_user_attr(WHY, why)
        self.study.tell(record, state=self.optuna.trial.TrialState.FAIL)


def _all_values(dimension: Dimension) -> list[Any]:
    if dimension.kind == CHOICE:
        return [tables.value_text(choice) for choice in dimension.choices]
    low, high = dimension.ends()
    return list(range(low, high + 1))


def directions(metric: Metric, objectives: Sequence[str]) -> list[str]:
    """The direction of each objective; all but the metric are figures that are to be small."""
    first = "maximize" if metric.higher_is_better else "minimize"
    return [first if name == "metric" else "minimize" for name in objectives]
