"""From outputs, files and times to the rows of the table: pure numbers, no runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def accuracy(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Share of the samples whose largest output is that of the label, in percent."""
    return float(100 * (outputs.argmax(1) == labels).mean())


def agreement(outputs: np.ndarray, reference: np.ndarray) -> float:
    """Share of the samples that are decided as the float model does, in percent."""
    return float(100 * (outputs.argmax(1) == reference.argmax(1)).mean())


def signal_to_noise(outputs: np.ndarray, reference: np.ndarray) -> float:
    """Power of the float outputs over that of the difference, in dB."""
    noise = float(((outputs - reference) ** 2).sum())
    return float(10 * np.log10(float((reference**2).sum()) / max(noise, 1e-30)))


def gain(ours: np.ndarray, theirs: np.ndarray, labels: np.ndarray) -> list[float]:
    """Points of accuracy that ours has more, with the 95 % interval of the same samples judged twice."""
    from edgeft.measure.stats import paired_proportions

    first, second = ours.argmax(1) == labels, theirs.argmax(1) == labels
    low, high = paired_proportions(int((first & ~second).sum()), int((~first & second).sum()), len(labels))
    return [float(100 * value) for value in (first.mean() - second.mean(), low, high)]


def size(path: Path) -> int:
    """Bytes of an artifact with its weights."""
    weights = path.with_suffix(".bin")
    return path.stat().st_size + (weights.stat().st_size if path.suffix == ".xml" and weights.is_file() else 0)


def row(outputs: np.ndarray, ours: np.ndarray, reference: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """What outputs tell of one artifact; `ours` are those of edgeft in the same runtime."""
    return {
        "metric": accuracy(outputs, labels),
        "gain_of_edgeft": gain(ours, outputs, labels),
        "agreement": agreement(outputs, reference),
        "sqnr_db": signal_to_noise(outputs, reference),
    }


def losses(rows: list[dict[str, Any]]) -> list[str]:
    """Where edgeft is behind: accuracy below a peer's beyond the interval, or less than 0.98 of the fastest one's speed."""
    found = []
    peers = [row for row in rows if row["tool"] not in ("float", "edgeft")]
    for row in peers:
        if row["gain_of_edgeft"][2] < 0:
            found.append(f"{row['title']} is more accurate by {-row['gain_of_edgeft'][0]:.2f} points")

    timed = [row for row in peers if row.get("speed")]
    if timed:
        fastest = min(timed, key=lambda row: row["speed"]["ratio"])
        ratio, least = fastest["speed"]["ratio"], fastest["speed"]["ratio_of_least"]
        if max(ratio, least) < 0.98:
            found.append(f"{fastest['title']} is faster: {ratio:.2f} of its speed")

    return found
