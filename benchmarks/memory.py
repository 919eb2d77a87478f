"""Accuracy against the memory of a training step: `auto` under a seventh of what full training saves, and its neighbours.

    python benchmarks/memory.py --out DIR [--seeds 0 1 2] [--rows full auto ...]

Three networks on two small sets of pictures (`EDGEFT_DATA` names the folder with the data): 400 training images of
PneumoniaMNIST and 300 blood cells of BCCD. Each row takes the best of three learning rates by the mean accuracy over
the seeds on training pictures that the small sets leave out; the test split chooses nothing. The budget of `auto` is a
seventh of the activations that `full` saves, and holds everything: saved activations, gradients, optimizer state and
the weights that move.

The second table is the time of a step of quantization-aware training under each policy, against `full`, in pairs.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import numpy as np
import policies

NETS = {"efficientnet": "EfficientNet-Lite0, 48 px", "resnet20": "ResNet-20, 32 px", "resnet8": "ResNet-8, 32 px"}
ROWS = ("full", "last", "bias", "head", "auto")
#: bytes that a value that moves takes besides activations: itself, its gradient, two moments of AdamW
PER_VALUE = 16
SHARE = 7


def recipes(root: Path, out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    import keras_resnet8
    from safetensors.torch import save_file

    resnet8 = out / "resnet8.safetensors"
    if not resnet8.exists():
        net = keras_resnet8.load(root / "09_mlperf_tiny" / "models" / "pretrainedResnet.h5")
        state = {name.replace("conv1.1.", "conv1."): value.contiguous() for name, value in net.state_dict().items()}
        for name, norm in net.named_modules():
            if hasattr(norm, "running_var"):  # Keras' epsilon is another one
                state[f"{name}.running_var"] = norm.running_var + norm.eps - 1e-5
        save_file(state, resnet8)

    resnet20 = root / "01_image_medical" / "weights" / "resnet20-12fca82f.th"
    found = {}
    for data, base in policies.picture_sets(root, out).items():
        for net in NETS:
            made = copy.deepcopy(base)
            made["train"]["epochs"] = 10 if net == "efficientnet" else 16
            if net != "efficientnet":
                made["model"] = {
                    "source": "builtin",
                    "name": net,
                    "weights": str(resnet8 if net == "resnet8" else resnet20),
                }
                made["data"]["size"] = 32
            if net == "resnet8":
                channels = made["data"].get("channels", 3)
                made["data"] |= {"mean": [0.0] * channels, "std": [1 / 255] * channels}
            found[net, data] = made

    return found


def saved(found: dict[str, Any]) -> int:
    return int(found["bytes"]) - PER_VALUE * int(found["updated_parameters"])


def measure(root: Path, out: Path, rows: list[str], seeds: list[int]) -> dict[str, dict[str, Any]]:
    results: dict[str, dict[str, Any]] = {}
    for (net, data), base in recipes(root, out).items():
        prefix, found = out / f"{net}-{data}", {}
        for row in rows:
            if row == "auto":
                budget = saved(found["full"]) // SHARE
                policies.ROWS["auto"] = ("", {"update": {"policy": "auto", "memory_budget": f"{budget} B"}})
            found[row] = policies.chosen(base, row, seeds, prefix)
        results[f"{net}-{data}"] = found

    return results


# -- time of a step ------------------------------------------------------------------------------------------------


def steps(net: str, data: str, out: Path, seconds: float) -> dict[str, Any]:
    """Time of a step of quantization-aware training under each policy over that under `full`, one thread."""
    import torch

    from edgeft.config import recipe
    from edgeft.measure.quads import compare
    from edgeft.session.calibration_data import calibrated
    from edgeft.session.session import open_session
    from edgeft.tune import optimizers, sparse, updates
    from edgeft.tune.frugal import Frugal
    from edgeft.tune.groups import qat_groups
    from edgeft.tune.memory import SavedBytes

    torch.set_num_threads(1)
    base = recipes(Path(os.environ["EDGEFT_DATA"]), out)[net, data]
    session = open_session(recipe.from_table({**base, "name": "steps"}, "steps"))
    module, head = session.built.module, session.built.head
    graphs = calibrated(session, session.capture(module), session.targets[0].scheme)
    plan_file = next(out.glob(f"{net}-{data}-auto-*/plan.json"))
    plan = json.loads(plan_file.read_text())
    loader = session.learning.loader(
        session.dataset.split("train"), session.spec, 32, "none", seed=0, workers=0, shuffle=True, drop_last=True
    )
    inputs, targets = next(iter(loader))

    def step(policy: str) -> tuple[Callable[[], None], int]:
        own = copy.deepcopy(graphs)
        (graph,) = own.graphs.values()
        made = sparse.plan(module, plan["biases"], plan["weights"], exact=True) if policy == "auto" else None
        updates.apply_to_graph(graph, module, head, policy, (), made)
        optimizer = optimizers.make("adamw", qat_groups(own.module, 1e-6))

        def loss() -> torch.Tensor:
            if policy == "full":
                return session.learning.loss(own.module(inputs), targets)
            with Frugal():
                return session.learning.loss(own.module(inputs), targets)

        def run() -> None:
            found = loss()
            optimizer.zero_grad()
            found.backward()
            optimizer.step()

        with SavedBytes(own.module.parameters()) as counted:
            loss()

        return run, counted.total

    whole, kept = step("full")
    found: dict[str, Any] = {}
    for policy in ROWS[1:]:
        run, own = step(policy)
        ratio = compare(whole, run, max_seconds=seconds, min_quads=12, rng=np.random.default_rng(0))
        found[policy] = {"ratio": ratio.estimate, "ci99": [ratio.low, ratio.high], "saved": own / kept}

    return found


# -- tables --------------------------------------------------------------------------------------------------------


def told(bytes_: float) -> str:
    return f"{bytes_ / 1e6:.2f} MB" if bytes_ >= 1e5 else f"{bytes_ / 1e3:.1f} kB"


def tables(results: dict[str, dict[str, Any]]) -> str:
    parts = []
    for name, found in results.items():
        net, data = name.split("-")
        whole, cells = saved(found["full"]), []
        for row, one in found.items():
            low, high = policies.wilson(one["float"], one["n"])
            kept = saved(one)
            cells.append(
                [
                    f"`{row}`",
                    f"{100 * one['float']:.2f} [{100 * low:.1f}, {100 * high:.1f}]",
                    f"{100 * (one['float'] - found['full']['float']):+.2f}",
                    told(kept),
                    f"1/{whole / max(kept, 1):.1f}",
                    told(one["bytes"]),
                    f"{one['updated_parameters']:,}",
                ]
            )
        goal = ""
        if "auto" in found:
            less = 100 * (found["full"]["float"] - found["auto"]["float"])
            small = common.mark(saved(found["auto"]) / whole, most=1 / SHARE)
            goal = f"\n\nAt most a seventh: {small}; at most 0.5 points less: {common.mark(less, most=0.5 + 1e-9)}."
        head = [
            "policy",
            "accuracy, % [95 %]",
            "points from full",
            "saved activations",
            "of full",
            "whole step",
            "moved",
        ]
        parts.append(f"### {NETS[net]}, {policies.TITLES[data]}\n\n{common.table(head, cells)}{goal}")

    return "\n\n".join(parts)


def step_table(found: dict[str, dict[str, Any]]) -> str:
    cells = [
        [NETS[net], *(f"{one[p]['ratio']:.2f} ({one[p]['saved']:.3f})" for p in ROWS[1:])] for net, one in found.items()
    ]
    return common.table(["time of a QAT step over `full`'s (saved activations)", *(f"`{p}`" for p in ROWS[1:])], cells)


def picture(results: dict[str, dict[str, Any]], path: Path) -> None:
    """Accuracy against the bytes of a step, a panel a net and set."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["svg.hashsalt"] = "edgeft"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(10, 5.6), squeeze=False)
    for axis, (name, found) in zip(axes.flat, sorted(results.items(), key=lambda item: item[0].split("-")[::-1])):
        net, data = name.split("-")
        for row, one in found.items():
            low, high = policies.wilson(one["float"], one["n"])
            at, colour = one["bytes"] / 1e6, "tab:orange" if row == "auto" else "tab:blue"
            axis.plot([at, at], [100 * low, 100 * high], color="0.87", lw=4, solid_capstyle="round", zorder=1)
            axis.plot(at, 100 * one["float"], "o", ms=5, color=colour)
            axis.annotate(row, (at, 100 * one["float"]), (5, 4), textcoords="offset points", fontsize=7)
        axis.set_xscale("log")
        axis.set_title(f"{NETS[net]}\n{policies.TITLES[data]}", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.margins(x=0.18)

    for axis in axes[1]:
        axis.set_xlabel("memory of a training step, MB", fontsize=8)

    for axis in axes[:, 0]:
        axis.set_ylabel("test accuracy, % (bars: 95 %)", fontsize=8)

    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs (resumable)")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--rows", nargs="*", choices=ROWS, help="run these only and publish nothing")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="a comparison of step times takes at most that long"
    )
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)

    if arguments.step:
        print(json.dumps(steps(*arguments.step, out, arguments.seconds)))
        return

    host, root = common.machine(), Path(os.environ["EDGEFT_DATA"])
    results = measure(root, out, arguments.rows or list(ROWS), arguments.seeds)
    if arguments.rows:
        return

    timed = {
        net: common.child(__file__, "--out", str(out), "--seconds", str(arguments.seconds), "--step", net, "cells")
        for net in NETS
    }
    used = common.versions("torch")
    seeds = ", ".join(map(str, arguments.seeds))
    section = (
        "## Memory of a training step\n\nAccuracy of the float stage on the test split in per cent, the mean over seeds "
        f"{seeds} with the 95 % interval of that many test samples; the best of three learning rates by training "
        "pictures that are left out. "
        "`auto` plans under a budget of a seventh of the activations that `full` saves. Batch 32, AdamW, BatchNorm "
        f"statistics frozen in every row.\n\n{tables(results)}\n\n### Time of a step\n\nBlood cells, batch 32, one thread, "
        f"medians of paired quads.\n\n{step_table(timed)}\n\n{common.footing(host, used)}"
    )
    picture(results, common.HERE.parent / "docs" / "pictures" / "memory.svg")
    common.publish("memory", section, {"machine": host, "versions": used, "results": results, "steps": timed})


if __name__ == "__main__":
    main()
