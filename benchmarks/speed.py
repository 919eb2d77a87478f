"""Speed of edgeft's int8 artifacts against the float artifact and against what each runtime's own tool makes.

    python benchmarks/speed.py [--nets resnet18,resnet8] [--runtimes litert] [--threads 1,2] [--work FOLDER]

Batch 1. Made for each network and runtime: edgeft's float baseline, edgeft's int8, and from that float baseline the int8
of the runtime's own post-training tool (ONNX Runtime: `quantize_static`, QDQ, unsigned activations, signed weights per
channel or per tensor; OpenVINO: NNCF, both presets; LiteRT: ai-edge-quantizer, static 8 x 8 bits). Times are taken in a
fresh process per network, runtime and number of threads, in paired quads (`edgeft.measure.quads`).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import common
import numpy as np

CLASSES = {"resnet18": 1000, "mobilenet_v2": 1000, "resnet8": 10}
FILES = {"onnxruntime": "model.onnx", "openvino": "model.xml", "litert": "model.tflite"}
TOOLS = {"onnxruntime": "quantize_static", "openvino": "NNCF", "litert": "ai-edge-quantizer"}
#: the settings of each tool that are tried; edgeft is compared with all of them, and the fastest counts
PEERS = {
    "onnxruntime": ("u8s8-channel", "u8s8-tensor"),
    "openvino": ("performance", "mixed"),
    "litert": ("static_wi8_ai8",),
}
GOAL = 0.97
#: a comparison whose 99 % interval is wider than this is measured again, and the narrower one kept
WIDE, TRIES = 0.03, 4
CALIBRATION = 64


def make(net: str, runtimes: list[str], work: Path) -> None:
    """All artifacts of one network: work/<net>/<runtime>/<kind>/."""
    import importlib

    import torch

    from edgeft.backends.artifact import ExportRequest
    from edgeft.config import target
    from edgeft.quantize.graph import prepare
    from edgeft.quantize.lower import lower
    from edgeft.quantize.ranges import calibrate

    torch.set_num_threads(1)
    side = common.NETS[net]
    data = common.images(CALIBRATION, side, seed=100)
    module = common.network(net, CLASSES[net], side)
    profiles = {name: target.load(common.TARGETS[name]) for name in runtimes}
    (scheme,) = {profile.scheme for profile in profiles.values()}
    graph = prepare(module, (torch.from_numpy(data[:2]),), scheme)
    graph.calibrate_weights("minmax")
    calibrate(graph.module, lambda: [(torch.from_numpy(b),) for b in common.batches(data, 16)], estimator="minmax")
    captured = graph.captured

    for name, profile in profiles.items():
        exporter = importlib.import_module(f"edgeft.backends.{name}.exporter")
        folders = {kind: work / net / name / kind for kind in ("float", "ours")}
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        border = (captured.example, ("x",), captured.output_names, profile, captured.dynamic)
        exporter.export(ExportRequest(captured.module, *border, kind="float"), folders["float"])
        lowered = lower(graph, "qdq" if name == "litert" else "int")
        exporter.export(ExportRequest(lowered, *border), folders["ours"])

    np.save(work / net / "calibration.npy", data)


def peer(net: str, name: str, work: Path) -> None:
    """The runtime's own tool on the float artifact, with the same calibration images; one file per setting of it."""
    source = work / net / name / "float" / FILES[name]
    data = np.load(work / net / "calibration.npy")
    for setting in PEERS[name]:
        made = work / net / name / setting / FILES[name]
        made.parent.mkdir(parents=True, exist_ok=True)
        {"onnxruntime": _ort, "openvino": _nncf, "litert": _ai_edge_quantizer}[name](source, made, data, setting)


def _ort(source: Path, made: Path, data: np.ndarray, setting: str) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.rows = iter(data)

        def get_next(self) -> dict[str, np.ndarray] | None:
            row = next(self.rows, None)
            return None if row is None else {"x": row[None]}

    prepared = made.with_name("prepared.onnx")
    quant_pre_process(str(source), str(prepared))
    quantize_static(
        str(prepared),
        str(made),
        Reader(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=setting == "u8s8-channel",
    )


def _nncf(source: Path, made: Path, data: np.ndarray, setting: str) -> None:
    import nncf
    import openvino as ov

    nncf.set_log_level(40)
    model = ov.Core().read_model(source)
    preset = nncf.QuantizationPreset(setting)
    quantized = nncf.quantize(model, nncf.Dataset([row[None] for row in data]), preset=preset)
    ov.save_model(quantized, made, compress_to_fp16=False)


def _ai_edge_quantizer(source: Path, made: Path, data: np.ndarray, setting: str) -> None:
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    runner = Interpreter(str(source)).get_signature_list()
    signature, names = next(iter(runner.items()))
    (key,) = names["inputs"]
    tool = quantizer.Quantizer(str(source), getattr(recipe, setting)())
    ranges = tool.calibrate({signature: [{key: row[None]} for row in data]})
    made.unlink(missing_ok=True)
    tool.quantize(ranges).export_model(str(made))


def measure(net: str, name: str, threads: int, work: Path, seconds: float) -> dict[str, Any]:
    """The two ratios of one network, runtime and number of threads, and each artifact's share of integer work."""
    from edgeft import backends as runtime

    engine = runtime.get(name)
    paths = {kind: work / net / name / kind / FILES[name] for kind in ("float", "ours", *PEERS[name])}
    sessions = {kind: engine.load(path, threads=threads) for kind, path in paths.items()}
    row = common.images(1, common.NETS[net], seed=7)
    for session in sessions.values():
        session.run({session.inputs[0].name: row})

    def over(kind: str) -> dict[str, Any]:
        """How many times faster ours is than `kind`."""
        pair = (sessions["ours"].invoke, sessions[kind].invoke)
        best = common.surest(*pair, wide=WIDE, tries=TRIES, max_seconds=seconds, min_quads=32)
        return {
            "setting": kind,
            "ratio": best.estimate,
            "ci99": [best.low, best.high],
            "clock": best.clock,
            "quads": best.quads,
            "least_ms": {"ours": min(best.a_ms), kind: min(best.b_ms)},
            "ratio_of_least": min(best.b_ms) / min(best.a_ms),
        }

    peers = [over(kind) for kind in PEERS[name]]
    return {
        "net": net,
        "runtime": name,
        "threads": threads,
        "ours_over_peer": min(peers, key=lambda found: found["ratio"]),
        "ours_over_each_peer": peers,
        "ours_over_float": over("float"),
    }


def shares(net: str, name: str, work: Path) -> dict[str, Any]:
    from edgeft import backends as runtime

    kinds = ("ours", *PEERS[name])
    found = {k: runtime.get(name).integer_share(work / net / name / k / FILES[name]) for k in kinds}
    return {k: {"share": s.share, "float_ops": s.float_ops, "ops": s.ops} for k, s in found.items()}


def section(rows: list[dict[str, Any]], host: dict[str, Any], used: dict[str, str]) -> str:
    body = []
    for row in rows:
        theirs, base = row["ours_over_peer"], row["ours_over_float"]
        least = max(theirs["ratio"], theirs["ratio_of_least"])
        body.append(
            [
                common.TITLES[row["net"]],
                common.RUNTIMES[row["runtime"]],
                row["threads"],
                f"{base['ratio']:.2f}x ({base['ci99'][0]:.2f} to {base['ci99'][1]:.2f})",
                f"{theirs['ratio']:.3f} ({theirs['ci99'][0]:.3f} to {theirs['ci99'][1]:.3f})",
                f"{theirs['ratio_of_least']:.3f}",
                f"{base['least_ms']['ours']:.3f}",
                theirs["setting"],
                f"{row['shares']['ours']['share']:.3f} / {row['shares'][theirs['setting']]['share']:.3f}",
                common.mark(least, least=GOAL),
            ]
        )

    head = ["network", "runtime", "threads", "int8 over float", "ours over peer", "by least times", "ms, ours"]
    head += ["fastest peer", "integer work, ours / peer", f">= {GOAL}"]
    tools = "; ".join(f"{common.RUNTIMES[k]}: {v}, {' and '.join(PEERS[k])}" for k, v in TOOLS.items())
    return f"""## Speed of the int8 artifacts

Batch 1; "int8 over float" is the speed of edgeft's int8 artifact over edgeft's float artifact, "ours over peer" its speed
over the fastest artifact of the runtime's own post-training tool ({tools}), made from the same float artifact with
the same images. Above 1, ours is faster. Medians of paired quads with their 99 % intervals; "by least times" is the ratio of the
shortest blocks, which a busy machine disturbs least, and the goal is met by either. One process per row.

{common.table(head, body)}

{common.footing(host, used)}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default=",".join(common.NETS))
    parser.add_argument("--runtimes", default=",".join(common.RUNTIMES))
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--seconds", type=float, default=8.0, help="at most so long for one comparison")
    parser.add_argument("--work", type=Path, help="keep artifacts here, and reuse those that are there")
    parser.add_argument("--step", choices=("make", "peer", "measure", "shares"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    nets, runtimes = asked.nets.split(","), asked.runtimes.split(",")

    if asked.step:
        result: dict[str, Any] = {}
        if asked.step == "make":
            make(nets[0], runtimes, asked.work)
        elif asked.step == "peer":
            peer(nets[0], runtimes[0], asked.work)
        elif asked.step == "shares":
            result = shares(nets[0], runtimes[0], asked.work)
        else:
            result = measure(nets[0], runtimes[0], int(asked.threads), asked.work, asked.seconds)
        print("\n" + json.dumps(result))
        return

    host, rows = common.machine(), []
    with tempfile.TemporaryDirectory() as temporary:
        work = asked.work or Path(temporary)
        for net in nets:

            def step(name: str, *more: str, net: str = net) -> dict[str, Any]:
                return common.child(__file__, "--step", name, "--nets", net, "--work", str(work), *more)

            wanted = [r for r in runtimes if not (work / net / r / "ours" / FILES[r]).is_file()]
            if wanted:
                step("make", "--runtimes", ",".join(wanted))
            for name in runtimes:
                if not all((work / net / name / kind / FILES[name]).is_file() for kind in PEERS[name]):
                    step("peer", "--runtimes", name)
                share = step("shares", "--runtimes", name)
                for threads in asked.threads.split(","):
                    more = ("--runtimes", name, "--threads", threads, "--seconds", str(asked.seconds))
                    rows.append({**step("measure", *more), "shares": share})
                    print(f"{net} {name} {threads}: {rows[-1]['ours_over_peer']['ratio']:.3f}", flush=True)

    packages = (
        "onnxruntime",
        "openvino",
        "nncf",
        "ai-edge-litert",
        "ai-edge-quantizer",
        "litert-torch",
        "torch",
        "onnx",
    )
    used = common.versions(*packages)
    common.publish("speed", section(rows, host, used), {"machine": host, "versions": used, "rows": rows})


if __name__ == "__main__":
    main()
