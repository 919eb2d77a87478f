"""Strings of spoken digits (FSDD, as `examples/speech/prepare.py` joins them): word error rate of known and unseen voices.

The figure of the row is that of the four voices that training heard, on recordings that it did not. Beside it each voice is
left out of training and tested on alone. The baseline is the best constant answer.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from . import Figures, Outcome, Row, interval, trained

SPEAKERS = ("jackson", "nicolas", "theo", "yweweler")
COUNTS = {"train": 1500, "val": 200, "test": 300}
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "speech" / "prepare.py"


def _prepare() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prepare_strings", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without(fsdd: Path, speaker: str, out: Path) -> Path:
    """train/ and val/ of three voices, test/ of the fourth one alone."""
    prepare = _prepare()
    if (out / "test" / "metadata.csv").is_file():
        return out

    learned, heard = prepare.clips(fsdd / "train"), prepare.clips(fsdd / "test")
    others = {key: takes for key, takes in learned.items() if key[0] != speaker}
    aside = {key: {n: takes[n] for n in sorted(takes)[:: prepare.HELD_OUT]} for key, takes in others.items()}
    kept = {key: {n: takes[n] for n in takes if n not in aside[key]} for key, takes in others.items()}
    unseen = {key: {**learned[key], **heard[key]} for key in learned if key[0] == speaker}
    for number, (name, pool) in enumerate((("train", kept), ("val", aside), ("test", unseen))):
        prepare.write(out / name, pool, COUNTS[name], [0, number])

    return out


def measure(data: Path, out: Path) -> Figures:
    fsdd, prepare = data / "05_speech" / "fsdd", _prepare()
    known = out / "data-known"
    if not (known / "test" / "metadata.csv").is_file():
        prepare.make(fsdd, known, COUNTS)

    outcome: Outcome = trained("speech", known, out / "known")
    unseen = {}
    for speaker in SPEAKERS:
        folder = without(fsdd, speaker, out / f"data-without-{speaker}")
        unseen[f"unseen {speaker}"] = trained("speech", folder, out / f"without-{speaker}").quantized

    return Figures(
        outcome.float,
        outcome.quantized,
        interval(outcome),
        len(outcome.targets),
        outcome.summary["chance"],
        outcome.minutes,
        unseen,
    )


ROW = Row(
    name="speech",
    task="speech",
    data=f"strings of FSDD's digits, {COUNTS['train']} of four voices to learn from",
    metric="word error rate",
    goal=0.024,
    baseline="the best constant answer",
    measure=measure,
    higher_is_better=False,
    short={"train.epochs": 12},
)
