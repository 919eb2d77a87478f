"""Keywords in a stream: when a label counts as detected, here and in run.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import runners

from edgeft.config.recipe import Data
from edgeft.core.errors import BundleError, UsageError
from edgeft.inputs import sound
from edgeft.tasks.keyword import stream

pytestmark = pytest.mark.board

LABELS = ("go", "other", "stop")
RATE = 8000


def answers(text: str) -> list[tuple[float, np.ndarray]]:
    """An answer every tenth of a second: g, o and s are labels that are sure, a dot is none."""
    rows = {"g": [0.98, 0.01, 0.01], "o": [0.01, 0.98, 0.01], "s": [0.01, 0.01, 0.98], ".": [0.4, 0.2, 0.4]}
    rows["n"] = [np.nan] * 3
    return [(i / 10, np.array(rows[letter])) for i, letter in enumerate(text)]


def detected(text: str, **options: Any) -> list[tuple[str, float]]:
    rule = stream.Rule(step=0.1, **{"smoothing": 0.1, "refractory": 0.0, **options})
    return [(row["label"], row["seconds"]) for row in stream.detections(answers(text), LABELS, rule)]


def test_a_word_is_detected_once_however_long_it_lasts() -> None:
    assert detected("..ggggg....") == [("go", 0.2)]
    assert detected("..ggggg..g.") == [("go", 0.2), ("go", 0.9)], "its average was below the threshold between them"
    assert detected("..ggss") == [("go", 0.2), ("stop", 0.4)]


def test_smoothing_leaves_out_what_lasts_no_time() -> None:
    assert detected("...g......") == [("go", 0.3)]
    assert detected("...g......", smoothing=0.3, threshold=0.7) == []
    assert detected("...gggg...", smoothing=0.3, threshold=0.7) == [("go", 0.3)], "its middle, as it began at 0.3 s"
    assert detected("g", smoothing=0.3) == [], "at the beginning one answer is not many"
    assert detected("..nnn.", threshold=0.3) == [("go", 0.0), ("go", 0.5)], "what is not finite counts as 0"


def test_nothing_is_detected_within_the_refractory_time() -> None:
    assert detected("gsgsgs....", refractory=0.3) == [("go", 0.0), ("stop", 0.3)]
    assert detected("gsssssss..", refractory=0.3) == [("go", 0.0), ("stop", 0.3)], "a word that lasts longer is"


def test_labels_of_no_keyword_are_never_detected() -> None:
    assert detected("ooooggg") == [("go", 0.4)]
    assert detected("ooooggg", ignore=("go",)) == []
    assert stream.detectable(["Silence", "_x", "up", "NOISE", "unknown", "down"], {"ignore": ("up",)}) == ["down"]
    with pytest.raises(UsageError, match="no label 'Go'"):
        stream.detectable(LABELS, {"ignore": ("Go",)})


@pytest.mark.parametrize(
    "options",
    [{"step": 0}, {"step": -1}, {"threshold": 1.5}, {"smoothing": float("nan")}, {"refractory": -0.1}, {"step": 61}],
)
def test_rules_that_cannot_be(options: dict[str, float]) -> None:
    with pytest.raises(UsageError) as caught:
        stream.Rule(**options)  # type: ignore[arg-type]
    assert caught.value.where == f"--{next(iter(options))}"


def model(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Logits that follow how loud a window's middle is: go, then stop."""
    loud = float(feeds["x"][0, 0, 7:10].mean())
    return {"logits": np.array([[loud, 5.0, 2 * loud - 12]], np.float32)}


def test_run_py_detects_the_same(tmp_path_factory: pytest.TempPathFactory) -> None:
    hearing: ModuleType = runners.load(tmp_path_factory.mktemp("runner"), "sound", "keyword")
    spec = sound.configure(Data(sound={"seconds": 0.5, "coefficients": 0}), {}, {"rate": RATE}, print)
    spec |= {"mean": [-14.0] * 40}
    rng = np.random.default_rng(0)
    gains = np.repeat(rng.choice([0.0, 300.0, 9000.0], 40), RATE // 4)
    samples = (gains * rng.standard_normal(len(gains))).clip(-32768, 32767).astype(np.int16)
    chunks = [samples[i : i + 333] for i in range(0, len(samples), 333)]
    for options in ({}, {"threshold": 0.5, "smoothing": 0.2, "refractory": 0.0, "step": 0.05}):
        ours = list(stream.listen(model, chunks, RATE, spec, LABELS, options))
        hearing.chunks_of = lambda name, spec, rate: (RATE, chunks)
        every = {**asdict(stream.Rule()), **options, "rate": 0, "ignore": ()}
        lines = list(hearing.listen(model, "a.wav", {"preprocess": spec, "labels": LABELS}, every))
        expected = [f"{r['seconds']:9.3f} s  {r['label']}  {100 * r['confidence']:.1f} %" for r in ours]
        assert lines == expected and len(lines) >= 3 and {r["label"] for r in ours} == {"go", "stop"}
    assert {key: value for key, value in asdict(stream.Rule()).items() if key != "ignore"} == hearing.RULE
    with pytest.raises(hearing.Stop):
        list(hearing.listen(model, "a.wav", {"preprocess": spec, "labels": LABELS}, {**every, "step": 0.0}))


def test_models_that_do_not_fit() -> None:
    spec = sound.configure(Data(), {}, {"rate": RATE}, print)
    chunks = [np.zeros(RATE, np.int16)]
    with pytest.raises(BundleError, match="expected \\(1, 2\\)"):
        list(stream.listen(lambda feeds: {"logits": np.zeros((1, 3))}, chunks, RATE, spec, LABELS[:2], {}))
    with pytest.raises(UsageError, match="features of sounds, and this model reads 'waveform'"):
        stream.listen(model, chunks, RATE, {**spec, "kind": "waveform"}, LABELS, {})
