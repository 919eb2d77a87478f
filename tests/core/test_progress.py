"""Progress: lines with rate and time left without a terminal, bars on one, and nothing left over."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from edgeft.cli.frame import Console
from edgeft.core import progress


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    seconds: float = 100.0

    def __call__(self) -> float:
        return self.seconds

    def steps(self, count: int, seconds: float) -> Iterator[int]:
        """Items that each take `seconds` to come."""
        for i in range(count):
            self.seconds += seconds
            yield i


def test_a_line_every_thirty_seconds_has_step_loss_rate_and_time_left() -> None:
    lines: list[str] = []
    clock = Clock()
    with progress.shown(lines.append, clock=clock):
        items = list(progress.track(clock.steps(40, 2.0), "float 2/3", total=40, ahead=40, detail=lambda: "loss 0.31"))
    assert items == list(range(40))
    assert lines == [
        "float 2/3: 15 of 40 steps, loss 0.31, 2 s/step, 2 min 10 s left",
        "float 2/3: 30 of 40 steps, loss 0.31, 2 s/step, 1 min 40 s left",
    ]


def test_fast_steps_are_given_as_a_rate_and_items_may_be_several_steps() -> None:
    lines: list[str] = []
    clock = Clock()
    with progress.shown(lines.append, clock=clock):
        batches = progress.track(clock.steps(10, 8.0), "reading", total=320, unit="batch", size=lambda item: 32)
        assert len(list(batches)) == 10
    assert lines[0] == "reading: 128 of 320 batches, 4 batches/s, 48 s left"
    assert not any(" 0 s left" in line for line in lines), "the last step takes no line"


def test_short_phases_one_after_another_are_not_silent_together() -> None:
    lines: list[str] = []
    clock = Clock()
    with progress.shown(lines.append, clock=clock):
        for name in ("first", "second", "third"):
            list(progress.track(clock.steps(3, 4.0), name, total=3))
    assert lines == ["third: 2 of 3 steps, 4 s/step, 4 s left"], "32 seconds have passed since the beginning"


def test_a_phase_says_that_it_goes_on_and_what_is_counted_in_it() -> None:
    lines: list[str] = []
    clock, said, waits = Clock(), threading.Event(), iter([False, False, True])
    threads = threading.active_count()

    def wait(ended: threading.Event, seconds: float) -> bool:
        """Time passes until a line is due, twice, without a word from the work itself; then the phase ends."""
        if next(waits):
            said.set()
            return True
        clock.seconds += seconds
        return False

    with progress.shown(lines.append, clock=clock, wait=wait), progress.phase("rpi5: converting"):
        assert said.wait(20)
    assert lines == ["rpi5: converting: running for 10 s", "rpi5: converting: running for 40 s"]
    assert threading.active_count() == threads, "a thread that stays would keep an export from forking its converters"

    lines.clear()
    idle = threading.Event.wait
    shown = progress.shown(lines.append, clock=clock, wait=lambda ended, seconds: idle(ended))
    with shown, progress.phase("evaluating on val"):
        assert list(progress.counted(clock.steps(8, 10.0), total=8)) == list(range(8))
    assert lines == [
        "evaluating on val: 1 of 8 batches, 10 s/batch, 1 min 10 s left",
        "evaluating on val: 4 of 8 batches, 10 s/batch, 40 s left",
        "evaluating on val: 7 of 8 batches, 10 s/batch, 10 s left",
    ]


def test_nothing_is_said_where_nobody_shows_it() -> None:
    clock = Clock()
    with progress.phase("quiet"):
        assert list(progress.track(clock.steps(3, 99.0), "quiet")) == [0, 1, 2]
        assert list(progress.counted(clock.steps(3, 99.0))) == [0, 1, 2]
    lines: list[str] = []
    with progress.shown(lines.append, clock=clock), progress.shown_unless_already(lines.append):
        list(progress.track(clock.steps(3, 9.0), "short"))
    assert lines == [], "work of less than 30 seconds takes no line"


def test_lines_go_to_stderr_and_not_at_all_with_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    for console in (Console(json=True), Console(quiet=True)):
        with progress.shown(console.say, lambda console=console: console.progress, clock=clock):
            list(progress.track(clock.steps(2, 31.0), "float 1/1", total=2))
    out, err = capsys.readouterr()
    assert out == "" and err == "float 1/1: 1 of 2 steps, 31 s/step, 31 s left\n"


def test_an_error_passes_through_and_leaves_no_bar() -> None:
    with pytest.raises(KeyboardInterrupt), progress.shown(print, lambda: True) as display:
        for _ in progress.track(range(5), "broken"):
            raise KeyboardInterrupt
    assert display.activities == []


PROGRAM = """
import sys, time
from edgeft.core import progress
def say(text):
    with progress.around_text():
        print(text, file=sys.stderr, flush=True)
with progress.shown(say, lambda: True):
    for i in progress.track(range(8), "float 1/2", detail=lambda: "loss 0.5"):
        time.sleep(0.05)
        if i == 4:
            say("a warning")
    with progress.phase("evaluating"):
        for i in progress.counted(range(6), total=6):
            time.sleep(0.05)
    with progress.phase("converting"):
        time.sleep(0.6)
    print("result")
"""


def test_a_terminal_gets_bars_that_are_gone_in_the_end() -> None:
    pytest.importorskip("tqdm", reason="bars are tqdm's")
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    environment = {**os.environ, "NO_COLOR": "1"}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stderr=slave, stdout=subprocess.PIPE, env=environment)
    os.close(slave)
    drawn = b""
    while select.select([master], [], [], 20)[0]:
        try:
            chunk = os.read(master, 4096)
        except OSError:  # the other end has closed
            break
        drawn += chunk
    out, _ = process.communicate(timeout=20)
    os.close(master)
    assert out == b"result\n"
    text = drawn.decode()
    assert "float 1/2" in text and "loss 0.5" in text and "converting (00:0" in text
    assert re.search(r"evaluating: .*\d/6", text), "a phase whose steps are counted has a bar of them"
    assert re.search(r"(\r|\n)a warning\r?\n", text), "a line of text begins on a line of its own"
    assert not re.search(r"\x1b\[[\d;]*m", text), "no colours"
    assert text.rsplit("\r", 2)[-1].strip() == "" or text.endswith("\r")
