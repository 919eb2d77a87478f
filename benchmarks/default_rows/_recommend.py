"""What the rows of recommenders share: the figures of a run, with the paired interval of its lead over item-kNN."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import Figures, interval, trained


def figures(path: Path, out: Path) -> Figures:
    from edgeft import data as datasets
    from edgeft.bundle.manifest import recorded
    from edgeft.measure import stats
    from edgeft.tasks.recommend import item_knn, linear_autoencoder

    outcome = trained("recommend", path, out)
    task = outcome.bundle.task
    rows = datasets.open(datasets.source(path, recorded(outcome.bundle.manifest, "data"))).split("test")
    histories = rows.pool.histories
    unit = item_knn.normalized(linear_autoencoder.interactions(histories))
    numbers = [rows.pool.numbers(int(i)) for i in rows.indices]
    scores = np.stack([item_knn.scores(unit, histories.learned(user), items) for user, items in numbers])
    knn = task.per_sample({"scores": scores}, rows.targets)
    model = task.per_sample(outcome.quantized_outputs, outcome.targets)

    lead = stats.paired_proportions(int(np.sum(model > knn)), int(np.sum(knn > model)), len(knn))
    note = (
        f"Above item-kNN by {100 * (model.mean() - knn.mean()):.1f} points, paired 95 % interval "
        f"[{100 * lead[0]:.1f}, {100 * lead[1]:.1f}]; popularity {outcome.summary['chance']:.3f}. The penalty was chosen on the "
        "validation split."
    )
    parts = task.per_class(outcome.quantized_outputs, outcome.targets, outcome.bundle.labels)

    return Figures(
        outcome.float,
        outcome.quantized,
        interval(outcome),
        len(knn),
        float(knn.mean()),
        outcome.minutes,
        {name: row["metric"] for name, row in parts.items()},
        (note,),
    )
