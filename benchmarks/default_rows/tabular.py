"""Classes of rows: breast tumours (Wolberg et al. 1995, 30 numbers), which scikit-learn brings.

The baseline is a logistic regression on the standardized columns, trained on train and val.
"""

from __future__ import annotations

from pathlib import Path

from . import Figures, Row, interval, trained
from ._tables import linear, written


def measure(data: Path, out: Path) -> Figures:
    from sklearn.datasets import load_breast_cancer

    source = load_breast_cancer()
    labels = [str(source.target_names[i]) for i in source.target]
    folder = written(out / "data", source.data, labels, list(source.feature_names), "label")
    outcome = trained("tabular", folder, out)
    per_class = outcome.bundle.task.per_class(outcome.quantized_outputs, outcome.targets, outcome.bundle.labels)

    return Figures(
        outcome.float,
        outcome.quantized,
        interval(outcome),
        len(outcome.targets),
        linear(folder, "label", classes=True),
        outcome.minutes,
        {name: row["metric"] for name, row in per_class.items()},
    )


ROW = Row(
    name="tabular",
    task="tabular",
    data="breast tumours, 30 numbers, divided 60 / 15 / 25",
    metric="accuracy",
    goal=0.95,
    baseline="logistic regression",
    measure=measure,
)
