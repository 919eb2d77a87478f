#!/usr/bin/env python3
"""Runs the model of this folder with numpy and its runtime alone.

    python run.py INPUT [more ...]       say what the model sees in it
    python run.py                        check this machine: run the bundle's own samples, compare with what is expected

Exit codes: 0 done, 1 the outputs differ from the expected ones, 2 wrong usage, 3 a file is unusable or was altered,
4 a package is missing. Pillow is needed only to decode or resize an image, tokenizers only for texts. Works with
Python 3.6 and newer.
"""

import os
import sys

# Nothing is imported from this file's own folder: a numpy.py or json.py there is no part of the bundle.
sys.path[:] = [path for path in sys.path if os.path.realpath(path) != os.path.dirname(os.path.realpath(__file__))]

import argparse
import hashlib
import json

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


class Stop(Exception):
    """Ends the run with a message and an exit code."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def say(text, stream=None):
    stream = stream or sys.stdout
    encoding = stream.encoding or "ascii"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def hook(name):
    """What the parts of this file say of the input's kind and of the task, or None: see edgeft/bundle/run_py.py."""
    return globals().get(name)


def load_npy(path):
    """The array of a .npy file, never unpickled."""
    try:
        # a mapping cannot be larger than the file, whatever its header claims
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except Exception as error:  # numpy reads the header as Python words and raises errors of many types
        raise Stop(3, f"{path}: not readable as an array ({error})") from error


# --- the bundle -------------------------------------------------------------------------------------------------------


def load_manifest():
    try:
        with open(os.path.join(HERE, "manifest.json"), "rb") as handle:
            data = handle.read()
        with open(os.path.join(HERE, "manifest.sha256"), "rb") as handle:
            recorded = handle.read().split()[:1]
    except OSError as error:
        raise Stop(3, f"the bundle is incomplete: {error}") from error

    if recorded != [hashlib.sha256(data).hexdigest().encode()]:
        raise Stop(3, "manifest.json was altered: manifest.sha256 is not its digest")
    return json.loads(data.decode("utf-8"))


def checked(manifest, name):
    """The path of a listed file; stops when it is absent or not the one that was exported."""
    path = os.path.realpath(os.path.join(HERE, name))
    if not path.startswith(os.path.realpath(HERE) + os.sep) or name not in manifest["files"]:
        raise Stop(3, f"{name} is not a file of this bundle")

    digest = hashlib.sha256()
    try:
        with open(path, "rb") as handle:
            for block in iter(lambda: handle.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise Stop(3, f"the bundle is incomplete: {error}") from error

    if digest.hexdigest() != manifest["files"][name]["sha256"]:
        raise Stop(3, f"{name} was altered: its sha256 is not the manifest's")
    return path


# --- the model: this file's part for the bundle's runtime gives (input names, output names, run), where run takes and
# --- gives lists in that order


def load(manifest, threads, number=0):
    """A function from {input name: tensor} to {output name: tensor} of one graph, under the names of the manifest."""
    graph, backend = manifest["graphs"][number], manifest["backend"]
    if hook("RUNTIME") != backend:
        raise Stop(4, f"this runner does not know the runtime {backend!r}")

    for name in sorted(manifest["files"]):  # an .xml takes its .bin along, an .onnx its external data
        if not name.startswith("baseline/") and not name.endswith((".py", ".npz")):
            checked(manifest, name)

    path = checked(manifest, graph["file"])
    threads = threads or manifest["runtime"]["threads"]
    options = manifest["runtime"]["options"]
    found_in, found_out, run = hook("open_model")(path, threads, options)
    found_in, found_out = options.get("input_names") or found_in, options.get("output_names") or found_out
    wanted_in, wanted_out = [t["name"] for t in graph["inputs"]], [t["name"] for t in graph["outputs"]]
    if len(found_in) != len(wanted_in) or len(found_out) != len(wanted_out):
        raise Stop(3, "the model's inputs and outputs are not those of the manifest")

    # by name where the artifact kept the names, else by position
    order_in = wanted_in if set(found_in) != set(wanted_in) else found_in
    order_out = wanted_out if set(found_out) != set(wanted_out) else found_out

    def call(feeds):
        return dict(zip(order_out, run([np.ascontiguousarray(feeds[name]) for name in order_in])))

    return call


# --- the two things it does -------------------------------------------------------------------------------------------


def predict(manifest, calls, path, raw=None):
    """One line of what the model sees in an input, or in `raw`; `calls` are its graphs by name."""
    spec = manifest["preprocess"]
    if hook("read") is None:
        raise Stop(2, "this runner cannot read the model's kind of input: run it without one, or use `edgeft predict`")

    if raw is None:
        raw = hook("read")(path, spec)

    run = hook("compose")(calls, spec) if hook("compose") else calls[manifest["graphs"][0]["name"]]
    outputs = run(hook("feeds")(raw, spec))
    if hook("tell") is None:
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in outputs.items())
        return f"{path}: {shapes}"

    return "{}: {}".format(path, hook("tell")(outputs, raw, spec, manifest["labels"]))


def listen_all(manifest, call, arguments):
    """Says what is detected in every stream as it comes."""
    options = dict(vars(arguments), ignore=tuple(arguments.ignore))
    for name in arguments.inputs:
        for line in hook("listen")(call, name, manifest, options):
            say(line)
            sys.stdout.flush()
    return 0


def predict_all(manifest, calls, paths):
    """Says what the model predicts for every input; one that cannot be read is named, and its exit code returned."""
    code = 0
    for path in paths:
        try:
            parts = (hook("several")(path, manifest["preprocess"]) if hook("several") else []) or [(path, None)]
        except Stop as stop:
            say(f"run.py: {stop}", sys.stderr)
            code, parts = code or stop.code, []
        for name, raw in parts:
            try:
                say(predict(manifest, calls, name, raw))
            except Stop as stop:
                say("run.py: {}{}".format("" if raw is None else name + ": ", stop), sys.stderr)
                code = code or stop.code

    return code


def self_check(manifest, calls):
    """Prints one line an output and returns whether all are as expected.

    Allowed are 2 % of the output's range or 4 of its integer steps, whichever is more (runtimes round differently);
    decisions must be the same wherever the expected margin is wider than that.
    """
    with np.load(checked(manifest, "samples.npz"), allow_pickle=False) as archive:
        samples = {name: archive[name] for name in archive.files}
    good = check_preprocessing(manifest, samples)
    for graph in manifest["graphs"]:
        good = check_graph(manifest, graph, calls[graph["name"]], samples) and good
    return good


def place(manifest, graph):
    """What stands before a tensor's name in samples.npz: the graph's name, where there are several."""
    return graph["name"] + "/" if len(manifest["graphs"]) > 1 else ""


def check_graph(manifest, graph, call, samples):
    prefix, good, results = place(manifest, graph), True, []
    n = len(samples["input/" + prefix + graph["inputs"][0]["name"]])
    for i in range(n):
        results.append(call({t["name"]: samples["input/" + prefix + t["name"]][i : i + 1] for t in graph["inputs"]}))

    names = [t["name"] for t in graph["outputs"]]
    stored = {name: samples["output/" + prefix + name].astype(np.float64) for name in names}
    found = {name: np.concatenate([result[name] for result in results]).astype(np.float64) for name in names}
    sound = [found[name].shape == stored[name].shape and np.isfinite(found[name]).all() for name in names]
    if hook("in_order_of") and all(sound):
        found = hook("in_order_of")(stored, found)

    for tensor in graph["outputs"]:
        name = tensor["name"]
        expected, got = stored[name], found[name]
        if got.shape != expected.shape or not np.isfinite(got).all():
            say(f"{prefix}{name}: shape {got.shape} or values are not what is expected")
            good = False
            continue
        allowed = max(4 * (tensor.get("scale") or 0), 0.02 * float(expected.max() - expected.min()))
        worst = float(np.abs(got - expected).max())
        fine = worst <= allowed
        text = f"{prefix}{name}: {n} samples, largest difference {worst:.4g}, allowed {allowed:.4g}"
        if hook("decisions") and (hook("decides") is None or hook("decides")(name)):
            same, of, close = hook("decisions")(expected, got, allowed)
            fine = fine and close
            text += f", {same} of {of} decisions alike"
        say("{}: {}".format(text, "ok" if fine else "DIFFERS"))
        good = good and fine

    return good


def check_preprocessing(manifest, samples):
    """Whether the raw samples still become the tensors that were exported, within the tolerance of their kind."""
    spec, graph = manifest["preprocess"], manifest["graphs"][0]
    prefix = "input/" + place(manifest, graph)
    if hook("feeds") is None:
        return True

    stored_raw = hook("stored") or (lambda samples, i: samples[f"raw_{i}"])
    level = hook("tolerance")(spec) if hook("tolerance") else 0.0
    worst = 0.0

    for i in range(len(samples[prefix + graph["inputs"][0]["name"]])):
        try:
            feeds = hook("feeds")(stored_raw(samples, i), spec)
        except Stop as stop:
            say(f"preprocessing: not checked ({stop})", sys.stderr)
            return True
        for name, tensor in feeds.items():
            expected = samples[prefix + name][i : i + 1]
            if tensor.shape != expected.shape:
                say(f"preprocessing: makes {tensor.shape}, expected {expected.shape}: DIFFERS")
                return False
            worst = max(worst, float(np.abs(tensor - expected).max()))

    fine = worst <= 1.01 * level
    say("preprocessing: largest difference {:.4g}: {}".format(worst, "ok" if fine else "DIFFERS"))
    return fine


def arguments_of(parser):
    if hook("listen") is None:
        return parser.parse_args()

    parser.add_argument("--stream", action="store_true", help="say what is detected in INPUT, or in what comes in (-)")
    parser.add_argument("--rate", type=int, default=0, help="hertz of what comes in (default: the model's own)")
    parser.add_argument("--ignore", action="append", default=[], metavar="LABEL", help="a label that is no keyword")
    for name, value in hook("RULE").items():
        parser.add_argument("--" + name, type=float, default=value, help=f"of --stream (default: {value:g})")

    arguments = parser.parse_args()
    if arguments.stream and not arguments.inputs:
        parser.error("--stream needs an INPUT: a file, or - for standard input")

    return arguments


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help=hook("INPUTS") or "none: only its own samples")
    parser.add_argument("--threads", type=int, default=0, help="threads of the runtime (default: as verified)")
    arguments = arguments_of(parser)

    try:
        manifest = load_manifest()
        manifest["graphs"] = [graph for graph in manifest["graphs"] if not graph.get("personalize")]
        if os.path.exists(os.path.join(HERE, "state.npz")):
            say("note: this is the model as exported; `edgeft predict` takes what was learned since", sys.stderr)
        in_steps = [graph for graph in manifest["graphs"] if graph.get("stream")]
        manifest["graphs"] = [graph for graph in manifest["graphs"] if not graph.get("stream")]
        names = [graph["name"] for graph in manifest["graphs"]]
        calls = {name: load(manifest, max(arguments.threads, 0), k) for k, name in enumerate(names)}
        if getattr(arguments, "stream", False):
            step = load(dict(manifest, graphs=in_steps), max(arguments.threads, 0)) if in_steps else calls[names[0]]
            return listen_all(manifest, step, arguments)
        if arguments.inputs:
            return predict_all(manifest, calls, arguments.inputs)
        return 0 if self_check(manifest, calls) else 1
    except Stop as stop:
        say(f"run.py: {stop}", sys.stderr)
        return stop.code


if __name__ == "__main__":
    sys.exit(main())
