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
import time
from collections.abc import Iterator

import pytest

from edgeft.core import progress


def slow(count: int, seconds: float = 0.01) -> Iterator[int]:
    for i in range(count):
        time.sleep(seconds)
        yield i


def test_a_line_says_step_detail_rate_and_time_left() -> None:
    lines: list[str] = []
    with progress.shown(lines.append, interval=0.05):
        seen = list(progress.track(slow(40), "float 2/3", total=40, ahead=40, detail=lambda: "loss 0.31"))
    assert seen == list(range(40))
    assert 2 <= len(lines) <= 9
    match = re.fullmatch(r"float 2/3: (\d+) of 40, loss 0\.31, ([\d.]+) a second, (\d+) s left", lines[0])
    assert match is not None, lines[0]
    done, rate = int(match[1]), float(match[2])
    assert int(match[3]) == pytest.approx((40 - done + 40) / rate, abs=1)


def test_work_that_cannot_be_counted_says_that_it_goes_on() -> None:
    lines: list[str] = []
    with progress.shown(lines.append, interval=0.05), progress.phase("rpi5: converting"):
        time.sleep(0.2)
    assert lines and lines[0] == "rpi5: converting: running for 0 s"
    assert threading.active_count() == 1, "a thread that stays would keep an export from forking its converters"


def test_nothing_is_said_where_nobody_shows_it() -> None:
    with progress.phase("quiet"):
        assert list(progress.track(slow(3), "quiet")) == [0, 1, 2]
    lines: list[str] = []
    with progress.shown(lines.append), progress.shown_unless_already(lines.append):
        list(progress.track(slow(3), "short"))
    assert lines == [], "work of less than 30 seconds takes no line"


def test_an_error_passes_through_and_leaves_no_bar() -> None:
    with pytest.raises(KeyboardInterrupt), progress.shown(print, lambda: True) as display:
        for _ in progress.track(range(5), "broken"):
            raise KeyboardInterrupt
    assert display.open_bars == []


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
    with progress.phase("converting"):
        time.sleep(0.6)
    print("result")
"""


def test_a_terminal_gets_bars_that_are_gone_in_the_end() -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stderr=slave, stdout=subprocess.PIPE)
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
    assert re.search(r"(\r|\n)a warning\r?\n", text), "a line of text begins on a line of its own"
    assert text.rsplit("\r", 2)[-1].strip() == "" or text.endswith("\r")
