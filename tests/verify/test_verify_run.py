"""`verify.run` on a real bundle in its real runtime, whole and sabotaged.

Longer than 400 lines because all gates are tried on one and the same bundle.
"""

from __future__ import annotations

import json
import os
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_bundle as tiny
from simulated import SimulatedClock

from edgeft import backends as runtime
from edgeft import data as datasets
from edgeft.bundle import reader as bundle
from edgeft.config.recipe import Data
from edgeft.core import files
from edgeft.core.errors import BundleError, DataError
from edgeft.measure import quads
from edgeft.report import html, junit, markdown, text, words
from edgeft.verify import digests, scales_digest
from edgeft.verify.evaluate import judged
from edgeft.verify.run import run

pytestmark = pytest.mark.board


@pytest.fixture
def made(tmp_path: Path) -> Path:
    tiny.usable("litert")
    found = runtime.get("litert").integer_weights(tiny.FIXTURES / "int8.tflite")
    scales = scales_digest(found, runtime.get("litert").activation_grids(tiny.FIXTURES / "int8.tflite"))
    weights = {"linear": next((t.data, t.scale) for t in found if t.data.size == 192)}
    gates = {"min_speedup": 0.0, "min_int8_share": 0.5}
    return tiny.build(
        tmp_path, target="host-litert", integer_weights=digests(weights), scales_sha256=scales, gates=gates
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten test samples of each of three classes, in the alphabetical order of a folder, which is not the bundle's."""
    labels = sorted(tiny.LABELS)
    levels = {"bright": 230, "dark": 20, "grey": 127}
    images = np.stack([tiny.pixels(levels[label] + i % 10 - 5) for label in labels for i in range(10)])
    path = tmp_path / "data.npz"
    np.savez(path, test_images=images, test_labels=np.repeat(np.arange(3), 10), labels=np.array(labels))
    return path


def gate(report: dict[str, Any], name: str, metric: str = "") -> dict[str, Any]:
    return next(g for g in report["gates"] if g["name"] == name and metric in g["metric"])


def edit(path: Path, **changes: Any) -> Path:
    """Change keys of the manifest and every digest that guards it, as somebody with bad intentions would."""
    table = json.loads((path / "manifest.json").read_text())
    table.update(changes)
    for name in table["files"]:
        file = path / name
        table["files"][name] = {"sha256": files.sha256(file), "bytes": file.stat().st_size}
    tiny.forge(path, table)
    return path


def test_a_whole_bundle_passes_with_every_gate(made, data):
    said: list[str] = []
    report = run(made, data, max_seconds=0.5, say=said.append)
    json.dumps(report, allow_nan=False)
    assert report["verdict"] == "pass", report["gates"]
    names = {g["name"] for g in report["gates"]}
    assert names == {"accuracy", "agreement", "parity", "integer", "latency", "size", "compatibility"}
    accuracy = gate(report, "accuracy")
    assert accuracy["n"] == 30 and accuracy["float"] == 1.0 and accuracy["verdict"] == "pass"
    assert report["worst_class"]["n"] == 10
    assert report["latency"]["speedup"] > 0 and report["latency"]["where"] == "host"
    assert 0 < report["int8_share"] <= 1 and report["fingerprint"]["runtime"]["name"] == "litert"
    assert report["size"]["quantized_bytes"] == (made / "model.tflite").stat().st_size
    assert report["int8"]["macs"] >= report["int8"]["integer_macs"] > 0 and "float_ops" in report["int8"]
    assert "samples" in said and "latency" in said


def test_every_row_says_what_it_judges(made):
    """Several gates share a name: each form of the report tells them apart."""
    report = run(made, measure_latency=False)
    cases = [case.get("name") for case in ET.fromstring(junit.render(report)).iter("testcase")]
    expected = {
        "parity (label map)",
        "parity (preprocessing)",
        "parity (recorded outputs)",
        "parity (quantized graph)",
        "integer (recorded int8 weights share)",
        "integer (recorded scales)",
        "integer (int8 share)",
    }
    assert expected <= set(cases) and len(cases) == len(set(cases)), cases
    rows = "\n".join(text.gates(report["gates"], report["format"]))
    assert all(title in rows for title in expected), rows
    failed = {**report, "gates": [{**gate, "verdict": "fail"} for gate in report["gates"]]}
    notes = markdown.render(failed)
    assert all(f"{title} **fail**" in notes for title in expected), notes
    page = html.render(report, bundle.open(made).manifest, {}, {})
    assert all(title.partition(" (")[2][:-1] in page for title in expected)


def test_a_row_on_one_of_several_graphs_names_it():
    gate = {"name": "parity", "metric": "recorded outputs", "graph": "encoder"}
    assert words.title(gate) == "parity (encoder: recorded outputs)"
    assert words.title({"name": "compatibility", "graph": "step"}) == "compatibility (step)"
    assert words.title({"name": "accuracy", "metric": "accuracy"}) == "accuracy"


def test_an_artifact_that_takes_longer_is_called_slower_although_no_limit_is_set(made, monkeypatch):
    from edgeft.verify import run as module

    def compare(before, after, **settings):
        return quads.compare(before, lambda: [after() for _ in range(40)], **settings)  # it really takes that long

    monkeypatch.setattr(module, "compare", compare)
    provenance = json.loads((made / "manifest.json").read_text()).get("provenance", {})
    edit(made, provenance={**provenance, "recipe": {"quantize": {"keep_float": ["stem"]}}})
    report = run(made, max_seconds=1.0)
    latency = gate(report, "latency", "speedup")
    assert latency["verdict"] == "pass" and "slower than float" in latency["why"] and "(now stem)" in latency["why"]
    assert report["keep_float"] == ["stem"]
    assert "int8 is slower than float on the host" in text.render(report)


def undivided(folder: Path, count: int = 20) -> Path:
    """So many samples of each class, without splits."""
    levels = {"bright": 230, "dark": 20, "grey": 127}
    images = np.stack([tiny.pixels(levels[label] + i % 10 - 5) for label in sorted(levels) for i in range(count)])
    path = folder / "flat.npz"
    np.savez(path, train_images=images, train_labels=np.repeat(np.arange(3), count), labels=np.array(sorted(levels)))
    return path


def test_data_without_splits_is_judged_as_a_whole(made, tmp_path):
    path = undivided(tmp_path)
    report = run(made, path, measure_latency=False)
    assert gate(report, "accuracy")["n"] == gate(report, "agreement")["n"] == 60
    assert report["data"]["n"] == 60 and report["data"]["notes"][0] == f"all 60 samples, since {path} has no test split"
    assert f"data: all 60 samples, since {path}" in text.render(report)
    few = run(made, path, measure_latency=False, most=30)
    assert few["data"]["n"] == 30 and "30 of 60 samples" in few["data"]["notes"]


def test_data_in_another_format_of_the_task_are_judged_and_the_format_is_named(made, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rows = ["file,label"]
    for i in range(12):
        np.save(folder / f"{i}.npy", tiny.pixels((20, 120, 230)[i % 3] + i))
        rows.append(f"{i}.npy,{('dark', 'grey', 'bright')[i % 3]}")
    (folder / "labels.csv").write_text("\n".join(rows))
    report = run(made, folder, measure_latency=False)
    assert report["data"]["n"] == 12 and gate(report, "accuracy")["n"] == 12
    assert "is read as image-table (labels.csv names pictures" in report["data"]["notes"][0]
    (folder / "labels.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError):
        run(made, folder, measure_latency=False)


def test_a_detectors_data_are_read_in_any_format_of_boxes(tmp_path):
    Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")

    images = [{"id": i, "file_name": f"{i}.png", "width": 8, "height": 8} for i in range(4)]
    boxes = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0} for i in range(4)
    ]
    for i in range(4):
        Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(tmp_path / f"{i}.png")
    table = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "car"}]}
    (tmp_path / "boxes.json").write_text(json.dumps(table))
    read = Data(format="yolo", path=str(tmp_path), size=64, max_pixels=1000)
    other, sentence = datasets.in_another_format(tmp_path, read, "detect")
    assert (other.format, other.size, other.max_pixels) == ("coco", 64, 1000)
    assert "is read as coco (boxes.json is a COCO file of annotations), where the recipe's data are yolo" in sentence
    assert datasets.in_another_format(tmp_path, other, "detect") is None
    assert datasets.in_another_format(tmp_path, read, "translate") is None


def test_one_class_alone_is_judged_too(made, tmp_path):
    images = np.stack([tiny.pixels(20 + i % 10) for i in range(12)])
    np.savez(tmp_path / "dark.npz", train_images=images, train_labels=np.zeros(12, int), labels=np.array(["dark"]))
    _, split, _ = judged(bundle.open(made), tmp_path / "dark.npz")
    assert len(split) == 12


@pytest.mark.parametrize("known", ["by its path", "by its content"])
def test_of_the_training_data_only_the_test_split_is_judged(made, tmp_path, known):
    path = undivided(tmp_path)
    recipe = {"data": {"format": "npz", "path": str(path) if known == "by its path" else "elsewhere"}}
    digest = (
        datasets.fingerprint(datasets.open(Data(format="npz", path=str(path)))) if known == "by its content" else ""
    )
    edit(made, provenance={"recipe": recipe, "data": digest})
    report = run(made, path, measure_latency=False)
    assert gate(report, "accuracy")["n"] == report["data"]["n"] == 9
    assert report["data"]["notes"][0].startswith("9 of 60 samples: the other samples were used to train")


def test_without_data_accuracy_is_advisory_and_never_a_pass(made, data):
    report = run(made, measure_latency=False)
    found = gate(report, "accuracy")
    assert report["verdict"] == "pass" and found["verdict"] == "advisory" and not found["required"]
    files.write_json(made / "report.json", run(made, data, measure_latency=False))
    later = gate(run(made, measure_latency=False), "accuracy")
    assert later["verdict"] == "advisory" and later["float"] == 1.0 and "before: pass" in later["why"]
    files.write_json(made / "report.json", run(made, measure_latency=False))
    assert gate(run(made, measure_latency=False), "accuracy")["why"] == later["why"]


def test_a_flipped_weight_byte_is_named(made):
    model = bytearray((made / "model.tflite").read_bytes())
    weights = next(
        t.data for t in runtime.get("litert").integer_weights(made / "model.tflite") if t.data.size == 192
    ).tobytes()
    model[bytes(model).index(weights)] ^= 0x40
    (made / "model.tflite").write_bytes(bytes(model))
    with pytest.raises(BundleError, match="altered"):
        run(made, measure_latency=False)
    report = run(edit(made), measure_latency=False)
    found = gate(report, "integer", "weights")
    assert report["verdict"] == "fail" and found["verdict"] == "fail" and "'linear'" in found["why"]


def test_a_float_model_called_int8_is_named(made):
    shutil.copy(made / "baseline" / "model.tflite", made / "model.tflite")
    table = json.loads((made / "manifest.json").read_text())
    border = {**table["graphs"][0]["outputs"][0], "dtype": "float32", "scale": None, "zero_point": None}
    table["graphs"][0]["outputs"] = [border]
    report = run(edit(made, graphs=table["graphs"]), measure_latency=False)
    assert gate(report, "integer", "weights")["verdict"] == "fail"
    assert gate(report, "integer", "int8_share")["quantized"] == 0
    assert report["verdict"] == "fail"


@pytest.mark.parametrize("change", [{"mean": [0.1]}, {"std": [0.9]}, {"scale": 256.0}])
def test_changed_preprocessing_is_named(made, change):
    report = run(edit(made, preprocess={**tiny.SPEC, **change}), measure_latency=False)
    found = gate(report, "parity", "preprocessing")
    assert report["verdict"] == "fail" and found["verdict"] == "fail" and "preprocessing" in found["why"]


def test_changed_outputs_are_named(made):
    samples = bundle.open(made).samples()
    for kind in ("output", "graph"):
        changed = {**samples, f"{kind}/logits": samples[f"{kind}/logits"] * 1.5}
        np.savez(made / "samples.npz", **changed)
        report = run(edit(made), measure_latency=False)
        metric = {"output": "recorded outputs", "graph": "quantized graph"}[kind]
        found = gate(report, "parity", metric)
        assert report["verdict"] == "fail" and found["verdict"] == "fail" and "more than" in found["why"]


def test_a_swapped_label_map_is_named(made, data):
    report = run(edit(made, labels=["bright", "grey", "dark"]), data, measure_latency=False)
    found = gate(report, "accuracy")
    assert report["verdict"] == "fail" and found["verdict"] == "fail" and "label map" in found["why"]


def test_a_swapped_label_map_is_named_without_data_where_samples_carry_names(made):
    samples = bundle.open(made).samples()
    np.savez(made / "samples.npz", **samples, target_names=np.array(tiny.LABELS)[samples["targets"]])
    assert gate(run(edit(made), measure_latency=False), "parity", "label")["verdict"] == "pass"
    report = run(edit(made, labels=["bright", "grey", "dark"]), measure_latency=False)
    found = gate(report, "parity", "label")
    assert report["verdict"] == "fail" and found["verdict"] == "fail" and "'dark'" in found["why"]


def test_data_with_a_label_that_the_bundle_does_not_know_is_refused(made, tmp_path):
    images = np.stack([tiny.pixels(20), tiny.pixels(230)])
    path = tmp_path / "other.npz"
    np.savez(path, test_images=images, test_labels=np.array([0, 1]), labels=np.array(["dark", "brigth"]))
    with pytest.raises(DataError, match="'brigth'") as caught:
        run(made, path, measure_latency=False)
    assert "'bright'" in caught.value.remedy
    with pytest.raises(DataError, match="no such"):
        run(made, tmp_path / "absent", measure_latency=False)


def test_a_baseline_at_chance_is_refused(made, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 8, 8)).astype(np.uint8)
    path = tmp_path / "noise.npz"
    np.savez(path, test_images=images, test_labels=np.arange(30) % 3, labels=np.array(tiny.LABELS))
    with pytest.raises(DataError, match="chance"):
        run(made, path, measure_latency=False)


class Slow:
    """A session whose runs take a time of their own on a simulated clock."""

    def __init__(self, session: Any, clock: SimulatedClock, cost_ms: float) -> None:
        self._session, self._clock, self._cost = session, clock, cost_ms
        self.inputs, self.outputs = session.inputs, session.outputs

    def run(self, feeds: Any) -> Any:
        return self._session.run(feeds)

    def invoke(self) -> None:
        self._session.invoke()
        self._clock.spend(self._cost * 1e6, self._cost * 1e6)


@pytest.mark.parametrize(("cost_ms", "verdict"), [(9.0, "fail"), (1.5, "pass")])
def test_a_three_times_slower_artifact_is_named(made, monkeypatch, cost_ms, verdict):
    clock, load = SimulatedClock(), bundle.Bundle.session

    def slowed(self: bundle.Bundle, **options: Any) -> Any:
        return Slow(load(self, **options), clock, 3.0 if options.get("baseline") else cost_ms)

    monkeypatch.setattr(bundle.Bundle, "session", slowed)
    report = run(edit(made, gates={"min_speedup": 1.0}), clock=clock)
    found = gate(report, "latency")
    assert found["verdict"] == verdict and found["required"] and report["verdict"] == verdict
    assert report["latency"]["speedup"] == pytest.approx(3.0 / cost_ms)


def test_an_emulated_board_gives_no_figure_of_speed(made):
    report = run(made, where="emulated")
    assert all(g["name"] != "latency" for g in report["gates"]) and report["latency"]["speedup"] is None
    assert gate(report, "integer", "int8_share")["verdict"] == "advisory"


def test_a_target_without_profile_here_is_unverified_and_its_speed_advisory(made):
    report = run(edit(made, target="a-board-of-mine"), max_seconds=0.3)
    assert gate(report, "compatibility")["verdict"] == "unverified"
    assert gate(report, "latency")["verdict"] == "advisory" and report["unverified"]


def test_a_bundle_that_names_no_integer_weights_fails(tmp_path):
    report = run(tiny.build(tmp_path), measure_latency=False)
    assert report["verdict"] == "fail" and "nothing was measured" in gate(report, "integer", "weights")["why"]


def exported_with(made: Path, report: dict[str, Any], name: str, verdict: str) -> None:
    """report.json as an export leaves it whose gate `name` came to `verdict`."""
    gates = [{**g, "verdict": verdict if g["name"] == name else g["verdict"]} for g in report["gates"]]
    files.write_json(made / "report.json", {**report, "gates": gates, "verdict": verdict})


@pytest.mark.parametrize("verdict", ["fail", "inconclusive"])
def test_a_recorded_fail_stays_until_it_is_measured_again(made, data, verdict):
    measured = run(made, data, measure_latency=False)
    assert not any(g.get("recorded") for g in measured["gates"]) and measured["not_repeated"] == []
    exported_with(made, measured, "accuracy", verdict)
    for _ in range(3):
        report = run(made, measure_latency=False)
        found = gate(report, "accuracy")
        assert report["verdict"] == verdict and found["verdict"] == verdict and found["required"]
        assert found["recorded"] == verdict and found["float"] == 1.0 and f"before: {verdict}, " in found["why"]
        assert found["why"].count("not measured here") == 1
        assert report["not_repeated"] == ["accuracy", "agreement"]
        words = text.render(report)
        assert "(recorded)" in words.splitlines()[1] and "Recorded, not measured here: accuracy" in words
        files.write_json(made / "report.json", report)  # verified again and again
    again = run(made, data, measure_latency=False)
    assert again["verdict"] == "pass" and not gate(again, "accuracy").get("recorded")


def test_a_recorded_pass_decides_nothing_and_stays_a_pass_of_the_record(made, data):
    files.write_json(made / "report.json", run(made, data, measure_latency=False))
    for _ in range(2):
        report = run(made, measure_latency=False)
        found = gate(report, "accuracy")
        assert found["verdict"] == "advisory" and found["recorded"] == "pass" and report["verdict"] == "pass"
        assert report["not_repeated"] == ["accuracy", "agreement"]
        files.write_json(made / "report.json", report)


def test_parity_that_failed_on_the_test_split_is_not_mended_by_a_few_samples(made):
    measured = run(made, measure_latency=False)
    whole = {
        **gate(measured, "parity", "quantized graph"),
        "verdict": "fail",
        "n": 300,
        "why": "differs on the test split",
    }
    files.write_json(made / "report.json", {**measured, "gates": [whole, *measured["gates"]], "verdict": "fail"})
    report = run(made, measure_latency=False)
    failed = [g for g in report["gates"] if g["verdict"] == "fail"]
    assert report["verdict"] == "fail" and len(failed) == 1
    assert failed[0]["recorded"] == "fail" and "differs on the test split" in failed[0]["why"]
    files.write_json(made / "report.json", {**measured, "gates": [{**whole, "n": 6}], "verdict": "fail"})
    assert run(made, measure_latency=False)["verdict"] == "pass"


def test_speed_that_failed_on_the_target_is_not_mended_elsewhere(made):
    measured = run(made, max_seconds=0.5)
    exported_with(made, measured, "latency", "fail")
    report = run(made, where="emulated")
    assert report["verdict"] == "fail" and gate(report, "latency")["recorded"] == "fail"
    assert run(made, max_seconds=0.5)["verdict"] == "pass"


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"verdict": "great"}, r"gates\[0\]\.verdict"),
        ({"required": "no"}, r"gates\[0\]\.required"),
        ({"drop": "much"}, r"gates\[0\]\.drop"),
        ({"drop": 10**400}, r"report\.json: is not valid JSON \(a whole number of 401 digits"),
        ({"ci95": [0.0]}, r"gates\[0\]\.ci95"),
        ({"n": -1}, r"gates\[0\]\.n"),
        ({"recorded": True}, r"gates\[0\]\.recorded"),
        ({"why": None}, r"gates\[0\]\.why"),
    ],
)
def test_a_report_that_is_none_is_refused_by_key(made, data, entry, named):
    report = run(made, data, measure_latency=False)
    report["gates"][0] |= entry
    (made / "report.json").write_text(json.dumps(report))
    with pytest.raises(BundleError, match=named):
        run(made, measure_latency=False)


@pytest.mark.parametrize("content", ["[broken", "[]", "{}", '{"gates": {}}', '{"gates": [1]}', "[" * 100_000])
def test_a_damaged_report_is_refused(made, content):
    (made / "report.json").write_text(content)
    with pytest.raises(BundleError, match=r"report\.json"):
        run(made, measure_latency=False)


def test_a_report_that_is_no_file_is_refused(made, tmp_path):
    os.mkfifo(made / "report.json")
    with pytest.raises(BundleError, match="regular file"):
        run(made, measure_latency=False)
    (made / "report.json").unlink()
    (made / "report.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(BundleError, match="link"):
        run(made, measure_latency=False)
