"""Stand-in for rclpy: topics within one process, timers by the clock, and what the generated node uses of it."""

from __future__ import annotations

import itertools
import sys
import time
from typing import Any

from . import executors, node, qos

__all__ = ["executors", "init", "node", "ok", "qos", "shutdown", "spin", "spin_once", "try_shutdown"]
overrides: dict[str, Any] = {}


def init(args: Any = None) -> None:
    """`--ros-args -p name:=value`, as on a command line."""
    words = list(args if args is not None else sys.argv[1:])
    for flag, word in itertools.pairwise(words):
        if flag == "-p":
            name, _, value = word.partition(":=")
            overrides[name] = value


def ok() -> bool:
    return True


def spin_once(spun: Any, timeout_sec: float = 0.0) -> None:
    until = time.monotonic() + timeout_sec
    while not spun.work() and time.monotonic() < until:
        time.sleep(0.001)


def spin(spun: Any) -> None:
    while True:
        spin_once(spun, 0.1)


def shutdown() -> None: ...


try_shutdown = shutdown
