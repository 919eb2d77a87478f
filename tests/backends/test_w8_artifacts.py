"""w8 in every runtime: the artifact holds the integers and scales of the graph, and computes in float what it does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from format_artifacts import NETS, changed, written

from edgeft import backends
from edgeft.config import target
from edgeft.core.errors import TargetError
from edgeft.quantize.lower import integer_weights
from edgeft.verify.integer import integer
from edgeft.verify.scales import same_scales, scales_digest

TARGETS = ("host", "host-openvino", "host-litert")


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", TARGETS)
def test_weights_are_stored_as_the_graph_has_them_and_activations_stay_float(
    name: str, net: str, tmp_path: Path
) -> None:
    profile, graph, path = written(name, net, "w8", tmp_path)
    _, example, layers = NETS[net]
    runtime = backends.get(profile.backend)
    assert profile.scheme.name == "w8" and not graph.activations()
    expected = {w.name: (w.data, w.scale) for w in integer_weights(graph)}
    stored = runtime.integer_weights(path)
    judged = integer(expected, stored)
    assert judged.verdict == "pass" and judged.n == layers and judged.metric == "int8_weights_share", judged.why
    assert runtime.activation_grids(path) == [] and runtime.integer_share(path).share == 0

    with torch.no_grad():
        exact = graph.module.eval()(*example).numpy()
    options = runtime.artifact_options(path)
    feeds = {graph.captured.input_names[0]: example[0].numpy()}
    (output,) = runtime.load(path, options=options).run(feeds).values()
    np.testing.assert_allclose(output, exact, rtol=0, atol=2e-6 * np.abs(exact).max())

    largest = max(stored, key=lambda weight: weight.data.size)
    altered = largest.data.copy()
    altered.reshape(-1)[3] ^= 1
    changed(path, largest.data.tobytes(), altered.tobytes())
    judged = integer(expected, runtime.integer_weights(path))
    assert judged.verdict == "fail" and "the int8 weights of" in judged.why
    changed(path, altered.tobytes(), largest.data.tobytes())

    digest, scale = scales_digest(stored, []), largest.scale.copy()
    scale[0] *= np.float32(1.01)
    changed(path, largest.scale.tobytes(), scale.tobytes())
    stored = runtime.integer_weights(path)
    assert "another scale" in integer(expected, stored).why and same_scales(digest, stored, []).verdict == "fail"


def test_onnxruntime_multiplies_the_weights_out_once_and_openvino_leaves_activations_alone(tmp_path: Path) -> None:
    """Without these options the first runs a DequantizeLinear in every call, the second rounds to 8 bits."""
    for name, option in (("host", "session.disable_quant_qdq"), ("host-openvino", "DYNAMIC_QUANTIZATION_GROUP_SIZE")):
        (tmp_path / name).mkdir()
        profile, _, path = written(name, "block", "w8", tmp_path / name)
        runtime = backends.get(profile.backend)
        assert list(runtime.artifact_options(path)) == [option]
        assert not any("DequantizeLinear" in op for op in runtime.integer_share(path).ops)
        profile, _, path = written(name, "block", "int8", tmp_path / name)
        assert option not in runtime.artifact_options(path)


@pytest.mark.slow
def test_litert_keeps_layers_apart_that_its_converter_would_change(tmp_path: Path) -> None:
    """The scale of a norm stays in front of the linear layers, in fp16 too, and no trace is left of the barrier."""
    for number_format, dtype in (("w8", "int8"), ("fp16", "float16")):
        (tmp_path / number_format).mkdir()
        profile, graph, path = written("host-litert", "block", number_format, tmp_path / number_format)
        runtime = backends.get(profile.backend)
        judged = integer({w.name: (w.data, w.scale) for w in integer_weights(graph)}, runtime.integer_weights(path))
        assert judged.verdict == "pass" and judged.metric == f"{dtype}_weights_share", judged.why
        session = runtime.load(path)
        assert len(session.inputs) == 1 and runtime.flow(path).inputs == ("0",)


def test_a_target_without_the_format_names_those_it_has() -> None:
    with pytest.raises(TargetError, match="has no artifacts of the format w8 in ExecuTorch") as caught:
        target.with_format(target.load("host-executorch"), "w8")
    assert caught.value.remedy == "it has int8, fp32"
    with pytest.raises(TargetError, match="supports integer ops only, and w8 is none"):
        target.with_format(target.load("coral"), "w8")
