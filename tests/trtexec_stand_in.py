"""A stand-in for TensorRT's trtexec: its options, its log and its files, computed by ONNX Runtime on the CPU.

Options are those of the open-source releases (`sampleOptions.cpp`): one that a version does not have is refused as
there. `TRTEXEC_VERSION` is the number in the banner, `TRTEXEC_REFUSES` an op that the builder does not take,
`TRTEXEC_BROKEN` what stands in the file of outputs, `TRTEXEC_HANGS` a file that is written before it sleeps,
`TRTEXEC_WRONG` adds to every output, `TRTEXEC_SLOW` is the factor of the times of engines of integers.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

VERSION = int(os.environ.get("TRTEXEC_VERSION", "100300"))
KNOWN = {"--onnx", "--saveEngine", "--loadEngine", "--loadInputs", "--exportOutput", "--exportTimes", "--minShapes"}
KNOWN |= {"--optShapes", "--maxShapes", "--shapes", "--iterations", "--duration", "--warmUp", "--help"}
KNOWN |= {"--int8", "--fp16"} if VERSION < 110000 else {"--includeDataTransfers"}
KNOWN |= {"--skipInference"} if VERSION >= 8600 else {"--buildOnly"}


def executable(folder: Path) -> Path:
    """The stand-in as a program in `folder`."""
    path = folder / "trtexec"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I "{__file__}" "$@"\n')
    path.chmod(0o755)
    return path


def say(kind: str, text: str) -> None:
    print(f"[{time.strftime('%m/%d/%Y-%H:%M:%S')}] [{kind}] {text}")


def main(words: list[str]) -> int:
    print(f"&&&& RUNNING TensorRT.trtexec [TensorRT v{VERSION}] # trtexec {' '.join(words)}")
    options = dict(word.partition("=")[::2] for word in words)
    if "TRTEXEC_HANGS" in os.environ and "--onnx" in options:
        Path(os.environ["TRTEXEC_HANGS"]).write_text(str(os.getpid()))
        time.sleep(600)
    unknown = [word for word in options if word not in KNOWN]
    if "--help" in options:
        return 0
    if unknown:
        for word in unknown:
            say("E", f"Unknown option: {word} {options[word]}")
        return failed(words)
    return build(options, words) if "--onnx" in options else infer(options, words)


def failed(words: list[str]) -> int:
    print(f"&&&& FAILED TensorRT.trtexec [TensorRT v{VERSION}] # trtexec {' '.join(words)}")
    return 1


def build(options: dict[str, str], words: list[str]) -> int:
    import onnx

    model = onnx.load(options["--onnx"])
    for number, node in enumerate(model.graph.node):
        if node.op_type == os.environ.get("TRTEXEC_REFUSES"):
            say(
                "E",
                f"[TRT] ModelImporter.cpp:836: While parsing node {number} [{node.op_type} -> {node.output[0]}]:",
            )
            return failed(words)

    dynamic = any(not side.HasField("dim_value") for i in model.graph.input for side in i.type.tensor_type.shape.dim)
    shapes = [options.get(key) for key in ("--minShapes", "--optShapes", "--maxShapes")]
    if dynamic and not all(shapes):
        say("E", "Dynamic dimensions required for input, but no shapes were provided.")
        return failed(words)

    engine = {
        "version": VERSION,
        "int8": "--int8" in options,
        "dynamic": dynamic,
        "model": model.SerializeToString().hex(),
    }
    Path(options["--saveEngine"]).write_text(json.dumps(engine))
    say("I", "Engine built in 1.5 sec.")
    print(f"&&&& PASSED TensorRT.trtexec [TensorRT v{VERSION}] # trtexec {' '.join(words)}")
    return 0


def infer(options: dict[str, str], words: list[str]) -> int:
    import numpy as np
    import onnxruntime as ort

    engine = json.loads(Path(options["--loadEngine"]).read_text())
    if engine["version"] != VERSION:
        say("E", "Error Code 6: The engine plan file is not compatible with this version of TensorRT.")
        return failed(words)

    settings = ort.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = 1, 3
    # Quantized as the graph says: integer kernels of a CPU may saturate.
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(bytes.fromhex(engine["model"]), settings, providers=["CPUExecutionProvider"])
    loaded = dict(entry.split(":") for entry in options["--loadInputs"].split(","))
    given = dict(entry.split(":") for entry in options.get("--shapes", "").split(",") if entry)
    feeds = {}
    for tensor in session.get_inputs():
        shape = [int(side) for side in given[tensor.name].split("x")] if engine["dynamic"] else tensor.shape
        dtype = np.dtype({"tensor(float)": "f4", "tensor(int64)": "i8", "tensor(int32)": "i4"}[tensor.type])
        content = Path(loaded[tensor.name]).read_bytes()
        if len(content) != dtype.itemsize * int(np.prod(shape)):
            say("E", f"Unexpected file size for input file: {loaded[tensor.name]}")
            return failed(words)
        feeds[tensor.name] = np.frombuffer(content, dtype).reshape(shape)

    times, clock = [], 0.0
    until = time.monotonic() + min(0.05, float(options["--duration"]))
    while len(times) < int(options["--iterations"]) or time.monotonic() < until:
        begin = time.perf_counter()
        outputs = session.run(None, feeds)
        took = (
            (time.perf_counter() - begin) * 1e3 * (float(os.environ.get("TRTEXEC_SLOW", "1")) if engine["int8"] else 1)
        )
        times.append((clock, took))
        clock += took

    export(options, session, outputs, times)
    say("I", f"Throughput: {1e3 * len(times) / clock:g} qps")
    print(f"&&&& PASSED TensorRT.trtexec [TensorRT v{VERSION}] # trtexec {' '.join(words)}")
    return 0


def export(options, session, outputs, times) -> None:
    """The two files as `sampleReporting.cpp` writes them: six digits, separators in front, outputs in any order."""
    wrong = float(os.environ.get("TRTEXEC_WRONG", "0"))
    parts = []
    for tensor, values in reversed(list(zip(session.get_outputs(), outputs))):
        numbers = ", ".join(f"{value:.6g}" for value in (values + wrong).ravel())
        shape = "x".join(map(str, values.shape))
        parts.append(f'{{ "name" : "{tensor.name}"\n  , "dimensions" : "{shape}"\n  , "values" : [ {numbers} ]\n  }}\n')
    if os.environ.get("TRTEXEC_BROKEN"):
        parts = [os.environ["TRTEXEC_BROKEN"]]
    Path(options["--exportOutput"]).write_text("[\n  " + ", ".join(parts) + "]\n")

    rows = []
    for at, ms in times:
        moments = dict.fromkeys(("startEnqMs", "endEnqMs", "startH2dMs", "endH2dMs", "startComputeMs"), at)
        moments |= dict.fromkeys(("endComputeMs", "startD2hMs", "endD2hMs"), at + ms)
        moments |= {"h2dMs": 0.0, "computeMs": ms, "d2hMs": 0.0, "latencyMs": ms}
        rows.append("{ " + ", ".join(f'"{key}" : {value:g}' for key, value in moments.items()) + " }\n")
    Path(options["--exportTimes"]).write_text("[\n  " + ", ".join(rows) + "]\n")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
