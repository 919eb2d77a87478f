"""Anomalies of machine sounds that are made here, as MLPerf Tiny's task has them: 640 numbers of a sound, 5 frames of
128 log mel energies, and an autoencoder that saw normal sounds alone.

A machine is a turning rotor: harmonics of its speed, which varies, under noise of a room. Faults are a bearing that clicks,
a second resonance, a missing harmonic, or a rubbing hiss, each faint. Toy-car sounds of the benchmark itself were not to be
had. The baseline is the distance from the mean in standard deviations (a diagonal Gaussian).
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from . import Figures, Row, interval, trained

RATE, FRAMES, MELS = 16_000, 5, 128
COUNTS = {"train": (1500, 0), "val": (150, 150), "test": (300, 300)}
FAULTS = ("bearing", "resonance", "harmonic", "rub")


def sound(rng: np.random.Generator, fault: str = "") -> np.ndarray:
    """float64 (T,) of 0.2 s, with one of `FAULTS` or none."""
    time = np.arange(int(0.2 * RATE)) / RATE
    speed = rng.uniform(75, 95)
    gains = np.array([1.0, 0.7, 0.5, 0.35, 0.25, 0.2, 0.15, 0.1]) * rng.uniform(0.7, 1.4, 8)
    if fault == "harmonic":
        gains[rng.integers(1, 4)] *= 0.15

    x = sum(g * np.sin(2 * np.pi * speed * (k + 1) * time + rng.uniform(0, 6.3)) for k, g in enumerate(gains))
    noise = np.fft.rfft(rng.standard_normal(len(time)))
    hertz = np.fft.rfftfreq(len(time), 1 / RATE)
    colour = 1 / np.sqrt(1 + (hertz / 900) ** 2) + 0.5 * np.exp(-(((hertz - 2400) / 300) ** 2))
    if fault == "resonance":
        colour = colour + rng.uniform(0.3, 0.8) * np.exp(-(((hertz - rng.uniform(3500, 5500)) / 200) ** 2))
    if fault == "rub":
        colour = colour + rng.uniform(0.05, 0.15) * (hertz > 5000)

    x = x + 0.8 * np.fft.irfft(noise * colour, len(time))
    if fault == "bearing":
        clicks = np.zeros(len(time))
        clicks[:: int(RATE / rng.uniform(90, 160))] = rng.uniform(1.5, 3.5)
        ring = np.exp(-np.arange(200) / 25) * np.sin(2 * np.pi * 4200 * np.arange(200) / RATE)
        x = x + np.convolve(clicks, ring)[: len(time)]

    return x * rng.uniform(0.7, 1.3)


def features(x: np.ndarray) -> np.ndarray:
    """float64 (640,): log mel energies of five frames."""
    from edgeft.inputs import sound as front_end

    hop, size = 512, 1024
    at = hop * np.arange(FRAMES)[:, None] + np.arange(size)
    power = np.square(np.abs(np.fft.rfft(x[at] * np.hanning(size), 2048)))
    return np.log(power @ front_end.filters(RATE, 2048, MELS, 60.0, RATE / 2) + 1e-6).ravel()


def written(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, (split, (normal, faults)) in enumerate(COUNTS.items()):
        if (folder / f"{split}.csv").is_file():
            continue
        rng = np.random.default_rng([3, number])
        kinds = [""] * normal + [FAULTS[i % len(FAULTS)] for i in range(faults)]
        with (folder / f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*(f"f{i // MELS}m{i % MELS}" for i in range(FRAMES * MELS)), "state"])
            for kind in kinds:
                writer.writerow([*(f"{value:.4f}" for value in features(sound(rng, kind))), kind or "normal"])

    return folder


def measure(data: Path, out: Path) -> Figures:
    from edgeft.tasks.classify.decoding import auc

    folder = written(out / "data")
    outcome = trained("tabular-anomaly", folder, out)

    def table(split: str) -> tuple[np.ndarray, np.ndarray]:
        rows = list(csv.reader((folder / f"{split}.csv").open(newline="")))[1:]
        return np.array([[float(v) for v in row[:-1]] for row in rows]), np.array([row[-1] for row in rows])

    (x, _), (seen, states) = table("train"), table("test")
    distance = np.square((seen - x.mean(axis=0)) / x.std(axis=0)).mean(axis=1)
    scores = np.square(np.asarray(next(iter(outcome.quantized_outputs.values())), np.float64)).mean(axis=1)
    parts = {
        kind: auc(scores[np.isin(states, ("normal", kind))], states[np.isin(states, ("normal", kind))] == kind)
        for kind in FAULTS
    }

    return Figures(
        outcome.float,
        outcome.quantized,
        interval(outcome),
        len(states),
        auc(distance, states != "normal"),
        outcome.minutes,
        parts,
        ("Sounds are synthetic; MLPerf Tiny's own autoencoder has 0.864 in float on ToyADMOS toy cars.",),
    )


ROW = Row(
    name="anomaly",
    task="tabular-anomaly",
    data=f"synthetic machine sounds, {COUNTS['train'][0]} normal ones to learn from",
    metric="AUC",
    goal=0.864,
    baseline="distance from the mean, a diagonal Gaussian",
    measure=measure,
)
