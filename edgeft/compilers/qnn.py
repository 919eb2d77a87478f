"""Qualcomm's QNN through ONNX Runtime's execution provider: an .onnx file becomes a context binary for the Hexagon NPU.

The package for x86-64 holds the compiler and the emulation of the HTP backend. A node that the backend does not take
stays in the file that is written beside the context, and ONNX Runtime's CPU kernels run it.
https://onnxruntime.ai/docs/execution-providers/QNN-ExecutionProvider.html
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
    name="qnn",
    title="QNN",
    module="edgeft.compilers.qnn",
    requirements=("onnxruntime==1.32.0", "onnxruntime-qnn==2.7.0"),
    versions=("2.7.0",),
    accelerator="Hexagon NPU",
    settings=(
        Setting("htp_arch", choices=("68", "69", "73", "75", "79", "81")),
        Setting("optimization", "3", ("1", "2", "3")),
    ),
    simulates=True,
    pythons=((3, 11), (3, 14)),
    compile_seconds=1800.0,
    gigabytes=0.5,
)
PROVIDER, CONTEXT, WRAPPER = "QNNExecutionProvider", "EPContext", "model_ctx.onnx"
#: what the backend refuses, and the block in which the provider says which nodes it leaves and why
_REFUSED = re.compile(r"failed for node `(?P<node>[^`]+)` of type `(?P<op>[^`]+)` with error code (?P<code>\d+)")
_BLOCK = re.compile(r"Validation (PASSED|FAILED) for \d+ nodes in OrtNodeUnit")
_NODE = re.compile(r"^\s*Operator type: (?P<op>\S+) Node name: (?P<node>.*?) Node index: \d+")
_REASON = re.compile(r"^\s*REASON : (?P<why>[^\x1b]+)")
_CONVERT = ("QuantizeLinear", "DequantizeLinear")


def version(job: Mapping[str, Any]) -> dict[str, Any]:
    from importlib.metadata import version as version_of

    packages = {name: version_of(name) for name in COMPILER.distributions}

    with printed(), _device():
        pass  # the library loads

    return {"version": packages["onnxruntime-qnn"], "packages": packages}


@contextlib.contextmanager
def _device() -> Iterator[Any]:
    """The QNN device of this machine, which emulates the HTP backend."""
    import onnxruntime as ort
    import onnxruntime_qnn

    ort.register_execution_provider_library(PROVIDER, onnxruntime_qnn.get_library_path())

    try:
        yield next(device for device in ort.get_ep_devices() if device.ep_name == PROVIDER)
    finally:
        ort.unregister_execution_provider_library(PROVIDER)


def _options(device: Any, settings: Mapping[str, str], **entries: str) -> Any:
    """Session options for the HTP backend; `entries` are session config entries, "_" standing for "."."""
    import onnxruntime as ort
    import onnxruntime_qnn

    options = ort.SessionOptions()
    options.log_severity_level = 0  # the reasons of the provider's own rules stand at this level alone
    options.intra_op_num_threads = 1

    for key, value in entries.items():
        options.add_session_config_entry(key.replace("__", "."), value)

    options.add_provider_for_devices(
        [device],
        {
            "backend_path": onnxruntime_qnn.get_qnn_htp_path(),
            "htp_arch": settings["htp_arch"],
            "htp_graph_finalization_optimization_mode": settings["optimization"],
        },
    )

    return options


def compile(job: Mapping[str, Any]) -> dict[str, Any]:
    """Compile job["model"] into job["folder"]; see `Compiler`."""
    import onnxruntime as ort

    folder = Path(job["folder"])
    wrapper = folder / WRAPPER
    context = {"ep__context_enable": "1", "ep__context_file_path": str(wrapper), "ep__context_embed_mode": "0"}
    error = ""

    with printed() as lines, _device() as device:
        options = _options(device, job["settings"], session__disable_cpu_ep_fallback="0", **context)
        try:
            session = ort.InferenceSession(job["model"], options)
            del session
        except Exception as caught:  # the runtime's own errors share no base class but Exception
            error = " ".join(str(caught).split())[:400]

    if error or not wrapper.is_file():
        return {"refusal": refusal(lines, error)}

    written, left = _left(wrapper, reasons(lines))
    return {"files": [WRAPPER, *written], "on_cpu": left}


def refusal(lines: list[str], error: str) -> dict[str, str]:
    """{why, node, op} of a model without a context: the first node that was refused, and what ONNX Runtime raised."""
    first = next(iter(reasons(lines)), {"node": "", "op": "", "why": ""})
    whys = [first["why"], error] if first["why"] or error else ["none of its nodes is taken by the HTP backend"]
    return {"why": "; ".join(filter(None, whys)), "node": first["node"], "op": first["op"]}


def reasons(lines: list[str]) -> list[dict[str, str]]:
    """{op, node, why} of each node that the backend or the provider refused, in the order of the log."""
    why_of: dict[str, dict[str, str]] = {}
    nodes: list[re.Match[str]] = []
    for line in lines:
        if match := _REFUSED.search(line):
            why = f"backendValidateOpConfig fails with error {match['code']}"
            why_of.setdefault(match["node"], {"op": match["op"], "node": match["node"], "why": why})
        elif _BLOCK.search(line):
            nodes = []
        elif match := _NODE.match(line):
            nodes.append(match)
        elif match := _REASON.match(line):
            for node in (node for node in nodes if node["op"] not in _CONVERT):
                why_of.setdefault(node["node"], {"op": node["op"], "node": node["node"], "why": match["why"].strip()})

    return list(why_of.values())


def _left(wrapper: Path, printed_reasons: list[dict[str, str]]) -> tuple[list[str], list[dict[str, str]]]:
    """The files of the context, and the nodes that are not in it, with the backend's reason where it gave one."""
    from ..backends.onnxruntime import wire

    model = wire.read(wrapper)
    why_of = {reason["node"]: reason["why"] for reason in printed_reasons}
    binaries, left = [], []

    for node in model.nodes():
        if node.op == CONTEXT:
            name = node.attributes.get("ep_cache_context", b"")
            binaries.append(name.decode() if isinstance(name, bytes) else str(name))
        elif node.op not in _CONVERT:
            part = f"{node.name}_token_"  # the node in the layout of the backend
            why = why_of.get(node.name) or next((why for name, why in why_of.items() if name.startswith(part)), "")
            left.append({"op": node.op, "node": node.name, "why": why})

    return list(dict.fromkeys(filter(None, binaries))), left  # of several contexts one node alone names the file


def simulate(job: Mapping[str, Any]) -> dict[str, Any]:
    """Run job["model"] (what `compile` wrote) on job["feeds"] in the emulation of the HTP backend; see `Compiler`."""
    import onnxruntime as ort

    with printed(), _device() as device:
        options = _options(device, job["settings"], session__disable_cpu_ep_fallback="0")
        session = ort.InferenceSession(job["model"], options)
        names = [output.name for output in session.get_outputs()]
        with np.load(job["feeds"], allow_pickle=False) as archive:
            feeds = {name: archive[name] for name in archive.files}
        rows: list[list[np.ndarray]] = []
        end = time.monotonic() + float(job["seconds"])
        for k in range(len(next(iter(feeds.values())))):
            if rows and time.monotonic() > end:
                break
            rows.append(session.run(names, {name: values[k : k + 1] for name, values in feeds.items()}))
        del session

    outputs: dict[str, Any] = {name: np.concatenate([row[k] for row in rows]) for k, name in enumerate(names)}
    np.savez(job["outputs"], **outputs)
    return {}
