"""RKNN-Toolkit2, Rockchip's compiler for the NPUs of the RK35xx: an .onnx file becomes a .rknn file.

A model with QuantizeLinear and DequantizeLinear keeps the integers that it was trained with (`do_quantization=False`).
The toolkit has a simulator for x86, which builds the model anew in the process that runs it.
https://github.com/airockchip/rknn-toolkit2
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .compiler import Compiler, Setting
from .printed import printed

COMPILER = Compiler(
    name="rknn",
    title="RKNN-Toolkit2",
    module="edgeft.compilers.rknn",
    requirements=(
        *("rknn-toolkit2==2.5.0", "torch==2.4.0", "numpy==1.26.4"),
        *("onnx==1.18.0", "onnxruntime==1.26.0", "protobuf==4.25.4", "setuptools==75.8.0"),
    ),
    versions=("2.5.0",),
    accelerator="RKNPU",
    settings=(
        Setting("platform", choices=("rk3588", "rk3576", "rk3566", "rk3568", "rk3562", "rv1126b")),
        Setting("optimization_level", "2", ("0", "1", "2", "3")),  # 3 alters what a model with its own scales computes
    ),
    simulates=True,
    pythons=((3, 10), (3, 12)),
    machines=("x86_64",),
    compile_seconds=1200.0,
    gigabytes=6.0,
)
FILE = "model.rknn"
#: a row of the compiler's table of layers: number, op, type, target, shapes, cycles (DDR/NPU/total), KB, "Op:node"
_LAYER = re.compile(
    r"\]\s+\d+\s+(?P<op>\w+)\s+\w+\s+(?P<target>NPU|CPU|GPU)\s.*\s\d+/\d+/(?P<cycles>\d+)\s.*?(?P<full>\S+:\S*)\s*$"
)
_MEMORY = re.compile(r"Total (?P<kind>Internal|Weight) Memory Size: (?P<kilobytes>[\d.]+)KB")
_ERROR = re.compile(r"^(\x1b\[[\d;]*m)*E(\x1b\[[\d;]*m)*\s+(\x1b\[[\d;]*m)*(?P<why>.*?)(\x1b\[[\d;]*m)*$")
_NODE = re.compile(r"(?:[Nn]ode|[Oo]p|name)[^'\"`]{0,20}['\"`](?P<node>[^'\"`]+)['\"`]")
#: "Invalid w_par['dtype'] = float16 for val_20!": what it says of a value that it cannot place
_VALUE = re.compile(r"= \S+ for (?P<node>[\w./:-]+)!")
#: the border of the model, which every file has
_BORDER = ("InputOperator", "OutputOperator")
_NOISE = ("Traceback", "rknn-toolkit2 version", "File ", " op target: 0", "Catch exception", "Please feedback")


def version(job: Mapping[str, Any]) -> dict[str, Any]:
    from importlib.metadata import version as version_of

    with printed():
        import rknn.api  # a broken install says so here
    del rknn
    packages = {name: version_of(name) for name in COMPILER.distributions}
    return {"version": packages["rknn-toolkit2"], "packages": packages}


@contextlib.contextmanager
def _built(model: str, settings: Mapping[str, str]) -> Iterator[Any]:
    """The toolkit with a model that it has built; raises `RuntimeError` naming the step that failed."""
    from rknn.api import RKNN

    toolkit = RKNN(verbose=True)
    try:
        toolkit.config(target_platform=settings["platform"], optimization_level=int(settings["optimization_level"]))
        if toolkit.load_onnx(model=model):
            raise RuntimeError("load_onnx failed")
        if toolkit.build(do_quantization=False):
            raise RuntimeError("build failed")
        yield toolkit
    finally:
        toolkit.release()


def compile(job: Mapping[str, Any]) -> dict[str, Any]:
    """Compile job["model"] into job["folder"]; see `Compiler`."""
    error = ""
    with printed() as lines:
        try:
            with _built(job["model"], job["settings"]) as toolkit:
                if toolkit.export_rknn(str(Path(job["folder"]) / FILE)):
                    raise RuntimeError("export_rknn failed")
        except Exception as caught:  # whatever the toolkit raises is its diagnosis
            error = next(iter(reversed(str(caught).strip().splitlines())), type(caught).__name__)

    if error:
        return {"refusal": refusal(lines, error)}

    on_cpu, estimate = layers(lines)
    return {"files": [FILE], "on_cpu": on_cpu, "estimate": estimate}


def layers(lines: list[str]) -> tuple[list[dict[str, str]], dict[str, float]]:
    """{op, node, why} of each layer that the NPU does not run, and the toolkit's estimates, from what it printed."""
    on_cpu, cycles = [], 0
    for match in filter(None, map(_LAYER.search, lines)):
        cycles += int(match["cycles"])
        if match["target"] != "NPU" and match["op"] not in _BORDER:
            op, node = match["full"].split(":", 1)
            on_cpu.append({"op": op, "node": node, "why": f"the {match['target']} runs {match['op']}"})

    memory = {match["kind"]: float(match["kilobytes"]) for match in filter(None, map(_MEMORY.search, lines))}
    return on_cpu, {"cycles": float(cycles), "dram_bytes": 1024.0 * sum(memory.values())}


def refusal(lines: list[str], error: str) -> dict[str, str]:
    """The toolkit's first error line that says something, and the node that it names."""
    errors = [match["why"].strip() for match in filter(None, map(_ERROR.match, lines))]
    telling = [text for text in errors if text and not any(noise in text for noise in _NOISE)]
    named = (_NODE.search(text) or _VALUE.search(text) for text in (*telling, error))
    node = next((match["node"] for match in named if match), "")
    why = " ".join((error if ": " in error else (telling or [error])[0]).split())[:300]

    return {"why": why, "node": node, "op": ""}


def simulate(job: Mapping[str, Any]) -> dict[str, Any]:
    """Run job["artifact"], built anew, on job["feeds"] in the toolkit's simulator; see `Compiler`."""
    import onnx

    graph = onnx.load(job["artifact"], load_external_data=False).graph
    inputs, outputs = ([value.name for value in side] for side in (graph.input, graph.output))
    with np.load(job["feeds"], allow_pickle=False) as archive:
        feeds = [archive[name] for name in inputs]

    layouts = ["nchw" if values.ndim == 4 else "nhwc" for values in feeds]  # read of images alone, but a word for all

    rows: list[list[np.ndarray]] = []
    with printed(), _built(job["artifact"], job["settings"]) as toolkit:
        if toolkit.init_runtime():
            raise RuntimeError("init_runtime failed")
        end = time.monotonic() + float(job["seconds"])
        for k in range(len(feeds[0])):
            if rows and time.monotonic() > end:
                break
            rows.append(toolkit.inference(inputs=[values[k : k + 1] for values in feeds], data_format=layouts))

    arrays: dict[str, Any] = {name: np.concatenate([row[k] for row in rows]) for k, name in enumerate(outputs)}
    np.savez(job["outputs"], **arrays)
    return {}
