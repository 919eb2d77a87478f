"""Transcripts that an encoder and a decoder write (Whisper): tokens int32 (N, L), -1 behind the end, texts str (N,),
and `steps` int32 (N,), how many steps of the decoder each took.

A model has two graphs. `search` of the `preprocess` table says how they are asked: `start`, the tokens that every text
begins with (the prompt), `end`, `length`, tokens of the longest text, `beam`, `length_penalty`, and tokens that are
never written (`suppress`), or not as the first one (`suppress_first`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...backends import Session, Tensor
from ...core.errors import BundleError, RecipeError
from ...inputs import log_mel, sound
from ...metrics import beam_search
from ..translate.composed import DecoderPart, EncoderPart
from . import pieces
from .answers import AnswerForm, Outputs
from .transcript import words_of

GRAPHS = ("encoder", "decoder")
TOKENIZER = "tokenizer"
#: behind the end of a text: no token has this number
PAD = -1
#: tokens of a vocabulary, of a text, of a prompt, and hypotheses, at most
_LARGEST, _LONGEST, _PROMPT, _BEAM = 1 << 20, 4096, 64, 64


def configure(
    data: Any, defaults: Mapping[str, Any], facts: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """The `preprocess` table of a model whose window is settled; raises `RecipeError` where recordings are longer."""
    sound.stated(data, {"seconds": 0.0})
    longest, window = float(facts.get("longest", 0.0)), defaults["length"] / defaults["rate"]
    if longest > window and not facts.get("most_seconds"):
        raise RecipeError(
            f"is not set, one recording is {longest:.2f} s long, and the model hears at most {window:g} s",
            where="data.sound.seconds",
            remedy=f"set it to {window:g}: longer recordings are left out, or divide them",
        )

    rate, native = defaults["rate"], int(facts.get("rate", defaults["rate"]))
    if native < rate:
        say(f"warning: the model hears {rate} Hz, but the recordings' {native} Hz hold nothing above {native // 2} Hz")

    keys = ("kind", "input", *log_mel.COUNTS)
    spec = {key: defaults[key] for key in keys} | {"search": dict(defaults["search"])}
    if TOKENIZER not in facts.get("files", {}):
        raise RecipeError("brings no tokenizer", where="model.weights")

    return spec | {"files": {TOKENIZER: str(facts["files"][TOKENIZER])}}


def written(spec: Mapping[str, Any]) -> bool:
    """Whether models with this `preprocess` table write texts."""
    return "search" in spec


def searching(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `beam_search.search` in `spec["search"]`; raises `BundleError` naming the key that cannot be."""
    table = spec.get("search")
    if not isinstance(table, Mapping):
        raise BundleError("is no table", where="preprocess.search")

    def fail(key: str, expected: str) -> BundleError:
        return BundleError(f"is {table.get(key)!r}, expected {expected}", where=f"preprocess.search.{key}")

    for key, low, high in (("end", 0, _LARGEST), ("length", 1, _LONGEST), ("beam", 1, _BEAM)):
        if type(table.get(key)) is not int or not low <= table[key] <= high:
            raise fail(key, f"a whole number from {low} to {high}")

    for key in ("start", "suppress", "suppress_first"):
        ids = table.get(key)
        if not isinstance(ids, list) or not all(type(token) is int and 0 <= token < _LARGEST for token in ids):
            raise fail(key, "token ids")

    if not 1 <= len(table["start"]) <= _PROMPT:
        raise fail("start", f"1 to {_PROMPT} token ids")

    penalty = table.get("length_penalty")
    if type(penalty) is not float or not -100 <= penalty <= 100:
        raise fail("length_penalty", "a number from -100 to 100")

    names = ("start", "end", "length", "beam", "suppress", "suppress_first")
    return {**{key: table[key] for key in names}, "penalty": penalty, "pad": table["end"]}


def places(spec: Mapping[str, Any]) -> int:
    """Places of the decoder's cache."""
    return beam_search.places(spec["search"]["start"], spec["search"]["length"])


class Transcriber:
    """The two graphs' sessions as one: `run` transcribes. What a graph takes and gives stays in `sessions`."""

    def __init__(self, sessions: Mapping[str, Session], spec: Mapping[str, Any]) -> None:
        log_mel.check(spec)
        self.sessions, self.spec, self.search = dict(sessions), spec, searching(spec)
        beam_search.check_outputs(*([tensor.name for tensor in sessions[name].outputs] for name in GRAPHS))
        frames, length = spec["length"] // spec["hop"], self.search["length"]
        self.inputs = (Tensor(spec["input"], (-1, spec["mels"], frames), "float32"),)
        tokens, steps = Tensor("tokens", (-1, length), "int32"), Tensor("steps", (-1,), "int32")
        self.outputs = (tokens, Tensor("text", (-1,), "str"), steps)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """{tokens: int32 (N, L), text: str (N,), steps: int32 (N,)} of spectrograms (N, mels, frames)."""
        memory = beam_search.stacked(self.sessions["encoder"].run(feeds))
        tokens = beam_search.search(self.sessions["decoder"].run, memory, None, **self.search)
        tokens = np.where(tokens == self.search["end"], PAD, tokens).astype(np.int32)
        counts = (tokens != PAD).sum(axis=1)
        steps = len(self.search["start"]) + np.minimum(counts, self.search["length"] - 1)
        return {"tokens": tokens, "text": texts(tokens, self.spec), "steps": steps.astype(np.int32)}

    def invoke(self) -> None:
        """Both graphs again, without the search: the encoder, and the steps of a text half as long as the longest.

        So a float and a quantized model are timed over equally many steps, whatever they say.
        """
        self.sessions["encoder"].invoke()
        for _ in range(len(self.search["start"]) + self.search["length"] // 2):
            self.sessions["decoder"].invoke()


def compose(sessions: Mapping[str, Session], spec: Mapping[str, Any]) -> Transcriber:
    """A session that transcribes, from those of the graphs `encoder` and `decoder`."""
    if set(sessions) != set(GRAPHS) or not written(spec):
        raise BundleError(f"has the graphs {', '.join(sessions)}, expected {', '.join(GRAPHS)}", where="graphs")
    return Transcriber(sessions, spec)


def part(name: str) -> Any:
    """`alike`, `margins` and `discrete` of what one graph says, as a task has them."""
    return {"encoder": EncoderPart, "decoder": DecoderPart}[name]


def calls(samples: Mapping[str, np.ndarray]) -> dict[str, float]:
    """How often each graph runs for one sample, on the average of stored ones."""
    return {"encoder": 1.0, "decoder": float(np.mean(samples["output/steps"]))}


def texts(tokens: np.ndarray, spec: Mapping[str, Any]) -> np.ndarray:
    """The texts (N,) of token ids (N, L)."""
    path = tokenizer_of(spec)
    return np.array([pieces.text_of(row[row != PAD].tolist(), path) for row in tokens], np.str_)


def tokenizer_of(spec: Mapping[str, Any]) -> str:
    """The path of the tokenizer that a table names."""
    files = spec.get("files")
    if not isinstance(files, Mapping) or not isinstance(files.get(TOKENIZER), str):
        raise BundleError("names no tokenizer", where="preprocess.files")
    return str(files[TOKENIZER])


# --- what is said -----------------------------------------------------------------------------------------------------


def words(outputs: Outputs, targets: Sequence[Any] | np.ndarray) -> list[tuple[list[Any], list[Any]]]:
    """(words that were said, words that were heard) of each sample, in lower case and without punctuation."""
    return [(target["text"].split(), words_of(str(text))) for text, target in zip(outputs["text"], targets)]


def decode(outputs: Outputs, labels: Sequence[str], *, top: int = 5) -> list[dict[str, Any]]:
    """Per sample `label`, the text, and `tokens`, how many it took."""
    counts = (np.asarray(outputs["tokens"]) != PAD).sum(axis=1)
    return [{"label": str(text), "tokens": int(count)} for text, count in zip(outputs["text"], counts)]


def tell(outputs: Outputs, raw: Any, spec: Mapping[str, Any], labels: Sequence[str], *, top: int = 5) -> dict[str, Any]:
    """As `decode`, of one sample."""
    (decoded,) = decode(outputs, labels, top=top)
    return decoded


def decisions(outputs: Outputs) -> np.ndarray:
    """The tokens, int64 (N, L)."""
    return np.asarray(outputs["tokens"], np.int64)


def alike(first: Outputs, second: Outputs) -> np.ndarray:
    """(N,) bool: the same words. One token that flips changes all that follow."""
    return np.array([words_of(str(a)) == words_of(str(b)) for a, b in zip(first["text"], second["text"])], bool)


def margins(outputs: Outputs) -> np.ndarray:
    """(N,) zeros: of a search's answer nobody knows how close it was. The graphs have margins, see `part`."""
    return np.zeros(len(outputs["tokens"]))


FORM = AnswerForm(lambda outputs: len(outputs["text"]), words, decode, tell, decisions, alike, margins)
