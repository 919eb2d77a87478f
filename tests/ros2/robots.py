"""Small real bundles for a robot, and its programs: the generated node with a publisher and listeners beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeft import backends as runtimes
from edgeft import tasks
from edgeft.bundle import reader
from edgeft.core import files

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FIXTURES = ROOT / "tests" / "fixtures"
VECTOR = {"kind": "vector", "size": [4], "input": "x", "mean": [0.0] * 4, "std": [1.0] * 4}
IMAGE = {"kind": "image", "size": [6, 8], "channels": 3, "resize": "bilinear", "mean": [0.0] * 3, "std": [1.0] * 3}
ARRAYS = {
    "kind": "tensors",
    "inputs": [{"name": "x", "key": "rows", "shape": [3, 4], "dtype": "float32"}],
    "outputs": ["angles"],
}
IMAGE |= {"scale": 255.0, "layout": "NCHW", "input": "x"}


def _model(path: Path, op: str, weight: np.ndarray, shapes: tuple[list[int], list[int]]) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx makes the test's model")
    helper = onnx.helper
    inputs, outputs = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in zip("xy", shapes)
    )
    node = helper.make_node(op, ["x", "w"], ["y"])
    graph = helper.make_graph([node], "robot", [inputs], [outputs], [onnx.numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


def build(folder: Path, task: str) -> Path:
    """A bundle `folder/<task>`: control (4 numbers to 2 values), segment (red pixels are 1, others 0) or
    regress (an array of 3 rows of 4 to one of 3 rows of 2)."""
    pytest.importorskip("onnxruntime", reason="onnxruntime runs the test's model")
    staging = folder / "staging"
    staging.mkdir()
    rng = np.random.default_rng(0)
    if task == "control":
        spec, labels, op, shapes = VECTOR, ["steering", "throttle"], "MatMul", ([1, 4], [1, 2])
        weight = np.array([[1, 0], [0, 1], [0.5, 0.5], [-1, 2]], np.float32)
        samples: list[Any] = [rng.normal(size=4).astype(np.float32) for _ in range(3)]
    elif task == "regress":
        spec, labels, op, shapes = ARRAYS, [], "MatMul", ([1, 3, 4], [1, 3, 2])
        weight = np.array([[1, 0], [0, 1], [0.5, 0.5], [-1, 2]], np.float32)
        samples = [{"rows": rng.normal(size=(3, 4)).astype(np.float32)} for _ in range(3)]
    else:
        spec, labels, op, shapes = IMAGE, ["other", "red"], "Conv", ([1, 3, 6, 8], [1, 2, 6, 8])
        weight = np.array([[0, 1, 1], [1.5, 0, 0]], np.float32).reshape(2, 3, 1, 1)
        samples = [rng.integers(0, 256, (6, 8, 3)).astype(np.uint8) for _ in range(3)]
    _model(staging / "model.onnx", op, weight, shapes)
    record = tasks.get(task)
    feeds = [record.preprocess(raw, spec)["x"] for raw in samples]
    session = runtimes.get("onnxruntime").load(staging / "model.onnx")
    outputs = np.concatenate([session.run({"x": feed})["y"] for feed in feeds])
    stored: dict[str, Any] = {}
    for number, raw in enumerate(samples):
        fields = raw.items() if isinstance(raw, dict) else [("", raw)]
        stored |= {f"raw_{number}" + (f"/{key}" if key else ""): value for key, value in fields}
    np.savez(staging / "samples.npz", **stored, **{"input/x": np.concatenate(feeds), "output/y": outputs})
    tensor = {"dtype": "float32", "layout": "", "scale": None, "zero_point": None}
    graph = {
        "name": "main",
        "file": "model.onnx",
        "inputs": [{"name": "x", "shape": shapes[0], **tensor}],
        "outputs": [{"name": "y", "shape": shapes[1], **tensor}],
    }
    engine = runtimes.get("onnxruntime")
    manifest = {
        "name": f"robot-{task}",
        "task": task,
        "target": "host",
        "backend": "onnxruntime",
        "graphs": [graph],
        "preprocess": spec,
        "labels": labels,
        "scheme": {"name": "affine"},
        "runtime": {"name": "onnxruntime", "version": engine.version(), "options": engine.options(), "threads": 1},
        "requires": {},
        "provenance": {"edgeft": "test"},
    }
    reader.write(staging, manifest)
    files.publish(staging, folder / task)
    return folder / task


def ros_python() -> str | None:
    """The interpreter of an environment with the real rclpy (scripts/ros makes it), or None."""
    path = os.environ.get("EDGEFT_ROS_PYTHON") or str(ROOT / ".venv-ros" / "bin" / "python")
    return path if shutil.which(path) else None


def run(kind: str, package: Path, *arguments: str, timeout: float = 120) -> dict[str, Any]:
    """What tests/ros2/drive.py prints last: the node of `package` under the stand-in or the real rclpy."""
    python, paths = sys.executable, [str(package), str(ROOT), str(HERE)]
    if kind == "real":
        real = ros_python()
        if real is None:
            pytest.skip("no rclpy: scripts/ros installs it into .venv-ros, or name one with EDGEFT_ROS_PYTHON")
        python = real
    else:
        paths.append(str(HERE / "stand_in"))
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "ROS_DOMAIN_ID": str(os.getpid() % 100 + 1)}
    done = subprocess.run(
        [python, str(HERE / "drive.py"), package.name, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**variables, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "OMP_NUM_THREADS": "1"},
    )
    lines = done.stdout.strip().splitlines()
    result: dict[str, Any] = json.loads(lines[-1]) if done.returncode == 0 and lines else {}
    return {**result, "code": done.returncode, "log": done.stderr}
