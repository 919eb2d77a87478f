"""A chunk of the streaming graph beside the whole window: QuartzNet of the builtin size, random weights, int8.

    python benchmarks/streaming_steps.py [CHUNK_SECONDS ...]

Speed does not depend on the weights. Each row is one runtime: whether the stream's answers are the whole network's bit
for bit, milliseconds of a chunk and of a window of four seconds (timed alternately, one thread), and their ratio with
its 99 % interval: what answering every chunk by a whole window would cost instead.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeft import backends
from edgeft.backends.artifact import ExportRequest
from edgeft.config import target
from edgeft.graph.step_form import StepForm, step_form
from edgeft.inputs.stepping import answers_of
from edgeft.measure.quads import compare
from edgeft.models.nets.quartznet import QuartzNet
from edgeft.quantize.graph import QuantizedGraph, prepare
from edgeft.quantize.lower import lower
from edgeft.quantize.ranges import calibrate
from edgeft.verify.latency import speedup

FRAMES, HOP, MELS, LABELS = 400, 0.010, 40, 29
TARGETS = ("host", "host-openvino", "host-litert")


def network() -> tuple[QuantizedGraph, torch.Tensor]:
    torch.manual_seed(0)
    net = QuartzNet(LABELS, MELS)
    x = torch.randn(4, 1, FRAMES, MELS)
    net.train()
    with torch.no_grad():
        net(x)  # statistics of BatchNorm
    graph = prepare(net.eval(), (x,), target.load("host").scheme)
    calibrate(graph.module, lambda: [(x,)], estimator="minmax")
    return graph, x


def table_of(form: StepForm) -> dict[str, Any]:
    """The manifest's `stream`, as an export writes it."""
    states = [dataclasses.asdict(state) for state in form.states]
    axes = {"axis": form.input_axis, "output_axis": form.axis}
    sizes = {"chunk": form.chunk, "frames": form.frames, "delay": form.delay}
    return {"input": "x", "output": "logits", **axes, **sizes, "states": states}


def row(name: str, graph: QuantizedGraph, form: StepForm, x: torch.Tensor, folder: Path) -> str:
    profile = target.load(name)
    machine = backends.get(profile.backend)
    step_graph = dataclasses.replace(graph, module=form.module)
    inputs = ["x", *(state.input for state in form.states)]
    outputs = ["logits", *(state.output for state in form.states)]
    sessions = []

    for kind, part, example, names in (
        ("whole", graph, (x[:1],), (["x"], ["logits"])),
        ("step", step_graph, form.example, (inputs, outputs)),
    ):
        place = folder / name / kind
        place.mkdir(parents=True)
        request = ExportRequest(
            lower(part, machine.lowering), example, *map(tuple, names), profile, False,
            kind="quantized", weight_dtypes=part.weight_dtypes(),
        )  # fmt: skip
        artifact = machine.part("exporter").export(request, place)
        order = {"input_names": names[0], "output_names": names[1]} if name == "host-litert" else {}
        sessions.append(machine.load(place / artifact.file, options={**machine.options(), **order}))

    whole, step = sessions
    features, table = x[:1].numpy(), table_of(form)
    got, expected = answers_of(step.run, table, features), whole.run({"x": features})["logits"]
    same = float((got == expected[:, :, : got.shape[2]]).mean())
    chunk = features[:, :, : form.chunk]
    step.run({"x": chunk, **{state.input: np.zeros(state.shape, np.float32) for state in form.states}})
    whole.run({"x": features})
    found = compare(whole.invoke, step.invoke, max_seconds=20.0)
    ratio, (low, high) = speedup(found)
    return (
        f"| {form.chunk * HOP:.2f} s | {machine.title} | {100 * same:.1f} % | {found.b_median_ms:.3f} | "
        f"{found.a_median_ms:.3f} | {ratio:.1f} [{low:.1f}, {high:.1f}] | "
        f"{form.delay * form.chunk / form.frames * HOP:.2f} s |"
    )


def main() -> None:
    torch.set_num_threads(1)
    graph, x = network()
    print("| chunk | runtime | equal values | ms a chunk | ms a window | ratio | answers come later by |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for seconds in map(float, sys.argv[1:] or ("0.08", "0.16")):
        form = step_form(graph.module, x, 2, round(seconds / HOP))
        with tempfile.TemporaryDirectory() as folder:
            for name in TARGETS:
                print(row(name, graph, form, x, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
