"""Architectures through the whole path: captured, quantized after training, lowered to three runtimes, compared.

    python benchmarks/zoo.py [--nets resnet18 vit_tiny] [--runtimes onnxruntime litert] [--images 500]

For each network and runtime: does the artifact decide as the fake-quantized graph does (of all images, and of those
whose top-two margin exceeds two output steps), are the integer weights the graph's byte for byte, how much of the
work ran in integer kernels, what stayed float. Each network runs in a process of its own, so that a crash is one row;
rows and trained weights are kept in `--cache`, and a network whose row is there is not run again (`--fresh` does). The
table goes into RESULTS.md when it has every network. Needs the extras `all` and `vision`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
import numpy as np

HERE = Path(__file__).resolve().parent
#: share of decisions that must be equal: of those clearer than two output steps, and of all
CLEAR, ALL = 0.99, 0.97
CLEAR_STEPS = 2.0
INTRODUCTION = (
    "Quantized after training (preset `mse`, affine scheme), {count} test images of handwritten digits at 64 pixels, "
    "briefly trained weights. *float* and *graph*: accuracy of the float network and of the fake-quantized graph. For "
    "each runtime: share of decisions equal to the graph's, of those whose top-two margin exceeds two output steps (at "
    "least {clear:.0%} asked) and of all ({all:.0%}); accuracy of the artifact; share of the multiply-accumulates in "
    "integer kernels. Integer weights {weights}."
)
STAYED = (
    "What stayed float: ops of the graph that the rules leave alone, and ops that each runtime executed in float "
    "(also quantized ones that it has no integer kernel for)."
)


def main(argv: Sequence[str] | None = None) -> int:
    from zoo_nets import NETS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS), metavar="NET")
    parser.add_argument("--runtimes", nargs="+", default=list(common.TARGETS), choices=list(common.TARGETS))
    parser.add_argument("--images", type=int, default=500, help="test images (default 500)")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "edgeft" / "zoo")
    parser.add_argument("--seconds", type=float, default=150, help="longest training of one network")
    parser.add_argument("--fresh", action="store_true", help="measure again what the cache holds")
    parser.add_argument("--one", choices=list(NETS), help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    given.cache.mkdir(parents=True, exist_ok=True)

    if given.one:
        row = measure(given.one, given.runtimes, given.images, given.cache, given.seconds)
        _row_file(given, given.one).write_text(json.dumps(row, indent=1) + "\n")
        return 0

    host = common.machine()
    rows = {}
    for name in given.nets:
        rows[name] = _row(given, name)
        print("\n".join(_lines(name, rows[name])), flush=True)

    if set(rows) == set(NETS):
        common.publish("zoo", _page(rows, host, given.images), {"machine": host, "rows": rows})

    return 0 if all(_passed(row) for row in rows.values()) else 1


def _row_file(given: argparse.Namespace, name: str) -> Path:
    return given.cache / f"{name}-{given.images}-{'-'.join(sorted(given.runtimes))}.json"


def _row(given: argparse.Namespace, name: str) -> dict[str, Any]:
    """The row from the cache, or from a process of its own."""
    path = _row_file(given, name)
    if path.is_file() and not given.fresh:
        return json.loads(path.read_text())

    path.unlink(missing_ok=True)
    command = [sys.executable, __file__, "--one", name, "--images", str(given.images), "--cache", str(given.cache)]
    command += ["--seconds", str(given.seconds), "--runtimes", *given.runtimes]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    if path.is_file():
        return json.loads(path.read_text())

    last = [line for line in done.stderr.splitlines() if line.strip()][-1:] or [f"exit {done.returncode}"]
    return {"error": last[0][:300]}


def measure(name: str, runtimes: Sequence[str], count: int, cache: Path, seconds: float) -> dict[str, Any]:
    """One network: trained or read, calibrated by the preset `mse`, lowered to each runtime and run on the images."""
    import torch
    import zoo_nets

    from edgeft.config import calibration
    from edgeft.config.scheme import Scheme
    from edgeft.quantize.graph import prepare
    from edgeft.quantize.lower import lower
    from edgeft.quantize.ranges import calibrate

    torch.set_num_threads(1)  # on a busy machine more threads wait for each other
    start = time.monotonic()
    built, training = zoo_nets.trained(name, cache, seconds)
    dataset, preset = zoo_nets.images(), calibration.load("mse")
    train, test = dataset.split("train"), dataset.split("test")
    seen = zoo_nets.tensors(train, zoo_nets.chosen(train, preset.samples, avoid=test), built.spec)
    rows = zoo_nets.chosen(test, count)
    inputs, targets = zoo_nets.tensors(test, rows, built.spec), test.targets[rows]
    graph = prepare(built.module, (seen[:2],), Scheme())
    graph.calibrate_weights(preset.weights)
    calibrate(graph.module, lambda: ((x,) for x in seen.split(preset.batch_size)), estimator=preset.estimator)
    lowered = lower(graph)

    with torch.no_grad():
        batches = inputs.split(zoo_nets.BATCH) if graph.captured.dynamic else inputs.split(1)
        logits = torch.cat([graph.module(x) for x in batches]).numpy()
        same = bool(torch.equal(lowered(batches[0]), graph.module(batches[0])))
        float_logits = torch.cat([graph.captured.module(x) for x in batches]).numpy()

    step = graph.output_steps().get(graph.captured.output_names[0], float(np.ptp(logits)) / 255)
    row: dict[str, Any] = {
        "source": zoo_nets.NETS[name].source,
        "parameters": sum(p.numel() for p in built.module.parameters()),
        "training": training,
        "dynamic_batch": graph.captured.dynamic,
        "integer_weights": len(graph.weight_of),
        "quantized_ops": dict(graph.summary.ops),
        "float_ops": dict(graph.summary.float_ops),
        "lowered_equal": same,
        "n": count,
        "float_accuracy": float((float_logits.argmax(1) == targets).mean()),
        "graph_accuracy": float((logits.argmax(1) == targets).mean()),
        "runtimes": {},
    }
    for kind in runtimes:
        row["runtimes"][kind] = _in_runtime(kind, graph, inputs, logits, step, targets)

    row["seconds"] = round(time.monotonic() - start, 1)
    row["versions"] = common.versions("torch", "torchvision", "timm", "onnxruntime", "openvino", "ai-edge-litert")
    return row


def _in_runtime(
    kind: str, graph: Any, inputs: Any, logits: np.ndarray, step: float, targets: np.ndarray
) -> dict[str, Any]:
    """Export to one runtime, run the images there and compare with the quantized graph's `logits` (N, classes)."""
    import importlib

    from edgeft import backends as runtime
    from edgeft.backends.artifact import ExportRequest
    from edgeft.config import target
    from edgeft.core.errors import EdgeftError
    from edgeft.quantize.lower import integer_weights, lower
    from edgeft.verify.integer import integer

    machine, captured = runtime.get(kind), graph.captured
    exporter = importlib.import_module(f"edgeft.backends.{kind}.exporter")
    with tempfile.TemporaryDirectory() as folder:
        try:
            request = ExportRequest(
                lower(graph, "qdq" if kind == "litert" else "int"),
                captured.example,
                captured.input_names,
                captured.output_names,
                target.load(common.TARGETS[kind]),
                captured.dynamic,
            )
            artifact = exporter.export(request, Path(folder))
            path = Path(folder) / artifact.file
            session = machine.load(path)
        except EdgeftError as error:
            return {"error": f"{error.message} ({error.where})" if error.where else error.message}
        border = session.inputs[0].name
        parts = [session.run({border: x.numpy()}) for x in inputs.split(32)]
        found = np.concatenate([next(iter(part.values())) for part in parts])
        expected = {w.name: (w.data, w.scale) for w in integer_weights(graph)}
        weights = integer(expected, machine.integer_weights(path))
        share = machine.integer_share(path, feeds={border: inputs[:1].numpy()})
        size = sum((Path(folder) / file).stat().st_size for file in artifact.files)

    top = np.sort(logits, axis=1)
    clear = top[:, -1] - top[:, -2] > CLEAR_STEPS * step
    equal = found.argmax(1) == logits.argmax(1)
    steps = np.abs(found.astype(np.float64) - logits) / step

    return {
        "all": float(equal.mean()),
        "clear": float(equal[clear].mean()) if clear.any() else None,
        "clear_n": int(clear.sum()),
        "median_steps": float(np.median(steps)),
        "tail_steps": float(np.quantile(steps, 0.99)),
        "most_steps": float(steps.max()),
        "integer": weights.verdict,
        "integer_why": weights.why,
        "int8_share": share.share,
        "float_ops": share.float_ops,
        "accuracy": float((found.argmax(1) == targets).mean()),
        "bytes": size,
    }


def _passed(row: dict[str, Any]) -> bool:
    found = list(row.get("runtimes", {}).values())
    return bool(found) and row["lowered_equal"] and all(_holds(each) for each in found)


def _holds(found: dict[str, Any]) -> bool:
    """The three demands on one artifact; a network without one clear decision proves nothing."""
    if "error" in found or found["clear"] is None:
        return False
    return found["clear"] >= CLEAR and found["all"] >= ALL and found["integer"] == "pass"


def _listed(ops: dict[str, int]) -> str:
    return ", ".join(f"{op} {n}" for op, n in sorted(ops.items(), key=lambda item: -item[1])) or "-"


def _lines(name: str, row: dict[str, Any]) -> list[str]:
    """What is printed as soon as a network is done."""
    if "error" in row:
        return [f"{name}: failed: {row['error']}"]

    lines = [
        f"{name}: float {row['float_accuracy']:.1%}, quantized graph {row['graph_accuracy']:.1%}, "
        f"float in the graph: {_listed(row['float_ops'])}"
    ]

    for kind, found in row["runtimes"].items():
        if "error" in found:
            lines.append(f"  {kind:12} failed: {found['error']}")
            continue
        clear = "-" if found["clear"] is None else f"{found['clear']:.1%}"
        lines.append(
            f"  {kind:12} all {found['all']:.1%}, clear {clear} of {found['clear_n']}, "
            f"accuracy {found['accuracy']:.1%}, int8 {found['int8_share']:.1%}, weights {found['integer']}, "
            f"steps {found['median_steps']:.2g} / {found['tail_steps']:.2g}, float: {_listed(found['float_ops'])}"
            f"{'' if _holds(found) else '  <- FAILS'}"
        )
        if found["integer"] != "pass":
            lines.append(f"  {'':12} {found['integer_why']}")

    return lines


def _page(rows: dict[str, dict[str, Any]], host: dict[str, Any], count: int) -> str:
    """The table as markdown: agreement, accuracy, share; then what stayed float."""
    kinds = list(dict.fromkeys(kind for row in rows.values() for kind in row.get("runtimes", {})))
    head = ["network", "float", "graph"]
    for kind in kinds:
        title = common.RUNTIMES[kind]
        head += [f"{title}: clear / all", "int8", "int8 share"]

    body, stayed = [], []
    for name, row in rows.items():
        if "error" in row:
            body.append([name, f"**failed**: {row['error']}", *[""] * (len(head) - 2)])
            continue
        cells = [name, f"{row['float_accuracy']:.1%}", f"{row['graph_accuracy']:.1%}"]
        for kind in kinds:
            found = row["runtimes"].get(kind, {"error": "not run"})
            if "error" in found:
                cells += [f"**failed**: {found['error']}", "", ""]
                continue
            clear = "-" if found["clear"] is None else f"{found['clear']:.1%}"
            text = f"{clear} / {found['all']:.1%}"
            cells += [
                text if _holds(found) else f"**{text}**",
                f"{found['accuracy']:.1%}",
                f"{found['int8_share']:.1%}",
            ]
        body.append(cells)
        by_runtime = [_listed(row["runtimes"].get(kind, {}).get("float_ops", {})) for kind in kinds]
        stayed.append([name, row["integer_weights"], _listed(row["float_ops"]), *by_runtime])

    byte_equal = all(f.get("integer") == "pass" for row in rows.values() for f in row.get("runtimes", {}).values())
    weights = "are byte-equal to the graph's in every artifact" if byte_equal else "are **not** byte-equal everywhere"
    used = next((row["versions"] for row in rows.values() if "versions" in row), {})
    heads = ["network", "int8 weights", "in the graph", *[common.RUNTIMES[kind] for kind in kinds]]
    introduction = INTRODUCTION.format(count=count, clear=CLEAR, all=ALL, weights=weights)
    parts = [introduction, common.table(head, body), STAYED, common.table(heads, stayed), common.footing(host, used)]

    return "\n\n".join(["## Architectures", *parts]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
