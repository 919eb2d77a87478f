"""Translation: the encoder once, then the decoder token by token, as in edgeft/metrics/beam_search.py."""

import numpy as np

from ...core.runner import hook


def compose(calls, spec):
    """A function from the feeds of one sentence to {"tokens": a list of ids} by greedy or beam search."""

    def run(feeds):
        memory = stacked(calls["encoder"](feeds))
        mask, length, places = feeds["source_mask"], spec["length"], np.arange(spec["length"])
        empty = np.zeros((1, memory.shape[1], length, memory.shape[3]), np.float32)
        beams = [{"score": 0.0, "said": [], "cache": empty, "done": False}]
        for t in range(length):
            hypotheses = []
            for beam in beams:
                if beam["done"]:
                    hypotheses.append((beam["score"], beam, None, None))
                    continue
                visible = (places < t).astype(np.int32)[None, None]
                step = calls["decoder"](
                    {
                        "tokens": np.array([[beam["said"][-1] if t else spec["start"]]], np.int32),
                        "positions": np.array([[t]], np.int32),
                        "mask": np.concatenate([visible, np.ones((1, 1, 1), np.int32)], axis=2),
                        "cache": beam["cache"],
                        "memory": memory,
                        "source_mask": mask,
                    }
                )
                logits = step["logits"][0, 0].astype(np.float64)
                scores = logits - logits.max()
                scores = scores - np.log(np.exp(scores).sum())
                best = np.argsort(-scores, kind="stable")[: spec["beam"]]
                hypotheses += [(beam["score"] + scores[token], beam, int(token), stacked(step)) for token in best]
            hypotheses.sort(
                key=lambda beam_state: (
                    -beam_state[0] / (len(beam_state[1]["said"]) + (beam_state[2] is not None)) ** 0.7
                )
            )
            beams = [grown(beam_state, t, spec["end"]) for beam_state in hypotheses[: spec["beam"]]]
            if all(beam["done"] for beam in beams):
                break
        best = max(beams, key=lambda beam: beam["score"] / max(len(beam["said"]), 1) ** 0.7)
        return {"tokens": [token for token in best["said"] if token != spec["end"]]}

    return run


def stacked(outputs):
    """Keys and values of all layers, (1, 2 D, T, d)."""
    layers = sum(name.startswith("key_") for name in outputs)
    return np.stack([outputs[f"{kind}_{i}"] for i in range(layers) for kind in ("key", "value")], axis=1)


def grown(hypothesis, t, end):
    score, beam, token, rows = hypothesis
    if token is None:
        return beam
    cache = beam["cache"].copy()
    cache[:, :, t] = rows[:, :, 0]
    return {"score": score, "said": beam["said"] + [token], "cache": cache, "done": token == end}


def tell(outputs, raw, spec, labels):
    return hook("tokenizer_of")(spec).decode(outputs["tokens"], skip_special_tokens=True).strip()


def decisions(expected, got, allowed):
    """(same tokens, all of them, whether every one that differs was a close call) of logits (n, 1, V)."""
    if expected.ndim != 3 or expected.shape[1] != 1 or expected.shape[2] < 259:  # keys and values decide nothing
        return 0, 0, True
    top = np.sort(expected, axis=2)
    same = got.argmax(axis=2) == expected.argmax(axis=2)
    return int(same.sum()), same.size, bool((same | (top[:, :, -1] - top[:, :, -2] <= allowed)).all())
