"""What a bundle records of its export, against what is measured again: cut samples, worse baselines, looser gates."""

from __future__ import annotations

import importlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapes_run
import sounds
from shapes_run import gate, seal

from edgeft.bundle import reader as bundles
from edgeft.core.errors import BundleError
from edgeft.verify.run import run

EARLIER = Path(__file__).parents[1] / "fixtures" / "0.1.0" / "host"
#: what the earlier bundles were made from, see tests/fixtures/README.md
COUNTS = {"train": 30, "val": 8, "test": 16}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    pytest.importorskip("onnxruntime")
    return Path(shutil.copytree(EARLIER, tmp_path / "host"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sounds.write_folder(tmp_path_factory.mktemp("recorded") / "sounds", COUNTS, seconds=0.25)


def manifest_of(path: Path) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((path / "manifest.json").read_text())
    return table


def verified(path: Path, data: Path | None = None) -> dict[str, Any]:
    return run(path, data, measure_latency=False)


def worsen(model: Path) -> None:
    """The first class's weights of the last layer point the other way."""
    onnx = pytest.importorskip("onnx")
    from onnx import numpy_helper

    network = onnx.load(model)
    last = next(node for node in reversed(network.graph.node) if node.op_type in ("Gemm", "MatMul"))
    weights = next(tensor for tensor in network.graph.initializer if tensor.name == last.input[1])
    values = numpy_helper.to_array(weights).copy()
    rows = values if values.shape[0] == 3 else values.T
    rows[0] *= -1
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    model.write_bytes(network.SerializeToString())


def cut(path: Path, keep: int) -> None:
    samples = bundles.open(path).samples()
    raws = {key: values for key, values in samples.items() if key.startswith("raw_")}
    kept = {key: values for key, values in raws.items() if int(key[4:].partition("/")[0]) < keep}
    np.savez(path / "samples.npz", **kept, **{k: values[:keep] for k, values in samples.items() if k not in raws})
    seal(path)


def test_fewer_samples_than_were_stored(bundle):
    assert gate(verified(bundle), "parity", "number of samples")["verdict"] == "pass"
    cut(bundle, 1)
    report = verified(bundle)
    found = gate(report, "parity", "number of samples")
    assert report["verdict"] == "fail" and found["required"] and "1 samples, 16 were stored" in found["why"]
    seal(bundle, provenance={**manifest_of(bundle)["provenance"], "run": {"n": 1}})
    assert gate(verified(bundle), "parity", "number of samples")["verdict"] == "pass"  # only a signature tells then


def test_rows_that_are_not_those_of_the_samples(bundle):
    samples = bundles.open(bundle).samples()
    np.savez(bundle / "samples.npz", **{**samples, "output/output": samples["output/output"][:3]})
    assert "3 rows of 'output/output'" in gate(_unjudged(seal(bundle)), "parity", "number of samples")["why"]


def _unjudged(path: Path) -> dict[str, Any]:
    """The report of a bundle whose other gates fail."""
    report = verified(path)
    assert report["verdict"] == "fail"
    return report


@pytest.mark.parametrize(
    ("gates", "key"),
    [
        ({"max_drop": "0.05"}, "gates.max_drop"),
        ({"max_drop": 10**400}, "valid JSON"),
        ({"min_speedup": [1.0]}, "gates.min_speedup"),
        ({"min_int8_share": True}, "gates.min_int8_share"),
        ({"decide": 5}, "gates.decide"),
        ({"latency_ms": None}, "gates.latency_ms"),
        ([], "gates"),
        ("none", "gates"),
    ],
    ids=lambda value: str(value)[:30],
)
@pytest.mark.parametrize("place", ["gates", "recipe"])
def test_gates_of_wrong_types_are_refused_by_key(bundle, gates, key, place):
    if place == "gates":
        seal(bundle, gates=gates)
    else:
        if not gates:
            pytest.skip("an empty table in the recipe is no gates")
        provenance = manifest_of(bundle)["provenance"]
        seal(bundle, provenance={**provenance, "recipe": {**provenance["recipe"], "gates": gates}})
    with pytest.raises(BundleError, match=key):
        bundles.open(bundle)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"max_drop": 0.5}, "fail"),
        ({"min_int8_share": 0.1}, "fail"),
        ({"max_drop": 0.01}, "pass"),
        ({"size_mb": 1.0}, "pass"),
        ({"decide": "bound"}, "pass"),
    ],
    ids=str,
)
def test_gates_looser_than_the_recipes(bundle, change, verdict):
    report = verified(seal(bundle, gates={**manifest_of(bundle)["gates"], **change}))
    found = gate(report, "parity", "gates of the recipe")
    assert found["verdict"] == verdict and found["required"]
    assert verdict == "pass" or (report["verdict"] == "fail" and next(iter(change)) in found["why"])


def test_without_gates_those_of_the_recipe_hold(bundle, data):
    seal(bundle, gates={})
    assert gate(verified(bundle, data), "accuracy")["limit"] == 0.05


def test_gates_that_are_gone_are_named(bundle):
    manifest = {key: value for key, value in manifest_of(bundle).items() if key not in ("gates", "files")}
    figures = {"metric": "accuracy", "float": 1.0, "quantized": 1.0, "n": 48}  # which an earlier version did not write
    bundles.write(bundle, {**manifest, "figures": figures})
    report = verified(bundle)
    assert report["verdict"] == "fail" and "gates are gone" in gate(report, "parity", "gates of the recipe")["why"]


def test_a_worse_baseline_is_named_with_the_data_of_the_export(bundle, data):
    report = verified(bundle, data)
    for key in ("float", "quantized"):
        found = gate(report, "parity", f"recorded {key} figure")
        assert found["verdict"] == "pass" and found["required"] and found["n"] == 48, found
    worsen(bundles.open(bundle).baseline_path())
    report = verified(seal(bundle), data)
    found = gate(report, "parity", "recorded float figure")
    assert report["verdict"] == "fail" and found["verdict"] == "fail" and "altered" in found["why"]
    assert found["float"] == 1.0 and found["quantized"] < 0.8


def test_figures_of_another_number_of_samples_are_named(bundle, data):
    """With few samples a worse model would be within the noise of what export measured."""
    figures = {"metric": "accuracy", "float": 1.0, "quantized": 1.0, "n": 48}
    for n, most in ((48, None), (48, 20), (2, None), (2, 20), (10**9, None)):
        seal(bundle, figures={**figures, "n": n})
        report = run(bundle, data, most=most, measure_latency=False)
        for key in ("float", "quantized"):
            found = gate(report, "parity", f"recorded {key} figure")
            assert found["verdict"] == ("pass" if n == 48 else "fail"), found
            assert n == 48 or f"of {n} samples, and the data of the export have 48" in found["why"]

    seal(bundle, provenance={**manifest_of(bundle)["provenance"], "data": "0" * 64})
    assert gate(verified(bundle, data), "parity", "recorded float figure")["verdict"] == "pass"  # of other data


def test_preprocessing_that_was_made_worse_for_both_is_named(bundle, data):
    settings = bundles.open(bundle).preprocess
    seal(bundle, preprocess={**settings, "mean": [m + 2 * s for m, s in zip(settings["mean"], settings["std"])]})
    report = verified(bundle, data)
    assert {gate(report, "parity", f"recorded {key} figure")["verdict"] for key in ("float", "quantized")} == {"fail"}


def test_a_worse_figure_on_other_data_is_inconclusive(bundle, data):
    worsen(bundles.open(bundle).baseline_path())
    seal(bundle, provenance={**manifest_of(bundle)["provenance"], "data": "0" * 64})
    found = gate(verified(bundle, data), "parity", "recorded float figure")
    assert found["verdict"] == "inconclusive" and found["required"] and "harder" in found["why"]


def test_a_worse_baseline_is_named_without_data_where_its_outputs_are_stored(bundle):
    opened = bundles.open(bundle)
    samples = opened.samples()
    before = opened.session(baseline=True).run({"x": samples["input/x"]})
    np.savez(bundle / "samples.npz", **samples, **{f"baseline/{name}": values for name, values in before.items()})
    assert gate(verified(seal(bundle)), "parity", "outputs of the float baseline")["verdict"] == "pass"
    worsen(opened.baseline_path())
    found = gate(_unjudged(seal(bundle)), "parity", "outputs of the float baseline")
    assert found["verdict"] == "fail" and "the float baseline answers otherwise" in found["why"]


@pytest.mark.parametrize(
    "target", ["/etc/hostname.toml", "pipe.toml", "other.toml", "../host", "a/b", "-x\n", "x" * 200]
)
def test_a_target_that_is_a_path_is_never_opened(bundle, tmp_path, monkeypatch, target):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.toml")
    Path("other.toml").write_text("name = 'other'\n")
    seal(bundle, target=target)
    with pytest.raises(BundleError, match=r"manifest\.json: target"):
        bundles.open(bundle)


@pytest.mark.parametrize("threads", [0, 1025, 3_000_000_000, True, "2"])
def test_threads_beyond_any_machine_are_refused(bundle, threads):
    seal(bundle, runtime={**manifest_of(bundle)["runtime"], "threads": threads})
    with pytest.raises(BundleError, match=r"runtime\.threads"):
        bundles.open(bundle)


def without(path: Path, prefix: str) -> None:
    samples = bundles.open(path).samples()
    np.savez(path / "samples.npz", **{key: v for key, v in samples.items() if not key.startswith(prefix)})
    seal(path)


@pytest.mark.parametrize("prefix", ["input/", "output/"])
def test_samples_without_a_tensor_of_the_manifest(bundle, prefix):
    without(bundle, prefix)
    with pytest.raises(BundleError, match=f"lacks '{prefix}"):
        verified(bundle)


def test_samples_without_what_the_quantized_graph_answered(bundle):
    without(bundle, "graph/")
    found = gate(verified(bundle), "parity", "number of samples")
    assert found["required"] and found["verdict"] == "fail" and "the quantized graph" in found["why"]


def test_samples_without_what_the_baseline_answered(bundle):
    report = verified(bundle)  # 0.1.0 stored none
    assert gate(report, "parity", "number of samples")["verdict"] == "pass"
    seal(bundle, samples={"n": 16})
    found = gate(verified(bundle), "parity", "number of samples")
    assert found["required"] and found["verdict"] == "fail" and "the float baseline" in found["why"]


def test_no_record_of_how_many_samples_there_were(bundle):
    provenance = manifest_of(bundle)["provenance"]
    cut(bundle, 1)
    seal(bundle, provenance={**provenance, "run": None})
    found = gate(verified(bundle), "parity", "number of samples")
    assert found["required"] and found["verdict"] == "fail" and "is gone" in found["why"]
    seal(bundle, provenance={"edgeft": "0.1.0"})  # as nobody's export is: it cannot be told, and is said first
    found = gate(verified(bundle), "parity", "number of samples")
    assert not found["required"] and found["verdict"] == "unverified"


def test_one_sample_again_and_again(bundle):
    samples = bundles.open(bundle).samples()
    rows = {k: np.repeat(v[:1], len(v), axis=0) for k, v in samples.items() if not k.startswith("raw_")}
    first = {k.partition("/")[2]: v for k, v in samples.items() if k.partition("/")[0] == "raw_0"}
    raws = {k: first[k.partition("/")[2]] for k in samples if k.startswith("raw_")}
    np.savez(bundle / "samples.npz", **rows, **raws)
    seal(bundle)
    found = gate(verified(bundle), "parity", "number of samples")
    assert found["verdict"] == "fail" and "one and the same" in found["why"]


def test_no_record_of_the_scales(bundle):
    table = manifest_of(bundle)
    assert gate(verified(bundle), "integer", "recorded scales")["verdict"] == "pass"
    del table["scales_sha256"]
    shapes_run.files.write_json(bundle / "manifest.json", table)
    seal(bundle)
    found = gate(verified(bundle), "integer", "recorded scales")
    assert found["required"] and found["verdict"] == "fail" and "is gone" in found["why"]


@pytest.mark.parametrize("names", [("a.txt", "A.TXT"), ("caf\u00e9", "cafe\u0301"), ("stra\u00dfe", "STRASSE")])
def test_names_that_are_one_file_to_some_file_systems(bundle, names):
    for name in names:
        (bundle / name).write_text(name)
    seal(bundle, files={**manifest_of(bundle)["files"], **dict.fromkeys(names)})
    with pytest.raises(BundleError, match="one file to some file systems"):
        bundles.open(bundle)


@pytest.mark.parametrize("name", ["model\u200b.onnx", "\u202exnno.ledom", "a\u2028b"])
def test_names_with_characters_that_nobody_sees(bundle, name):
    (bundle / name).write_text(name)
    seal(bundle, files={**manifest_of(bundle)["files"], name: None})
    with pytest.raises(BundleError, match=r"cannot be seen"):
        bundles.open(bundle)


def test_another_board_than_the_recipe_was_exported_for(bundle):
    assert not [g for g in verified(bundle)["gates"] if g["metric"] == "target of the recipe"]
    found = gate(verified(seal(bundle, target="intel-nuc")), "parity", "target of the recipe")
    assert found["required"] and found["verdict"] == "fail" and "intel-nuc" in found["why"]


def test_another_task_than_that_of_the_recipe_is_refused(bundle):
    """The outputs of a classifier are no masks, even where their shapes would do."""
    seal(bundle, task="classify")
    with pytest.raises(BundleError, match=r"manifest\.json: task: is 'classify', 'keyword' in the recipe"):
        bundles.open(bundle)


@pytest.mark.parametrize("change", [{"higher_is_better": False}, {"unit": "points"}, {"name": "error"}])
def test_another_metric_than_that_of_the_task(bundle, change):
    """Pages write figures by it: a loss would be shown as a gain."""
    task = bundles.open(bundle).task
    seal(bundle, metric_record=task.metric.as_dict())
    assert not [g for g in verified(bundle)["gates"] if g["metric"] == "metric of the task"]
    found = gate(
        verified(seal(bundle, metric_record={**task.metric.as_dict(), **change})), "parity", "metric of the task"
    )
    assert found["required"] and found["verdict"] == "fail" and next(iter(change)) in found["why"]


def test_a_slightly_altered_baseline_is_seen_on_the_machine_of_the_export(bundle, monkeypatch):
    """Below a step of the quantized outputs, and far above what repeated sums of floats differ by."""
    onnx = pytest.importorskip("onnx")
    from onnx import numpy_helper

    opened = bundles.open(bundle)
    samples = opened.samples()
    inputs = {key[6:]: values for key, values in samples.items() if key.startswith("input/")}
    answers = {f"baseline/{key}": values for key, values in opened.session(baseline=True).run(inputs).items()}
    np.savez(bundle / "samples.npz", **samples, **answers)
    network = onnx.load(bundle / "baseline" / "model.onnx")
    weights = max(network.graph.initializer, key=lambda tensor: numpy_helper.to_array(tensor).size)
    values = numpy_helper.to_array(weights) * np.float32(1.002)
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    (bundle / "baseline" / "model.onnx").write_bytes(network.SerializeToString())
    seal(bundle)
    here = importlib.import_module("edgeft.verify.samples")
    monkeypatch.setattr(here, "_same_machine", lambda opened, machine: False)
    assert gate(verified(bundle), "parity", "outputs of the float baseline")["verdict"] == "pass"
    monkeypatch.setattr(here, "_same_machine", lambda opened, machine: True)
    assert gate(verified(bundle), "parity", "outputs of the float baseline")["verdict"] == "fail"
