"""Spoken digits (FSDD) of voices that training never heard: each of the four speakers is left out in turn.

The baseline is a logistic regression on the mean and std over time of the same MFCCs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from . import Figures, Outcome, Row, linked, trained

SPEAKERS = ("jackson", "nicolas", "theo", "yweweler")
#: how much louder, in decibels, the left-out voice is heard a second time
LOUDER = 20.0


def without(data: Path, speaker: str, out: Path) -> Path:
    """train/<digit>/ of three voices and test/<digit>/ of the fourth."""
    names = {}
    for path in sorted((data / "05_speech" / "fsdd").glob("*/*.wav")):
        digit, voice, _ = path.stem.split("_")
        names[f"{'test' if voice == speaker else 'train'}/{digit}/{path.name}"] = path
    return linked(out, names)


def measure(data: Path, out: Path) -> Figures:
    from edgeft.measure import stats

    floats, ints, louder, baseline, rows, n, minutes = [], [], [], [], 0, 0, 0.0
    for speaker in SPEAKERS:
        folder = without(data, speaker, out / f"data-without-{speaker}")
        outcome = trained("keyword", folder, out / f"without-{speaker}")
        floats.append(outcome.float)
        ints.append(outcome.quantized)
        louder.append(_louder(outcome, folder))
        baseline.append(_baseline(outcome, folder))
        rows += round(outcome.quantized * len(outcome.targets))
        n += len(outcome.targets)
        minutes += outcome.minutes

    note = (
        f"The same voices {LOUDER:.0f} dB louder (not clipped): "
        + ", ".join(f"{name} {value:.3f}" for name, value in zip(SPEAKERS, louder))
        + "."
    )

    return Figures(
        float(np.mean(floats)),
        float(np.mean(ints)),
        stats.clopper_pearson(rows, n),
        n,
        float(np.mean(baseline)),
        minutes,
        dict(zip(SPEAKERS, ints)),
        (note,),
    )


def _split(outcome: Outcome, folder: Path, name: str = "test") -> Any:
    from edgeft import data as datasets
    from edgeft.bundle.manifest import recorded

    return datasets.open(datasets.source(folder, recorded(outcome.bundle.manifest, "data"))).split(name)


def _louder(outcome: Outcome, folder: Path) -> float:
    """Accuracy of the int8 artifact on the test clips as float samples of ten times the amplitude."""
    split = _split(outcome, folder)
    session, gain = outcome.bundle.session(), np.float32(10 ** (LOUDER / 20))
    hits = []

    for i in range(len(split)):
        raw = split.raw(i)
        samples = raw["samples"].astype(np.float32) / np.float32(32768) * gain
        feeds = outcome.bundle.task.preprocess({**raw, "samples": samples}, outcome.bundle.preprocess)
        (logits,) = session.run(feeds).values()
        hits.append(int(logits[0].argmax()) == int(outcome.targets[i]))

    return float(np.mean(hits))


def _baseline(outcome: Outcome, folder: Path) -> float:
    """Multinomial logistic regression (L2) on mean and std over time of each feature."""
    import torch

    def table(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        split = _split(outcome, folder, name)
        rows = []
        for i in range(len(split)):
            (x,) = outcome.bundle.task.preprocess(split.raw(i), outcome.bundle.preprocess).values()
            features = x.reshape(x.shape[-2:] if x.shape[1] == 1 else x.shape[1:3])
            rows.append(np.concatenate([features.mean(axis=0), features.std(axis=0)]))
        return torch.tensor(np.array(rows), dtype=torch.float32), torch.tensor(split.targets)

    (x, y), (seen, truth) = table("train"), table("test")
    torch.manual_seed(0)
    model = torch.nn.Linear(x.shape[1], int(y.max()) + 1)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=200)

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(model(x), y) + 1e-3 * model.weight.square().sum()
        value.backward()
        return value

    optimizer.step(step)
    return float((model(seen).argmax(dim=1) == truth).float().mean())


ROW = Row(
    name="keyword",
    task="keyword",
    data="FSDD digits, four voices, each left out in turn",
    metric="accuracy",
    goal=0.85,
    baseline="logistic regression on mean and std of the features",
    measure=measure,
)
