"""Speech: logits (1, 1 + labels, frames) -> the words of the best path (CTC); as in edgeft/tasks/speech/decoding.py."""

import numpy as np


def transcripts(logits):
    """The labels' numbers that each sample says: equal neighbours are one, output 0 is the blank."""
    best = np.where(np.isfinite(logits).all(axis=(1, 2))[:, None], logits.argmax(axis=1), 0)
    first = np.ones(best.shape, bool)
    first[:, 1:] = best[:, 1:] != best[:, :-1]
    return [(path[new & (path > 0)] - 1).tolist() for path, new in zip(best, first)]


def tell(outputs, raw, spec, labels):
    logits = np.asarray(next(iter(outputs.values())), np.float64)
    if not np.isfinite(logits).all():
        return "undecided (the outputs are not finite)"
    pieces = [labels[number] for number in transcripts(logits)[0]]
    return " ".join("".join(pieces).split() if " " in labels else pieces) or "(no words)"


def decisions(expected, got, allowed):
    """(same transcripts, all of them, whether every frame that decides otherwise was a close call)."""
    same = [first == second for first, second in zip(transcripts(expected), transcripts(got))]
    top = np.sort(expected, axis=1)
    close = (expected.argmax(axis=1) == got.argmax(axis=1)) | (top[:, -1] - top[:, -2] <= allowed)
    return sum(same), len(same), bool(close.all())
