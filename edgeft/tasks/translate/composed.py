"""The two graphs of a model that translates as one session, and how parity judges what each of them gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...backends import Session, Tensor
from ...core.errors import BundleError
from ...metrics import beam_search as search
from .decoding import GRAPHS, PAD, number, texts


class Composed:
    """The two graphs' sessions as one: `run` translates. What a graph takes and gives stays in `sessions`."""

    def __init__(self, sessions: Mapping[str, Session], spec: Mapping[str, Any]) -> None:
        self.sessions, self.spec = dict(sessions), spec
        search.check_outputs(*([tensor.name for tensor in sessions[name].outputs] for name in GRAPHS))
        self.length = number(spec, "length", 3, 1 << 20)
        self.steps = 0
        self.inputs = tuple(Tensor(name, (-1, self.length), "int32") for name in ("source", "source_mask"))
        self.outputs = (Tensor("tokens", (-1, self.length), "int32"), Tensor("text", (-1,), "str"))

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """{tokens: int32 (N, L), text: str (N,)} of source (N, L) and source_mask (N, L)."""
        memory = search.stacked(self.sessions["encoder"].run(search.sources(feeds["source"], feeds["source_mask"])))
        self.steps = int(feeds["source_mask"][0].sum()) if len(memory) else 0
        tokens = search.search(
            self.sessions["decoder"].run,
            memory,
            feeds["source_mask"],
            start=number(self.spec, "start", 0, 1 << 20),
            end=number(self.spec, "end", 0, 1 << 20),
            pad=PAD,
            length=self.length,
            beam=number(self.spec, "beam", 1, 64),
            **searching(self.spec),
        )

        return {"tokens": tokens, "text": texts(tokens, self.spec)}

    def invoke(self) -> None:
        """Both graphs again, without the search: the encoder, and one step for each token of the last source.

        So a float and a quantized model are timed over equally many steps, whatever they say.
        """
        self.sessions["encoder"].invoke()
        for _ in range(self.steps):
            self.sessions["decoder"].invoke()


def searching(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `beam_search.search` that a spec names; raises `BundleError` for values that cannot be."""
    penalty, suppress = spec.get("length_penalty"), spec.get("suppress", [])
    if penalty is not None and (type(penalty) is not float or not -100 <= penalty <= 100):
        raise BundleError(f"is {penalty!r}, expected a number", where="preprocess.length_penalty")
    if not isinstance(suppress, list) or not all(type(token) is int and 0 <= token < 1 << 20 for token in suppress):
        raise BundleError(f"is {suppress!r}, expected token ids", where="preprocess.suppress")
    return {"penalty": penalty, "suppress": suppress, "force_end": bool(spec.get("force_end", False))}


def compose(sessions: Mapping[str, Session], spec: Mapping[str, Any]) -> Composed:
    """A session that translates, from those of the graphs `encoder` and `decoder`."""
    if set(sessions) != set(GRAPHS):
        raise BundleError(f"has the graphs {', '.join(sessions)}, expected {', '.join(GRAPHS)}", where="graphs")
    return Composed(sessions, spec)


class EncoderPart:
    """How parity judges the encoder's memory: values, no decisions."""

    discrete, compare, decision_unit, sets = False, None, "decisions", None

    @staticmethod
    def alike(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.ones(len(first["key_0"]), bool)

    @staticmethod
    def margins(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.zeros(len(outputs["key_0"]))


class DecoderPart:
    """How parity judges a step of the decoder: the likeliest next token is the decision."""

    discrete, compare, decision_unit, sets = True, None, "decisions", None

    @staticmethod
    def alike(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> np.ndarray:
        same: np.ndarray = (first["logits"].argmax(axis=2) == second["logits"].argmax(axis=2)).all(axis=1)
        return same

    @staticmethod
    def margins(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        two = np.sort(outputs["logits"], axis=2)[:, :, -2:]
        gaps: np.ndarray = (two[:, :, 1] - two[:, :, 0]).min(axis=1)
        return gaps


def part(name: str) -> Any:
    """`alike`, `margins` and `discrete` of what one graph says, as a task has them."""
    return {"encoder": EncoderPart, "decoder": DecoderPart}[name]


def calls(samples: Mapping[str, np.ndarray]) -> dict[str, float]:
    """How often each graph runs for one sample, on the average of stored ones ({tokens} of `output`)."""
    tokens = samples["output/tokens"]
    return {"encoder": 1.0, "decoder": float((tokens != PAD).sum(axis=1).mean()) + 1.0}
