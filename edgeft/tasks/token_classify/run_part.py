"""Entities: logits (1, L, C), the tag of a word at its first token -> the entities of a text, as `edgeft predict`."""

import numpy as np

from ...inputs.run_words import token_of_word


def tell(outputs, raw, spec, labels):
    logits = np.asarray(next(iter(outputs.values())), np.float64)[0]
    at, rows, before = token_of_word(raw, spec), [], ("O", "")
    for place, token in zip(raw["words"], at):
        row = logits[token] if token >= 0 else np.zeros(len(labels))
        if token < 0 or not np.isfinite(row).all():
            before = ("O", "")
            continue
        best, powers = int(row.argmax()), np.exp(row - row.max())
        prefix, _, kind = labels[best].partition("-")
        share = float(powers[best] / powers.sum())
        if prefix == "B" or (prefix == "I" and before[1] != kind):
            rows.append([kind, int(place[0]), int(place[1]), [share]])
        elif prefix == "I":
            rows[-1][2] = int(place[1])
            rows[-1][3].append(share)
        before = (prefix, kind)

    text, read = str(raw["text"]), [i for i, token in enumerate(at) if token >= 0]
    unread = len(at) - (read[-1] + 1 if read else 0)
    words = [f"{text[a:b]} ({kind} {100 * np.mean(shares):.0f} %)" for kind, a, b, shares in rows]
    behind = f" ({unread} words behind the model's length are not read)" if unread else ""

    return (", ".join(words) or "no entities") + behind


def decisions(expected, got, allowed):
    """(tokens of the same tag, all of them, whether every one that differs was a close call) of logits (n, L, C)."""
    top = np.sort(expected, axis=2)
    same = got.argmax(axis=2) == expected.argmax(axis=2)
    return int(same.sum()), same.size, bool((same | (top[..., -1] - top[..., -2] <= allowed)).all())
