"""Artifacts of small nets in a number format, for the tests of formats in every runtime."""

from __future__ import annotations

from pathlib import Path

import pytest
from quantize_nets import IMAGES, Block, Excite, calibrated, seeded, settled

from edgeft import backends
from edgeft.backends.artifact import ExportRequest
from edgeft.config import target
from edgeft.config.target import Target
from edgeft.quantize.graph import QuantizedGraph
from edgeft.quantize.lower import lower

#: a depthwise convolution and a sigmoid; layer norms in front of linear layers and a factor behind one.
#: net -> (class, inputs, layers with weights)
NETS = {"excite": (Excite, IMAGES, 6), "block": (Block, (seeded(4, 6, 16),), 5)}


def written(name: str, net: str, number_format: str, folder: Path) -> tuple[Target, QuantizedGraph, Path]:
    """The profile, the graph and the artifact of a small net in a number format; skips without the runtime."""
    profile = target.with_format(target.load(name), number_format)
    runtime = backends.get(profile.backend)
    if not runtime.installed():
        pytest.skip(f"{profile.backend} is not installed")
    module, example, _ = NETS[net]
    graph = calibrated(settled(module()), example, profile.scheme)
    graph.calibrate_weights()
    names = (graph.captured.input_names, graph.captured.output_names)
    request = ExportRequest(
        lower(graph, runtime.lowering), graph.captured.example, *map(tuple, names), profile, True,
        weight_dtypes=graph.weight_dtypes(),
    )  # fmt: skip
    artifact = runtime.part("exporter").export(request, folder)
    return profile, graph, folder / artifact.file


def changed(path: Path, old: bytes, new: bytes, times: int = 1) -> None:
    """Replace bytes that occur so many times in the model file or in the weights beside it."""
    files = [file for file in (path, path.with_suffix(".bin")) if file.is_file()]
    assert sum(file.read_bytes().count(old) for file in files) == times
    for file in files:
        file.write_bytes(file.read_bytes().replace(old, new))
