"""Conversions aside: in forked copies of this process, while this one goes on.

Converters compute in Python on one core and take longer than everything else of an export; several of them share the
cores that way. A converter that crashes takes its copy down and not the export. A fork copies one thread only, so a
library whose worker threads were already started here must not be used in the copy: `possible` says when that may be.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from ..backends.base_session import started
from ..core.errors import EdgeftError, InternalError, ModelError, SystemFailure, from_dict, write_refused

Job = Callable[[], Any]


def possible() -> bool:
    """Whether a copy can work beside this process: more than one core, and no runtime has computed in it yet."""
    alone = threading.active_count() == 1 and not started()
    return sys.platform == "linux" and (os.cpu_count() or 1) > 1 and alone


class Aside:
    """Runs `jobs` one after another in a copy of this process; each returns plain JSON values.

    `turn` (a file's descriptor, a place in it) is locked while it works: of the copies with one turn one works at a
    time, and the end of a process, whatever it is, ends its turn.
    """

    def __init__(self, jobs: Sequence[Job], turn: tuple[int, int] | None = None) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()

        read, write = os.pipe()

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads that the copy does not use
            self._pid = os.fork()

        if self._pid == 0:
            os.close(read)
            _work(jobs, write, turn)

        os.close(write)
        self._answers = os.fdopen(read, "rb")

    def result(self) -> Any:
        """What the next job returned. Raises its `EdgeftError` again, `ModelError` when it took the copy down."""
        line = self._answers.readline()
        if not line:
            raise ModelError(
                f"the converter ended without an answer ({self._end()})",
                remedy="try another version of the converter, or report the model to its makers",
            )

        answer = json.loads(line)
        if "value" in answer:
            return answer["value"]

        raise from_dict(answer)

    def _end(self) -> str:
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        if os.WIFSIGNALED(status):
            return f"signal {os.WTERMSIG(status)}, {signal.strsignal(os.WTERMSIG(status))}"
        return f"exit code {os.WEXITSTATUS(status)}"

    def close(self) -> None:
        """End the copy where it still runs: it is done, the export was interrupted, or has failed elsewhere."""
        self._answers.close()
        if self._pid:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
            self._pid = 0


def _work(jobs: Sequence[Job], write: int, turn: tuple[int, int] | None) -> NoReturn:
    """The copy's whole life: nothing of the original's clean-up may run here."""
    code = 0
    try:
        import torch

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the original ends its copies itself
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        torch.set_num_threads(1)  # the pool of threads was not copied
        if turn is not None:
            import fcntl

            fcntl.lockf(turn[0], fcntl.LOCK_EX, 1, turn[1])
        with os.fdopen(write, "wb") as pipe:
            for job in jobs:
                pipe.write(json.dumps(_answer(job)).encode() + b"\n")
                pipe.flush()
    except BaseException:
        code = 1

    os._exit(code)


def _answer(job: Job) -> dict[str, Any]:
    try:
        return {"value": job()}
    except EdgeftError as error:
        return error.as_dict()
    except Exception as error:
        if words := write_refused(error):
            return SystemFailure(words, remedy="free some space, or choose another --out").as_dict()
        return InternalError(f"{type(error).__name__}: {error}").as_dict()


@contextlib.contextmanager
def all_of(jobs: Sequence[Job], even_one: bool = False) -> Iterator[list[Job]]:
    """For each job a function that waits for its result; to be called in order.

    Each job has a copy, and as many of them work at a time as there are cores: one that is taken down takes no other
    along. Where there can be no copies, each job runs here when it is asked for; so does a single one, unless
    `even_one`: converters start threads, which may be in the way of what this process goes on to do.
    """
    if not possible() or (len(jobs) < 2 and not even_one):
        yield list(jobs)
        return

    hands = min(len(jobs), os.cpu_count() or 1)
    with contextlib.ExitStack() as stack:
        turns = stack.enter_context(tempfile.TemporaryFile())
        copies = []
        for k, job in enumerate(jobs):
            copies.append(Aside([job], (turns.fileno(), k % hands)))
            stack.callback(copies[-1].close)
        yield [functools.partial(Aside.result, copy) for copy in copies]
