"""Bundles: what is written opens again, and every attack on one is refused by name.

Longer than 400 lines because each way in which a bundle can be damaged is a case of its own.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_bundle

from edgeft.bundle import reader as bundle
from edgeft.core import files
from edgeft.core.errors import BundleError, SystemFailure, UsageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tiny_bundle.build(tmp_path)


@pytest.fixture
def table(path: Path) -> dict:
    return json.loads((path / "manifest.json").read_text())


def refused(path: Path, *words: str) -> BundleError:
    with pytest.raises(BundleError) as caught:
        bundle.open(path)
    for word in words:
        assert word in str(caught.value)
    assert caught.value.exit_code == 3
    return caught.value


# --- the straight way ---


@pytest.mark.parametrize("backend", tiny_bundle.BACKENDS)
def test_what_is_written_opens_and_runs(tmp_path: Path, backend: str) -> None:
    opened = bundle.open(tiny_bundle.build(tmp_path, backend))
    assert opened.labels == tuple(tiny_bundle.LABELS)
    assert (opened.task.name, opened.target, opened.backend) == ("classify", "host", backend)
    samples = opened.samples()
    for baseline in (False, True):
        outputs = opened.session(baseline=baseline).run({"x": samples["input/x"]})
        assert list(outputs) == ["logits"]
        assert opened.task.score(outputs, samples["targets"]) == 1.0
    again = opened.session(threads=2).run({"x": samples["input/x"]})
    assert np.array_equal(again["logits"], samples["output/logits"])


def test_every_file_is_listed_but_reports(path: Path, table: dict) -> None:
    assert set(table["files"]) == {"model.tflite", "baseline/model.tflite", "samples.npz", "run.py"}
    assert (path / "run.py").read_bytes() == bundle.runner_of(table)
    (path / "report.json").write_text("{}")
    (path / "report.html").write_text("<p>")
    assert bundle.open(path).manifest == table


def test_sha256sum_reads_the_digest_file(path: Path) -> None:
    subprocess.run(["sha256sum", "-c", "manifest.sha256"], cwd=path, check=True, capture_output=True)


def test_sessions_keep_the_names_of_the_manifest(path: Path) -> None:
    session = bundle.open(path).session()
    assert [t.name for t in session.inputs] == ["x"]
    assert [t.name for t in session.outputs] == ["logits"]
    session.run({"x": np.zeros((1, 1, 8, 8), np.float32)})
    session.invoke()
    with pytest.raises(BundleError, match="no input 'y'"):
        session.run({"y": np.zeros((1, 1, 8, 8), np.float32)})


def test_an_unknown_graph_is_answered_with_the_nearest(path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'main'"):
        bundle.open(path).graph("mian")


@pytest.mark.parametrize("name", ["engine.plan", "numpy.py", ".hidden", "personalize/extra", "baseline/model.data"])
def test_a_file_that_nobody_listed_is_refused(path: Path, name: str) -> None:
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).write_bytes(b"built on the board")
    refused(path, repr(name), "not in the manifest")


def test_what_edgeft_writes_later_is_no_stranger(path: Path) -> None:
    for name in ("state.npz", ".state.npz.lock", "state.html", ".report.json.0123abcd.tmp"):
        (path / name).write_bytes(b"")
    bundle.open(path)


def test_an_engine_that_the_bundles_script_builds_is_no_stranger(tmp_path: Path) -> None:
    path = tiny_bundle.build(tmp_path, "onnxruntime", target="jetson-orin-nano")
    for name in ("model.engine", "model.engine.log", "model.engine.tensorrt"):
        (path / name).write_bytes(b"")
    bundle.open(path)
    (path / "other.engine").write_bytes(b"")
    refused(path, "'other.engine'")


def test_write_refuses_a_link(tmp_path: Path) -> None:
    tiny_bundle.usable("litert")
    manifest = tiny_bundle.stage(tmp_path / "staging", "litert")
    (tmp_path / "staging" / "extra").symlink_to("/etc/hostname")
    with pytest.raises(BundleError, match="is a link"):
        bundle.write(tmp_path / "staging", manifest)


@pytest.mark.parametrize("value", [float("nan"), np.float32(1), {1, 2}])
def test_write_refuses_what_json_cannot_say(tmp_path: Path, value: object) -> None:
    with pytest.raises(BundleError, match="strict JSON"):
        tiny_bundle.build(tmp_path, provenance={"figure": value})


def test_files_of_preprocessing_travel_with_the_bundle(tmp_path: Path) -> None:
    (tmp_path / "my tokenizer.json").write_text("{}")
    staging = tmp_path / "staging"
    table = {"kind": "text", "files": {"tokenizer": str(tmp_path / "my tokenizer.json")}}
    carried = bundle.carry(table, staging)
    assert carried == {"kind": "text", "files": {"tokenizer": "preprocess/tokenizer.json"}}
    made = tiny_bundle.stage(staging / "inner", "litert")
    bundle.carry(table, staging / "inner")
    bundle.write(staging / "inner", {**made, "preprocess": carried})
    opened = bundle.open(staging / "inner")
    assert opened.manifest["preprocess"]["files"] == carried["files"], "no path of the machine"
    assert Path(opened.preprocess["files"]["tokenizer"]) == (staging / "inner/preprocess/tokenizer.json").resolve()
    assert bundle.carry({"kind": "image"}, staging) == {"kind": "image"}
    with pytest.raises(BundleError, match="cannot be read"):
        bundle.carry({"files": {"tokenizer": str(tmp_path / "absent.json")}}, staging)


# --- attacks ---


def test_an_altered_manifest(path: Path) -> None:
    text = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(text.replace('"dark"', '"dusk"'))
    refused(path, "manifest.json was altered")


def test_a_swapped_label_map(path: Path, table: dict) -> None:
    table["labels"] = table["labels"][::-1]
    (path / "manifest.json").write_text(json.dumps(table, indent=2) + "\n")
    refused(path, "manifest.json was altered")


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256", "model.tflite", "samples.npz", "run.py"])
def test_a_missing_file(path: Path, name: str) -> None:
    (path / name).unlink()
    refused(path, name, "missing")


def test_a_truncated_file(path: Path) -> None:
    data = (path / "model.tflite").read_bytes()
    (path / "model.tflite").write_bytes(data[: len(data) // 2])
    refused(path, "model.tflite", "truncated")


def test_a_flipped_byte(path: Path) -> None:
    data = bytearray((path / "model.tflite").read_bytes())
    data[len(data) // 2] ^= 1
    (path / "model.tflite").write_bytes(data)
    refused(path, "model.tflite", "sha256")
    assert bundle.open(path, check_files=False).name == "tiny"


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/passwd", "a/../../secret", "..\\secret", "./model.tflite", "a//b", "", "a\x00b", "report.json"],
)
def test_a_manifest_that_points_outside(path: Path, table: dict, name: str) -> None:
    (path.parent / "secret").write_bytes(b"secret")
    table["files"][name] = {"sha256": files.sha256(path.parent / "secret"), "bytes": 6}
    tiny_bundle.forge(path, table)
    refused(path, "files")


@pytest.mark.parametrize("key", ["file", "baseline"])
def test_a_graph_that_points_outside(path: Path, table: dict, key: str) -> None:
    table["graphs"][0][key] = "../model.tflite"
    tiny_bundle.forge(path, table)
    refused(path, f"graphs[0].{key}")


@pytest.mark.parametrize("name", ["../tokenizer.json", "/etc/passwd", "tokenizer.json", 3])
def test_a_file_of_preprocessing_that_is_not_listed(path: Path, table: dict, name: Any) -> None:
    (path / "tokenizer.json").write_text("{}")
    table["preprocess"] = {**table["preprocess"], "files": {"tokenizer": name}}
    tiny_bundle.forge(path, table)
    refused(path, "preprocess.files")


@pytest.mark.parametrize("pair", [[1.0], [1.0, -2.0], ["1", "2"], 3])
def test_a_reach_of_rounding_that_is_none(path: Path, table: dict, pair: Any) -> None:
    table["graphs"][0]["outputs"][0]["rounding"] = pair
    tiny_bundle.forge(path, table)
    refused(path, "outputs[0].rounding")


def test_a_linked_file(path: Path) -> None:
    (path / "model.tflite").rename(path.parent / "elsewhere.tflite")
    (path / "model.tflite").symlink_to(path.parent / "elsewhere.tflite")
    refused(path, "model.tflite is a link")


def test_a_linked_folder(path: Path) -> None:
    (path / "baseline").rename(path.parent / "baseline")
    (path / "baseline").symlink_to(path.parent / "baseline")
    refused(path, "baseline is a link")


def test_a_linked_manifest(path: Path) -> None:
    (path / "manifest.json").rename(path.parent / "m.json")
    (path / "manifest.json").symlink_to(path.parent / "m.json")
    refused(path, "manifest.json is a link")


@pytest.mark.parametrize("name", ["report.json", "report.html", "state.npz", "bundle.sigstore.json"])
@pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_among_those_that_come_later(path: Path, name: str, put: Callable[[Path], None]) -> None:
    """The manifest does not list them, and whoever hashes a signed folder reads all that lies there."""
    put(path / name)
    with pytest.raises(BundleError, match=f"{name} is (not a regular file|a link)"):
        bundle.open(path)


def test_a_pipe_in_place_of_a_file_does_not_hang(path: Path) -> None:
    (path / "model.tflite").unlink()
    os.mkfifo(path / "model.tflite")
    refused(path, "not a regular file")


def test_a_newer_major_schema(path: Path, table: dict) -> None:
    tiny_bundle.forge(path, {**table, "schema": "2.0"})
    assert "a newer one" in refused(path, "schema 2.0").remedy
    tiny_bundle.forge(path, {**table, "schema": "1.9", "news": {"from": "a later minor"}})
    assert bundle.open(path).manifest["news"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": -Infinity}',
        '{"a": 1, "a": 2}',
        "[" * 100_000,
        '{"a": ' + "9" * 5000 + "}",
        "\udcff",
    ],
)
def test_what_is_no_strict_json(path: Path, text: str) -> None:
    files.write_bytes(path / "manifest.json", text.encode(errors="surrogateescape"))
    files.write_text(path / "manifest.sha256", files.sha256(path / "manifest.json"))
    refused(path, "JSON")


KEYS = ["schema", "name", "task", "target", "backend", "files", "graphs"]
KEYS += ["preprocess", "labels", "scheme", "runtime", "requires", "provenance"]


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_or_mistyped_key_is_named(path: Path, table: dict, key: str) -> None:
    tiny_bundle.forge(path, {k: v for k, v in table.items() if k != key})
    refused(path, f"manifest.json: {key}", "missing")
    tiny_bundle.forge(path, {**table, key: 7})
    refused(path, f"manifest.json: {key}")


def _set(table: dict, keys: str, value: object) -> dict:
    table = copy.deepcopy(table)
    *way, last = [int(k) if k.isdigit() else k for k in keys.split("/")]
    at = table
    for key in way:
        at = at[key]
    at[last] = value
    return table


@pytest.mark.parametrize(
    ("keys", "value", "named"),
    [
        ("graphs", [], "graphs"),
        ("graphs/0/file", "other.tflite", "graphs[0].file"),
        ("graphs/0/inputs", [], "graphs[0].inputs"),
        ("graphs/0/inputs/0/shape", [0, 1], "graphs[0].inputs[0].shape"),
        ("graphs/0/inputs/0/shape", [True, 1], "graphs[0].inputs[0].shape"),
        ("graphs/0/outputs/0/scale", -1.0, "graphs[0].outputs[0].scale"),
        ("graphs/0/outputs/0/zero_point", 0.5, "graphs[0].outputs[0].zero_point"),
        ("graphs/0/outputs/0/name", "", "graphs[0].outputs[0].name"),
        ("labels/0", "bright", "labels"),
        ("labels/0", "\x1b[2J", "labels[0]"),
        ("labels/0", "\ud800", "labels[0]"),
        ("graphs/0/outputs/0/step", -1, "graphs[0].outputs[0].step"),
        ("graphs/0/outputs/0/step", "7", "graphs[0].outputs[0].step"),
        ("graphs/0/outputs/0/step", [0.1, 0], "graphs[0].outputs[0].step"),
        ("graphs/0/inputs/0/dtype", "x", "graphs[0].inputs[0].dtype"),
        ("graphs/0/inputs/0/dtype", "object", "graphs[0].inputs[0].dtype"),
        ("runtime/name", "other", "runtime.name"),
        ("runtime/version", '1.0") execute_process(COMMAND true) set(A "', "runtime.version"),
        ("runtime/version", "$ENV{HOME}", "runtime.version"),
        ("runtime/threads", 0, "runtime.threads"),
        ("gates", {"decide": "pointx"}, "gates.decide"),
        ("gates", {"max_drop": -1}, "gates.max_drop"),
        ("gates", {"episodes": 10**9}, "gates.episodes"),
        ("provenance", {"recipe": {"name": "other"}}, "name"),
        ("runtime/options", {"deep": {"er": 1}}, "runtime.options.deep"),
        ("files/model.tflite/sha256", "A" * 64, "sha256"),
        ("files/model.tflite/bytes", -1, "bytes"),
        ("integer_weights", {"w": {"sha256": "x", "shape": [1]}}, "integer_weights.w.sha256"),
    ],
)
def test_a_wrong_value_is_named(path: Path, table: dict, keys: str, value: object, named: str) -> None:
    tiny_bundle.forge(path, _set(table, keys, value))
    refused(path, named)


def test_two_graphs_of_one_name(path: Path, table: dict) -> None:
    tiny_bundle.forge(path, {**table, "graphs": table["graphs"] * 2})
    refused(path, "graphs[1].name")


def test_an_xml_whose_weights_are_not_listed(tmp_path: Path) -> None:
    path = tiny_bundle.build(tmp_path, "openvino")
    table = json.loads((path / "manifest.json").read_text())
    del table["files"]["model.bin"]
    tiny_bundle.forge(path, table)
    refused(path, "model.bin")


@pytest.mark.parametrize(
    ("location", "listed", "words"),
    [
        ("weights.data", True, ""),
        ("weights.data", False, "'weights.data'"),
        ("../weights.data", False, "points outside"),
        ("report.html", False, "does not list"),
        ("run.py", True, "no file of weights"),
        ("samples.npz", True, "no file of weights"),
        ("baseline/model.onnx", True, "no file of weights"),
    ],
)
def test_onnx_weights_come_from_listed_files_of_weights(
    tmp_path: Path, location: str, listed: bool, words: str
) -> None:
    path = tiny_bundle.build(tmp_path, "onnxruntime")
    import onnx

    model = onnx.load(path / "model.onnx")
    weight = model.graph.initializer[0]
    content = (path / location).read_bytes() if (path / location).is_file() else b""
    (path / location).write_bytes(content + weight.raw_data)
    onnx.external_data_helper.set_external_data(weight, location, offset=len(content), length=len(weight.raw_data))
    weight.ClearField("raw_data")
    (path / "model.onnx").write_bytes(model.SerializeToString())
    table = json.loads((path / "manifest.json").read_text())
    for name in ("model.onnx", *([location] if listed else [])):
        table["files"][name] = {"sha256": files.sha256(path / name), "bytes": (path / name).stat().st_size}
    tiny_bundle.forge(path, table)
    if words:
        refused(path, words)
    else:
        bundle.open(path).session()


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        ("onnxruntime", {"inter_op_num_threads": 10**18}),
        ("onnxruntime", {"inter_op_num_threads": -1}),
        ("openvino", {"NUM_STREAMS": "99999999"}),
        ("openvino", {"NUM_STREAMS": ["1"]}),
    ],
    ids=str,
)
def test_options_beyond_any_machine_are_refused(tmp_path: Path, backend: str, options: dict[str, Any]) -> None:
    opened = bundle.open(tiny_bundle.build(tmp_path, backend))
    with pytest.raises(BundleError, match=next(iter(options))):
        opened.session(options=options)


def test_a_recorded_option_cannot_reach_what_a_runtime_does_not_offer(path: Path, table: dict) -> None:
    tiny_bundle.forge(path, _set(table, "runtime/options", {"library": "/evil.so"}))
    with pytest.raises(BundleError, match="library"):
        bundle.open(path).session()


def test_an_artifact_that_does_not_fit_the_manifest(path: Path, table: dict) -> None:
    inputs = table["graphs"][0]["inputs"]
    tiny_bundle.forge(path, _set(table, "graphs/0/inputs", [*inputs, {**inputs[0], "name": "y"}]))
    with pytest.raises(BundleError, match="1 inputs, the manifest names 2"):
        bundle.open(path).session()


@pytest.mark.parametrize("shape", [[1, 1, 8, 10**12], [1, 1, 8], [1, 1, 8, 8, 1]])
@pytest.mark.parametrize("key", ["inputs", "outputs"])
def test_a_shape_that_is_not_the_artifacts(path: Path, table: dict, key: str, shape: list[int]) -> None:
    tiny_bundle.forge(path, _set(table, f"graphs/0/{key}/0/shape", shape))
    with pytest.raises(BundleError, match=rf"{key[:-1]} '\w+' is \[.*\] in the artifact, and the manifest says"):
        bundle.open(path).session()


def test_a_dynamic_dimension_takes_any_size(path: Path, table: dict) -> None:
    tiny_bundle.forge(path, _set(table, "graphs/0/inputs/0/shape", [-1, 1, 8, 8]))
    assert bundle.open(path).session().inputs


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    refused(tmp_path / "absent", "no such folder")
    (tmp_path / "bundle.zip").write_bytes(b"PK")
    refused(tmp_path / "bundle.zip", "a bundle is a folder")


def test_what_stands_beside_or_above_bundles_is_answered_with_them(path: Path, tmp_path: Path) -> None:
    board = tmp_path / "mine" / "rpi5"
    shutil.copytree(path, board)
    refused(tmp_path / "mine", "is no bundle, but holds 1", f"name one: {board}")
    refused(tmp_path / "mine" / "rp5", "no such folder", f"did you mean '{board}'?")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.toml").write_text('task = "classify"')
    refused(tmp_path / "run", "is a run, not a bundle", "edgeft export")
    (board / "manifest.json").unlink()
    refused(board, "manifest.json is missing", "copy the whole folder again")


def test_a_disk_that_fails_is_the_systems_failure(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Path) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files, "sha256", fails)
    with pytest.raises(SystemFailure, match="could not read: Input/output error") as caught:
        bundle.open(path)
    assert caught.value.exit_code == 6
