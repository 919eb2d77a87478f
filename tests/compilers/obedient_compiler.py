"""A vendor's compiler in software that keeps to the record's protocol (`edgeft.compilers.compiler.Compiler`).

It is the content of the wheel that tests/compilers/obedient.py serves, and runs in the environment that edgeft makes of
it. What it writes is the ONNX file behind a mark of its own, and its simulator is ONNX Runtime. Settings make it refuse
an op, leave one to the CPU, add to what it simulates, or end badly.
"""

import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version as version_of

MARK = b"OBEDIENT"


def version(job):
    return {"version": version_of("obedient"), "packages": {"obedient": version_of("obedient")}}


def compile(job):
    from edgeft.backends.onnxruntime import wire

    settings = job["settings"]
    print("compiling", flush=True)
    misbehave(settings["ends"], "compile")

    nodes = list(wire.read(job["model"]).nodes())
    refused = [node for node in nodes if node.op == settings["refuses"]]
    if refused:
        why = f"{len(refused)} of them have no kernel"
        return {"refusal": {"why": why, "node": refused[0].name, "op": refused[0].op}}

    with open(job["model"], "rb") as model, open(os.path.join(job["folder"], "model.obedient"), "wb") as made:
        made.write(MARK + model.read())
    left = [{"op": node.op, "node": node.name, "why": "no kernel"} for node in nodes if node.op == settings["leaves"]]
    return {"files": ["model.obedient"], "on_cpu": left, "estimate": {"cycles": 1000.0 * len(nodes)}}


def simulate(job):
    import numpy as np
    import onnxruntime as ort

    print("simulating", flush=True)
    misbehave(job["settings"]["ends"], "simulate")

    with open(job["model"], "rb") as file:
        content = file.read()
    if not content.startswith(MARK):
        raise ValueError("not a file of this compiler")
    session = ort.InferenceSession(content[len(MARK) :], providers=["CPUExecutionProvider"])
    with np.load(job["feeds"], allow_pickle=False) as archive:
        feeds = {name: archive[name] for name in archive.files}

    rows = []
    for k in range(len(next(iter(feeds.values())))):
        rows.append(session.run(None, {name: values[k : k + 1] for name, values in feeds.items()}))
    outputs = {output.name: np.concatenate([row[k] for row in rows]) for k, output in enumerate(session.get_outputs())}
    if job["settings"]["computes"] == "wrong":
        outputs = {name: np.roll(values, 1, axis=-1) for name, values in outputs.items()}
    np.savez(job["outputs"], **outputs)
    return {}


def misbehave(how, step):
    """End as the setting `ends` says, where it is about this step."""
    if how == f"{step} signal":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == f"{step} hang":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        with open(os.environ["OBEDIENT_PIDS"], "w") as file:
            file.write(f"{os.getpid()} {child.pid}")
        time.sleep(600)
