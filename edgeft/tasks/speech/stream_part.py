"""Words in a stream: those of edgeft/tasks/speech/stream.py, from the bundle's streaming graph."""

import numpy as np

from ...core.runner import Stop
from ...inputs.run_sound_stream import blocks, chunks_of

#: options of --stream: none
RULE: "dict[str, float]" = {}


def listen(call, name, manifest, options):
    """A line for each word in a file, or in standard input ("-"), as soon as it is over."""
    spec, labels, table = manifest["preprocess"], manifest["labels"], manifest.get("stream")
    if table is None:
        raise Stop(2, "this bundle has no streaming graph: export it with export.stream = 0.08")

    rate, chunks = chunks_of(name, spec, options["rate"])
    step = table["chunk"] * spec["hop"] / spec["rate"] / table["frames"]
    ahead = table["delay"] * table["chunk"] // table["frames"]
    word = None
    for start, token, sure in tokens(call, blocks(chunks, rate, spec, table["chunk"], ahead), table):
        piece = labels[token - 1]
        if word and (piece == " " or " " not in labels):
            yield line(word)
            word = None
        if piece != " ":
            word = (word[0], word[1] + piece, min(word[2], sure)) if word else (start * step, piece, sure)
    if word:
        yield line(word)


def line(word):
    return f"{word[0]:9.3f} s  {word[1]}  {100 * word[2]:.1f} %"


def tokens(call, features, table):
    """(first frame, token, largest probability) of each run of frames that name one token, once it is over."""
    current, start, sure, frame = 0, 0, 0.0, -table["delay"]
    states = {state["input"]: np.zeros(state["shape"], np.float32) for state in table["states"]}
    for number, block in enumerate(features):
        outputs = call(dict(states, **{table["input"]: block}))
        for state in table["states"]:
            # what lies before the first frame is zeros, as the padding of the whole network is
            early = number < state["warmup"]
            states[state["input"]] = np.zeros(state["shape"], np.float32) if early else outputs[state["output"]]

        for column in np.asarray(outputs[table["output"]][0], np.float64).T:
            token = int(column.argmax()) if frame >= 0 and np.isfinite(column).all() else 0
            if token != current and current:
                yield start, current, sure
            if token != current:
                current, start, sure = token, frame, 0.0
            if token:
                powers = np.exp(column - column.max())
                sure = max(sure, float(powers[token] / powers.sum()))
            frame += 1

    if current:
        yield start, current, sure
