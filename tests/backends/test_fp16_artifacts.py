"""fp16 in every runtime: the artifact holds the weights of the graph in half the bytes, and computes the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from quantize_nets import IMAGES, Residual, calibrated, settled

from edgeft import backends
from edgeft.backends.artifact import ExportRequest
from edgeft.config import target
from edgeft.core.errors import TargetError
from edgeft.quantize.lower import integer_weights, lower
from edgeft.verify.integer import integer
from edgeft.verify.scales import same_scales, scales_digest

TARGETS = ("host", "host-openvino", "host-litert", "jetson-nano-gpu")


@pytest.mark.parametrize("name", TARGETS)
def test_weights_are_stored_as_the_graph_has_them(name: str, tmp_path: Path) -> None:
    profile = target.with_format(target.load(name), "fp16")
    runtime = backends.get(profile.backend)
    if not runtime.installed():
        pytest.skip(f"{profile.backend} is not installed")
    graph = calibrated(settled(Residual()), IMAGES, profile.scheme)
    names = (graph.captured.input_names, graph.captured.output_names)
    request = ExportRequest(
        lower(graph, runtime.lowering), graph.captured.example, *map(tuple, names), profile, True,
        weight_dtypes=graph.weight_dtypes(),
    )  # fmt: skip
    artifact = runtime.part("exporter").export(request, tmp_path)

    path, expected = tmp_path / artifact.file, {w.name: (w.data, w.scale) for w in integer_weights(graph)}
    stored = runtime.integer_weights(path)
    judged = integer(expected, stored)
    assert judged.verdict == "pass" and judged.n == 4 and judged.metric == "float16_weights_share", judged.why
    assert runtime.activation_grids(path) == [] and runtime.integer_share(path).share == 0

    with torch.no_grad():
        wanted = graph.module.eval()(*IMAGES).numpy()
    (output,) = runtime.load(path).run({names[0][0]: IMAGES[0].numpy()}).values()
    np.testing.assert_allclose(output, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())

    # one value of one weight in the file becomes its neighbour
    weight = max((tensor.data for tensor in stored), key=np.size).copy()
    altered = weight.copy()
    altered.reshape(-1).view(np.int16)[7] ^= 1
    changed = 0
    for file in artifact.files:
        content = (tmp_path / file).read_bytes()
        changed += content.count(weight.tobytes())
        (tmp_path / file).write_bytes(content.replace(weight.tobytes(), altered.tobytes()))
    assert changed == 1
    judged = integer(expected, runtime.integer_weights(path))
    assert judged.verdict == "fail" and "the float16 weights of" in judged.why
    assert same_scales(scales_digest(stored, []), stored, []).verdict == "pass"


def test_a_target_that_has_no_floats_refuses_the_format() -> None:
    with pytest.raises(TargetError, match="supports integer ops only, and fp16 is none") as caught:
        target.with_format(target.load("coral"), "fp16")
    assert caught.value.where == "coral"
