"""Networks through the compilers of vendors: compiled, on the accelerator, and what the simulator computes.

    python benchmarks/compilers.py [--nets resnet18 vit] [--compilers vela qnn executorch rk3576 "imx93, int16x8"]
                                   [--samples 32]

Each network is quantized after training, with settled random weights, written as the profile of the compiler's board
says, and compiled. Needs the compilers' environments (`edgeft device setup compile:vela`); one that is not set up is
left out. ExecuTorch's partitioner is asked in the same way; its own runtime takes the place of a simulator. Every row is kept in results/compilers.json as soon as it is there, and a row that is there is not made again
(`--fresh` does).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import common
import numpy as np

#: compiler -> the profile that it is asked with, and the number format
BOARDS = {
    "vela": ("imx93", "int8"),
    "rknn": ("rk3588", "int8"),
    "qnn": ("rb3-gen2", "int8"),
    "executorch": ("rpi5-executorch", "int8"),
}
#: further boards and formats, which are asked with a few networks
OTHERS = {
    "cortex-m55-ethos-u55": ("cortex-m55-ethos-u55", "int8"),
    "cortex-m85-ethos-u85": ("cortex-m85-ethos-u85", "int8"),
    "rk3576": ("rk3576", "int8"),
    "rk3566": ("rk3566", "int8"),
    "imx93, int16x8": ("imx93", "int16x8"),
    "rk3588, int16x8": ("rk3588", "int16x8"),
    "rb3-gen2, int16x8": ("rb3-gen2", "int16x8"),
}
ASKED = {**BOARDS, **OTHERS}
LEAST = 0.95
INTRODUCTION = (
    "Small networks: a few blocks of each published architecture at 64 pixels, and those of the tasks. Quantized after "
    "training in int8, settled random weights, written as each board's profile says; what is not in the table was not "
    "measured yet. *MACs*, *ops*: share on the accelerator. *simulated*: share of the inputs on which the compiled "
    "model, in the vendor's simulator, has the same largest outputs as the artifact in its runtime, and the largest "
    "difference of an output in steps of its grid; Vela has no simulator. *executorch*: what XNNPACK computes in integers "
    "for `rpi5-executorch`, by the runtime's trace; *simulated* compares the program, run by ExecuTorch on this machine, "
    "with the quantized graph in torch. *reach*: what rounding alone does to these "
    "untrained networks, the steps (99 % quantile) by which outputs move where every value is nudged by 1/64 step. "
    "*cycles* are the vendor's estimate."
)


def main(argv: Sequence[str] | None = None) -> int:
    from compiler_nets import NETS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS), metavar="NET")
    parser.add_argument("--compilers", nargs="+", default=list(BOARDS), choices=list(ASKED))
    parser.add_argument("--samples", type=int, default=32, help="inputs that a simulator computes (default 32)")
    parser.add_argument("--fresh", action="store_true", help="make rows again that are there")
    options = parser.parse_args(argv)

    stored = common.RESULTS / "compilers.json"
    host, record = common.machine(), read(stored)
    for name in options.nets:
        missing = [
            compiler for compiler in options.compilers if options.fresh or f"{name} | {compiler}" not in record["rows"]
        ]
        rows = measured(name, missing, options.samples) if missing else {}
        if not rows:
            continue
        record = {**read(stored), "machine": host}  # another process may have added rows
        for compiler, row in rows.items():
            record["rows"][f"{name} | {compiler}"] = row
            print(name, compiler, json.dumps(row), flush=True)
        stored.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")

    common.publish("compilers", page(record, list(NETS)), record)
    return 0


def read(stored: Path) -> dict[str, Any]:
    """What results/compilers.json holds, no rows where there is none."""
    return json.loads(stored.read_text()) if stored.is_file() else {"rows": {}}


def measured(name: str, compilers: Sequence[str], samples: int) -> dict[str, dict[str, Any]]:
    """One row for each of the compilers that are set up."""
    import torch
    from compiler_nets import NETS, inputs, settled

    from edgeft import backends
    from edgeft.compilers import compilation
    from edgeft.config import target
    from edgeft.core.errors import EdgeftError
    from edgeft.quantize.graph import prepare
    from edgeft.quantize.ranges import calibrate
    from edgeft.quantize.sensitivity import rounding_reach

    torch.set_num_threads(1)
    net, graphs, rows = NETS[name], {}, {}
    values = inputs(net, samples, 100)

    for compiler in compilers:
        board, number_format = ASKED[compiler]
        profile = target.load(board)
        environment = compilation.environment_of(profile)
        if environment is None and profile.backend != "executorch":
            continue

        start = time.monotonic()
        try:
            profile = target.with_format(profile, number_format)
            if profile.scheme.name not in graphs:
                batch = inputs(net, 16, 7)
                graph = prepare(settled(name), (batch[:2],), profile.scheme)
                graph.calibrate_weights("minmax")
                calibrate(graph.module, lambda: [(batch,)], estimator="minmax")  # noqa: B023
                graphs[profile.scheme.name] = graph
            graph = graphs[profile.scheme.name]
            if environment is None:
                row = partitioned(graph, profile, values)
            else:
                row = compiled(graph, profile, environment, values.numpy())
            if "agreement" in row.get("simulated", {}):
                reach = rounding_reach(graph, (values[:8],))
                row["simulated"]["reach"] = round(max(far for _, far in reach.values()), 1)
        except EdgeftError as error:
            row = {"refusal": f"{error.message} ({error.where})" if error.where else error.message}
        rows[compiler] = {
            **row,
            "kind": net.kind,
            "compiler": environment.compiler.name if environment else profile.backend,
            "version": environment.version if environment else backends.get(profile.backend).version(),
            "seconds": round(time.monotonic() - start, 1),
        }

    return rows


def written(graph: Any, profile: Any, folder: Path) -> Path:
    """The artifact of a calibrated graph, as the profile's runtime writes it."""
    from edgeft import backends
    from edgeft.backends.artifact import ExportRequest
    from edgeft.quantize.lower import lower

    backend, captured = backends.get(profile.backend), graph.captured
    border = (captured.example, ("x",), captured.output_names, profile, False)
    lowered = lower(graph, backend.lowering)
    request = ExportRequest(lowered, *border, kind="quantized", weight_dtypes=graph.weight_dtypes())
    return folder / str(backend.part("exporter").export(request, folder).file)


def compiled(graph: Any, profile: Any, environment: Any, values: np.ndarray) -> dict[str, Any]:
    """What the compiler makes of a calibrated graph, and how its simulator's outputs compare with the artifact's."""
    from edgeft import backends
    from edgeft.compilers import compilation
    from edgeft.core.errors import InvalidInput

    backend = backends.get(profile.backend)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = written(graph, profile, folder)
        made = compilation.compiled(environment, profile, path, folder / "compiled")
        reasons: dict[str, str] = {}
        for operation in made.fallback:
            reasons.setdefault(operation.op, f"{operation.op}: {operation.why}".removesuffix(": "))
        row = {
            **made.as_dict(),
            "left": list(reasons.values()),
            "operations": made.operations,
            "macs": made.macs,
        }
        if not (made.accepted and environment.compiler.simulates):
            return row

        session = backend.load(path)
        (source,) = session.inputs
        singles = [session.run({source.name: values[k : k + 1]}) for k in range(len(values))]
        expected = {key: np.concatenate([single[key] for single in singles]) for key in singles[0]}
        feeds = {source.name: values}
        try:
            outputs = compilation.simulated(
                environment, profile, path, folder / "compiled" / made.files[0], feeds, seconds=60.0
            )
        except InvalidInput as error:
            return {**row, "simulated": {"error": error.message}}

    return {**row, "simulated": compared(expected, outputs, graph.output_steps())}


def partitioned(graph: Any, profile: Any, values: Any) -> dict[str, Any]:
    """What a runtime that partitions the graph itself computes in integers, and how its outputs compare with torch's."""
    import torch

    from edgeft import backends

    backend, captured = backends.get(profile.backend), graph.captured
    with tempfile.TemporaryDirectory() as temporary:
        path = written(graph, profile, Path(temporary))
        share = backend.integer_share(path)
        outputs = backend.load(path).run({"x": values.numpy()})

    graph.set_mode("quantize")
    with torch.no_grad():
        results = [graph.module(values[k : k + 1]) for k in range(len(values))]
    tuples = [result if isinstance(result, (tuple, list)) else [result] for result in results]
    expected = {name: torch.cat([each[i] for each in tuples]).numpy() for i, name in enumerate(captured.output_names)}

    return {
        "accepted": True,
        "coverage_macs": share.share,
        "coverage_ops": 1 - sum(share.float_ops.values()) / max(sum(share.ops.values()), 1),
        "left": list(share.float_ops),
        "macs": share.macs,
        "simulated": compared(expected, outputs, graph.output_steps()),
    }


def compared(
    expected: dict[str, np.ndarray], outputs: dict[str, np.ndarray], steps: dict[str, float]
) -> dict[str, Any]:
    """Agreement of the largest outputs (along axis 1), and the largest difference in steps of the output's grid."""
    alike, most, count = [], 0.0, 0
    by_name = outputs if set(outputs) == set(expected) else dict(zip(expected, outputs.values()))
    for name, values in by_name.items():
        count = len(values)
        before = expected[name][:count]
        after = values.reshape(before.shape)
        alike.append((before.argmax(1) == after.argmax(1)).mean())
        step = steps.get(name) or float(np.ptp(before)) / 255 or 1.0
        most = max(most, float(np.abs(before - after).max()) / step)

    return {"agreement": float(np.mean(alike)), "most_steps": round(most, 1), "n": count}


def page(record: dict[str, Any], names: Sequence[str]) -> str:
    """The section: one line a network and compiler, the further boards, what was refused and why, and the goal."""
    rows = record["rows"]
    counts = [_count(rows, compiler) for compiler in BOARDS]
    versions = {row.get("compiler", key.split(" | ")[1]): row["version"] for key, row in rows.items()}
    parts = [
        "## Compilers of vendors",
        INTRODUCTION,
        f"Architectures with at least {LEAST:.0%} of the multiply-accumulates on the accelerator: "
        + ", ".join(filter(None, counts))
        + ".",
        _table(rows, names, BOARDS),
    ]
    if any(key.split(" | ")[1] in OTHERS for key in rows):
        parts += ["Further boards and number formats, with a few of the networks:", _table(rows, names, OTHERS)]

    refused = [line for name in names for asked in ASKED for line in _left(name, asked, rows.get(f"{name} | {asked}"))]
    parts += [
        "What was refused or stays on the CPU, in the vendor's words:\n\n" + ("\n".join(refused) or "nothing"),
        common.footing(record["machine"], versions),
    ]

    return "\n\n".join(parts)


def _table(rows: dict[str, Any], names: Sequence[str], asked: Mapping[str, Any]) -> str:
    head = (
        "network",
        "compiler" if asked is BOARDS else "board",
        "MACs",
        "ops",
        "simulated",
        "steps",
        "reach",
        "cycles",
    )
    keys = [(name, label) for name in names for label in asked]

    return common.table(head, [_line(*key, rows[" | ".join(key)]) for key in keys if " | ".join(key) in rows])


def _left(name: str, asked: str, row: dict[str, Any] | None) -> list[str]:
    """The line of what a row's compiler refused or left to the CPU, [] where there is nothing to say."""
    if row and row.get("refusal"):
        return [f"- {name}, {asked}: `{row['refusal']}`"]
    if row and row.get("left"):
        where = "in float" if asked == "executorch" else "on the CPU"
        return [f"- {name}, {asked}, {where}: " + "; ".join(f"`{reason}`" for reason in row["left"])]
    return []


def _count(rows: dict[str, Any], compiler: str) -> str:
    shares = [
        row.get("coverage_macs") or 0.0
        for key, row in rows.items()
        if key.endswith(f" | {compiler}") and row["kind"] == "architecture"
    ]
    return f"{compiler} {sum(share >= LEAST for share in shares)} of {len(shares)}" if shares else ""


def _line(name: str, compiler: str, row: dict[str, Any]) -> tuple[str, ...]:
    if row.get("refusal"):
        return (name, compiler, "refused", "", "", "", "", "")

    simulated = row.get("simulated") or {}
    agreement = "" if simulated.get("agreement") is None else f"{simulated['agreement']:.1%} of {simulated['n']}"
    cycles = row.get("estimate", {}).get("cycles")
    return (
        name,
        compiler,
        "-" if row["coverage_macs"] is None else f"{row['coverage_macs']:.1%}",
        "-" if row["coverage_ops"] is None else f"{row['coverage_ops']:.1%}",
        agreement or ("failed" if simulated else "-"),
        str(simulated.get("most_steps", "")),
        str(simulated.get("reach", "")),
        f"{cycles:,.0f}" if cycles else "-",
    )


if __name__ == "__main__":
    raise SystemExit(main())
