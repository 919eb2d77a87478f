"""Conversions in copies of this process: results in order, errors as they were, crashes told, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

if sys.platform != "linux":
    pytest.skip("copies are made on Linux only", allow_module_level=True)

HEAD = """
import os, signal, sys, time
from edgeft.core.errors import ModelError
from edgeft.export import aside
os.cpu_count = lambda: 2
def main():
    here = os.getpid()
"""


def alone(body: str) -> subprocess.CompletedProcess[str]:
    """`body` in a fresh interpreter: this one may have threads that no copy should be made beside."""
    code = HEAD + textwrap.indent(textwrap.dedent(body), "    ") + "\nmain()\n"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


def test_results_come_in_order_from_other_processes() -> None:
    done = alone("""
    assert aside.possible()
    jobs = [lambda n=n: [n, os.getpid() != here] for n in range(5)]
    with aside.all_of(jobs) as waiting:
        print([take() for take in waiting])
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        print("none left")
    """)
    assert done.stdout.splitlines() == [str([[n, True] for n in range(5)]), "none left"], done.stderr


def test_errors_are_raised_again_as_they_were() -> None:
    done = alone("""
    def wrong():
        raise ModelError("no such op", where="conv1", remedy="leave it out")
    def broken():
        raise KeyError("x")
    with aside.all_of([wrong, broken, lambda: 3]) as waiting:
        for take in waiting:
            try:
                print(take())
            except Exception as error:
                print(type(error).__name__, error.message, error.where, error.remedy)
    """)
    assert done.stdout.splitlines() == [
        "ModelError no such op conv1 leave it out",
        "InternalError KeyError: 'x'  ",
        "3",
    ]


def test_a_crash_is_an_error_and_not_the_end() -> None:
    done = alone("""
    crash, fine = (lambda: os.kill(os.getpid(), signal.SIGSEGV)), (lambda: "fine")
    with aside.all_of([crash, fine, fine, crash, fine]) as waiting:
        for take in waiting:
            try:
                print(take())
            except ModelError as error:
                print(error.message[-30:])
    """)
    said = done.stdout.splitlines()
    assert [line for line in said if line == "fine"] == ["fine"] * 3, done.stderr
    assert ["signal 11" in line for line in said] == [True, False, False, True, False]


def test_as_many_work_at_a_time_as_there_are_cores() -> None:
    done = alone("""
    def work():
        begun = time.monotonic()
        time.sleep(0.3)
        return begun, time.monotonic()
    with aside.all_of([work] * 5) as waiting:
        spans = [take() for take in waiting]
    print(max(sum(a <= begun < b for a, b in spans) for begun, _ in spans))
    """)
    assert done.stdout.split() == ["2"], done.stderr


def test_what_still_runs_is_ended() -> None:
    done = alone("""
    try:
        with aside.all_of([lambda: time.sleep(600), lambda: 1]) as waiting:
            print(waiting[1](), flush=True)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        print("interrupted")
    """)
    assert done.stdout.split() == ["1", "interrupted"] and done.returncode == 0


def test_jobs_run_here_where_a_runtime_has_threads(monkeypatch) -> None:
    from edgeft.backends.base_session import BaseSession
    from edgeft.export import aside

    monkeypatch.setattr(BaseSession, "made", 1)
    assert not aside.possible()
    with aside.all_of([os.getpid, os.getpid]) as waiting:
        assert [take() for take in waiting] == [os.getpid()] * 2
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
