from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from runtime_artifacts import mlperf_tiny, tflite_addition

from edgeft import backends as runtime
from edgeft.backends.litert import flatbuffer as _tflite
from edgeft.backends.litert import session as litert_session
from edgeft.core import installation
from edgeft.core.errors import BundleError, Missing

litert = runtime.get("litert")
try:
    ENGINE = litert.version().split()[0]
except Missing as missing:
    pytest.skip(f"no TFLite interpreter: {missing.message}", allow_module_level=True)

#: accuracies measured with ai_edge_litert; another interpreter's kernels round otherwise
SLACK = 0.0 if ENGINE == "ai_edge_litert" else 0.02
KWS, KWS_FLOAT = "kws_ref_model.tflite", "kws_ref_model_float32.tflite"
RESNET, RESNET_FLOAT = "pretrainedResnet_quant.tflite", "pretrainedResnet.tflite"
#: MLPerf Tiny's published sizes: DS-CNN 2.66 M and ResNet-8 12.5 M multiply-accumulates
KWS_MACS, RESNET_MACS = 2_656_768, 12_501_632


def model(name: str) -> Path:
    return mlperf_tiny("models", name)


def keywords() -> tuple[np.ndarray, np.ndarray]:
    data = np.load(mlperf_tiny("kws01_perf_1000.npz"))
    return (data["x_int8"].reshape(-1, 49, 10, 1).astype(np.float32) - 83) * np.float32(0.5847029), data["y"]


def images() -> tuple[np.ndarray, np.ndarray]:
    data = np.load(mlperf_tiny("ic01_perf_200.npz"))
    return data["x"].astype(np.float32), data["y"]


@pytest.mark.parametrize(
    ("name", "load", "accuracy"),
    [(KWS, keywords, 0.902), (KWS_FLOAT, keywords, 0.900), (RESNET, images, 0.850), (RESNET_FLOAT, images, 0.855)],
)
def test_known_accuracies(name: str, load, accuracy: float) -> None:
    x, y = load()
    session = litert.load(model(name))
    (out,) = session.run({"x": x}).values()
    assert out.dtype == np.float32 and len(out) == len(x)
    assert abs((out.argmax(1) == y).mean() - accuracy) <= SLACK + 1e-9


def test_the_quantized_border_is_told_and_converted() -> None:
    session = litert.load(model(KWS))
    (tensor,) = session.inputs
    assert (tensor.shape, tensor.dtype, tensor.zero_point) == ((-1, 49, 10, 1), "int8", 83)
    assert tensor.scale == pytest.approx(0.5847029)
    x = np.full((1, 49, 10, 1), 1e9, np.float32)
    session.run({tensor.name: x})
    assert (session.handle.get_tensor(session.handle.get_input_details()[0]["index"]) == 127).all()
    with pytest.raises(BundleError, match="NaN"):
        session.run({tensor.name: x * np.nan})
    with pytest.raises(BundleError, match="dtype int8, expected float32"):
        session.run({tensor.name: x.astype(np.int8)})
    with pytest.raises(BundleError, match=r"shape \(1, 10, 49, 1\), expected float32 \(n, 49, 10, 1\)"):
        session.run({tensor.name: x.reshape(1, 10, 49, 1)})


def test_rounding_is_half_to_even_and_saturates() -> None:
    from edgeft.backends.base_session import dequantize, quantize

    tensor = runtime.Tensor("t", (4,), "uint8", 0.5, 3)
    stored = quantize(np.float32([0.25, 0.75, -9, 1000]), tensor)  # 0.5 -> 0 steps, 1.5 -> 2 steps
    assert stored.dtype == np.uint8 and stored.tolist() == [3, 5, 0, 255]
    assert dequantize(stored, tensor).tolist() == [0.0, 1.0, -1.5, 126.0]


def test_nan_passes_a_float_model() -> None:
    session = litert.load(model(RESNET_FLOAT))
    (out,) = session.run({"x": np.full((1, 32, 32, 3), np.nan, np.float32)}).values()
    assert np.isnan(out).any()


def test_invoke_repeats_the_last_run() -> None:
    x, _ = images()
    session = litert.load(model(RESNET), threads=2)
    with pytest.raises(BundleError, match="nothing was run"):
        session.invoke()
    session.run({"x": x[:3]})
    (out,) = session.run({"x": x[:1]}).values()
    for _ in range(3):
        session.invoke()
    index = session.handle.get_output_details()[0]["index"]
    scale, zero = session.outputs[0].scale, session.outputs[0].zero_point
    assert np.array_equal((session.handle.get_tensor(index).astype(np.float32) - zero) * np.float32(scale), out)


def test_names_by_position() -> None:
    x, _ = images()
    session = litert.load(model(RESNET), options={"input_names": ["image"], "output_names": ["scores"]})
    assert (session.inputs[0].name, list(session.run({"image": x[:1]}))) == ("image", ["scores"])
    with pytest.raises(BundleError, match="2 output names"):
        litert.load(model(RESNET), options={"output_names": ["a", "b"]})
    with pytest.raises(BundleError, match="op_resolver"):
        litert.load(model(RESNET), options={"op_resolvr": "AUTO"})
    with pytest.raises(BundleError, match="BUILTIN_REF"):
        litert.load(model(RESNET), options={"op_resolver": "FASTEST"})


def test_two_inputs_by_position(tmp_path: Path) -> None:
    tflite_addition(tmp_path / "add.tflite")
    session = litert.load(tmp_path / "add.tflite", options={"input_names": ["p", "q"], "output_names": ["sum"]})
    p, q = np.float32([[1, 2, 3], [4, 5, 6]]), np.float32([[10, 20, np.nan], [40, 50, 60]])
    np.testing.assert_array_equal(session.run({"q": q, "p": p})["sum"], p + q)
    with pytest.raises(BundleError, match=r"no input is called 'p'.*'t0:0' is not fed"):
        litert.load(tmp_path / "add.tflite").run({"p": p, "q": q})
    with pytest.raises(BundleError, match="same number of batches"):
        session.run({"p": p, "q": q[:1]})


def test_a_dynamic_length_is_resized_and_a_batch_looped(tmp_path: Path) -> None:
    tflite_addition(tmp_path / "add.tflite", shape=(1, 1), signature=(-1, -1))
    session = litert.load(tmp_path / "add.tflite")
    assert session.inputs[0].shape == (-1, -1)
    for length in (4, 7, 4):
        p = np.arange(3 * length, dtype=np.float32).reshape(3, length)
        np.testing.assert_array_equal(session.run({"t0:0": p, "t1:0": 2 * p})["t2:0"], 3 * p)
    session.invoke()


def test_integer_weights_equal_the_interpreters_constants() -> None:
    path = model(KWS)
    found = litert.integer_weights(path)
    session = litert.load(path, options={"op_resolver": "BUILTIN_WITHOUT_DEFAULT_DELEGATES"})
    details = {d["name"]: d for d in session.handle.get_tensor_details()}
    assert sorted(w.data.shape for w in found) == sorted(
        [(64, 10, 4, 1), (12, 64), *[(1, 3, 3, 64)] * 4, *[(64, 1, 1, 64)] * 4]
    )
    for weight in found:
        detail = details[weight.name]
        quantization = detail["quantization_parameters"]
        assert np.array_equal(session.handle.get_tensor(detail["index"]), weight.data)
        assert np.array_equal(quantization["scales"], weight.scale)
        assert quantization["quantized_dimension"] == weight.axis and weight.zero_point is None
    assert {w.axis for w in found if w.data.shape == (1, 3, 3, 64)} == {3}
    assert litert.integer_weights(model(RESNET_FLOAT)) == []


def test_integer_share() -> None:
    share = litert.integer_share(model(KWS))
    assert (share.share, share.macs, share.float_ops) == (1.0, KWS_MACS, {})
    assert share.ops["DEPTHWISE_CONV_2D int8"] == 4 and share.ops["FULLY_CONNECTED int8"] == 1
    share = litert.integer_share(model(RESNET_FLOAT))
    assert (share.share, share.macs) == (0.0, RESNET_MACS)
    assert list(share.float_ops.items())[:3] == [("CONV_2D", 9), ("FULLY_CONNECTED", 1), ("ADD", 3)]
    # Float activations on int8 weights: the convolutions quantize on the fly, the rest of it is float.
    share = litert.integer_share(model(KWS_FLOAT))
    assert share.macs == KWS_MACS and share.ops["CONV_2D dynamic int8"] == 5
    assert share.float_ops["DEPTHWISE_CONV_2D"] == 4 and 0 < share.share < 1


def test_emitted() -> None:
    facts = litert.emitted(model(KWS))
    assert facts["op_versions"] == {
        "CONV_2D": 3,
        "DEPTHWISE_CONV_2D": 3,
        "AVERAGE_POOL_2D": 2,
        "RESHAPE": 1,
        "FULLY_CONNECTED": 4,
        "SOFTMAX": 2,
    }
    assert facts["ops"]["CONV_2D"] == 5 and facts["schema"] == 3


def test_files_that_do_not_load(tmp_path: Path) -> None:
    whole = _tflite.probe_model()
    for name, content in {
        "empty": b"",
        "other": b"PK\x03\x04" + bytes(90),
        "cut": whole[:150],
        "late": whole[:-60],
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BundleError, match=name):
            litert.load(tmp_path / name)
    with pytest.raises(BundleError, match="no such file"):
        litert.load(tmp_path / "absent")


def test_any_cut_or_changed_byte_is_a_bundle_error_or_readable(tmp_path: Path) -> None:
    whole = _tflite.probe_model()
    path = tmp_path / "m.tflite"
    rng = np.random.default_rng(0)
    refused = 0
    for size in [*range(0, len(whole), 3), *[len(whole)] * 300]:
        content = bytearray(whole[:size])
        if size == len(whole):
            content[rng.integers(len(whole))] = rng.integers(256)
        path.write_bytes(bytes(content))
        try:
            _tflite.read(path)
        except BundleError:
            refused += 1
    assert refused > len(whole) // 4


def test_the_first_interpreter_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that imports and then cannot build an interpreter (tflite_runtime beside numpy 2) is passed over."""
    import importlib
    import types

    real, found = importlib.import_module, litert.version()

    def broken(*_: object, **__: object) -> None:
        raise ImportError("numpy.core.multiarray failed to import")

    def imports(name: str, package: str | None = None):
        return types.SimpleNamespace(Interpreter=broken) if name == "broken.interpreter" else real(name, package)

    monkeypatch.setattr(litert_session.importlib, "import_module", imports)
    entry = ("broken", "broken.interpreter", "broken")
    try:
        litert_session._engine.cache_clear()
        monkeypatch.setattr(litert_session, "_INTERPRETERS", (entry, *litert_session._INTERPRETERS))
        assert litert.version() == found
        litert_session._engine.cache_clear()
        monkeypatch.setattr(litert_session, "_INTERPRETERS", (entry,))
        with pytest.raises(Missing, match="multiarray failed to import") as error:
            litert.version()
        assert error.value.exit_code == 4 and installation.command("litert") in error.value.remedy
    finally:
        litert_session._engine.cache_clear()
