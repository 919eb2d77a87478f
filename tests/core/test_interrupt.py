"""Ctrl-C that somebody's bare `except:` swallowed ends the command all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from edgeft.core import interrupt

PROGRAM = """
import os, signal, sys
import click
from edgeft.cli import entry

class Gone:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

@click.command()
@click.pass_obj
def command(console):
    try:
        if HOW == "ignored":
            gone = Gone()
            del gone
        else:
            os.kill(os.getpid(), signal.SIGINT)
    except:  # what an import of an optional package may do
        if HOW == "broken":
            raise ImportError("cannot import name 'x' from partially initialized module")
    console.say("working")
    print("never said")

entry.edgeft = command
sys.argv = ["edgeft"]
entry.main()
"""


@pytest.mark.parametrize("how", ["swallowed", "broken", "ignored"])
def test_a_lost_interrupt_is_found_again(how: str):
    done = subprocess.run([sys.executable, "-c", f"HOW = {how!r}\n{PROGRAM}"], capture_output=True, text=True)
    assert done.returncode == 130, done.stderr
    assert "never said" not in done.stdout and "Traceback" not in done.stderr


def test_nobody_is_interrupted_where_nobody_asked():
    interrupt.check()
    assert not interrupt.asked()


def test_a_deferred_signal_raises_where_the_block_asks(monkeypatch: pytest.MonkeyPatch):
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
    before = {number: signal.getsignal(number) for number in numbers}
    monkeypatch.setattr(interrupt, "_number", 0)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    interrupt.install()
    try:
        with interrupt.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            assert interrupt.asked() and interrupt.terminated() and interrupt.exit_code() == 143
            os.kill(os.getpid(), signal.SIGTERM)  # a scheduler repeats it: what is being written is still whole
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)  # somebody does not want to wait
            assert interrupt.exit_code() == 143
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
