"""What the rows with tables share: files of a seeded division, and a linear model as the baseline."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SHARES = (("train", 0.6), ("val", 0.15), ("test", 0.25))


def written(folder: Path, values: np.ndarray, targets: Sequence[Any], names: Sequence[str], label: str) -> Path:
    """train.csv, val.csv and test.csv of rows (N, K), the same division every time."""
    folder.mkdir(parents=True, exist_ok=True)
    order, start = np.random.default_rng(0).permutation(len(values)), 0
    for split, share in SHARES:
        end = len(values) if split == "test" else start + round(share * len(values))
        with (folder / f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*names, label])
            writer.writerows([*values[i], targets[i]] for i in order[start:end])
        start = end

    return folder


def linear(folder: Path, label: str, *, classes: bool) -> float:
    """Accuracy of a logistic regression, or mean absolute error of a linear one, on the test file."""
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.preprocessing import StandardScaler

    def table(*splits: str) -> tuple[np.ndarray, list[str]]:
        rows = [row for split in splits for row in csv.DictReader((folder / f"{split}.csv").open(newline=""))]
        values = [[float(value) for name, value in row.items() if name != label] for row in rows]
        return np.array(values), [row[label] for row in rows]

    (x, y), (seen, truth) = table("train", "val"), table("test")
    scaler = StandardScaler().fit(x)
    if classes:
        return float(LogisticRegression(max_iter=2000).fit(scaler.transform(x), y).score(scaler.transform(seen), truth))

    model = LinearRegression().fit(scaler.transform(x), np.array(y, float))
    return float(np.abs(model.predict(scaler.transform(seen)) - np.array(truth, float)).mean())
