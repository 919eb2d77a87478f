"""More sabotage, as a red team would: names, links, JSON that two readers read differently, and wrong parts that fit.

Functions of `KINDS` are as those of trust_attacks.py. Attacks of `CONSISTENT` also make the stored samples anew, so that
nothing in the bundle contradicts them: only data or a signature can tell.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from trust_attacks import Attack, companions, manifest, model_of, seal


def _text(bundle: Path, text: str | bytes) -> None:
    """Write this manifest as it is, with its digest."""
    data = text.encode() if isinstance(text, str) else text
    (bundle / "manifest.json").write_bytes(data)
    (bundle / "manifest.sha256").write_text(hashlib.sha256(data).hexdigest() + "  manifest.json\n")


def _raw(bundle: Path, table: dict[str, Any]) -> None:
    _text(bundle, json.dumps(table, indent=2))


def link_for_a_model(bundle: Path, rng: np.random.Generator) -> None:
    model = model_of(bundle)
    shutil.move(model, bundle.parent / "elsewhere")
    model.symlink_to(bundle.parent / "elsewhere")


def link_for_a_folder(bundle: Path, rng: np.random.Generator) -> None:
    shutil.rmtree(bundle.parent / "elsewhere", ignore_errors=True)
    shutil.move(bundle / "baseline", bundle.parent / "elsewhere")
    (bundle / "baseline").symlink_to(bundle.parent / "elsewhere")


def pipe_for_a_report(bundle: Path, rng: np.random.Generator) -> None:
    (bundle / "report.json").unlink()
    os.mkfifo(bundle / "report.json")


def names_that_differ_in_case(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    name = table["graphs"][0]["file"].upper()
    shutil.copy(model_of(bundle, baseline=True), bundle / name)
    table["files"][name] = {}
    seal(bundle, table)


def names_of_two_unicode_forms(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    for name in ("caf\u00e9.txt", "cafe\u0301.txt"):
        (bundle / name).write_text(name)
        table["files"][name] = {}
    seal(bundle, table)


def hidden_characters_in_a_name(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    name = ("model\u200b.onnx", "\u202exnno.ledom", "model.onnx\ufeff")[int(rng.integers(3))]
    (bundle / name).write_bytes(b"x")
    table["files"][name] = {}
    seal(bundle, table)


def key_that_occurs_twice(bundle: Path, rng: np.random.Generator) -> None:
    text = json.dumps(manifest(bundle), indent=2)
    _text(bundle, text[: text.rindex("}")] + ', "gates": {"max_drop": 0.9}}')


def number_that_is_none(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    table["gates"]["max_drop"] = (float("nan"), float("inf"), -float("inf"))[int(rng.integers(3))]
    _raw(bundle, table)


def huge_number(bundle: Path, rng: np.random.Generator) -> None:
    text = json.dumps(manifest(bundle))
    _text(bundle, text.replace('"threads": 1', '"threads": ' + "9" * int(rng.integers(20, 5000)), 1))


def mark_of_byte_order(bundle: Path, rng: np.random.Generator) -> None:
    coding = ("utf-8-sig", "utf-16", "utf-32")[int(rng.integers(3))]
    _text(bundle, json.dumps(manifest(bundle)).encode(coding))


def deep_manifest(bundle: Path, rng: np.random.Generator) -> None:
    text = json.dumps(manifest(bundle))
    _text(bundle, text[:-1] + ', "more": ' + "[" * 100_000 + "]" * 100_000 + "}")


def other_backend(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    others = [name for name in ("onnxruntime", "openvino", "litert", "executorch") if name != table["backend"]]
    table["backend"] = table["runtime"]["name"] = others[int(rng.integers(len(others)))]
    seal(bundle, table)


def other_task(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    table["task"] = ("segment", "detect", "keyword", "control")[int(rng.integers(4))]
    seal(bundle, table)


def other_board(bundle: Path, rng: np.random.Generator) -> None:
    """A profile of another kind of CPU, where speed and integer share decide nothing, and other form rules hold."""
    table = manifest(bundle)
    table["target"] = "coral-dev-board" if table["backend"] == "litert" else "jetson-orin-nano"
    seal(bundle, table)


def worse_class_names(bundle: Path, rng: np.random.Generator) -> None:
    """Labels and the names of the stored targets in another order: they agree with each other."""
    table = manifest(bundle)
    labels = [*table["labels"][1:], table["labels"][0]]
    renamed = dict(zip(table["labels"], labels))
    table["labels"] = labels
    _samples(bundle, lambda s: s | {"target_names": np.array([renamed[name] for name in s["target_names"]])})
    seal(bundle, table)


def label_repeated(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    table["labels"][0] = table["labels"][1]
    seal(bundle, table)


def _samples(bundle: Path, change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> None:
    with np.load(bundle / "samples.npz", allow_pickle=False) as arrays:
        stored = dict(arrays)
    np.savez(bundle / "samples.npz", **change(stored))


def one_sample_repeated(bundle: Path, rng: np.random.Generator) -> None:
    def repeated(stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        at = int(rng.integers(len(stored["targets"])))
        rows = {k: np.repeat(v[at : at + 1], len(v), axis=0) for k, v in stored.items() if not k.startswith("raw_")}
        return rows | {k: stored[f"raw_{at}"] for k in stored if k.startswith("raw_")}

    _samples(bundle, repeated)
    seal(bundle)


def samples_that_are_no_numbers(bundle: Path, rng: np.random.Generator) -> None:
    def broken(stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        value = (np.nan, np.inf)[int(rng.integers(2))]
        return {
            k: np.full_like(v, value) if k.startswith(("output/", "graph/", "baseline/")) else v
            for k, v in stored.items()
        }

    _samples(bundle, broken)
    seal(bundle)


def no_stored_outputs(bundle: Path, rng: np.random.Generator) -> None:
    prefix = ("graph/", "baseline/", "output/", "input/")[int(rng.integers(4))]
    _samples(bundle, lambda stored: {k: v for k, v in stored.items() if not k.startswith(prefix)})
    seal(bundle)


def no_samples(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    (bundle / "samples.npz").unlink()
    del table["files"]["samples.npz"]
    table.pop("samples", None)
    seal(bundle, table)


def no_record_of_samples(bundle: Path, rng: np.random.Generator) -> None:
    """Fewer samples, and every key gone that says how many there were."""
    from trust_attacks import fewer_samples

    fewer_samples(bundle, rng)
    table = manifest(bundle)
    table.pop("samples", None)
    table["provenance"].pop("run", None)
    seal(bundle, table)


def no_integer_weights(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    table.pop("integer_weights")
    seal(bundle, table)


def no_scales(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    table.pop("scales_sha256")
    seal(bundle, table)


def no_baseline(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    for graph in table["graphs"]:
        graph["baseline"] = None
    for file in list(table["files"]):
        if file.startswith("baseline/"):
            (bundle / file).unlink()
            del table["files"][file]
    seal(bundle, table)


def float_scheme(bundle: Path, rng: np.random.Generator) -> None:
    """The float network as the artifact, under a manifest that says float."""
    for source, place in zip(companions(model_of(bundle, baseline=True)), companions(model_of(bundle))):
        shutil.copy(source, place)
    table = manifest(bundle)
    table["scheme"] = {"name": "float", "format": "fp32"}
    table.pop("integer_weights", None)
    table.pop("scales_sha256", None)
    seal(bundle, table)


def failed_export(bundle: Path, rng: np.random.Generator) -> None:
    """A bundle as it is whose accuracy gate failed at export: what was recorded stays."""
    report = json.loads((bundle / "report.json").read_text())
    for gate in report["gates"]:
        if gate["name"] == "accuracy":
            gate |= {"verdict": "fail", "required": True, "why": "drop of 0.5"}
    (bundle / "report.json").write_text(json.dumps(report))


def report_of_wrong_types(bundle: Path, rng: np.random.Generator) -> None:
    report = json.loads((bundle / "report.json").read_text())
    gate = report["gates"][int(rng.integers(len(report["gates"])))]
    key = ("verdict", "required", "n", "ci95", "name")[int(rng.integers(5))]
    gate[key] = [["pass"], {"pass": 1}, -1.5, [1]][int(rng.integers(4))]
    (bundle / "report.json").write_text(json.dumps(report))


def signature_of_another(bundle: Path, rng: np.random.Generator) -> None:
    """The signature stays that of the original, the preprocessing is another one."""
    table = manifest(bundle)
    table["preprocess"]["std"] = [value * float(rng.uniform(1.5, 3)) for value in table["preprocess"]["std"]]
    seal(bundle, table)


def _outputs(bundle: Path, path: Path, inputs: np.ndarray) -> np.ndarray:
    from edgeft import backends

    session = backends.get(manifest(bundle)["backend"]).load(path, threads=1, options=None)
    name = session.inputs[0].name
    rows = [next(iter(session.run({name: row[None]}).values())) for row in inputs]
    return np.concatenate(rows)


def consistent_preprocessing(bundle: Path, rng: np.random.Generator) -> None:
    """Preprocessing is altered, and every stored tensor is made anew of the stored raw samples."""
    from edgeft.inputs import image

    table = manifest(bundle)
    table["preprocess"]["mean"] = [value + float(rng.uniform(0.6, 1.0)) for value in table["preprocess"]["mean"]]
    table["preprocess"]["std"] = [value * 2 for value in table["preprocess"]["std"]]

    def anew(stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        (key,) = (key for key in stored if key.startswith("input/"))
        raws = [stored[f"raw_{number}"] for number in range(len(stored["targets"]))]
        inputs = np.concatenate([next(iter(image.preprocess(raw, table["preprocess"]).values())) for raw in raws])
        return _answered(bundle, stored | {key: inputs}, key)

    _samples(bundle, anew)
    seal(bundle, table)


def _answered(bundle: Path, stored: dict[str, np.ndarray], key: str) -> dict[str, np.ndarray]:
    """The samples with the outputs that both models now give."""
    after, before = (_outputs(bundle, model_of(bundle, baseline=flag), stored[key]) for flag in (False, True))
    value = {"output/": after, "graph/": after, "baseline/": before}
    return {
        k: value.get(k.partition("/")[0] + "/", v).reshape(v.shape) if "/" in k and k != key else v
        for k, v in stored.items()
    }


def consistent_baseline(bundle: Path, rng: np.random.Generator) -> bool | None:
    """Some weights of the float baseline are altered, and what it answers is stored anew."""
    if manifest(bundle)["backend"] != "onnxruntime":
        return False

    import onnx
    from onnx import numpy_helper

    path = model_of(bundle, baseline=True)
    model = onnx.load(path)
    tensors = [t for t in model.graph.initializer if len(t.dims) == 4]
    tensor = tensors[int(rng.integers(len(tensors)))]
    value = numpy_helper.to_array(tensor)
    worse = value + rng.normal(0, 3 * value.std(), value.shape).astype(value.dtype)
    tensor.CopyFrom(numpy_helper.from_array(worse, tensor.name))
    path.write_bytes(model.SerializeToString())
    _samples(bundle, lambda stored: _answered(bundle, stored, next(k for k in stored if k.startswith("input/"))))
    seal(bundle)

    return None


def consistent_bias(bundle: Path, rng: np.random.Generator) -> bool | None:
    """The last bias of the artifact, which no digest of weights covers, prefers one class; outputs are stored anew."""
    if manifest(bundle)["backend"] != "onnxruntime":
        return False

    import onnx
    from onnx import numpy_helper

    path = model_of(bundle)
    model = onnx.load(path)
    classes = len(manifest(bundle)["labels"])
    biases = [t for t in model.graph.initializer if list(t.dims) == [classes] and t.data_type == onnx.TensorProto.INT32]
    if not biases:
        return False

    value = numpy_helper.to_array(biases[-1]).copy()
    value[int(rng.integers(classes))] += int(rng.integers(20_000, 200_000))
    biases[-1].CopyFrom(numpy_helper.from_array(value, biases[-1].name))
    path.write_bytes(model.SerializeToString())
    _samples(bundle, lambda stored: _answered(bundle, stored, next(k for k in stored if k.startswith("input/"))))
    seal(bundle)

    return None


KINDS: dict[str, Attack] = {
    function.__name__.replace("_", " "): function
    for function in (
        *(link_for_a_model, link_for_a_folder, pipe_for_a_report, names_that_differ_in_case),
        *(names_of_two_unicode_forms, hidden_characters_in_a_name, key_that_occurs_twice, number_that_is_none),
        *(huge_number, mark_of_byte_order, deep_manifest, other_backend, other_task, other_board, worse_class_names),
        *(label_repeated, one_sample_repeated, samples_that_are_no_numbers, no_stored_outputs, no_samples),
        *(no_record_of_samples, no_integer_weights, no_scales, no_baseline, float_scheme, failed_export),
        *(report_of_wrong_types, signature_of_another, consistent_preprocessing, consistent_baseline, consistent_bias),
    )
}
#: kinds whose parts fit each other: data or a signature tells
CONSISTENT = (
    "worse class names",
    "one sample repeated",
    "consistent preprocessing",
    "consistent baseline",
    "consistent bias",
)
