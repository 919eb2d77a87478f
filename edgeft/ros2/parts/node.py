"""A ROS 2 node that runs the bundle in this package. Written by edgeft; change it as you like.

    input          (subscribed)  what the model reads, see messages.py
    answer         (published)   what it decides
    /diagnostics   (published)   a heartbeat: latency, errors, whether the rate is held, whether inputs come

Before it subscribes it runs the samples that came with the bundle. Where it decides otherwise than the bundle records,
it ends with an error: the runtime here does not compute what was verified.
"""

import collections
import sys
import time
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

import edgeft
from edgeft import tasks
from edgeft.bundle.reader import raws
from edgeft.core.errors import DataError, EdgeftError
from edgeft.predict import predictor

from . import messages

NAME = __package__


def bundle_folder():
    """The bundle of this package: beside the code in a source tree, else where colcon has installed it."""
    beside = Path(__file__).resolve().parents[1] / "bundle"
    if beside.is_dir():
        return beside
    from ament_index_python.packages import get_package_share_directory

    installed = Path(get_package_share_directory(NAME)) / "bundle" / "manifest.json"
    return installed.resolve().parent  # links of `colcon build --symlink-install` are no files of a bundle


#: calls that a 99th percentile stands on, at 95 % confidence
P99_NEEDS = 299
#: latencies that the heartbeat looks back on
WINDOW = 1000
#: name -> default and description; all but min_score are read once
PARAMETERS = {
    "bundle": (str(bundle_folder()), "Folder of the bundle."),
    "state": ("", "State file of a personalization; empty = the one in the bundle."),
    "trust": ("", "Public key, or folder of keys, one of which has to have signed the bundle; empty = not asked for."),
    "threads": (0, "Threads of the runtime; 0 = as exported."),
    "rate_hz": (0.0, "Answers a second, each with the newest input; 0 = one for each input."),
    "heartbeat_s": (1.0, "Seconds between two heartbeats."),
    "stale_s": (5.0, "Seconds without an input after which the heartbeat warns; 0 = never."),
    "measure_calls": (P99_NEEDS, "Calls at the start that measure the latency; fewer than 299 give no p99."),
    "reliable": (False, "Reliable delivery of inputs; otherwise the newest counts and some may be lost."),
    "min_score": (0.0, "Answers with a lower score are left out."),
}


class BundleNode(Node):
    """The node. Raises what `edgeft.load` raises, and `SystemExit` where the model decides otherwise than recorded."""

    def __init__(self):
        super().__init__(NAME)
        for name, (default, text) in PARAMETERS.items():
            fixed = ParameterDescriptor(description=text, read_only=name != "min_score")
            self.declare_parameter(name, default, fixed)

        self.bundle = edgeft.load(self.value("bundle"), self.value("trust") or None)
        self.task, state, threads = self.bundle.task, self.value("state") or None, self.value("threads") or None
        self.model = predictor(self.bundle, state=state, threads=threads)
        self.rate, self.newest, self.came = self.value("rate_hz"), None, None
        self.latencies = collections.deque(maxlen=WINDOW)
        self.counts = collections.Counter(inputs=0, answers=0, errors=0, late=0)
        self.error, self.too_slow = "", False

        self.test_itself()
        self.measure()
        depth = 1 if not self.value("reliable") else 10
        policy = ReliabilityPolicy.RELIABLE if self.value("reliable") else ReliabilityPolicy.BEST_EFFORT
        self.answers = self.create_publisher(messages.Answer, "answer", 10)
        self.diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_subscription(messages.Input, "input", self.receive, QoSProfile(depth=depth, reliability=policy))
        if self.rate > 0:
            self.create_timer(1 / self.rate, self.tick)

        self.create_timer(self.value("heartbeat_s"), self.beat)

    def value(self, name):
        """The value of a parameter."""
        return self.get_parameter(name).value

    def test_itself(self):
        """Run the bundle's own samples; ends the node where a decision is another one than the bundle records."""
        if self.model.version is not None:
            self.get_logger().info("the bundle has learned on this device: its samples are not compared")
            return

        stored = self.bundle.samples()
        recorded = {key[len("output/") :]: value for key, value in stored.items() if key.startswith("output/")}
        if not recorded or any("/" in name for name in recorded):  # models of several graphs record each graph's
            self.get_logger().info("the bundle records no outputs that can be compared here")
            return

        samples = raws(stored)
        outputs = [self.model.session.run(self.task.preprocess(raw, self.model.spec)) for raw in samples]
        ours = {name: np.concatenate([each[name] for each in outputs]) for name in recorded}
        alike = np.asarray(self.task.alike(ours, recorded)).reshape(len(samples), -1).all(axis=1)

        if not alike.all():
            sys.exit(
                f"{NAME}: {int((~alike).sum())} of {len(samples)} samples are decided otherwise than the bundle records"
            )

        self.get_logger().info(f"{len(samples)} samples of the bundle are decided as it records")

    def measure(self):
        """Time calls on the bundle's first sample, and warn where the rate cannot be held."""
        first = raws(self.bundle.samples())[:1]
        for raw in first * self.value("measure_calls"):
            begun = time.perf_counter()
            self.model.result("", (raw, self.task.preprocess(raw, self.model.spec)))
            self.latencies.append(1000 * (time.perf_counter() - begun))
        self.judge_rate("measured at the start")

    def p99(self):
        """The 99th percentile of the latest calls in ms, or None where they are too few for one."""
        return float(np.percentile(self.latencies, 99)) if len(self.latencies) >= P99_NEEDS else None

    def judge_rate(self, when):
        """Warn once where 99 of 100 calls do not fit into a period, and again after it was held."""
        p99 = self.p99()
        if self.rate <= 0 or p99 is None:
            return

        too_slow = p99 > 1000 / self.rate
        if too_slow and not self.too_slow:
            self.get_logger().warning(
                f"{self.rate:g} Hz cannot be held: the p99 of a call is {p99:.3g} ms ({when}), a period is "
                f"{1000 / self.rate:.3g} ms; ask for {1000 / p99:.3g} Hz or less"
            )

        self.too_slow = too_slow

    def receive(self, message):
        """An input came: answer it, or keep it for the timer."""
        self.counts["inputs"] += 1
        self.came = time.monotonic()
        if self.rate > 0:
            self.newest = message
        else:
            self.answer(message)

    def tick(self):
        """The timer: answer the newest input, if there is one."""
        message, self.newest = self.newest, None
        if message is None:
            return
        begun = time.monotonic()
        self.answer(message)
        self.counts["late"] += time.monotonic() - begun > 1 / self.rate

    def answer(self, message):
        """Answer one input; what cannot be read is counted and logged, and nothing is published."""
        begun = time.perf_counter()
        try:
            raw = messages.raw_of(message, self.model.spec)
            if messages.WORDS:
                raw = self.task.parse(raw, self.model.spec)
            feed = self.task.preprocess(raw, self.model.spec)
            decoded = tasks.tell(self.task, self.model.session.run(feed), raw, self.model.spec, self.model.labels)
        except DataError as error:
            self.counts["errors"] += 1
            self.error = str(error)
            self.get_logger().warning(f"an input is left out: {error}", throttle_duration_sec=1.0)
            return

        self.latencies.append(1000 * (time.perf_counter() - begun))
        answer = messages.answer_of(decoded, messages.header_of(message), self.value("min_score"))
        if answer is not None:
            self.answers.publish(answer)
            self.counts["answers"] += 1

    def beat(self):
        """The heartbeat."""
        self.judge_rate(f"of the latest {len(self.latencies)}")
        stale, silent = self.value("stale_s"), self.came is None or time.monotonic() - self.came > self.value("stale_s")
        if self.too_slow:
            level, text = DiagnosticStatus.WARN, "the rate cannot be held"
        elif stale > 0 and silent:
            level, text = DiagnosticStatus.STALE, "no input came" if self.came is None else "no input comes any more"
        else:
            level, text = DiagnosticStatus.OK, "answering"

        values = {
            "bundle": self.bundle.name,
            "digest": self.bundle.digest,
            "rate_hz": self.rate,
            **self.counts,
            "p50_ms": float(np.median(self.latencies)) if self.latencies else None,
            "p99_ms": self.p99(),
            "last_error": self.error,
        }
        status = DiagnosticStatus(
            level=level, name=f"{self.get_fully_qualified_name()}: {self.bundle.name}", message=text
        )
        status.values = [KeyValue(key=key, value="" if each is None else str(each)) for key, each in values.items()]
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self.diagnostics.publish(array)


def main(args=None):
    """Run the node until it is told to end."""
    rclpy.init(args=args)
    node = None
    try:
        node = BundleNode()
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except EdgeftError as error:
        sys.exit(f"{NAME}: {error}")
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
