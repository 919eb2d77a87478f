"""Runs a generated node with a publisher and listeners beside it, under whichever rclpy is on the path.

python drive.py PACKAGE INPUTS.json [--ros-args -p name:=value ...]

INPUTS.json is a list: "sample" sends the bundle's samples, a number waits for so many seconds, and a table
{field: value} is a message. The last line is JSON: answers, levels and values of the heartbeats.
"""

import importlib
import json
import sys
import time

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node


def plain(value):
    """A message as JSON values."""
    fields = getattr(value, "FIELDS", None) or getattr(value, "get_fields_and_field_types", dict)()
    if fields:
        return {name: plain(getattr(value, name)) for name in fields}
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if isinstance(value, bytes):
        return int.from_bytes(value, "little")
    return [plain(each) for each in value]


def main():
    package, inputs = sys.argv[1], json.loads(sys.argv[2])
    rclpy.init(args=sys.argv[3:])
    module = importlib.import_module(f"{package}.node")
    node = module.BundleNode()
    other = Node("other")
    answers, beats = [], []
    other.create_subscription(module.messages.Answer, "answer", lambda message: answers.append(plain(message)), 10)
    other.create_subscription(DiagnosticArray, "/diagnostics", lambda message: beats.append(plain(message)), 10)
    publisher = other.create_publisher(module.messages.Input, "input", 10)

    def turn(seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            rclpy.spin_once(node, timeout_sec=0.01)
            rclpy.spin_once(other, timeout_sec=0.01)

    turn(1.0)  # until both know each other
    for each in inputs:
        if isinstance(each, (int, float)):
            turn(each)
            continue
        messages = [module.messages.Input(**each)] if isinstance(each, dict) else []
        if each == "sample":
            samples = module.raws(node.bundle.samples())
            messages = [module.messages.message_of(raw, node.model.spec) for raw in samples]
        for message in messages:
            before, until = node.counts["inputs"], time.monotonic() + 5
            publisher.publish(message)
            while node.counts["inputs"] == before and time.monotonic() < until:
                turn(0.02)
        turn(0.3)
    turn(0.3)
    status = [beat["status"][0] for beat in beats]
    values = {each["key"]: each["value"] for each in status[-1]["values"]} if status else {}
    table = {"answers": answers, "levels": [each["level"] for each in status], "values": values}
    table |= {"texts": [each["message"] for each in status], "name": status[-1]["name"] if status else ""}
    print(json.dumps(table))
    node.destroy_node()
    other.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    np.seterr(all="raise")
    main()
