"""Vectors of texts (n, width): the numbers of the first input, and how near the others are, as `edgeft predict`."""

import numpy as np

QUERY = [()]  # the vector of the first input; a list, so that a function can set it


def compose(calls, spec):
    """The only graph, called for one text at a time."""
    (call,) = calls.values()

    def run(inputs):
        count = len(next(iter(inputs.values())))
        rows = [call({name: value[i : i + 1] for name, value in inputs.items()}) for i in range(count)]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    return run


def tell(outputs, raw, spec, labels):
    vectors = np.asarray(next(iter(outputs.values())), np.float64)
    several = isinstance(raw, dict)
    if QUERY[0] == ():
        QUERY[0] = None if several else tuple(vectors[0])
        if several:
            return "{} texts of {} numbers each".format(*vectors.shape)
        shown = ", ".join(f"{value:.3f}" for value in vectors[0][:4]) + (", ..." if len(vectors[0]) > 4 else "")
        return f"[{shown}] ({len(vectors[0])} numbers)"

    if QUERY[0] is None:
        return "{} texts of {} numbers each".format(*vectors.shape)

    query = np.array(QUERY[0])
    cosines = vectors @ query / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(query))
    if not several:
        return f"similarity {cosines[0]:.3f}"

    words = []
    for i in np.argsort(-cosines, kind="stable")[:3]:
        text = raw["texts"][i]
        words.append("{:.3f} line {}: {}".format(cosines[i], i + 1, text if len(text) <= 60 else text[:60] + " ..."))

    return "; ".join(words)


def decisions(expected, got, allowed):
    """(vectors of a cosine of 0.98 or more, all of them, whether these are all) of vectors (n, width)."""
    norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(got, axis=1)
    same = (expected * got).sum(axis=1) / norms >= 0.98
    return int(same.sum()), len(same), bool(same.all())
