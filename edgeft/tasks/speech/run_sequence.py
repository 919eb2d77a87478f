"""Speech: the encoder once, then the decoder token by token; as in edgeft/tasks/speech/sequences.py."""

import json
import os

import numpy as np

from ...core.runner import HERE, Stop
from ...metrics.run_beam_search import searched_text, stacked


def compose(calls, spec):
    """A function from the feeds of one recording to {"tokens": a list of ids} by greedy or beam search."""

    def run(feeds):
        memory = stacked(calls["encoder"](feeds))
        return {"tokens": searched_text(calls["decoder"], memory, None, spec["search"])}

    return run


def tell(outputs, raw, spec, labels):
    table = pieces(os.path.join(HERE, spec["files"]["tokenizer"]))
    text = b"".join(table.get(token, b"") for token in outputs["tokens"]).decode("utf-8", "replace").strip()
    return text or "(no words)"


def pieces(path):
    """{token id: its bytes} of a byte-level BPE; special tokens have none."""
    try:
        with open(path, encoding="utf-8") as handle:
            content = json.load(handle)
        printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
        byte_of = {chr(byte): byte for byte in printed}
        others = [byte for byte in range(256) if byte not in printed]
        byte_of.update({chr(256 + place): byte for place, byte in enumerate(others)})
        table = {}
        for piece, number in content["model"]["vocab"].items():
            if all(character in byte_of for character in piece):
                table[number] = bytes(byte_of[character] for character in piece)
        for token in content["added_tokens"]:
            table[token["id"]] = b"" if token["special"] else token["content"].encode()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Stop(3, f"{path}: no tokenizer ({error})") from error
    return table


def decides(name):
    """Whether an output of a graph decides anything: keys and values do not."""
    return name == "logits"


def decisions(expected, got, allowed):
    """(same tokens, all of them, whether every one that differs was a close call) of logits (n, 1, V)."""
    top = np.sort(expected, axis=2)
    same = got.argmax(axis=2) == expected.argmax(axis=2)
    return int(same.sum()), same.size, bool((same | (top[:, :, -1] - top[:, :, -2] <= allowed)).all())
