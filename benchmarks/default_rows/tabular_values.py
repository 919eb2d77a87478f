"""Numbers of rows: Friedman's function (1991) of ten columns, of which five count, with noise.

The baseline is a linear regression on the standardized columns.
"""

from __future__ import annotations

from pathlib import Path

from . import Figures, Row, interval, trained
from ._tables import linear, written

ROWS, NOISE = 2000, 1.0


def measure(data: Path, out: Path) -> Figures:
    from sklearn.datasets import make_friedman1

    values, targets = make_friedman1(ROWS, 10, noise=NOISE, random_state=0)
    folder = written(out / "data", values, list(targets), [f"x{i}" for i in range(10)], "value")
    outcome = trained("tabular-values", folder, out)
    baseline = linear(folder, "value", classes=False)

    return Figures(
        outcome.float,
        outcome.quantized,
        interval(outcome),
        len(outcome.targets),
        baseline,
        outcome.minutes,
        notes=(f"The noise of the targets alone has a mean absolute value of {NOISE * (2 / 3.14159) ** 0.5:.3f}.",),
    )


ROW = Row(
    name="tabular-values",
    task="tabular-values",
    data=f"Friedman's function of 1991, {ROWS} rows, noise of {NOISE:g}",
    metric="mean absolute error",
    goal=1.1,
    baseline="linear regression",
    measure=measure,
    higher_is_better=False,
)
