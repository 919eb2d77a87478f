"""A real bundle in a few kilobytes: is an 8x8 picture dark, grey or bright?

One linear layer over pixels in 0..1 with mean m: logits 4-12m, 0 and 12m-8, so the borders are m = 1/3 and m = 2/3.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeft import backends as runtime
from edgeft.bundle import reader as bundle
from edgeft.core import files
from edgeft.inputs import image

LABELS = ["dark", "grey", "bright"]
BACKENDS = ("litert", "onnxruntime", "openvino")
FIXTURES = Path(__file__).parent / "fixtures" / "tiny"
#: pixel value -> label, away from the borders
LEVELS = {0: "dark", 40: "dark", 110: "grey", 128: "grey", 200: "bright", 255: "bright"}
SPEC: dict[str, Any] = {
    "kind": "image",
    "size": [8, 8],
    "channels": 1,
    "resize": "bilinear",
    "mean": [0.0],
    "std": [1.0],
    "scale": 255.0,
    "layout": "NCHW",
    "input": "x",
}


def usable(backend: str) -> None:
    """Skip the test where the packages that make and run this backend's model are absent."""
    if backend == "litert":
        for module in ("ai_edge_litert", "tflite_runtime", "tensorflow"):
            try:
                __import__(module)
                return
            except ImportError:
                continue
        pytest.skip("no LiteRT interpreter is installed")
    pytest.importorskip("onnx", reason="onnx makes the test's model")
    pytest.importorskip(backend, reason=f"{backend} is not installed")


def pixels(level: int, size: tuple[int, ...] = (8, 8)) -> np.ndarray:
    noise = np.random.default_rng(level).integers(-8, 9, size)
    return np.clip(level + noise, 0, 255).astype(np.uint8)


def _onnx(path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = (np.array([[-12.0], [0.0], [12.0]], np.float32) / 64).repeat(64, axis=1)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w", "b"], ["logits"], transB=1),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.array([4, 0, -8], np.float32), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _model(folder: Path, backend: str) -> tuple[str, str]:
    """Write the artifact and its baseline; their names in the bundle."""
    (folder / "baseline").mkdir(parents=True)
    if backend == "litert":
        shutil.copy(FIXTURES / "int8.tflite", folder / "model.tflite")
        shutil.copy(FIXTURES / "float.tflite", folder / "baseline" / "model.tflite")
        return "model.tflite", "baseline/model.tflite"
    if backend == "onnxruntime":
        _onnx(folder / "model.onnx")
        _onnx(folder / "baseline" / "model.onnx")
        return "model.onnx", "baseline/model.onnx"
    from edgeft.backends.openvino import session as openvino

    _onnx(folder / "source.onnx")
    for name in ("model.xml", "baseline/model.xml"):
        openvino.module().save_model(
            openvino.module().convert_model(str(folder / "source.onnx")), str(folder / name), compress_to_fp16=False
        )
    (folder / "source.onnx").unlink()
    return "model.xml", "baseline/model.xml"


def stage(folder: Path, backend: str) -> dict[str, Any]:
    """Fill a staging folder; the manifest that belongs to it (without `files`)."""
    file, baseline = _model(folder, backend)
    engine = runtime.get(backend)
    session = engine.load(folder / file)
    raws = [pixels(level) for level in LEVELS]
    inputs = np.concatenate([image.preprocess(raw, SPEC)["x"] for raw in raws])
    output = next(iter(session.run({session.inputs[0].name: inputs}).values()))
    samples: dict[str, Any] = {f"raw_{i}": raw for i, raw in enumerate(raws)}
    samples["targets"] = np.array([LABELS.index(label) for label in LEVELS.values()])
    samples |= {"input/x": inputs, "output/logits": output, "graph/logits": output}
    np.savez(folder / "samples.npz", **samples)
    source, border = session.inputs[0], session.outputs[0]
    x = {"name": "x", "shape": [1, 1, 8, 8], "dtype": source.dtype, "layout": "NCHW"}
    x |= {"scale": source.scale, "zero_point": source.zero_point}
    logits = {"name": "logits", "shape": [1, 3], "dtype": border.dtype, "layout": "NC"}
    return {
        "name": "tiny",
        "task": "classify",
        "target": "host",
        "backend": backend,
        "graphs": [
            {
                "name": "main",
                "file": file,
                "baseline": baseline,
                "inputs": [x],
                "outputs": [{**logits, "scale": border.scale, "zero_point": border.zero_point}],
            }
        ],
        "preprocess": SPEC,
        "labels": LABELS,
        "scheme": {"name": "affine"},
        "runtime": {"name": backend, "version": engine.version(), "options": engine.options(), "threads": 1},
        "requires": {},
        "provenance": {"edgeft": "test"},
    }


def build(parent: Path, backend: str = "litert", **changes: Any) -> Path:
    """A published bundle `parent/bundle`; `changes` replace keys of its manifest."""
    usable(backend)
    staging = parent / "staging"
    manifest = stage(staging, backend)
    bundle.write(staging, {**manifest, **changes})
    files.publish(staging, parent / "bundle")
    return parent / "bundle"


def forge(path: Path, table: dict[str, Any]) -> None:
    """Write a manifest with a digest that fits it, as somebody with bad intentions would."""
    files.write_json(path / "manifest.json", table)
    files.write_text(path / "manifest.sha256", files.sha256(path / "manifest.json") + "\n")
