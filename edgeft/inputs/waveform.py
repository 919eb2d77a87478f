"""Sounds as their waveform, for models whose first layers read samples: a tensor (1, T) from a raw sound.

Mono mix, resampling to the model's rate, a fixed length as in `sound.py`, and, where the model was trained so, mean 0
and variance 1 over the clip without the zeros around it (as Wav2Vec2FeatureExtractor has it). Everything is float64
until the tensor is made; the same arithmetic is in the bundle's `run.py` (edgeft/inputs/run_waveform.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..core.errors import BundleError, RecipeError
from . import sound
from .sound_file import MAX_RATE

KIND = "waveform"
#: added to the variance before its root
FLOOR = 1e-7
#: in the recipe's [data] table `sound`
DEFAULTS: dict[str, float] = {"seconds": 1.0}
_MOST = 2**24


def configure(
    data: Any,
    defaults: Mapping[str, Any],
    facts: Mapping[str, Any],
    say: Callable[[str], None],
    standard: Mapping[str, float] = DEFAULTS,
    place: str = "middle",
) -> dict[str, Any]:
    """The `preprocess` table: the model's rate, and the recipe's `data.sound.seconds`; raises `RecipeError`."""
    if defaults.get("kind") != KIND:
        raise RecipeError(
            "this model reads no waveform", where="model.source", remedy="name a model of wav2vec2's kind"
        )

    values = {**standard, **sound.stated(data, standard)}
    rate, native = int(defaults["rate"]), int(facts.get("rate", defaults["rate"]))
    if native < rate:
        say(f"warning: the model hears {rate} Hz, but the recordings' {native} Hz hold nothing above {native // 2} Hz")

    longest = float(facts.get("seconds", 0.0))
    if place == "middle" and longest > values["seconds"]:
        say(
            f"note: one clip in twenty is longer than {longest:.2f} s, and only the middle {values['seconds']:g} s are "
            "used (data.sound.seconds)"
        )

    table = {
        "kind": KIND,
        "rate": rate,
        "length": round(values["seconds"] * rate),
        "place": place,
        "normalize": bool(defaults["normalize"]),
        "input": str(defaults["input"]),
    }

    try:
        check(table)
    except BundleError as error:
        raise RecipeError(f"cannot be followed: {error}", where="data.sound") from error

    return table


def check(spec: Mapping[str, Any]) -> None:
    """Raise `BundleError` naming the key of a `preprocess` table that is missing or cannot be."""
    ranges = {"rate": MAX_RATE, "length": _MOST}
    for key, most in ranges.items():
        if type(spec.get(key)) is not int or not 1 <= spec[key] <= most:
            raise BundleError(f"is {spec.get(key)!r}, expected 1 to {most}", where=f"preprocess.{key}")
    if spec.get("kind") != KIND or spec.get("place") not in ("middle", "start"):
        raise BundleError(f"is {spec.get('place')!r}, expected middle or start", where="preprocess.place")
    if not isinstance(spec.get("normalize"), bool) or not isinstance(spec.get("input"), str):
        raise BundleError("normalize or input is missing", where="preprocess")


def preprocess(raw: Any, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{input name: float32 (1, T)} of a raw sound; raises `DataError` as `sound.preprocess` does."""
    check(spec)
    samples, rate = sound.checked(raw)
    clip = sound.fit(samples, rate, spec["rate"], spec["length"], spec["place"])

    if spec["normalize"]:
        count = min(-(-len(samples) * spec["rate"] // rate), spec["length"])
        start = (spec["length"] - count) // 2 if spec["place"] == "middle" else 0
        inner = clip[start : start + count]
        clip[start : start + count] = (inner - inner.mean()) / np.sqrt(inner.var() + FLOOR)

    return {spec["input"]: clip.astype(np.float32)[None]}
