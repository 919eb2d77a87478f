"""edgeft ros2: the package, and its node under a stand-in for rclpy and, where it is installed, under rclpy itself."""

from __future__ import annotations

import ast
import importlib
import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import robots
import tiny_bundle

from edgeft.bundle import reader
from edgeft.cli.entry import run as command
from edgeft.core import files
from edgeft.predict import predictor
from edgeft.ros2 import package as packages
from edgeft.tasks import BUILTIN, get

BEATS = ("--ros-args", "-p", "heartbeat_s:=0.1")
SEVERAL = {
    "kind": "tensors",
    "inputs": [
        {"name": "one", "key": "a", "shape": [2], "dtype": "int64"},
        {"name": "two", "key": "b", "shape": [2, 3], "dtype": "float32"},
    ],
}
BOTH = pytest.mark.parametrize("kind", ["stand-in", "real"])


def write(bundle: Path, name: str) -> Path:
    """The package of a bundle, in a folder of its own name."""
    out = bundle.parent / "src" / name
    packages.write(reader.open(bundle), files.claim_out(out, overwrite=False), name=name)
    return out


def decided(bundle: Path) -> list[dict[str, Any]]:
    """What `edgeft.predict` decides of the bundle's own samples."""
    opened = reader.open(bundle)
    model = predictor(opened)
    raws = reader.raws(opened.samples())
    return [model.result("", (raw, opened.task.preprocess(raw, opened.preprocess)))[1] for raw in raws]


# -- the package -----------------------------------------------------------------------------------------------------
def test_the_command_writes_a_package_of_ament_python(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bundle = robots.build(tmp_path, "control")
    assert command(["ros2", str(bundle), "--out", str(tmp_path / "out"), "--json"]) == 0
    captured = capfd.readouterr()
    table = json.loads(captured.out)
    assert (table["package"], table["input"]) == ("edgeft_robot_control", "std_msgs/Float64MultiArray")
    assert "WARNING: the verdict on the bundle robot-control is unknown" in captured.err
    root = ET.parse(tmp_path / "out" / "package.xml").getroot()
    assert root.findtext("name") == "edgeft_robot_control" and root.findtext("export/build_type") == "ament_python"
    depends = {each.text for each in root.findall("exec_depend")}
    assert {"rclpy", "std_msgs", "diagnostic_msgs", "rcl_interfaces"} <= depends and "vision_msgs" not in depends
    for path in (tmp_path / "out").rglob("*.py"):
        ast.parse(path.read_text())
    assert reader.open(tmp_path / "out" / "bundle").name == "robot-control"
    text = (tmp_path / "out" / "README.md").read_text()
    assert "pip install edgeft onnxruntime" in text and "Float64MultiArray" in text

    assert command(["ros2", str(bundle), "--out", str(tmp_path / "out"), "--json"]) == 2  # not empty
    assert command(["ros2", str(bundle), "--out", str(tmp_path / "new"), "--name", "My Robot", "--json"]) == 2
    assert command(["ros2", str(tmp_path / "absent"), "--out", str(tmp_path / "new"), "--json"]) == 3
    assert not (tmp_path / "new").exists()


def test_the_package_installs_with_its_bundle(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    package = write(robots.build(tmp_path, "control"), "controller")
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-compile"]
    subprocess.run([*argv, "--target", str(tmp_path / "site"), str(package)], check=True, timeout=120)
    site = tmp_path / "site"
    assert reader.open(site / "share" / "controller" / "bundle").name == "robot-control"
    assert (site / "share" / "ament_index" / "resource_index" / "packages" / "controller").is_file()
    assert (site / "share" / "controller" / "launch" / "controller.launch.py").is_file()


@pytest.mark.parametrize("name", BUILTIN)
def test_every_task_has_its_messages(name: str) -> None:
    """Each answer has a part, and each task can be read from a message by some kind of input."""
    task = get(name)
    assert packages._part(f"answer_{task.answer or 'json'}.py")
    assert task.parse is not None or name in ("classify", "detect", "segment", "keyword", "speech", "regress")


# -- the node --------------------------------------------------------------------------------------------------------
@BOTH
def test_a_controller_answers_with_values(tmp_path: Path, kind: str) -> None:
    bundle = robots.build(tmp_path, "control")
    result = robots.run(kind, write(bundle, "controller"), json.dumps(["sample"]), *BEATS)
    assert result["code"] == 0, result["log"]
    expected = [list(each["controls"].values()) for each in decided(bundle)]
    np.testing.assert_array_equal([answer["data"] for answer in result["answers"]], expected)
    assert result["answers"][0]["layout"]["dim"][0]["label"] == "steering,throttle"
    assert "3 samples of the bundle are decided as it records" in result["log"]
    assert result["levels"][-1] == 0 and result["texts"][-1] == "answering"
    assert result["values"]["answers"] == "3" and float(result["values"]["p99_ms"]) > 0
    assert result["name"] == "/controller: robot-control"


@BOTH
def test_arrays_are_answered_with_arrays(tmp_path: Path, kind: str) -> None:
    bundle = robots.build(tmp_path, "regress")
    wrong = [{"data": [0.0] * 11}, {"data": [float("inf")] * 12}]
    result = robots.run(kind, write(bundle, "angles"), json.dumps(["sample", *wrong]), *BEATS)
    assert result["code"] == 0, result["log"]
    expected = [np.ravel(each["array:angles"]) for each in decided(bundle)]
    np.testing.assert_array_equal([answer["data"] for answer in result["answers"]], expected)
    dim = result["answers"][0]["layout"]["dim"]
    assert [each["size"] for each in dim] == [3, 2] and dim[0]["label"] == "angles[3x2]"
    assert result["values"]["errors"] == "2" and "expected 12 finite ones" in result["log"]


def test_arrays_of_several_inputs_and_outputs_stand_behind_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(robots.HERE / "stand_in"))
    names = [item["name"] for item in SEVERAL["inputs"]]
    raw = {"b": np.arange(6.0).reshape(2, 3), "a": np.array([7, 8])}
    reading = importlib.import_module("edgeft.ros2.parts.input_arrays")
    message = reading.message_of(raw, SEVERAL)
    assert list(message.data) == [7, 8, 0, 1, 2, 3, 4, 5]
    again = get("regress").preprocess(reading.raw_of(message, SEVERAL), SEVERAL)
    assert list(again) == names and again["one"].dtype == np.int64
    np.testing.assert_array_equal(again["two"][0], raw["b"])

    answering = importlib.import_module("edgeft.ros2.parts.answer_arrays")
    decoded = {"label": "", "array:p": np.ones((2, 2)), "array:q": np.zeros(3)}
    answer = answering.answer_of(decoded, None, 0.0)
    assert list(answer.data) == [1] * 4 + [0] * 3
    assert [(each.label, each.size) for each in answer.layout.dim] == [("p[2x2],q[3]", 7)]
    assert answering.answer_of({**decoded, "array:q": np.array([np.nan])}, None, 0.0) is None


@BOTH
def test_a_segmentation_answers_with_a_mask_of_the_picture(tmp_path: Path, kind: str) -> None:
    bundle = robots.build(tmp_path, "segment")
    red = {"encoding": "bgr8", "height": 2, "width": 3, "step": 12, "data": ([0, 0, 255] * 3 + [9] * 3) * 2}
    wrong = [{"encoding": "32FC1", "height": 1, "width": 1, "step": 4, "data": [0] * 4}, {**red, "height": 7}]
    result = robots.run(kind, write(bundle, "segmenter"), json.dumps(["sample", red, *wrong]), *BEATS)
    assert result["code"] == 0, result["log"]
    masks = [np.array(each["data"]).reshape(each["height"], each["width"]) for each in result["answers"]]
    for mask, each in zip(masks[:3], decided(bundle), strict=True):
        np.testing.assert_array_equal(mask, each["mask"])
    assert len(masks) == 4 and masks[3].shape == (2, 3) and (masks[3] == 1).all()  # the order of colours, the padding
    assert result["values"]["errors"] == "2" and "no picture of 7 x 3" in result["values"]["last_error"]
    assert "'32FC1' is not known" in result["log"] and "Traceback" not in result["log"]


@BOTH
def test_a_recommender_answers_words_with_json(tmp_path: Path, kind: str) -> None:
    tiny_bundle.usable("litert")
    bundle = Path(shutil.copytree(robots.FIXTURES / "people", tmp_path / "people"))
    if kind == "real" and robots.ros_python() is not None:
        done = subprocess.run([str(robots.ros_python()), "-c", "import ai_edge_litert"], capture_output=True)
        if done.returncode:
            pytest.skip("the environment of ROS has no LiteRT")
    user = json.loads((bundle / "manifest.json").read_text())["preprocess"]["users"][0]
    package = write(bundle, "people")
    result = robots.run(kind, package, json.dumps([{"data": f"{user}:*"}, {"data": "/etc/passwd"}]), *BEATS)
    assert result["code"] == 0, result["log"]
    (answer,) = result["answers"]
    opened = reader.open(bundle)
    model = predictor(opened)
    raw = opened.task.parse(f"{user}:*", opened.preprocess)
    assert (
        json.loads(answer["data"])["label"]
        == model.result("", (raw, opened.task.preprocess(raw, model.spec)))[1]["label"]
    )
    assert "knows no user" in result["values"]["last_error"]


def test_a_classifier_and_a_keyword_answer_with_classes(tmp_path: Path) -> None:
    """vision_msgs is on no package index: under the stand-in alone."""
    bundle = tiny_bundle.build(tmp_path)
    package = write(bundle, "tiny")
    result = robots.run("stand-in", package, json.dumps(["sample"]), "--ros-args", "-p", "min_score:=0.4")
    assert result["code"] == 0, result["log"]
    best = [answer["results"][0]["class_id"] for answer in result["answers"]]
    assert best == list(tiny_bundle.LEVELS.values())
    assert all(each["score"] >= 0.4 for answer in result["answers"] for each in answer["results"])

    chirps = Path(shutil.copytree(robots.FIXTURES / "chirps", tmp_path / "chirps"))
    result = robots.run("stand-in", write(chirps, "chirps"), json.dumps(["sample"]))
    assert result["code"] == 0, result["log"]
    assert [each["results"][0]["class_id"] for each in result["answers"]] == [each["label"] for each in decided(chirps)]


@BOTH
@pytest.mark.slow
def test_a_rate_that_cannot_be_held_is_a_warning(tmp_path: Path, kind: str) -> None:
    package = write(robots.build(tmp_path, "control"), "controller")
    fast = ("--ros-args", "-p", "rate_hz:=1000000.0", "-p", "heartbeat_s:=0.2")
    result = robots.run(kind, package, json.dumps(["sample", 0.5]), *fast)
    assert result["code"] == 0, result["log"]
    assert result["log"].count("Hz cannot be held: the p99 of a call is") == 1 and "ask for" in result["log"]
    assert result["levels"][-1] == 1 and result["texts"][-1] == "the rate cannot be held"

    slow = ("--ros-args", "-p", "rate_hz:=20.0", "-p", "heartbeat_s:=0.2")
    result = robots.run(kind, package, json.dumps(["sample", 0.5]), *slow)
    assert "cannot be held" not in result["log"] and result["levels"][-1] == 0
    assert 1 <= int(result["values"]["answers"]) <= 3  # the newest input of each period


@BOTH
def test_a_heartbeat_tells_that_no_input_comes(tmp_path: Path, kind: str) -> None:
    package = write(robots.build(tmp_path, "control"), "controller")
    options = ("--ros-args", "-p", "heartbeat_s:=0.1", "-p", "stale_s:=0.5")
    result = robots.run(kind, package, json.dumps([0.3, "sample", 1.0]), *options)
    assert result["code"] == 0, result["log"]
    assert result["texts"][0] == "no input came" and result["levels"][0] == 3
    assert "answering" in result["texts"] and result["texts"][-1] == "no input comes any more"


@BOTH
def test_a_node_that_decides_otherwise_ends(tmp_path: Path, kind: str) -> None:
    """The recorded outputs are replaced: as on a board whose runtime computes something else."""
    bundle = robots.build(tmp_path, "control")
    with np.load(bundle / "samples.npz") as archive:
        stored = dict(archive)
    stored["output/y"] = stored["output/y"][::-1] + 5
    np.savez(bundle / "samples.npz", **stored)
    table = json.loads((bundle / "manifest.json").read_text())
    entry = {"sha256": files.sha256(bundle / "samples.npz"), "bytes": (bundle / "samples.npz").stat().st_size}
    tiny_bundle.forge(bundle, {**table, "files": {**table["files"], "samples.npz": entry}})
    result = robots.run(kind, write(bundle, "controller"), "[]")
    assert result["code"] == 1 and "3 of 3 samples are decided otherwise" in result["log"]


def test_the_tests_of_the_package_pass_and_find_another_model(tmp_path: Path) -> None:
    """What `colcon test` runs."""
    package = write(robots.build(tmp_path, "segment"), "segmenter")
    path = ":".join(map(str, (package, robots.ROOT, robots.HERE / "stand_in")))

    def tested() -> subprocess.CompletedProcess[str]:
        argv = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(package),
            str(package / "test"),
        ]
        return subprocess.run(
            argv, capture_output=True, text=True, timeout=120, env={"PYTHONPATH": path, "PATH": ""}, cwd=package
        )

    done = tested()
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout
    messages = package / "segmenter" / "messages.py"
    messages.write_text(messages.read_text().replace('"rgb8": (3, (0, 1, 2))', '"rgb8": (3, (2, 1, 0))'))
    assert "1 failed" in tested().stdout


def test_the_stand_in_has_the_fields_of_the_real_messages() -> None:
    real = robots.ros_python()
    if real is None:
        pytest.skip("no rclpy: scripts/ros installs it into .venv-ros, or name one with EDGEFT_ROS_PYTHON")
    script = """
import importlib, json, sys
kinds = json.loads(sys.argv[1])
table = {}
for package, names in kinds.items():
    module = importlib.import_module(f"{package}.msg")
    for name in names:
        cls = getattr(module, name)
        fields = cls.FIELDS if hasattr(cls, "FIELDS") else cls.get_fields_and_field_types()
        table[f"{package}/{name}"] = sorted(fields)
print(json.dumps(table))
"""
    kinds = {
        "std_msgs": [
            "Header",
            "String",
            "MultiArrayDimension",
            "MultiArrayLayout",
            "Float64MultiArray",
            "Int16MultiArray",
        ],
        "sensor_msgs": ["Image"],
        "diagnostic_msgs": ["KeyValue", "DiagnosticStatus", "DiagnosticArray"],
    }

    def fields(python: str, path: str) -> dict[str, Any]:
        argv = [python, "-c", script, json.dumps(kinds)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env={"PYTHONPATH": path, "PATH": ""})
        assert done.returncode == 0, done.stderr
        table: dict[str, Any] = json.loads(done.stdout)
        return table

    assert fields(real, "") == fields(sys.executable, str(robots.HERE / "stand_in"))
