"""One third-party net (three outputs, published for ONNX and for TFLite) through all runtimes."""

from __future__ import annotations

import numpy as np
import pytest
from runtime_artifacts import shared

from edgeft import backends as runtime
from edgeft.core.errors import Missing, UsageError

NAMES = {"onnxruntime": ".onnx", "openvino": ".onnx", "litert": ".tflite"}
#: what this net computes for one window, by the shapes of its convolutions
MACS = 524_079_648


@pytest.mark.parametrize("name", ["openvino", "litert"])
def test_same_outputs_and_the_same_work(name: str) -> None:
    models = {n: shared("11_third_party_onnx", f"basic_pitch_nmp{s}") for n, s in NAMES.items()}
    try:
        backends = [runtime.get(n) for n in ("onnxruntime", name)]
        for backend in backends:
            backend.version()
    except Missing as missing:
        pytest.skip(missing.message)
    x = np.random.default_rng(0).normal(size=(2, 43844, 1)).astype(np.float32) * 0.1
    first, other = (b.load(models[b.name]).run({"audio": x}) for b in backends)
    assert set(first) == set(other) and len(first) == 3
    for key, value in first.items():
        np.testing.assert_allclose(other[key], value, atol=1e-5)
    for backend in backends:
        feeds = {backend.load(models[backend.name]).inputs[0].name: x[:1]}
        share = backend.integer_share(models[backend.name], feeds=feeds)
        assert (share.macs, share.integer_macs) == (MACS, 0)


def test_every_module_has_the_protocol() -> None:
    for name in NAMES:
        module = runtime.get(name)
        assert (module.name, module.suffix[0]) == (name, ".") and module.extra
        assert module.options() == module.options() and module.options() is not module.options()
        for function in ("version", "load", "integer_weights", "integer_share", "emitted"):
            assert callable(getattr(module, function))
    with pytest.raises(UsageError, match="litret"):
        runtime.get("litret")
