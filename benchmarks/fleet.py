"""Time of `verify`, `bench` and `personalize` over many boards: 1, 2, 4, ... boards behind a real sshd on this machine.

    python benchmarks/fleet.py [--boards 1 2 4 8 16] [--jobs 16]
    python benchmarks/fleet.py --commands personalize --boards 100 --jobs 2 --alike --hang-up 20 60 --table

Every board is a folder of its own that was set up over ssh; with --alike one is set up, and the others are copies of its
folder. They share the cores of this machine, so that the curve shows what connections, copies and processes cost, and
not that boards compute at the same time; real ones do. --hang-up ends all connections so many seconds after a command
began, as a broken network does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import common

from edgeft.devices import known

sys.path.insert(0, str(common.HERE.parent / "tests"))
sys.path.insert(0, str(common.HERE.parent / "tests" / "personalize"))
sys.path.insert(0, str(common.HERE.parent / "tests" / "devices"))
import new_sounds
import sshd

TESTS = common.HERE.parent / "tests"

COMMANDS = ("verify", "bench", "personalize")
#: a plain bundle, and one whose tail is trained on the board
BUNDLES = {"personalize": TESTS / "fixtures" / "chirps"}
BUNDLE = TESTS / "fixtures" / "0.1.0" / "host"


def measured(
    command: str, addresses: list[str], arguments: argparse.Namespace, server: sshd.Server
) -> dict[str, object]:
    """{"command", "boards", "jobs", "seconds", "counts", "attempts"} of one call."""
    devices = [word for address in addresses for word in ("--device", address)]
    # a single --device has no table and no --jobs: two are the least of a fleet
    extra = ["--jobs", str(arguments.jobs)] if len(addresses) > 1 else []
    if command == "personalize":
        extra += ["--data", str(server.folder / "sounds" / "other")]
        for learned in server.root.parent.rglob("state.npz"):
            learned.unlink()  # boards that have learned already would have less to gain
    json_or_table = [] if arguments.table else ["--json"]

    timers = [threading.Timer(seconds, server.hang_up) for seconds in arguments.hang_up]
    for timer in timers:
        timer.start()
    begun = time.monotonic()
    words = [
        sys.executable,
        "-m",
        "edgeft",
        command,
        str(BUNDLES.get(command, BUNDLE)),
        *devices,
        *extra,
        *json_or_table,
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - begun
    for timer in timers:
        timer.cancel()

    about = {"command": command, "boards": len(addresses), "jobs": arguments.jobs, "seconds": round(seconds, 1)}
    if arguments.table:
        print(done.stderr + done.stdout, flush=True)
        return {**about, "exit_code": done.returncode}
    answer = json.loads(done.stdout)
    if done.returncode not in (0, 1, 5):
        raise SystemExit(f"{command}: {answer}\n{done.stderr[-2000:]}")
    counts = answer.get("counts", {"boards": 1, str(answer.get("verdict")): 1})
    attempts = Counter(result["attempts"] for result in answer.get("results", []))
    return {**about, "counts": counts, "attempts": dict(sorted(attempts.items()))}


def set_up(address: str) -> None:
    words = [sys.executable, "-m", "edgeft", "device", "setup", address, "--python", sys.executable, "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


def copy(first: str, address: str) -> None:
    """A board that is as the first one: a copy of its folder, and its record under another name."""
    shutil.copytree(urlsplit(first).path, urlsplit(address).path)
    record = known.read(first)
    assert record is not None
    known.write(address, {key: value for key, value in record.items() if key != "name"})


def prepare(addresses: list[str], alike: bool) -> None:
    if alike:
        set_up(addresses[0])
        for address in addresses[1:]:
            copy(addresses[0], address)
        return
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(set_up, addresses))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boards", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--jobs", type=int, default=16)
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=COMMANDS)
    parser.add_argument("--alike", action="store_true", help="set up one board and copy it")
    parser.add_argument("--hang-up", type=float, nargs="+", default=[], metavar="SECONDS")
    parser.add_argument("--table", action="store_true", help="print what a user sees in place of counts")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder, sshd.serving(Path(folder, "server"), Path(folder, "board")) as server:
        os.environ.update({**server.environ, "XDG_CONFIG_HOME": folder, "OMP_NUM_THREADS": "1"})
        new_sounds.write(server.folder / "sounds", each=8)
        addresses = [f"{server.url}-{number}" for number in range(max(arguments.boards))]
        begun = time.monotonic()
        prepare(addresses, arguments.alike)
        print(json.dumps({"set up": len(addresses), "seconds": round(time.monotonic() - begun, 1)}), flush=True)

        for command in arguments.commands:
            for count in arguments.boards:
                print(json.dumps(measured(command, addresses[:count], arguments, server)), flush=True)


if __name__ == "__main__":
    main()
