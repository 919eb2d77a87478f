"""Translation: the encoder once, then the decoder token by token."""

import numpy as np

from ...core.runner import hook
from ...metrics.run_beam_search import searched_text, stacked


def compose(calls, spec):
    """A function from the feeds of one sentence to {"tokens": a list of ids} by greedy or beam search."""

    def run(feeds):
        memory = stacked(calls["encoder"](feeds))
        return {"tokens": searched_text(calls["decoder"], memory, feeds["source_mask"], spec)}

    return run


def tell(outputs, raw, spec, labels):
    return hook("tokenizer_of")(spec, "target").decode(outputs["tokens"], skip_special_tokens=True).strip()


def decides(name):
    """Whether an output of a graph decides anything: keys and values do not."""
    return name == "logits"


def decisions(expected, got, allowed):
    """(same tokens, all of them, whether every one that differs was a close call) of logits (n, 1, V)."""
    top = np.sort(expected, axis=2)
    same = got.argmax(axis=2) == expected.argmax(axis=2)
    return int(same.sum()), same.size, bool((same | (top[:, :, -1] - top[:, :, -2] <= allowed)).all())
