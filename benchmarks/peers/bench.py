"""edgeft against other tools that quantize after training: the same float model, data and runtimes.

    python benchmarks/peers/bench.py --work DIR [--nets resnet20 ds_cnn] [--test 500] [--calibration 64]

`EDGEFT_DATA` names the folder with the data, `EDGEFT_IMAGENET` a sample of ImageNet (see nets.py). DIR keeps the
environments of the tools, models, artifacts, outputs and times, and a later call takes up what is there: other numbers of
samples need another DIR. A network that was not asked for keeps its rows in the results. `--collect` writes the section
and the plot of the results alone.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import common  # noqa: E402
import figures  # noqa: E402
import nets  # noqa: E402
import numpy as np  # noqa: E402
import plot  # noqa: E402
import section  # noqa: E402
import tools  # noqa: E402
from prepare import artifact, edgeft  # noqa: E402

PACKAGES = ("torch", "onnx", "onnxruntime", "openvino", "ai-edge-litert", "litert-torch", "numpy")
PINNED = ("nncf", "litert-quantizer", "torchao")


def step(script: str, *arguments: object) -> dict[str, Any]:
    """A step in a process of its own, with one thread."""
    os.environ["OMP_NUM_THREADS"] = "1"
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed ({done.returncode}):\n{done.stderr[-3000:]}")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else {}


def prepared(name: str, work: Path, calibration: int, test: int) -> Path:
    """The folder of a network, with its float forms and samples."""
    folder = work / name
    record, counts = folder / "samples.json", {"calibration": calibration, "test": test}
    if record.is_file():
        if json.loads(record.read_text()) != counts:
            raise SystemExit(f"{folder} has other numbers of samples ({record.read_text()}): give another --work")
        return folder

    folder.mkdir(parents=True, exist_ok=True)
    step("prepare.py", name, folder, calibration, test)
    record.write_text(json.dumps(counts))
    return folder


def entries(net: Path, work: Path, presets: list[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Every artifact that could be made: runtime, tool, setting, title, seconds; and what failed."""
    made, failures = [], []
    for runtime in common.RUNTIMES:
        made.append({"runtime": runtime, "tool": "float", "setting": "", "title": "float"})
        for preset in presets:
            title = "edgeft" if preset == "default" else f"edgeft, {preset}"
            made.append(
                {"runtime": runtime, "tool": "edgeft", "setting": preset, "title": title, **edgeft(net, preset)}
            )
        for name, tool in tools.TOOLS.items():
            for setting in tool.settings if tool.runtime == runtime else ():
                title = f"{tool.title} {setting}"
                seconds = tools.quantize(name, setting, net, work)
                if "error" in seconds:
                    failures.append(f"{title}: {seconds['error']}")
                else:
                    made.append({"runtime": runtime, "tool": name, "setting": setting, "title": title, **seconds})

    return made, failures


def outputs(net: Path, entry: dict[str, Any]) -> np.ndarray:
    """An artifact's outputs of all test samples, kept beside the network."""
    path = net / f"outputs.{entry['runtime']}.{entry['tool']}.{entry['setting']}.npy"
    if not path.is_file():
        made = artifact(net, entry["tool"], entry["setting"], entry["runtime"])
        step("measure.py", "outputs", net, entry["runtime"], made, path)
    return np.load(path)


def speeds(net: Path, runtime: str, made: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Of each artifact but edgeft's own default: how many times faster that is."""
    path = net / f"latency.{runtime}.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    files = {entry["title"]: artifact(net, entry["tool"], entry["setting"], runtime) for entry in made}
    ours = files.pop("edgeft")
    missing = {title: file for title, file in files.items() if title not in known}

    if missing:
        found = step("measure.py", "latency", net, runtime, seconds, ours, *missing.values())
        known |= {title: found[str(file)] for title, file in missing.items()}
        path.write_text(json.dumps(known))

    return known


def result(name: str, work: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """All rows of one network."""
    host = common.machine()
    net = prepared(name, work, arguments.calibration, arguments.test)
    made, failures = entries(net, work, arguments.presets)
    labels, rows = np.load(net / "labels.npy"), []
    reference = outputs(net, made[0])

    for runtime in common.RUNTIMES:
        part = [entry for entry in made if entry["runtime"] == runtime]
        ours = outputs(net, next(entry for entry in part if entry["title"] == "edgeft"))
        known = speeds(net, runtime, part, arguments.seconds)
        for entry in part:
            figure = {**entry, **figures.row(outputs(net, entry), ours, reference, labels)}
            figure["bytes"] = figures.size(artifact(net, entry["tool"], entry["setting"], runtime))
            figure["speed"] = known.get(entry["title"])
            figure["ms"] = _milliseconds(entry["title"], known)
            rows.append(figure)

    return {
        "title": nets.NETS[name].title,
        "n": len(labels),
        "calibration": arguments.calibration,
        "date": datetime.date.today().isoformat(),
        "float": figures.accuracy(reference, labels),
        "rows": rows,
        "failures": failures,
        "machine": host,
        "versions": {**common.versions(*PACKAGES), **_pins()},
    }


def _milliseconds(title: str, known: dict[str, Any]) -> float:
    """The shortest block of an artifact; of edgeft's own over all comparisons."""
    if title == "edgeft":
        return min(speed["least_ms"][0] for speed in known.values())
    return float(known[title]["least_ms"][1])


def _pins() -> dict[str, str]:
    text = "\n".join(path.read_text() for path in sorted((HERE / "requirements").glob("*.txt")))
    return {name: found[1] for name in PINNED if (found := re.search(rf"^{name}==(\S+)$", text, re.M))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--nets", nargs="+", default=list(nets.NETS), choices=list(nets.NETS))
    parser.add_argument("--test", type=int, default=500, help="test samples, at most")
    parser.add_argument("--calibration", type=int, default=64)
    parser.add_argument("--presets", nargs="+", default=["default"], help="calibration presets of edgeft")
    parser.add_argument("--seconds", type=float, default=6.0, help="at most so long for one comparison of speed")
    parser.add_argument("--collect", action="store_true", help="write the section and the plot of the results alone")
    arguments = parser.parse_args()
    if not arguments.collect and arguments.work is None:
        parser.error("--work is missing")

    path = common.RESULTS / "peers.json"
    record: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"nets": {}}
    for name in () if arguments.collect else arguments.nets:
        record["nets"][name] = result(name, arguments.work.absolute(), arguments)
        path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        print(f"{name}: done", flush=True)

    record = json.loads(path.read_text())  # in the order of the file, so that its section is always the same
    plot.plot(record, common.HERE.parent / "docs" / "pictures" / "peers.svg")
    common.publish("peers", section.section(record), record)


if __name__ == "__main__":
    main()
