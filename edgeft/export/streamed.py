"""What the manifest says of the streaming form: its graph, and how a stream runs through it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import backends as runtime
from ..backends.artifact import Artifact
from ..config.target import Target
from ..core.errors import InternalError
from ..quantize.parts import MAIN
from .convert import STREAM
from .quantized_run import QuantizedRun, QuantizedScheme
from .tables import tensor_tables


@dataclass(frozen=True)
class StreamTables:
    """The manifest's entry of the graph, and its `stream`; both empty where a bundle has no streaming form."""

    graphs: tuple[dict[str, Any], ...] = ()
    table: dict[str, Any] = field(default_factory=dict)


def tables(
    run: QuantizedRun, scheme: QuantizedScheme, profile: Target, staging: Path, artifact: Artifact
) -> StreamTables:
    """The tables of a streaming form as it was written; it is proved with the bundle (`verify.streaming`)."""
    form, machine = scheme.stream, runtime.get(profile.backend)
    if form is None:
        raise InternalError("an artifact of a streaming form that the run does not have")

    inputs = (*run.input_names, *(state.input for state in form.states))
    outputs = (*run.captured.graphs[MAIN].output_names, *(state.output for state in form.states))
    path = staging / artifact.file
    session = machine.load(path, options={**machine.options(), **machine.artifact_options(path)})
    graph = {
        "name": STREAM,
        "file": artifact.file,
        "stream": True,
        "inputs": tensor_tables(session.inputs, inputs, layout=None),
        "outputs": tensor_tables(session.outputs, outputs, layout=None),
    }
    table = {
        "graph": STREAM,
        "input": inputs[0],
        "output": outputs[0],
        "axis": form.input_axis,
        "output_axis": form.axis,
        "chunk": form.chunk,
        "frames": form.frames,
        "delay": form.delay,
        "states": [
            {
                "input": state.input,
                "output": state.output,
                "shape": list(state.shape),
                "dtype": "float32",
                "initial": 0.0,
                "warmup": state.warmup,
            }
            for state in form.states
        ],
    }
    return StreamTables((graph,), table)
