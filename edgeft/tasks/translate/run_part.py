"""Translation: the encoder once, then the decoder token by token, as in edgeft/metrics/beam_search.py."""

import numpy as np

from ...core.runner import hook


def compose(calls, spec):
    """A function from the feeds of one sentence to {"tokens": a list of ids} by greedy or beam search."""

    def run(feeds):
        memory = stacked(calls["encoder"](feeds))
        empty = np.zeros((1, memory.shape[1], spec["length"], memory.shape[3]), np.float32)
        start = {"score": 0.0, "said": [], "cache": empty, "done": False}
        step = stepper(calls["decoder"], memory, feeds["source_mask"], spec)
        apart = spec["beam"] > 1 and "length_penalty" in spec
        said = (searched_apart if apart else searched)(step, start, spec)
        return {"tokens": [token for token in said if token != spec["end"]]}

    return run


def stepper(decoder, memory, source_mask, spec):
    """(hypothesis, t) -> logarithms of the shares of each token (V,), and the new rows of the cache."""
    length, places = spec["length"], np.arange(spec["length"])

    def step(beam, t):
        visible = (places < t).astype(np.int32)[None, None]
        outputs = decoder(
            {
                "tokens": np.array([[beam["said"][-1] if t else spec["start"]]], np.int32),
                "positions": np.array([[t]], np.int32),
                "mask": np.concatenate([visible, np.ones((1, 1, 1), np.int32)], axis=2),
                "cache": beam["cache"],
                "memory": memory,
                "source_mask": source_mask,
            }
        )
        logits = outputs["logits"][0, 0].astype(np.float64)
        scores = logits - logits.max()
        scores = scores - np.log(np.exp(scores).sum())
        scores[spec.get("suppress", [])] = -np.inf
        if spec.get("force_end") and t == length - 1:
            scores[:], scores[spec["end"]] = -np.inf, 0.0
        return scores, stacked(outputs)

    return step


def searched(step, start, spec):
    """Ended hypotheses compete with those that go on, by their score over length ** 0.7."""
    beams = [start]
    for t in range(spec["length"]):
        hypotheses = []
        for beam in beams:
            if beam["done"]:
                hypotheses.append((beam["score"], beam, None, None))
                continue
            scores, rows = step(beam, t)
            best = np.argsort(-scores, kind="stable")[: spec["beam"]]
            hypotheses += [(beam["score"] + scores[token], beam, int(token), rows) for token in best]
        hypotheses.sort(
            key=lambda beam_state: -beam_state[0] / (len(beam_state[1]["said"]) + (beam_state[2] is not None)) ** 0.7
        )
        beams = [grown(beam_state, t, spec["end"]) for beam_state in hypotheses[: spec["beam"]]]
        if all(beam["done"] for beam in beams):
            break
    return max(beams, key=lambda beam: beam["score"] / max(len(beam["said"]), 1) ** 0.7)["said"]


def searched_apart(step, start, spec):
    """Ended hypotheses are kept apart, as the package transformers does it."""
    beams, ended, width, penalty = [start], [], spec["beam"], spec["length_penalty"]
    for t in range(spec["length"]):
        hypotheses = []
        for beam in beams:
            scores, rows = step(beam, t)
            best = np.argsort(-scores, kind="stable")[: 2 * width]
            hypotheses += [(beam["score"] + scores[token], beam, int(token), rows) for token in best]
        hypotheses.sort(key=lambda hypothesis: -hypothesis[0])
        last, going = t == spec["length"] - 1, []
        for place, hypothesis in enumerate(hypotheses[: 2 * width]):
            over = last or hypothesis[2] == spec["end"]
            if over and place < width and np.isfinite(hypothesis[0]):
                ended.append((hypothesis[0] / (t + 1) ** penalty, hypothesis[1]["said"] + [hypothesis[2]]))
            elif not over:
                going.append(hypothesis)
        ended = sorted(ended, key=lambda text: -text[0])[:width]
        beams = [grown(hypothesis, t, spec["end"]) for hypothesis in going[:width]]
        worst = ended[-1][0] if len(ended) == width else -np.inf
        if not beams or not beams[0]["score"] / (t + 1) ** penalty > worst:
            break
    return ended[0][1]


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
    return hook("tokenizer_of")(spec, "target").decode(outputs["tokens"], skip_special_tokens=True).strip()


def decides(name):
    """Whether an output of a graph decides anything: keys and values do not."""
    return name == "logits"


def decisions(expected, got, allowed):
    """(same tokens, all of them, whether every one that differs was a close call) of logits (n, 1, V)."""
    top = np.sort(expected, axis=2)
    same = got.argmax(axis=2) == expected.argmax(axis=2)
    return int(same.sum()), same.size, bool((same | (top[:, :, -1] - top[:, :, -2] <= allowed)).all())
