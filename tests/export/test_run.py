"""`export`: one run in every runtime and scheme, its bundles, its reports, and what it refuses."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys

import builds
import numpy as np
import pytest
import shapes_run
from shapes_run import gate

import edgeft
from edgeft import backends, compilers
from edgeft.bundle import reader as bundles
from edgeft.config import target
from edgeft.core.errors import ModelError, RunError, UsageError

GATES = {"accuracy", "agreement", "parity", "integer", "latency", "size", "compatibility"}
GATE_KEYS = {
    *("name", "metric", "float", "quantized", "drop", "ci95", "limit", "n", "verdict", "why"),
    "required",
    "unit",
}
REPORT_KEYS = {
    *("schema", "target", "backend", "verdict", "gates", "latency", "size", "int8_share", "worst_class"),
    "fingerprint",
}
MANIFEST_KEYS = {
    *("schema", "name", "task", "target", "backend", "files", "graphs", "preprocess", "labels", "scheme"),
    *("runtime", "requires", "provenance"),
}
ALL = pytest.mark.parametrize("name", shapes_run.TARGETS)


def test_the_run_learned_and_keeps_what_the_contract_names(shapes):
    summary = json.loads((shapes.run / "summary.json").read_text())
    assert summary == json.loads(json.dumps({k: v for k, v in shapes.summary.items() if k != "run"}))
    assert summary["float"] > 0.85 and summary["quantized"] > 0.85 and summary["chance"] == pytest.approx(1 / 3)
    assert set(summary["schemes"]) == set(shapes_run.SCHEME_OF.values())
    assert (summary["ptq"], summary["quantized"]) == tuple(
        summary["schemes"][shapes_run.HOST][k] for k in ("ptq", "quantized")
    )
    assert {
        *("schema", "task", "metric", "n", "updated_parameters", "total_parameters", "peak_training_bytes"),
        *("seconds", "steps", "seed", "versions"),
    } <= set(summary)
    assert summary["n"] == 120 and summary["updated_parameters"] == summary["total_parameters"] > 70_000
    assert {path.name for path in shapes.run.iterdir()} == {
        *("recipe.toml", "float.safetensors", "summary.json", "metrics.jsonl", "checkpoints"),
        *(f"quantized.{scheme}.safetensors" for scheme in summary["schemes"]),
    }
    rows = [json.loads(line) for line in (shapes.run / "metrics.jsonl").read_text().splitlines()]
    assert {row["stage"] for row in rows} == {"float", *summary["schemes"]}


@ALL
def test_the_verdict_is_a_pass_and_every_gate_spoke(exported, name):
    report = exported.reports[name]
    assert report["verdict"] == "pass", shapes_run.failed(report)
    assert {g["name"] for g in report["gates"]} == GATES
    assert all(
        g["n"] > 0 for g in report["gates"] if g["required"] and g["verdict"] == "pass" and g["name"] != "compatibility"
    )
    accuracy = gate(report, "accuracy")
    assert accuracy["required"] and accuracy["n"] == 120 and accuracy["float"] > 0.85
    assert accuracy["drop"] == pytest.approx(accuracy["float"] - accuracy["quantized"])
    low, high = accuracy["ci95"]
    assert low <= accuracy["drop"] <= high and accuracy["limit"] == 0.05
    assert gate(report, "integer", "weights")["n"] == 10 and gate(report, "integer", "weights")["quantized"] == 1.0
    # 120 samples in a pass against the torch graph, and the bundle's own 16 once more in a process of its own
    rows = {g["metric"]: g["n"] for g in report["gates"] if g["name"] == "parity" and g["quantized"] is not None}
    bundled = ("recorded outputs", "quantized graph", "outputs of the float baseline")
    assert rows == {"quantized graph, test split": 120, **dict.fromkeys(bundled, 16)}


@ALL
def test_report_and_manifest_have_the_keys_of_the_contract(exported, name):
    path = exported.bundle(name)
    report = json.loads((path / "report.json").read_text())
    assert set(report) >= REPORT_KEYS
    profile = target.load(name)
    compiler = profile.compiler
    for g in report["gates"]:  # what a gate waits for is said of one that is unverified alone
        waits = g["verdict"] == "unverified" and g["name"] == "compatibility" and bool(compiler)
        known = compilers.of_target(compiler) or backends.get(profile.backend).engine(profile)
        assert set(g) == {*GATE_KEYS, *(["needs"] if waits else []), *(["remedy"] if waits and known else [])}, g
        assert g.get("needs", compiler) == compiler
    assert {"float_ms", "quantized_ms", "speedup", "ci99", "where"} <= set(report["latency"])
    assert report["latency"]["where"] == "host" and report["latency"]["speedup"] > 0
    assert report["size"]["float_bytes"] > report["size"]["quantized_bytes"] > 0
    assert report["target"] == name and report["worst_class"]["label"] in shapes_run.LABELS
    manifest = json.loads((path / "manifest.json").read_text())
    assert set(manifest) >= MANIFEST_KEYS
    assert manifest["labels"] == list(shapes_run.LABELS) and manifest["target"] == name
    assert manifest["scheme"]["name"] == target.load(name).scheme.name
    (graph,) = manifest["graphs"]
    (x,), (y,) = graph["inputs"], graph["outputs"]
    assert all({"name", "shape", "dtype", "layout", "scale", "zero_point"} <= set(t) for t in (x, y))
    assert x["name"] == manifest["preprocess"]["input"] and x["shape"][1:] == [3, 32, 32] and y["shape"][1:] == [3]
    listed = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()}
    assert listed == {*manifest["files"], *("manifest.json", "manifest.sha256", "report.json", "report.html")}
    assert len(manifest["integer_weights"]) == 10 and manifest["runtime"]["threads"] == 1


@ALL
def test_samples_hold_raw_pixels_tensors_outputs_and_label_names(exported, shapes, name):
    opened = bundles.open(exported.bundle(name))
    samples = opened.samples()
    n = len(samples["targets"])
    assert n == 16 and samples["raw_0"].dtype == np.uint8 and samples["raw_0"].shape == (36, 36, 3)
    assert samples["target_names"].tolist() == [shapes_run.LABELS[t] for t in samples["targets"]]
    stored = samples["output/output"]
    assert stored.shape == samples["graph/output"].shape == (n, 3)
    got = opened.session().run({"x": samples["input/x"]})["output"]
    assert (got.argmax(1) == stored.argmax(1)).all()
    with np.load(shapes.data) as archive:
        assert any((archive["test_images"] == samples["raw_0"]).all(axis=(1, 2, 3)))


@pytest.mark.parametrize("name", ["host", "host-litert", "host-openvino"])
def test_speed_and_int8_share_gate_where_the_machine_is_the_target(exported, name):
    report = exported.reports[name]
    assert gate(report, "latency")["required"] and gate(report, "latency")["verdict"] == "pass"
    share = gate(report, "integer", "int8_share")
    assert share["required"] and share["quantized"] == report["int8_share"] > 0.9
    assert report["unverified"] == []


def test_on_a_jetson_speed_is_advisory_and_its_compiler_unverified(exported):
    report = exported.reports["jetson-orin-nano"]
    for name, metric in (("latency", "speedup"), ("integer", "int8_share")):
        found = gate(report, name, metric)
        assert found["verdict"] == "advisory" and not found["required"] and "not the target" in found["why"]
    assert gate(report, "compatibility")["verdict"] == "unverified"
    assert len(report["unverified"]) == 1 and "trtexec" in report["unverified"][0]


def test_the_jetson_model_is_legal_for_tensorrt(exported):
    onnx = pytest.importorskip("onnx")
    path = exported.bundle("jetson-orin-nano")
    model = onnx.load(path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    (opset,) = [entry.version for entry in model.opset_import if entry.domain == ""]
    assert 13 <= opset <= 17 and model.ir_version <= 8
    assert {entry.domain for entry in model.opset_import} == {""}
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    kinds = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= kinds
    assert not kinds & {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale, zero = (constants[name] for name in node.input[1:3])  # constant when the engine is built
            assert scale.min() > 0 and zero.dtype == np.int8 and not zero.any()
    assert not [name for name, value in constants.items() if value.dtype == np.uint8]
    inferred = onnx.shape_inference.infer_shapes(model)
    assert not [v.name for v in inferred.graph.value_info if v.type.tensor_type.elem_type == onnx.TensorProto.UINT8]
    script = path / "build_engine.sh"
    assert script.is_file() and "build_engine.sh" in bundles.open(path).manifest["files"]
    text = script.read_text()
    digest = bundles.open(path).manifest["files"]["model.onnx"]["sha256"]
    assert f"build model.onnx {digest} model.engine x:BATCHx3x32x32" in text
    assert "known_tensorrt=10.3\n" in text and "known_jetpack='6.1 6.2'\n" in text
    assert subprocess.run(["bash", "-n", str(script)], capture_output=True).returncode == 0


def test_seven_bit_weights_keep_to_seven_bits(exported):
    opened = bundles.open(exported.bundle("generic-x86-no-vnni"))
    weights = [t.data for t in opened.runtime.integer_weights(opened.graph_path()) if t.data.ndim > 1]
    assert len(weights) >= 10 and max(int(np.abs(w.astype(int)).max()) for w in weights) <= 63
    eight = bundles.open(exported.bundle("jetson-orin-nano"))
    wide = [t.data for t in eight.runtime.integer_weights(eight.graph_path()) if t.data.ndim > 1]
    assert max(int(np.abs(w.astype(int)).max()) for w in wide) == 127


def test_the_three_runtimes_hold_the_same_weights_and_decide_alike(exported):
    names = ("host", "host-litert", "host-openvino")
    manifests = [bundles.open(exported.bundle(name)).manifest for name in names]
    assert manifests[0]["integer_weights"] == manifests[1]["integer_weights"] == manifests[2]["integer_weights"]
    graph = [bundles.open(exported.bundle(name)).samples()["graph/output"] for name in names]
    assert (graph[0] == graph[1]).all() and (graph[0] == graph[2]).all()


@ALL
def test_run_py_stands_alone(exported, tmp_path, name):
    path = exported.bundle(name)
    np.save(tmp_path / "one.npy", bundles.open(path).samples()["raw_0"])
    for arguments in ([], [str(tmp_path / "one.npy")]):
        command = [sys.executable, "-I", str(path / "run.py"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
        # where this CPU's sums saturate and the board's do not, the check of this machine says so
        differs = bundles.open(path).exact and done.returncode == 1 and "DIFFERS" in done.stdout and not arguments
        assert done.returncode == 0 or differs, done.stdout + done.stderr
    assert any(label in done.stdout for label in shapes_run.LABELS)


@ALL
def test_report_html_is_one_offline_file(exported, name):
    page = (exported.bundle(name) / "report.html").read_text()
    assert not re.search(r"""(?:src|href|url)\s*[=(]\s*["']?\s*(?:https?:)?//""", page)
    assert "<script" not in page or "src=" not in re.findall(r"<script[^>]*>", page)[0]
    assert name in page and "accuracy" in page.lower()


# -- what it refuses -------------------------------------------------------------------------------------------------
def test_a_bundle_that_is_there_is_kept_unless_overwritten(exported, shapes, tmp_path):
    shutil.copytree(exported.bundle("host"), tmp_path / "host")
    before = {p: p.read_bytes() for p in (tmp_path / "host").rglob("*") if p.is_file()}
    with pytest.raises(UsageError, match="--overwrite"):
        edgeft.export(shapes.run, ["host"], tmp_path)
    assert {p: p.read_bytes() for p in (tmp_path / "host").rglob("*") if p.is_file()} == before
    (tmp_path / "host" / "stale.txt").write_text("old")
    (report,) = edgeft.export(shapes.run, ["host"], tmp_path, overwrite=True)
    assert report["verdict"] == "pass" and not (tmp_path / "host" / "stale.txt").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["host"]


def test_nothing_is_exported_when_a_later_target_is_refused(exported, shapes, tmp_path):
    (tmp_path / "generic-x86-no-vnni").mkdir()
    (tmp_path / "generic-x86-no-vnni" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="generic-x86-no-vnni"):
        edgeft.export(shapes.run, ["host", "generic-x86-no-vnni"], tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["generic-x86-no-vnni"]


def test_a_missing_scheme_is_named_with_the_command_that_adds_it_and_ptq_does_without(shapes, tmp_path):
    with pytest.raises(UsageError) as caught:
        edgeft.export(shapes.run, ["rk3588"], tmp_path)
    scheme = target.load("rk3588").scheme.name
    assert caught.value.exit_code == 2 and scheme in caught.value.message and "--ptq" in caught.value.remedy
    assert not list(tmp_path.iterdir())
    (report,) = edgeft.export(shapes.run, ["rk3588"], tmp_path, ptq=True)
    assert report["verdict"] == "pass" and bundles.open(tmp_path / "rk3588").manifest["provenance"]["method"] == "ptq"
    assert not (shapes.run / f"quantized.{scheme}.safetensors").exists()


@pytest.mark.slow
def test_the_command_it_names_adds_the_scheme(shapes, tmp_path):
    run = tmp_path / "a run"  # with a blank: the command must be quoted
    shutil.copytree(shapes.run, run)
    with pytest.raises(UsageError) as caught:
        edgeft.export(run, ["rk3588"], tmp_path / "out")
    words = shlex.split(caught.value.remedy.split(", or pass")[0])
    assert words[0] == "edgeft"
    from edgeft.cli.entry import run as command

    kept = {p: p.read_bytes() for p in run.glob("*.safetensors")}
    assert command([*words[1:], "--json"]) == 0
    summary = json.loads((run / "summary.json").read_text())
    assert set(summary["schemes"]) == {*shapes_run.SCHEME_OF.values(), target.load("rk3588").scheme.name}
    assert {p: p.read_bytes() for p in kept} == kept  # what was trained before is what it was
    (report,) = edgeft.export(run, ["rk3588"], tmp_path / "out")
    assert report["verdict"] == "pass"


def test_other_labels_than_the_runs_are_refused(shapes, tmp_path):
    run, data = tmp_path / "run", tmp_path / "other.npz"
    shutil.copytree(shapes.run, run)
    with np.load(shapes.data) as archive:
        arrays = dict(archive)
    arrays["labels"] = np.array(["circle", "square", "cross"])
    np.savez(data, **arrays)
    text = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(text.replace(str(shapes.data), str(data)))
    with pytest.raises(RunError, match="labels"):
        edgeft.export(run, ["host"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["truncated", "of another net"])
def test_damaged_weights_are_refused(shapes, tmp_path, damage):
    run = tmp_path / "run"
    shutil.copytree(shapes.run, run)
    if damage == "truncated":
        data = (run / f"quantized.{shapes_run.HOST}.safetensors").read_bytes()
        (run / f"quantized.{shapes_run.HOST}.safetensors").write_bytes(data[: len(data) // 2])
    else:
        from safetensors.torch import save_file

        from edgeft.config.recipe import Model

        save_file(builds.build(Model(name="resnet20"), 3).module.state_dict(), run / "float.safetensors")
    with pytest.raises(RunError, match=f"quantized.{shapes_run.HOST}" if damage == "truncated" else "another model"):
        edgeft.export(run, ["host"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_profile_may_be_a_file_of_the_users_own(shapes, tmp_path):
    """Its name, and no path of this machine, is what the bundle tells."""
    profile = tmp_path / "drone.toml"
    profile.write_text(
        'name = "drone"\ntitle = "A drone"\nbackend = "onnxruntime"\nsource = ["measured"]\nconfidence = "derived"\n'
        "[scheme_without_vnni]\nweight_bits = 7\n"
    )
    (report,) = edgeft.export(shapes.run, [str(profile)], tmp_path / "bundles")
    assert report["target"] == "drone"
    manifest = (tmp_path / "bundles" / "drone" / "manifest.json").read_text()
    assert json.loads(manifest)["provenance"]["recipe"]["export"]["targets"] == ["drone"]
    assert str(profile) not in manifest


def test_a_target_that_cannot_be_converted_leaves_the_others_their_bundles(shapes, tmp_path):
    profile = tmp_path / "museum.toml"
    profile.write_text(
        'name = "museum"\ntitle = "An interpreter of old"\nbackend = "litert"\nop_versions = { "*" = 1 }\n'
        'source = ["measured"]\nconfidence = "derived"\n[scheme_without_vnni]\nweight_bits = 7\n'
    )
    with pytest.raises(ModelError) as caught:
        edgeft.export(shapes.run, [str(profile), "host"], tmp_path / "bundles")
    assert "museum" in str(caught.value) and "emitted in version" in caught.value.message
    assert f"host: pass, written to {tmp_path / 'bundles' / 'host'}" in caught.value.remedy
    assert [p.name for p in (tmp_path / "bundles").iterdir()] == ["host"]
    bundles.open(tmp_path / "bundles" / "host")
