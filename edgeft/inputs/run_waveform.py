"""Sounds as their waveform: as in edgeft/inputs/waveform.py."""

import numpy as np

from .run_clip import fitted


def feeds(raw, spec):
    samples, rate = raw["samples"].astype(np.float64), int(raw["rate"])
    if raw["samples"].dtype == np.int16:
        samples = samples / 32768.0

    clip = fitted(samples, rate, spec["rate"], spec["length"], spec["place"])
    if spec["normalize"]:
        count = min(-(-len(samples) * spec["rate"] // rate), spec["length"])
        start = (spec["length"] - count) // 2 if spec["place"] == "middle" else 0
        inner = clip[start : start + count]
        clip[start : start + count] = (inner - inner.mean()) / np.sqrt(inner.var() + 1e-7)

    return {spec["input"]: clip.astype(np.float32)[None]}


def tolerance(spec):
    """Other numpy versions sum in another order."""
    return 1e-4
