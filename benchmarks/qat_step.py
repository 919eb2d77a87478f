"""What a step of quantization-aware training costs over a step of float training, in time and in saved activations.

    python benchmarks/qat_step.py [--nets mobilenet_v2,resnet18] [--batch 32] [--seconds 90] [--threads 1]

The same network, batch and optimizer (AdamW), at 96 px. The float step is the module in training mode, BatchNorm and
all; the other is the captured graph with its fake-quantize modules, every parameter learning, exactly as `edgeft tune`
trains it; a third has the float teacher's forward and the distillation loss in it. Steps are taken in turns (paired
quads), one process per network.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import common

if TYPE_CHECKING:
    import torch

SIDE, CLASSES = 96, 10
GOALS = {"qat": 1.6, "distilled": 1.9, "saved": 1.7}
NETS = ("mobilenet_v2", "resnet18")
WIDE, TRIES = 0.06, 3


@dataclass(frozen=True)
class Case:
    """One network, in float and as a quantized graph, with the losses of one batch and an optimizer each."""

    module: torch.nn.Module
    graph: torch.nn.Module
    losses: dict[str, Callable[[], torch.Tensor]]
    optimizers: dict[str, torch.optim.Optimizer]

    def step(self, name: str) -> Callable[[], None]:
        loss_of = self.losses[name]
        optimizer = self.optimizers["float" if name == "float" else "qat"]

        def run() -> None:
            loss = loss_of()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        return run

    def saved(self, name: str) -> int:
        """Bytes of activations that the backward pass needs."""
        from edgeft.tune.memory import SavedBytes

        with SavedBytes((self.module if name == "float" else self.graph).parameters()) as counted:
            self.losses[name]()
        return counted.total


def case_of(net: str, batch: int) -> Case:
    import copy

    import torch

    from edgeft import tasks
    from edgeft.config.scheme import Scheme
    from edgeft.graph.from_torch import capture_float
    from edgeft.quantize.graph import insert
    from edgeft.quantize.ranges import calibrate
    from edgeft.tune import optimizers as of_edgeft
    from edgeft.tune import updates
    from edgeft.tune.groups import qat_groups

    module = common.network(net, CLASSES, SIDE)
    x = torch.from_numpy(common.images(batch, SIDE, seed=50))
    y = torch.randint(CLASSES, (batch,), generator=torch.Generator().manual_seed(0))
    objective = tasks.get("classify").learning()
    captured = capture_float(copy.deepcopy(module), (x[:2],))
    graph = insert(captured, Scheme())
    graph.calibrate_weights()
    calibrate(graph.module, lambda: [(x,)], estimator="minmax")
    head = "fc" if net.startswith("resnet") else "classifier.1"
    updates.apply_to_graph(graph, module, head, "full")
    teacher = captured.module
    for parameter in teacher.parameters():
        parameter.requires_grad_(False)

    def distilled() -> torch.Tensor:
        student = graph.module(x)
        with torch.no_grad():
            taught = teacher(x)
        return objective.distill(student, taught, y)

    losses = {
        "float": lambda: objective.loss(module(x), y),
        "qat": lambda: objective.loss(graph.module(x), y),
        "distilled": distilled,
    }
    rate = 1e-6  # the cost of a step does not depend on it, and the networks stay as they are
    groups = {
        "float": objective.groups(module, head, lr=rate, head_lr=rate, weight_decay=1e-4),
        "qat": qat_groups(graph.module, rate),
    }
    optimizers = {name: of_edgeft.make("adamw", groups[name]) for name in groups}
    module.train()

    return Case(module, graph.module, losses, optimizers)


def measure(net: str, batch: int, seconds: float, threads: int) -> dict[str, Any]:
    import torch

    torch.set_num_threads(threads)
    case = case_of(net, batch)
    found: dict[str, Any] = {"net": net, "batch": batch, "threads": threads}
    bytes_of = {name: case.saved(name) for name in ("float", "qat")}
    found["saved"] = {**bytes_of, "ratio": bytes_of["qat"] / bytes_of["float"]}
    base = case.step("float")

    for name in ("qat", "distilled"):
        limits = {"wide": WIDE, "tries": TRIES, "max_seconds": seconds, "min_quads": 16}
        best = common.surest(base, case.step(name), **limits)
        found[name] = {
            "ratio": best.estimate,
            "ci99": [best.low, best.high],
            "clock": best.clock,
            "quads": best.quads,
            "least_ms": {"float": min(best.a_ms), name: min(best.b_ms)},
            "ratio_of_least": min(best.b_ms) / min(best.a_ms),
        }

    return found


def section(rows: list[dict[str, Any]], host: dict[str, Any], used: dict[str, str]) -> str:
    body = []
    for row in rows:
        title = f"{common.TITLES[row['net']]}, batch {row['batch']}"
        for name, what in (("qat", "step"), ("distilled", "step with the teacher's forward")):
            found = row[name]
            interval = f"{found['ratio']:.2f} ({found['ci99'][0]:.2f} to {found['ci99'][1]:.2f})"
            met = common.mark(min(found["ratio"], found["ratio_of_least"]), most=GOALS[name])
            body.append([title, what, interval, f"{found['ratio_of_least']:.2f}", GOALS[name], met])
        ratio = row["saved"]["ratio"]
        body.append(
            [title, "saved activations", f"{ratio:.2f}", "", GOALS["saved"], common.mark(ratio, most=GOALS["saved"])]
        )

    return f"""## A step of quantization-aware training

{SIDE} px, {rows[0]["threads"]} thread(s), AdamW, everything learns; each figure is a ratio to the float step (BatchNorm in training mode)
of the same network and batch. Medians of paired quads with 99 % intervals, and the ratio of the shortest steps; the
goal is met by either.

{common.table(["network", "what", "over float", "by least times", "at most", "met"], body)}

{common.footing(host, used)}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default=",".join(NETS))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=90.0, help="at most so long for one comparison")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--step", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()

    if asked.step:
        print("\n" + json.dumps(measure(asked.nets, asked.batch, asked.seconds, asked.threads)))
        return

    host = common.machine()
    options = ["--batch", str(asked.batch), "--seconds", str(asked.seconds), "--threads", str(asked.threads)]
    rows = [common.child(__file__, "--step", "--nets", net, *options) for net in asked.nets.split(",")]
    used = common.versions("torch", "edgeft")
    common.publish("qat_step", section(rows, host, used), {"machine": host, "versions": used, "rows": rows})


if __name__ == "__main__":
    main()
