"""How long `edgeft --help` takes, and which packages it and `import edgeft` load.

    python benchmarks/startup.py [--runs 30]

Every run is a fresh interpreter. The clock starts before Python does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import common

GOAL = 0.2
HEAVY = ("torch", "onnx", "onnxruntime", "openvino", "tensorflow", "ai_edge_litert", "litert_torch", "scipy", "numpy")
#: what must not be there; numpy is only told
FORBIDDEN = ("torch", "onnx", "openvino", "tensorflow", "scipy")
IMPORT = "import edgeft"
HELP = "from edgeft.cli.entry import run; run(['--help'])"


def seconds(command: list[str], runs: int) -> list[float]:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return times


def loaded(code: str) -> list[str]:
    """Those of `HEAVY` that are in memory after `code` ran in a fresh interpreter."""
    text = f"import sys\n{code}\nprint()\nprint(*sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", text], check=True, capture_output=True, text=True)
    found = set(done.stdout.splitlines()[-1].split())
    return [name for name in HEAVY if name in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30)
    asked = parser.parse_args()
    host = common.machine()
    script = Path(sys.executable).with_name("edgeft")
    command = [str(script)] if script.is_file() else [sys.executable, "-m", "edgeft"]
    times = {
        "`edgeft --help`": seconds([*command, "--help"], asked.runs),
        "`import edgeft`": seconds([sys.executable, "-c", IMPORT], asked.runs),
        "python alone": seconds([sys.executable, "-c", "pass"], asked.runs),
    }
    packages = {"`edgeft --help`": loaded(HELP), "`import edgeft`": loaded(IMPORT)}
    rows = []

    for title, values in times.items():
        names = packages.get(title)
        clean = names is None or not set(names) & set(FORBIDDEN)
        met = common.mark(min(values), most=GOAL) if title == "`edgeft --help`" else ("yes" if clean else "**no**")
        rows.append(
            [
                title,
                f"{min(values) * 1e3:.0f}",
                f"{statistics.median(values) * 1e3:.0f}",
                "" if names is None else ", ".join(names) or "none",
                "" if names is None else met if clean else "**no**",
            ]
        )

    section = f"""## Starting

{asked.runs} fresh interpreters each. `edgeft --help` is to take less than {GOAL:g} s, and neither it nor `import edgeft` may load
{", ".join(FORBIDDEN)}; the least time is judged, since other work on the machine only ever adds to it.

{common.table(["", "least ms", "median ms", "heavy packages loaded", "met"], rows)}

{common.footing(host, common.versions("click", "edgeft"))}"""
    record = {"machine": host, "seconds": times, "loaded": packages}
    common.publish("startup", section, json.loads(json.dumps(record)))


if __name__ == "__main__":
    main()
