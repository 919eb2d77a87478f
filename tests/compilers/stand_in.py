"""Compilers in software that behave badly, in real environments: what edgeft must survive of a vendor's program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from edgeft.compilers.environment import Environment

MODULE = """
import os, signal, subprocess, sys, time

def version(job):
    return {"version": "1.0", "packages": {"badly": "1.0"}}

def compile(job):
    how = job["settings"]["how"]
    print("compiling", job["model"])
    sys.stdout.flush()
    if how == "signal":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "hang":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open(os.environ["BADLY_PID"], "w").write(str(child.pid))
        time.sleep(600)
    if how == "exit":
        sys.exit(3)
    if how == "raise":
        raise RuntimeError("no such kernel")
    if how == "import":
        import a_package_that_is_not_there
    if how == "litter":
        open(os.path.join(job["folder"], "debug.log"), "w").write("not for a bundle")
        open("beside.txt", "w").write("written to the current folder")
    if how == "partial":  # as where memory runs out while it answers
        open(sys.argv[4], "w").write('{"files": ["mod')
        os.kill(os.getpid(), signal.SIGKILL)
    if how in ("absent", "climb", "empty"):
        open(os.path.join(job["folder"], "model.bin"), "wb").write(b"" if how == "empty" else b"compiled")
        return {"files": ["model.bin"] + {"absent": ["weights.bin"], "climb": ["../job.json"], "empty": []}[how]}
    if how == "silent":
        return {}
    if how == "leave":
        open(os.path.join(job["folder"], "model.bin"), "wb").write(b"compiled")
        return {"files": ["model.bin"], "on_cpu": [{"op": "Conv", "node": "fused_1", "why": "no kernel"}]}
    if how == "refuse":
        return {"refusal": {"why": "scale of 0", "node": "conv_3", "op": "CONV_2D"}}
    open(os.path.join(job["folder"], "model.bin"), "wb").write(b"compiled")
    return {"files": ["model.bin"], "on_cpu": [], "estimate": {"cycles": 10.0}}
"""
HOWS = (
    *("signal", "hang", "exit", "raise", "import", "litter", "leave", "refuse", "accept"),
    *("partial", "absent", "climb", "empty", "silent"),
)


#: what the package says of itself: a record in a file of its own
RECORD = """
from edgeft.compilers.compiler import Compiler, Setting

COMPILER = Compiler(
    name="badly",
    title="Badly",
    module="badly_behaved",
    requirements=("badly==1.0",),
    versions=("1.0",),
    settings=(Setting("how", choices={hows}),),
    machines=("x86_64", "aarch64"),
    compile_seconds={seconds},
)
"""
PROFILE = """
name = "board"
title = "A board"
backend = "onnxruntime"
compiler = "badly"
static_shapes = true
source = ["stand-in of the tests"]
confidence = "derived"

[compile]
how = "{how}"
"""


def environment(folder: Path, seconds: float = 60.0) -> Environment:
    """A real environment without pip that holds the module; its compiler gives up after `seconds`."""
    place = folder / "badly"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    site = next(place.glob("lib/python*/site-packages"))
    (site / "badly_behaved.py").write_text(MODULE)
    names: dict[str, Any] = {}
    exec(RECORD.format(hows=HOWS, seconds=seconds), names)
    return Environment(names["COMPILER"], str(place / "bin" / "python"), "1.0")


def package(folder: Path) -> None:
    """The compiler as a package that pip has installed into `folder`, with its entry point."""
    info = folder / "badly-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "badly_record.py").write_text(RECORD.format(hows=HOWS, seconds=60.0))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: badly\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[edgeft.compilers]\nbadly = badly_record:COMPILER\n")


def profile(folder: Path, how: str) -> Path:
    """A target whose compiler is the package's and behaves as `how` says."""
    path = folder / "board.toml"
    path.write_text(PROFILE.format(how=how))
    return path
