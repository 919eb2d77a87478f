"""Greedy and beam search token by token, of one sample: as in edgeft/metrics/beam_search.py."""

import numpy as np


def searched_text(decoder, memory, source_mask, table):
    """Token ids without the end, by the decoder's step; `table` has start, end, length, beam and what else a search
    knows. A `source_mask` of None is for a decoder that takes none."""
    begin = table["start"] if isinstance(table["start"], list) else [table["start"]]
    empty = np.zeros((1, memory.shape[1], len(begin) - 1 + table["length"], memory.shape[3]), np.float32)
    step = Stepper(decoder, memory, source_mask, begin, table)
    for place, token in enumerate(begin[:-1]):
        empty[:, :, place] = stacked(step.run(token, place, empty))[:, :, 0]

    start = {"score": 0.0, "said": [], "place": len(begin) - 1, "cache": empty, "done": False}
    apart = table["beam"] > 1 and "length_penalty" in table
    said = (searched_apart if apart else searched)(step, start, table)
    return [token for token in said if token != table["end"]]


class Stepper:
    """(hypothesis, t) -> logarithms of the shares of each token (V,), and the outputs with the cache's new rows."""

    def __init__(self, decoder, memory, source_mask, begin, table):
        self.decoder, self.memory, self.source_mask, self.begin, self.table = decoder, memory, source_mask, begin, table

    def run(self, token, place, cache):
        room = cache.shape[2]
        visible = (np.arange(room) < place).astype(np.int32)[None, None]
        feeds_of_step = {
            "tokens": np.array([[token]], np.int32),
            "positions": np.array([[place]], np.int32),
            "mask": np.concatenate([visible, np.ones((1, 1, 1), np.int32)], axis=2),
            "cache": cache,
            "memory": self.memory,
        }
        if self.source_mask is not None:
            feeds_of_step["source_mask"] = self.source_mask

        return self.decoder(feeds_of_step)

    def __call__(self, beam, t):
        table = self.table
        last = beam["said"][-1] if t else self.begin[-1]
        outputs = self.run(last, beam["place"], beam["cache"])
        logits = outputs["logits"][0, 0].astype(np.float64)
        scores = logits - logits.max()
        scores = scores - np.log(np.exp(scores).sum())
        scores[table.get("suppress", [])] = -np.inf
        if t == 0:
            scores[table.get("suppress_first", [])] = -np.inf
        if table.get("force_end") and t == table["length"] - 1:
            scores[:], scores[table["end"]] = -np.inf, 0.0

        return scores, stacked(outputs)


def searched(step, start, table):
    """Ended hypotheses compete with those that go on, by their score over length ** 0.7."""
    beams = [start]
    for t in range(table["length"]):
        hypotheses = []
        for beam in beams:
            if beam["done"]:
                hypotheses.append((beam["score"], beam, None, None))
                continue
            scores, rows = step(beam, t)
            best = np.argsort(-scores, kind="stable")[: table["beam"]]
            hypotheses += [(beam["score"] + scores[token], beam, int(token), rows) for token in best]
        hypotheses.sort(
            key=lambda beam_state: -beam_state[0] / (len(beam_state[1]["said"]) + (beam_state[2] is not None)) ** 0.7
        )
        beams = [grown(beam_state, table["end"]) for beam_state in hypotheses[: table["beam"]]]
        if all(beam["done"] for beam in beams):
            break

    return max(beams, key=lambda beam: beam["score"] / max(len(beam["said"]), 1) ** 0.7)["said"]


def searched_apart(step, start, table):
    """Ended hypotheses are kept apart, as the package transformers does it."""
    beams, ended, width, penalty = [start], [], table["beam"], table["length_penalty"]
    for t in range(table["length"]):
        hypotheses = []
        for beam in beams:
            scores, rows = step(beam, t)
            best = np.argsort(-scores, kind="stable")[: 2 * width]
            hypotheses += [(beam["score"] + scores[token], beam, int(token), rows) for token in best]
        hypotheses.sort(key=lambda hypothesis: -hypothesis[0])
        last, going = t == table["length"] - 1, []
        for place, hypothesis in enumerate(hypotheses[: 2 * width]):
            over = last or hypothesis[2] == table["end"]
            if over and place < width and np.isfinite(hypothesis[0]):
                ended.append((hypothesis[0] / (t + 1) ** penalty, hypothesis[1]["said"] + [hypothesis[2]]))
            elif not over:
                going.append(hypothesis)
        ended = sorted(ended, key=lambda text: -text[0])[:width]
        beams = [grown(hypothesis, table["end"]) for hypothesis in going[:width]]
        worst = ended[-1][0] if len(ended) == width else -np.inf
        if not beams or not beams[0]["score"] / (t + 1) ** penalty > worst:
            break

    return ended[0][1]


def stacked(outputs):
    """Keys and values of all layers, (1, 2 D, T, d)."""
    layers = sum(name.startswith("key_") for name in outputs)
    return np.stack([outputs[f"{kind}_{i}"] for i in range(layers) for kind in ("key", "value")], axis=1)


def grown(hypothesis, end):
    """A hypothesis with one more token, whose keys and values stand behind those before it."""
    score, beam, token, rows = hypothesis
    if token is None:
        return beam
    cache = beam["cache"].copy()
    cache[:, :, beam["place"]] = rows[:, :, 0]
    said, place = beam["said"] + [token], beam["place"] + 1
    return {"score": score, "said": said, "place": place, "cache": cache, "done": token == end}
