"""Networks of torchvision and timm by their names alone: captured, quantized, trained a few steps, lowered, compared.

    python benchmarks/zoo_names.py [--names timm:resnet18 torchvision:swin_t] [--fresh] [--failed]

Every name goes the same way, without a case of its own: random weights and a few steps of training, the smallest square
picture that the network takes, 8-bit quantization by the rules, three steps of training with quantization, and an artifact of each runtime whose
outputs the gate `parity` compares with the quantized graph, and whose integer weights with the graph's. Each runs in a
process with limits of processor time and memory; its row is kept in results/zoo_names.json and not made again, unless `--fresh`
(or, for rows that did not pass, `--failed`) is given. The table goes into docs/models.md. Needs the extra `vision`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
from zoo_name_list import NAMES

PAGE = common.HERE.parent / "docs" / "models.md"
BEGIN, END = "<!-- zoo names: begin -->", "<!-- zoo names: end -->"
#: sides of pictures that are tried, in pixels; after them the network's own
SIDES = (64, 96, 128, 224, 256)
CLASSES, IMAGES, BATCH = 10, 30, 20
#: steps of training in float, seconds of processor time that they may take, and steps with quantization
STEPS, SECONDS, QUANTIZED_STEPS, LEARNING_RATE = 40, 10, 3, 1e-3
#: seconds of processor time, seconds on the clock and bytes that a name may take
LONGEST, PATIENCE, MEMORY = 400, 1800, 8 * 2**30


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="*", default=list(NAMES), help="source:name; default: all of zoo_name_list.py")
    parser.add_argument("--fresh", action="store_true", help="run again what has a row")
    parser.add_argument("--failed", action="store_true", help="run again what has a row and did not pass")
    options = parser.parse_args(argv)
    _import_packages()

    path = common.RESULTS / "zoo_names.json"
    record = json.loads(path.read_text()) if path.is_file() else {"rows": {}}
    for name in options.names:
        row = record["rows"].get(name)
        if row is None or options.fresh or (options.failed and not passed(row)):
            row = _in_a_process(name)
            record = json.loads(path.read_text()) if path.is_file() else record  # another one may have added rows
            record["rows"][name] = row
            record["machine"] = record.get("machine") or common.machine()
            record["versions"] = common.versions(
                "torch", "torchvision", "timm", "onnxruntime", "openvino", "ai-edge-litert"
            )
            path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        print(name, "pass" if passed(row) else "FAIL", json.dumps(row), flush=True)

    _write_page(record)
    return 0 if all(passed(record["rows"][name]) for name in options.names) else 1


def _import_packages() -> None:
    """What every name needs, once: a copy of this process has it, and imports take as long as a small network."""
    for package in ("timm", "torchvision", "edgeft.graph.from_torch", "onnxscript", "onnxruntime", "litert_torch"):
        importlib.import_module(package)


def _in_a_process(name: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "row.json"
        process = multiprocessing.get_context("fork").Process(target=_write_row, args=(name, path))
        process.start()
        process.join(PATIENCE)
        if process.is_alive():
            process.kill()
            process.join()
            return {"error": f"took longer than {PATIENCE} s"}
        if process.exitcode in (-signal.SIGXCPU, -signal.SIGKILL):
            return {"error": f"took more than {LONGEST} s of processor time, or too much memory"}
        if not path.is_file():
            return {"error": f"the process ended with exit code {process.exitcode}"}
        row: dict[str, Any] = json.loads(path.read_text())
        return row


def _write_row(name: str, path: Path) -> None:
    """The row of a name, within the limits of this process."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST, LONGEST))
    try:
        row = measure(name)
    except Exception as error:
        traceback.print_exc()
        row = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
    path.write_text(json.dumps(row))


def measure(name: str) -> dict[str, Any]:
    """The row of one name. A step that fails ends it, with its reason; each runtime is tried whatever another did."""
    import torch

    from edgeft.config.scheme import Scheme
    from edgeft.core.errors import EdgeftError
    from edgeft.export.reference import PART_BYTES
    from edgeft.graph.same import same
    from edgeft.quantize.graph import prepare
    from edgeft.quantize.lower import lower
    from edgeft.quantize.ranges import calibrate
    from edgeft.quantize.sensitivity import rounding_reach

    torch.set_num_threads(1)
    begun = time.process_time()
    row: dict[str, Any] = {}

    try:
        module, side = _built(name)
        row["side"], row["parameters"] = side, sum(p.numel() for p in module.parameters())
        _settle(module, side)
        row["float_loss"] = _learn(module, side)
        images = _pictures(IMAGES, side, 0)[0]
        row["step"] = "captured and quantized"
        graph = prepare(module, (images[:2],), Scheme())
        graph.spread_channels(lambda: [(images[:8],)])
        graph.calibrate_weights("mse")
        calibrate(graph.module, lambda: ((x,) for x in images[:16].split(8)), estimator="mse")
        row |= {"dynamic_batch": graph.captured.dynamic, "weights": len(graph.weight_of)}
        row["float_ops"] = dict(graph.summary.float_ops)
        row["step"] = "trained with quantization"
        row["loss"] = _train(graph.module, side)
        row["step"] = "lowered"
        with torch.no_grad():
            row["lowered_equal"] = same(graph.module, lower(graph), (images[:2],))
            batches = images.split(8) if graph.captured.dynamic else images.split(1)
            logits = torch.cat([graph.module(x) for x in batches]).numpy()
        # of as many pictures as an export takes: of few, those that rounding moves farthest may be missing
        piece = images[: max(1, PART_BYTES // images[:1].nbytes)]
        reach = rounding_reach(graph, (piece,)) if graph.captured.dynamic else {}
    except EdgeftError as error:
        return row | {"error": f"{error.message} ({error.where})" if error.where else error.message}

    row.pop("step")
    expected = {graph.captured.output_names[0]: logits}
    row["runtimes"] = {kind: _in_runtime(kind, graph, images.numpy(), expected, reach) for kind in common.TARGETS}
    return row | {"seconds": round(time.process_time() - begun, 1)}


def _built(name: str) -> tuple[Any, int]:
    """The network with ten outputs through the model source, and the side of the pictures that it gets."""
    import torch

    from edgeft import models
    from edgeft.config import recipe
    from edgeft.core.errors import EdgeftError

    source, _, net = name.partition(":")
    problem: Exception | None = None
    for side in (*SIDES, 0):
        for args in ({"img_size": side}, {"image_size": side}, {}):
            if not side and args:
                continue
            torch.manual_seed(0)
            try:
                built = models.build(models.ModelRequest(recipe.Model(source, net, "", args), "classify", CLASSES))
                size = side or built.spec["size"][0]
                with torch.no_grad():
                    built.module.eval()(torch.zeros(2, 3, size, size))
            except (EdgeftError, RuntimeError, ValueError, AssertionError, TypeError, IndexError) as error:
                problem = error
                continue
            return built.module, size

    raise EdgeftError(f"takes pictures of none of the sizes that were tried: {problem}")


def _settle(module: Any, side: int) -> None:
    """Statistics of BatchNorm from pictures, and values of their own for what begins as one number (scales of a
    branch, biases, class tokens): else whole branches would say nothing, and any artifact of them would be right."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            first = float(parameter.flatten()[0])
            if parameter.numel() < 2 or not bool((parameter == first).all()):
                continue
            noise = torch.randn(parameter.shape, generator=generator)
            if abs(first) < 0.01:
                parameter.copy_(noise * (0.2 if parameter.dim() < 2 else parameter[0].numel() ** -0.5))
            else:
                parameter.mul_(1 + 0.2 * noise.clamp(-2, 2))

        norms = [m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            norm.momentum = None
            norm.reset_running_stats()
            norm.train()
        for seed in range(2) if norms else ():
            module(torch.from_numpy(common.images(8, side, seed)))

    module.eval()


def _pictures(count: int, side: int, seed: int) -> tuple[Any, Any]:
    """Pictures float32 (count, 3, side, side) of ten classes in turn, and their numbers: stripes of a width, a
    direction and a colour for each class, on a ground of chance."""
    import numpy as np
    import torch

    labels = np.arange(count) % CLASSES
    pictures = common.images(count, side, seed)
    places = np.stack(np.meshgrid(*[np.linspace(0, 2 * np.pi, side)] * 2))

    for picture, label in zip(pictures, labels):
        angle = np.pi * label / CLASSES
        waves = np.sin((2 + label % 3) * (np.cos(angle) * places[0] + np.sin(angle) * places[1]))
        picture += 1.5 * waves * np.roll([1.0, 0.3, -0.8], label)[:, None, None]

    return torch.from_numpy(pictures), torch.from_numpy(labels)


def _learn(module: Any, side: int) -> float:
    """The float network is trained a little, so that it tells pictures apart: what says the same of all is no test of
    rounding. Statistics of BatchNorm stay. Returns the last loss."""
    import torch

    from edgeft.tune.updates import train_mode

    train_mode(module, freeze=True)  # with the statistics of `_settle`: of small batches deep layers have none
    optimizer = torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE)
    begun = time.process_time()

    for step in range(STEPS):
        if time.process_time() - begun > SECONDS:
            break
        pictures, labels = _pictures(BATCH, side, 100 + step)
        loss = torch.nn.functional.cross_entropy(module(pictures), labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()

    module.zero_grad()
    module.eval()
    return float(loss.detach())


def _train(graph: Any, side: int) -> float:
    """A few steps with quantization; the last loss. Raises `ModelError` where it or a gradient is not finite."""
    import torch

    from edgeft.core.errors import ModelError

    parameters = [p for p in graph.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-5)
    for step in range(QUANTIZED_STEPS):
        pictures, labels = _pictures(8, side, 200 + step)
        loss = torch.nn.functional.cross_entropy(graph(pictures), labels)
        optimizer.zero_grad()
        loss.backward()
        if not all(bool(torch.isfinite(p.grad).all()) for p in parameters if p.grad is not None):
            raise ModelError("a gradient is not finite")
        optimizer.step()

    return float(loss.detach())


def _in_runtime(kind: str, graph: Any, images: Any, expected: dict[str, Any], reach: dict[str, Any]) -> dict[str, Any]:
    """The artifact of one runtime: parity, integer weights, and the share of the multiply-accumulates in integers."""
    import numpy as np

    from edgeft import backends, tasks
    from edgeft.backends.artifact import ExportRequest
    from edgeft.config import target
    from edgeft.core.errors import EdgeftError
    from edgeft.quantize.lower import integer_weights, lower
    from edgeft.verify.integer import integer
    from edgeft.verify.parity import output_steps, parity

    backend, captured, begun = backends.get(kind), graph.captured, time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        try:
            request = ExportRequest(
                lower(graph, backend.lowering),
                captured.example,
                captured.input_names,
                captured.output_names,
                target.load(common.TARGETS[kind]),
                captured.dynamic,
                weight_dtypes=graph.weight_dtypes(),
            )
            artifact = importlib.import_module(f"edgeft.backends.{kind}.exporter").export(request, Path(folder))
            path = Path(folder) / artifact.file
            session = backend.load(path)
            feed = session.inputs[0].name
            rows = [next(iter(session.run({feed: images[i : i + 1]}).values())) for i in range(len(images))]
            share = backend.integer_share(path, feeds={feed: images[:1]})
            stored = backend.integer_weights(path)
        except EdgeftError as error:
            return {"error": f"{error.message} ({error.where})" if error.where else error.message}

    weights = integer({w.name: (w.data, w.scale) for w in integer_weights(graph)}, stored)
    steps = graph.output_steps() or output_steps([{"name": name} for name in expected], expected)
    outputs = {name: np.concatenate(rows) for name in expected}
    verdict = parity(tasks.get("classify"), expected, outputs, steps, reach)

    return {
        "parity": verdict.verdict,
        "why": verdict.why,
        "integer": weights.verdict,
        "integer_why": weights.why,
        "int8_share": share.share,
        "float_ops": share.float_ops,
        "seconds": round(time.process_time() - begun, 1),
    }


def passed(row: dict[str, Any]) -> bool:
    cells = row.get("runtimes", {}).values()
    return bool(cells) and row["lowered_equal"] and all(_holds(cell) for cell in cells)


def _holds(cell: dict[str, Any]) -> bool:
    """Random weights may leave no clear decision: outputs within rounding suffice then."""
    return cell.get("parity") in ("pass", "inconclusive") and cell["integer"] == "pass"


def _write_page(record: dict[str, Any]) -> None:
    """Put the table between the marks of docs/models.md."""
    rows, notes = [], []
    for name in NAMES:
        row = record["rows"].get(name)
        if row is None:
            continue
        source, _, net = name.partition(":")
        if "error" in row:
            where = f"not {row['step']}" if "step" in row else "failed"
            rows.append((f"`{net}`", source, row.get("side", "-"), where, "-", "-", "-"))
            notes.append(f"- `{net}`, {where}: {_sentence(row['error'])}")
            continue
        cells = row["runtimes"]
        rows.append((f"`{net}`", source, row["side"], "yes", *(_cell(cells[kind]) for kind in common.RUNTIMES)))
        for kind, title in common.RUNTIMES.items():
            cell = cells[kind]
            if not _holds(cell):
                why = cell.get("error") or (cell["why"] if cell["parity"] == "fail" else cell["integer_why"])
                notes.append(f"- `{net}`, {title}: {_sentence(why)}")

    count = sum(passed(record["rows"][name]) for name in NAMES if name in record["rows"])
    head = ("name", "package", "pixels", "quantized and trained", *common.RUNTIMES.values())
    text = f"{count} of {len(rows)} names pass in all three runtimes.\n\n" + common.table(head, rows)
    text += "\n\n" + common.footing(record["machine"], record["versions"])
    if notes:
        text += "\n\nWhat did not pass, and why:\n\n" + "\n".join(notes)

    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")


def _cell(cell: dict[str, Any]) -> str:
    if "error" in cell:
        return "refused"
    return f"{'pass' if _holds(cell) else 'fail'}, {cell['int8_share']:.0%}"


def _sentence(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")[:300]


if __name__ == "__main__":
    sys.exit(main())
