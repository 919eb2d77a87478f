"""How often `edgeft bench --against` is right: false alarms on equal artifacts, and real slowdowns found.

    python benchmarks/regressions.py --out DIR [--limit N] [--rows idle:0 loaded:5 ...]

Two nets of twenty equal 3x3 convolutions in ONNX Runtime, one below a millisecond and one of a few milliseconds, against
themselves and against the same net with one or two of its layers once more (+5 %, +10 % of the work). `loaded` means a
process of matrix products on every core meanwhile. Each comparison is capped at about 10 seconds and judged at 2 %.

Every comparison is one line of DIR/comparisons.jsonl as soon as it is made; the next call goes on where this one ended.
`--limit` ends after so many; without anything left to do the tables are written.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common
import numpy as np

LAYERS = 20
#: name -> (channels, side of the picture)
SIZES = {"small": (16, 20), "medium": (32, 32)}
#: condition:slowdown in per cent -> comparisons, half of them with each net
ROWS = {"idle:0": 300, "idle:5": 100, "idle:10": 100, "loaded:0": 100, "loaded:5": 100, "loaded:10": 100}
SECONDS, TOLERANCE = 10.0, 0.02


def write_net(path: Path, layers: int, width: int, side: int) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    constants = {
        "w_in": rng.normal(0, 0.3, (width, 1, 3, 3)).astype(np.float32),
        "w_out": rng.normal(0, 0.1, (3, width)).astype(np.float32),
    }
    nodes = [helper.make_node("Conv", ["x", "w_in"], ["c0"], pads=[1, 1, 1, 1])]

    for i in range(layers):
        constants[f"w{i}"] = rng.normal(0, 0.08, (width, width, 3, 3)).astype(np.float32)
        nodes.append(helper.make_node("Conv", [f"c{i}", f"w{i}"], [f"c{i + 1}"], pads=[1, 1, 1, 1]))

    nodes += [
        helper.make_node("GlobalAveragePool", [f"c{layers}"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w_out"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, side, side])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def make_bundle(out: Path, layers: int, width: int, side: int) -> Path:
    """A bundle of such a net, made by hand: nothing was trained, only time matters here."""
    from edgeft import backends as runtime
    from edgeft.bundle import reader as bundle
    from edgeft.core import files

    if out.exists():
        return out

    staging = out.with_name(out.name + ".new")
    shutil.rmtree(staging, ignore_errors=True)
    (staging / "baseline").mkdir(parents=True)
    for name in ("model.onnx", "baseline/model.onnx"):
        write_net(staging / name, layers, width, side)
    engine = runtime.get("onnxruntime")
    x = np.random.default_rng(0).random((1, 1, side, side), np.float32)
    logits = engine.load(staging / "model.onnx").run({"x": x})["logits"]
    raw = (x[0, 0] * 255).astype(np.uint8)
    stored = {"raw_0": raw, "targets": np.zeros(1, np.int64), "input/x": x, "output/logits": logits}
    np.savez(staging / "samples.npz", **stored, **{"graph/logits": logits})
    tensor = {"dtype": "float32", "scale": None, "zero_point": None}
    graph = {
        "name": "main",
        "file": "model.onnx",
        "baseline": "baseline/model.onnx",
        "inputs": [{"name": "x", "shape": [1, 1, side, side], "layout": "NCHW", **tensor}],
        "outputs": [{"name": "logits", "shape": [1, 3], "layout": "NC", **tensor}],
    }
    preprocess = {
        "kind": "image",
        "size": [side, side],
        "channels": 1,
        "resize": "bilinear",
        "mean": [0.0],
        "std": [1.0],
        "scale": 255.0,
        "layout": "NCHW",
        "input": "x",
    }
    manifest = {
        "name": out.name,
        "task": "classify",
        "target": "host",
        "backend": "onnxruntime",
        "graphs": [graph],
        "preprocess": preprocess,
        "labels": ["a", "b", "c"],
        "scheme": {"name": "float"},
        "requires": {},
        "runtime": {
            "name": "onnxruntime",
            "version": engine.version(),
            "options": engine.options(),
            "threads": 1,
        },
        "provenance": {"edgeft": "benchmark"},
    }
    bundle.write(staging, manifest)
    files.publish(staging, out)
    return out


def burn() -> None:
    a = np.random.default_rng(0).random((256, 256), np.float32)
    while True:
        a = a @ a
        a /= a.max()


@contextlib.contextmanager
def condition(name: str) -> Iterator[None]:
    """On a loaded machine every core has a process of matrix products."""
    others = []
    if name == "loaded":
        for core in sorted(os.sched_getaffinity(0)):
            process = multiprocessing.get_context("spawn").Process(target=_burn_on, args=(core,), daemon=True)
            process.start()
            others.append(process)
        time.sleep(1.0)

    try:
        yield
    finally:
        for process in others:
            process.kill()
            process.join()


def _burn_on(core: int) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    os.sched_setaffinity(0, [core])
    burn()


def plan() -> list[tuple[str, int, str]]:
    """(condition, slowdown, net) of every comparison, the rows mixed so that an unfinished run is balanced."""
    jobs = []
    for row, count in ROWS.items():
        name, slower = row.split(":")
        for i in range(count):
            net = list(SIZES)[i % len(SIZES)]
            jobs.append(((i + 0.5) / count, (name, int(slower), net)))
    return [job for _, job in sorted(jobs, key=lambda item: item[0])]


def compare(out: Path, name: str, slower: int, net: str) -> dict[str, Any]:
    from edgeft.bundle import reader as bundle
    from edgeft.devices import compare as sides

    width, side = SIZES[net]
    extra = LAYERS * slower // 100
    old = make_bundle(out / f"{net}-{LAYERS}", LAYERS, width, side)
    new = make_bundle(out / f"{net}-{LAYERS + extra}", LAYERS + extra, width, side)
    load = os.getloadavg()[0]

    with condition(name):
        begun = time.monotonic()
        found = sides.compare(
            bundle.open(new), bundle.open(old), tolerance=TOLERANCE, max_seconds=SECONDS, singles=False
        )

    keys = ("verdict", "estimate_pct", "ci99_pct", "clock", "quads", "looks", "pairs_pct")
    kept = {key: found[key] for key in keys}
    return {
        "condition": name,
        "slower": slower,
        "net": net,
        **kept,
        "seconds": round(time.monotonic() - begun, 2),
        "load_before": load,
    }


def share(count: int, n: int) -> str:
    from edgeft.measure.stats import clopper_pearson

    if not n:
        return "–"
    low, high = clopper_pearson(count, n)
    return f"{count} of {n}: {100 * count / n:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def tables(found: list[dict[str, Any]]) -> str:
    lines = [
        f"Verdicts of `edgeft bench --against` at a tolerance of {100 * TOLERANCE:.0f} %, each comparison capped at about "
        f"{SECONDS:.0f} s; in brackets the 95 % interval of Clopper and Pearson.",
        "",
        "| machine | change | fail | pass | inconclusive | seconds, median (longest) | CPU clock chosen |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]

    for row in ROWS:
        name, slower = row.split(":")
        some = [one for one in found if one["condition"] == name and one["slower"] == int(slower)]
        n = len(some)
        counts = [
            share(sum(one["verdict"] == verdict for one in some), n) for verdict in ("fail", "pass", "inconclusive")
        ]
        times = sorted(one["seconds"] for one in some) or [0.0]
        cpu = share(sum(one["clock"] == "cpu" for one in some), n).split(":")[0]
        change = "none" if slower == "0" else f"+{slower} % of the layers"
        lines.append(
            f"| {name} | {change} | {' | '.join(counts)} | {times[len(times) // 2]:.1f} ({times[-1]:.1f}) | {cpu} |"
        )

    lines += ["", "Per net, and the median of what was estimated:", "", "| machine | change | net | fail | estimate |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for row in ROWS:
        name, slower = row.split(":")
        for net in SIZES:
            some = [one for one in found if (one["condition"], str(one["slower"]), one["net"]) == (name, slower, net)]
            if some:
                middle = float(np.median([one["estimate_pct"] for one in some]))
                fails = share(sum(one["verdict"] == "fail" for one in some), len(some))
                lines.append(f"| {name} | +{slower} % | {net} | {fails} | {middle:+.2f} % |")

    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=10**9, help="end after so many comparisons")
    parser.add_argument("--rows", nargs="*", default=list(ROWS), help="only these rows, for example idle:0")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    log = given.out / "comparisons.jsonl"
    found = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done: dict[tuple[str, int, str], int] = {}

    for one in found:
        job = (one["condition"], one["slower"], one["net"])
        done[job] = done.get(job, 0) + 1

    made, left = 0, 0
    for job in plan():
        if done.get(job, 0) > 0:
            done[job] -= 1
            continue
        if f"{job[0]}:{job[1]}" not in given.rows:
            continue
        if made >= given.limit:
            left += 1
            continue
        one = compare(given.out, *job)
        with log.open("a") as handle:
            handle.write(json.dumps(one) + "\n")
        found.append(one)
        made += 1
        print(len(found), job, one["verdict"], f"{one['estimate_pct']:+.2f} %", f"{one['seconds']:.1f} s", flush=True)

    print(f"{len(found)} made, {left} left")
    if found:
        host = common.machine()
        text = "\n\n".join(
            [
                "## Latency regressions: false alarms, and slowdowns found",
                tables(found),
                common.footing(host, common.versions("onnxruntime")),
            ]
        )
        common.publish("regressions", text, {"machine": host, "comparisons": found})


if __name__ == "__main__":
    main()
