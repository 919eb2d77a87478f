"""Time of `verify` and `bench` over many boards: 1, 2, 4, ... boards behind a real sshd on this machine.

    python benchmarks/fleet.py [--boards 1 2 4 8 16] [--jobs 16]

Every board is a folder of its own that was set up over ssh. They share the cores of this machine, so that the curve
shows what connections, copies and processes cost, and not that boards compute at the same time; real ones do.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import common

sys.path.insert(0, str(common.HERE.parent / "tests" / "devices"))
import sshd

BUNDLE = common.HERE.parent / "tests" / "fixtures" / "0.1.0" / "host"


def measured(command: str, addresses: list[str], jobs: int, environment: dict[str, str]) -> dict[str, object]:
    """{"command", "boards", "seconds", "counts"} of one call."""
    devices = [word for address in addresses for word in ("--device", address)]
    # a single --device has no table and no --jobs: two are the least of a fleet
    extra = ["--jobs", str(jobs)] if len(addresses) > 1 else []

    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "edgeft", command, str(BUNDLE), *devices, *extra, "--json"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    seconds = time.monotonic() - begun

    answer = json.loads(done.stdout)
    if done.returncode not in (0, 1, 5):
        raise SystemExit(f"{command}: {answer}\n{done.stderr[-2000:]}")
    counts = answer.get("counts", {"boards": 1, str(answer.get("verdict")): 1})
    return {"command": command, "boards": len(addresses), "seconds": round(seconds, 1), "counts": counts}


def set_up(address: str, environment: dict[str, str]) -> None:
    words = [sys.executable, "-m", "edgeft", "device", "setup", address, "--python", sys.executable, "--json"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boards", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--jobs", type=int, default=16)
    parser.add_argument("--commands", nargs="+", choices=["verify", "bench"], default=["verify", "bench"])
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder, sshd.serving(Path(folder, "server"), Path(folder, "board")) as server:
        environment = {**os.environ, **server.environ, "XDG_CONFIG_HOME": folder, "OMP_NUM_THREADS": "1"}
        addresses = [f"{server.url}-{number}" for number in range(max(arguments.boards))]
        begun = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda address: set_up(address, environment), addresses))
        print(json.dumps({"set up": len(addresses), "seconds": round(time.monotonic() - begun, 1)}), flush=True)

        for command in arguments.commands:
            for count in arguments.boards:
                print(json.dumps(measured(command, addresses[:count], arguments.jobs, environment)), flush=True)


if __name__ == "__main__":
    main()
