"""Commands that are killed (SIGKILL) at a random moment: what was there before or what they make is whole, never a mixture.

Each function of `COMMANDS` prepares a folder and gives the command, a check of what is left that raises or returns a
sentence of what is wrong, and the command that must succeed afterwards and sweep what was left.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Check = Callable[[], str]
TESTS = Path(__file__).resolve().parent.parent / "tests"
#: what a command writes beside its place until it is whole
_LEFT = re.compile(r".*\.(tmp|old)")


@dataclass(frozen=True)
class Victim:
    command: list[str]
    check: Check  # "" where what is left is whole
    again: list[str]
    after: Check
    folder: Path


@dataclass(frozen=True)
class Base:
    """What all commands work on: a run, the command that trains it, its bundle for the host and those for all runtimes;
    the folder of two keys with their public halves in `public`."""

    run: Path
    recipe: list[str]
    bundle: Path
    keys: Path
    bundles: Path


def edgeft(*words: object) -> list[str]:
    return [sys.executable, "-m", "edgeft", "--quiet", *map(str, words)]


def done(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def leftovers(folder: Path) -> str:
    left = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if _LEFT.fullmatch(path.name)]
    return f"left behind: {', '.join(left)}" if left else ""


def aged(folder: Path) -> None:
    """Temporary files of dead processes are swept when they are an hour old."""
    for path in folder.rglob("*"):
        if _LEFT.fullmatch(path.name) and path.is_file():
            os.utime(path, (0, 0))


def opens(bundle: Path, trust: Path | None = None) -> str:
    from edgeft import load
    from edgeft.core.errors import EdgeftError

    try:
        load(bundle, trust)
    except EdgeftError as error:
        return str(error)
    return ""


def digests(run: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(run.glob("*.safetensors"))}


def sign(base: Base, folder: Path) -> Victim:
    bundle = Path(shutil.copytree(base.bundle, folder / "bundle"))
    first = edgeft("sign", bundle, "--key", base.keys / "first.pem")
    done(first)
    command = edgeft("sign", bundle, "--key", base.keys / "second.pem")
    return Victim(command, lambda: opens(bundle, base.keys / "public"), command, lambda: leftovers(bundle), folder)


def accept(base: Base, folder: Path) -> Victim:
    from edgeft.bundle import reader
    from edgeft.core.errors import EdgeftError
    from edgeft.measure import store
    from edgeft.measure.fingerprint import fingerprint

    root = folder / "baselines"
    command = edgeft("bench", base.bundle, "--accept", "--baselines", root, "--seconds", "0.3")
    done(command)
    opened = reader.open(base.bundle)

    def check() -> str:
        machine = fingerprint(threads=1, runtime={"name": opened.backend, "version": opened.runtime.version()})
        try:
            found = store.find(root, opened, machine)
            store.history(root)
        except EdgeftError as error:
            return str(error)
        return "" if found is not None else "the accepted bundle is gone"

    return Victim(command, check, command, lambda: leftovers(root), folder)


def personalize(base: Base, folder: Path) -> Victim:
    """A model that has learned another voice learns a new class: its state is there before and another one after."""
    sys.path[:0] = [str(TESTS), str(TESTS / "personalize")]
    import new_sounds

    bundle = Path(shutil.copytree(TESTS / "fixtures" / "chirps", folder / "bundle"))
    voice, new_class = new_sounds.write(folder / "sounds")
    if done(edgeft("personalize", bundle, "--data", voice)).returncode:
        raise SystemExit("the first personalization was not accepted: a kill of the second would show nothing")

    def check() -> str:
        from edgeft.bundle import reader
        from edgeft.core.errors import EdgeftError
        from edgeft.personalize.run import session

        try:
            return "" if session(reader.open(bundle), None, threads=1) else "what was learned is gone"
        except EdgeftError as error:
            return str(error)

    def after() -> str:
        from edgeft.bundle import reader
        from edgeft.personalize.run import session

        state = session(reader.open(bundle), None, threads=1)
        return leftovers(bundle) or ("" if state and "buzz" in state.labels else "the new class was not learned")

    command = edgeft("personalize", bundle, "--data", new_class)
    return Victim(command, check, command, after, folder)


def export(base: Base, folder: Path) -> Victim:
    out = folder / "bundles"
    command = edgeft("export", base.run, "--target", "host", "--out", out)
    return Victim(
        command,
        lambda: opens(out / "host") if (out / "host").exists() else "",
        [*command, "--overwrite"],
        lambda: leftovers(out) or opens(out / "host"),
        folder,
    )


def tune(base: Base, folder: Path) -> Victim:
    out = folder / "run"
    expected = digests(base.run)

    def after() -> str:
        same = digests(out) == expected
        return leftovers(out) or ("" if same else "the resumed run has other weights")

    return Victim([*base.recipe, "--out", str(out)], lambda: "", edgeft("tune", "--resume", out), after, folder)


COMMANDS: dict[str, Callable[[Base, Path], Victim]] = {
    "edgeft sign": sign,
    "edgeft bench --accept": accept,
    "edgeft personalize": personalize,
    "edgeft export": export,
    "edgeft tune": tune,
}


def killed(
    name: str, base: Base, folder: Path, kills: int, rng: np.random.Generator, log: Path
) -> dict[str, Any] | None:
    """So many kills of a command, at moments drawn evenly from the time that it takes undisturbed.

    `log` keeps what was counted: a later call goes on behind it. None where nothing was asked for yet.
    """
    row = json.loads(log.read_text()) if log.exists() else {"kills": 0, "in_time": 0, "faults": []}
    if row["kills"] >= kills:
        return row if row["kills"] else None

    prepared = COMMANDS[name](base, folder / "timing")
    begun = time.monotonic()
    whole = done(prepared.command)
    row["seconds"] = time.monotonic() - begun
    if whole.returncode not in (0, 1, 5):
        raise SystemExit(f"{name} fails undisturbed:\n{whole.stderr[-2000:]}")

    while row["kills"] < kills:
        victim = COMMANDS[name](base, folder / str(row["kills"]))
        row["in_time"] += struck(victim, float(rng.uniform(0.0, row["seconds"])))
        row["faults"] += [f"{row['kills']}{fault}" for fault in faults(name, victim)]
        row["kills"] += 1
        shutil.rmtree(victim.folder, ignore_errors=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(json.dumps(row))

    return row


def struck(victim: Victim, seconds: float) -> bool:
    """Start the command and kill it after so many seconds; whether it was still running then."""
    process = subprocess.Popen(
        victim.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    time.sleep(seconds)
    in_time = process.poll() is None
    if in_time:
        os.killpg(process.pid, signal.SIGKILL)

    process.wait()
    return in_time


def faults(name: str, victim: Victim) -> list[str]:
    """What is wrong of what a kill left, and after the command has been run again."""
    wrong = [f": {fault}"] if (fault := victim.check()) else []
    aged(victim.folder)
    begun_again = name == "edgeft tune" and not (victim.folder / "run/recipe.toml").exists()
    after = done(victim.command if begun_again else victim.again)
    if after.returncode not in (0, 1, 5):
        return [*wrong, f", again: {after.stderr.strip()[-300:]}"]
    return [*wrong, *([f", after: {fault}"] if (fault := victim.after()) else [])]
