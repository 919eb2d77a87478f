"""Nodes of the stand-in."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace
from typing import Any

from builtin_interfaces.msg import Time

import rclpy

_BUS: dict[str, list[Any]] = {}


class Node:
    def __init__(self, name: str) -> None:
        self._name, self._parameters, self._timers, self._queue = name, {}, [], []

    def get_fully_qualified_name(self) -> str:
        return f"/{self._name}"

    def declare_parameter(self, name: str, value: Any = None, descriptor: Any = None) -> Any:
        given = rclpy.overrides.get(name)
        if given is not None and isinstance(value, bool):
            value = given == "true"
        elif given is not None:
            value = type(value)(given)
        self._parameters[name] = SimpleNamespace(value=value)
        return self._parameters[name]

    def get_parameter(self, name: str) -> Any:
        return self._parameters[name]

    def create_publisher(self, kind: type, topic: str, qos: Any) -> Any:
        def publish(message: Any) -> None:
            assert type(message) is kind, message
            for node, callback, depth in _BUS.get(topic, []):
                queued = [entry for entry in node._queue if entry[0] is callback]
                if len(queued) >= depth:
                    node._queue.remove(queued[0])
                node._queue.append((callback, message))

        return SimpleNamespace(publish=publish)

    def create_subscription(self, kind: type, topic: str, callback: Any, qos: Any) -> Any:
        depth = qos if isinstance(qos, int) else qos.depth
        _BUS.setdefault(topic, []).append((self, callback, depth))
        return SimpleNamespace()

    def create_timer(self, seconds: float, callback: Any) -> Any:
        self._timers.append([time.monotonic() + seconds, seconds, callback])
        return SimpleNamespace()

    def work(self) -> bool:
        """Do one thing that is due; False where nothing is."""
        now = time.monotonic()
        due = min(self._timers, key=lambda timer: timer[0], default=[now + 1])
        if due[0] <= now:
            due[0] = now + due[1]
            due[2]()
            return True
        if self._queue:
            callback, message = self._queue.pop(0)
            callback(message)
            return True
        return False

    def get_logger(self) -> Any:
        def log(level: str) -> Any:
            return lambda text, **options: print(f"[{level}] [{self._name}]: {text}", file=sys.stderr)

        return SimpleNamespace(info=log("INFO"), warning=log("WARN"), error=log("ERROR"))

    def get_clock(self) -> Any:
        now = time.time()
        stamp = Time(sec=int(now), nanosec=int(1e9 * (now % 1)))
        return SimpleNamespace(now=lambda: SimpleNamespace(to_msg=lambda: stamp))

    def destroy_node(self) -> None: ...
