"""Compilers in software that behave badly, in real environments: what edgeft must survive of a vendor's program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edgeft.compilers import Compiler
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
    if how == "refuse":
        return {"refusal": {"why": "scale of 0", "node": "conv_3", "op": "CONV_2D"}}
    open(os.path.join(job["folder"], "model.bin"), "wb").write(b"compiled")
    return {"files": ["model.bin"], "on_cpu": [], "estimate": {"cycles": 10.0}}
"""
HOWS = ("signal", "hang", "exit", "raise", "import", "litter", "refuse", "accept")


def environment(folder: Path, seconds: float = 60.0) -> Environment:
    """A real environment without pip that holds the module; its compiler gives up after `seconds`."""
    from edgeft.compilers.compiler import Setting

    place = folder / "badly"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    site = next(place.glob("lib/python*/site-packages"))
    (site / "badly_behaved.py").write_text(MODULE)
    compiler = Compiler(
        name="badly",
        title="Badly",
        module="badly_behaved",
        requirements=("badly==1.0",),
        versions=("1.0",),
        settings=(Setting("how", choices=HOWS),),
        machines=("x86_64", "aarch64"),
        compile_seconds=seconds,
    )
    return Environment(compiler, str(place / "bin" / "python"), "1.0")
